//! C-27 to C-38: the syntax of field lines and status lines, in both directions.

use std::io::{ErrorKind, Write};

use floodgate::outcome::RequestEnd;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::chain::{Chain, HEAD_TOO_LARGE, MALFORMED};
use crate::rig::{eventually, field};

/// A request and an answer, both with this line among their fields.
fn request(line: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n", line.as_ref(), b"\r\nZ: 1\r\n\r\n"].concat()
}

fn answer(line: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nDate: x\r\n", line.as_ref(), b"\r\nContent-Length: 2\r\n\r\nok"].concat()
}

/// No field line in either direction.
fn refuses_lines(chain: &Chain, lines: &[impl AsRef<[u8]>]) {
    let requests: Vec<_> = lines.iter().map(request).collect();
    chain.refuses(MALFORMED, &requests);
    let answers: Vec<_> = lines.iter().map(answer).collect();
    chain.refuses_answers(&answers);
}

#[test]
fn c_27_no_white_space_before_a_colon() {
    let chain = Chain::new();
    refuses_lines(
        &chain,
        &["X : 1", "X\t: 1", "X \t : 1", "Content-Length : 3", "Transfer-Encoding : chunked", "Connection : close"],
    );
    chain.refuses(MALFORMED, &["GET http://<origin>/ HTTP/1.1\r\nHost : <origin>\r\n\r\n"]);
    chain.finish();
}

#[test]
fn c_28_no_white_space_before_the_first_field() {
    let chain = Chain::new();
    chain.refuses(
        MALFORMED,
        &[
            "GET http://<origin>/ HTTP/1.1\r\n X: 1\r\nHost: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\n\tX: 1\r\nHost: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\n Host: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\n \r\nHost: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.0\r\n \r\n\r\n",
        ],
    );
    chain.refuses_answers(&[
        "HTTP/1.1 200 OK\r\n X: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n \r\nContent-Length: 2\r\n\r\nok",
    ]);
    chain.finish();
}

#[test]
fn c_29_no_line_folding() {
    let chain = Chain::new();
    refuses_lines(
        &chain,
        &[
            "X: a\r\n b",
            "X: a\r\n\tb",
            "X: a\r\n ",
            "X:\r\n a",
            "Transfer-\r\n Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Content-Length:\r\n 2",
            "Connection: a,\r\n close",
        ],
    );
    chain.refuses(MALFORMED, &["GET http://<origin>/ HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"]);
    chain.finish();
}

#[test]
fn c_30_no_bare_cr() {
    let chain = Chain::new();
    refuses_lines(&chain, &["X: a\rY: b", "X: a\r", "X: \r\rb", "\rX: a", "X\r: a", "X: a\r\r\nY: b", "\r"]);
    chain.refuses(
        MALFORMED,
        &[
            "GET http://<origin>/ HTTP/1.1\rHost: <origin>\r\n\r\n",
            "GET http://<origin>/\rHTTP/1.1\r\nHost: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\r\n",
            "\rGET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        ],
    );
    chain.refuses_answers(&[
        "HTTP/1.1 200 OK\rX: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1\r200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]);
    chain.finish();
}

#[test]
fn c_31_no_bare_lf() {
    let chain = Chain::new();
    refuses_lines(&chain, &["X: a\nY: b", "X: a\n b", "X: a\n", "\nX: a"]);
    chain.refuses(
        MALFORMED,
        &[
            "GET http://<origin>/ HTTP/1.1\nHost: <origin>\n\n",
            "GET http://<origin>/ HTTP/1.1\nHost: <origin>\r\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\n\r\n",
            "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\n",
            "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\n\n",
            "\nGET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        ],
    );
    chain.refuses_answers(&[
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    ]);
    chain.finish();
}

#[test]
fn c_32_values_are_text_and_bytes_above_ascii_stay() {
    let chain = Chain::new();
    let controls = (0..0x20).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n'));
    let lines: Vec<_> = controls.map(|byte| [b"X: a", &[byte][..], b"b"].concat()).collect();
    refuses_lines(&chain, &lines);
    let kept = b"X: a\xe4\x80\xff\tb  c\"\\,;";
    chain.passes(
        request(kept),
        [b"GET / HTTP/1.1\r\nHost: <origin>\r\n", &kept[..], b"\r\nZ: 1\r\nVia: 1.1 <us>\r\n\r\n"].concat(),
    );
    // White space around a value is no part of it; an empty value is one; order, case and repetitions stay.
    chain.passes(
        request("x-odd:1\r\nX-Odd: \t 2 \t\r\nX-ODD:\r\nA:  \r\nx-odd: 1"),
        "GET / HTTP/1.1\r\nHost: <origin>\r\nx-odd: 1\r\nX-Odd: 2\r\nX-ODD: \r\nA: \r\nx-odd: 1\r\nZ: 1\r\n\
         Via: 1.1 <us>\r\n\r\n",
    );
    let relayed = |reason: &[u8], line: &[u8]| {
        let end = b"\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 <us>\r\n\r\nok";
        [b"HTTP/1.1 200 ", reason, b"\r\nDate: x\r\n", line, end].concat()
    };
    chain.relays(answer(kept), relayed(b"OK", kept));
    chain.relays(answer("x-odd:1\r\nX-Odd:\t2 "), relayed(b"OK", b"x-odd: 1\r\nX-Odd: 2"));
    chain.relays(
        b"HTTP/1.1 200 \xfcber\tall \r\nDate: x\r\nA: 1\r\nContent-Length: 2\r\n\r\nok",
        relayed(b"\xfcber\tall ", b"A: 1"),
    );
    chain.finish();
}

#[test]
fn c_33_names_are_tokens() {
    let chain = Chain::new();
    let lines: [&[u8]; 16] = [
        b": x",
        b":",
        b"X",
        b"X y: 1",
        b"X\x85: 1",
        b"\xc3\xa4: 1",
        b"X(: 1",
        b"X[: 1",
        b"X/y: 1",
        b"X@: 1",
        b"X=1: 1",
        b"X,Y: 1",
        b"X\0: 1",
        b"\"X\": 1",
        b"X\x7f: 1",
        b"X\x0b: 1",
    ];
    refuses_lines(&chain, &lines);
    let odd = "!#$%&'*+-.^_`|~09aZ: 1";
    chain.passes(request(odd), format!("GET / HTTP/1.1\r\nHost: <origin>\r\n{odd}\r\nZ: 1\r\nVia: 1.1 <us>\r\n\r\n"));
    chain.finish();
}

#[test]
fn c_34_a_head_has_a_size_and_a_number_of_fields() {
    let chain = Chain::new();
    // `limits.head-size` bytes, `limits.head-fields` fields.
    let (most, fields) = (16 * 1024, 100);
    let long = |size: usize| {
        let frame = chain.fill(request("X: ")).len();
        format!("X: {}", "a".repeat(size - frame))
    };
    let many = |count: usize| vec!["X: 1"; count - 2].join("\r\n");
    for line in [long(most), many(fields)] {
        chain.passes(
            request(&line),
            format!("GET / HTTP/1.1\r\nHost: <origin>\r\n{line}\r\nZ: 1\r\nVia: 1.1 <us>\r\n\r\n"),
        );
    }
    chain.refuses(HEAD_TOO_LARGE, &[long(most + 1), long(2 * most), many(fields + 1), many(1000)].map(request));
    // One name without an end, and no end at all.
    chain.refuses(
        HEAD_TOO_LARGE,
        &[
            request("n".repeat(most)),
            format!("GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nX: {}", "a".repeat(most)).into_bytes(),
        ],
    );
    let answers = [format!("X: {}", "a".repeat(most)), many(fields + 1), "n".repeat(most)].map(answer);
    chain.refuses_answers(&answers);
    chain.finish();
}

#[test]
fn c_35_few_empty_lines_before_a_request_are_forgiven() {
    let chain = Chain::new();
    let request = |lines: usize| "\r\n".repeat(lines) + "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n";
    for lines in 0..=4 {
        chain.passes(request(lines), "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n");
    }
    // Between two requests too: some clients end a body with one.
    let mut client = chain.rig.client();
    for _ in 0..2 {
        client.send(chain.fill(request(4)));
        assert!(client.answer().0.starts_with("HTTP/1.1 200 "));
    }
    drop(client);
    let twice = "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n".repeat(2);
    chain.origin.hears(&chain.fill(twice));
    chain.refuses(MALFORMED, &[request(5), "\r\n".repeat(5), " \r\n".to_owned() + &request(0)]);
    // Whoever sends nothing else is not listened to.
    let mut client = chain.rig.client();
    let mut sent = 0;
    let ended = loop {
        match client.0.write(&b"\r\n".repeat(8 * 1024)) {
            Ok(n) => sent += n,
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(ended, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{ended:?} after {sent}");
    eventually("it is booked", || chain.rig.ends(RequestEnd::Malformed) == 4);
    chain.finish();
}

#[test]
fn c_36_what_is_not_http_is_told_so_at_once() {
    let chain = Chain::new();
    let hellos: [&[u8]; 9] = [
        // TLS, SSL 2, SOCKS 4 and 5, HTTP/2, SSH, RTSP, a JSON-RPC, a QUIC packet.
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x03\x01",
        b"\x04\x01\x01\xbb\x7f\0\0\x01\0",
        b"\x05\x01\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"OPTIONS rtsp://o.test/ RTSP/1.0\r\n",
        b"{\"id\":1,\"method\":\"x\"}\n",
        b"\xc3\0\0\0\x01\x08",
    ];
    // None of these waits for more: there is no end of a head in them.
    chain.refuses(MALFORMED, &hellos);
    chain.refuses(MALFORMED, &[b"\x16", b"\0", b"\xff"]);
    chain.finish();
}

#[test]
fn c_37_status_lines() {
    let chain = Chain::new();
    let rest = "\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";
    for (line, relayed) in [
        ("HTTP/1.1 200 OK", "200 OK"),
        ("HTTP/1.1 200 ", "200 "),
        ("HTTP/1.1 200", "200 "),
        ("HTTP/1.1 200 Not  quite\tOK", "200 Not  quite\tOK"),
        ("HTTP/1.1 299 ?", "299 ?"),
        ("HTTP/1.1 600 ?", "600 ?"),
        ("HTTP/1.1 999 ?", "999 ?"),
    ] {
        let expected = "\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 <us>\r\n\r\nok";
        chain.relays(format!("{line}{rest}"), format!("HTTP/1.1 {relayed}{expected}"));
    }
    chain.refuses_answers(
        &[
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 2x0 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1 -20 OK",
            "HTTP/1.1 +200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200\tOK",
            " HTTP/1.1 200 OK",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "http/1.1 200 OK",
            "HTTP/1.10 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/2 200",
            "ICY 200 OK",
            "200 OK",
            "",
        ]
        .map(|line| format!("{line}{rest}")),
    );
    chain.finish();
}

#[test]
fn c_38_a_missing_date_is_added() {
    let chain = Chain::new();
    let get = chain.fill("GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nConnection: close\r\n\r\n");
    for line in ["200 OK", "404 Not Found", "500 Oh", "304 Not Modified"] {
        chain.origin.answers(format!("HTTP/1.1 {line}\r\nETag: x\r\nConnection: close\r\n\r\n").as_bytes());
        let before = Timestamp::now().as_second();
        let answer = chain.rig.ask(&get);
        let after = Timestamp::now().as_second();
        let date = field(&answer, "date").unwrap();
        let zoned = rfc2822::DateTimeParser::new().parse_zoned(date).unwrap();
        assert!((before..=after).contains(&zoned.timestamp().as_second()), "{date}");
        assert_eq!(zoned.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(), date, "IMF-fixdate");
        chain.origin.heard();
    }
    // One that is there stays, whatever it says; an interim answer needs none.
    chain.relays(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ndate: yesterday\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 <us>\r\n\r\n\
         HTTP/1.1 200 OK\r\ndate: yesterday\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 <us>\r\n\r\nok",
    );
    chain.finish();
}
