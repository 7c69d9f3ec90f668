//! How a message says where it ends, in both directions: C-51 to C-59.

use std::fmt::Write as _;
use std::io::{Read, Write};

use floodgate::outcome::RequestEnd;
use floodgate::telemetry::Direction;

use super::wire::{
    Heard, RECORDED, answers_in_two, assert_answers_refused, assert_nothing_forwarded, exchange, hear, heard_from,
    moved, record, recorded, recorder, to,
};
use crate::rig::{Origin, Rig};

/// Sends POST requests with these fields, each with a request smuggled behind it, and expects one refusal each.
#[track_caller]
fn assert_requests_refused(status: u16, fields: impl IntoIterator<Item = impl AsRef<str>>) {
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    for fields in fields {
        let fields = fields.as_ref();
        let smuggled = to(&origin, "GET", "\r\n");
        let heard = exchange(&rig, to(&origin, "POST", &format!("{fields}\r\n\r\n0\r\n\r\n{smuggled}")));
        heard.assert_ours(status, "http_request_error", fields);
    }
    rig.settled();
    assert_nothing_forwarded(&rig, &origin);
}

/// Sends a chunked request and returns what the client and the origin got.
fn chunked_request(body: &str) -> (Heard, String) {
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    let head = to(&origin, "POST", "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    let heard = exchange(&rig, format!("{head}{body}"));
    rig.settled();
    let head = recorded(&origin, "POST", "Transfer-Encoding: chunked\r\nVia: 1.1 floodgate-*\r\n\r\n");
    let record = record(&origin);
    let body = record.strip_prefix(&head).unwrap_or_else(|| panic!("{record:?}"));
    (heard, body.to_owned())
}

/// Bodies that are not chunked as they should be: refused before a byte went anywhere when they come with the head, and
/// shown as broken when a part of the message has been passed on.
fn assert_bodies_refused(bodies: &[String]) {
    for body in bodies {
        let origin = Origin::scripted(|_, mut stream, received| drop(stream.read_to_end(received)));
        let rig = Rig::new(&[origin.address]);
        let head = to(&origin, "POST", "Transfer-Encoding: chunked\r\n\r\n");
        exchange(&rig, format!("{head}{body}")).assert_ours(400, "http_request_error", body);
        rig.settled();
        assert_eq!(record(&origin), "", "{body:?}");

        let origin = Origin::scripted(|_, mut stream, received| drop(stream.read_to_end(received)));
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        client.send(to(&origin, "POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"));
        let passed_on =
            recorded(&origin, "POST", "Transfer-Encoding: chunked\r\nVia: 1.1 floodgate-*\r\n\r\n5\r\nfirst\r\n");
        moved(&rig, Direction::ToUpstream, passed_on.len());
        client.send(body);
        hear(&mut client).assert_ours(400, "http_request_error", body);
        rig.settled();
        // Data before the mistake may have gone too; the end has not.
        let record = record(&origin);
        assert!(record.starts_with(&passed_on) && !record.contains("\r\n0\r\n"), "{body:?}: {record:?}");
        assert_eq!(rig.ends(RequestEnd::BodyMalformed), 1);
    }
    for body in bodies {
        let heard = heard_from(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        heard.assert_ours(502, "http_protocol_error", body);

        let (origin, go) = answers_in_two(
            b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            body.clone().leak().as_bytes(),
        );
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        client.send(to(&origin, "GET", "\r\n"));
        client.head();
        assert_eq!(client.exactly(10), b"5\r\nfirst\r\n");
        go.send(()).unwrap();
        let heard = hear(&mut client);
        assert!(!heard.clean && !heard.text.contains("0\r\n\r\n"), "{body:?}: {heard:?}");
        drop(client);
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::UpstreamMalformed), 1);
    }
}

fn owned(bodies: &[&str]) -> Vec<String> {
    bodies.iter().map(|&body| body.to_owned()).collect()
}

/// Not a Transfer-Encoding that means one thing to everybody.
const ODD_CODINGS: &[&str] = &[
    ",chunked",
    "chunked,",
    "chunked,chunked",
    "chunked, Chunked",
    "chunked\r\nTransfer-Encoding: chunked",
    "chunked\r\nTransfer-Encoding: identity",
    "gzip\r\ntransfer-encoding: chunked",
    "\x0bchunked",
    "chunked\x0c",
    "\u{a0}chunked",
    "chunked;a=b",
    "\"chunked\"",
    "chunked chunked",
    "",
];

#[test]
fn c_51_content_length_beside_transfer_encoding_is_refused() {
    let mut both: Vec<String> = Vec::new();
    for coding in
        ["chunked", "Chunked", "CHUNKED", "gzip", "identity", "xchunked", "gzip, chunked"].iter().chain(ODD_CODINGS)
    {
        for length in ["0", "5", "18446744073709551615"] {
            both.push(format!("Transfer-Encoding: {coding}\r\nContent-Length: {length}"));
            both.push(format!("Content-Length: {length}\r\nX: 1\r\nTRANSFER-encoding:{coding}"));
        }
    }
    assert_requests_refused(400, both);
    let odd: Vec<_> = ODD_CODINGS.iter().map(|coding| format!("Transfer-Encoding: {coding}")).collect();
    assert_requests_refused(400, &odd);
    assert_answers_refused(odd);
    assert_answers_refused([
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip\r\nContent-Length: 5",
    ]);
    // The name of the coding is not case-sensitive, and whitespace around a value is none of it.
    for coding in ["chunked", "Chunked", "CHUNKED", "\t chunked \t"] {
        let origin = recorder();
        let rig = Rig::new(&[origin.address]);
        let rest = format!("Connection: close\r\nTransfer-Encoding:{coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(exchange(&rig, to(&origin, "POST", &rest)).text, RECORDED, "{coding}");
        rig.settled();
        let rest = "Transfer-Encoding: chunked\r\nVia: 1.1 floodgate-*\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(record(&origin), recorded(&origin, "POST", rest));
    }
}

#[test]
fn c_52_codings_other_than_chunked_are_refused_in_requests() {
    assert_requests_refused(
        400,
        ["Transfer-Encoding: chunked, gzip", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: chunked,x,y"],
    );
    assert_requests_refused(
        501,
        [
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunkedx",
            "Transfer-Encoding: 'chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity, chunked",
        ],
    );
}

#[test]
fn c_53_a_transfer_coding_in_http_1_0_is_faulty() {
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    for coding in ["chunked", "identity", "gzip, chunked"] {
        let request =
            format!("POST http://{}/ HTTP/1.0\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n", origin.address);
        exchange(&rig, request).assert_ours(400, "http_request_error", coding);
        let heard = heard_from(format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
        heard.assert_ours(502, "http_protocol_error", coding);
    }
    rig.settled();
    assert_nothing_forwarded(&rig, &origin);
}

#[test]
fn c_54_a_content_length_is_digits_that_fit() {
    let lengths: Vec<_> = [
        "+5",
        "-1",
        "-0",
        "0x10",
        " ",
        "",
        "5,6",
        "5, 5",
        "5,",
        "5 5",
        "1_0",
        "5.0",
        "1e3",
        "5;",
        "\"5\"",
        "\u{665}",
        "5\x0b",
        "18446744073709551616",
        "99999999999999999999999999",
    ]
    .iter()
    .map(|length| format!("Content-Length: {length}"))
    .collect();
    assert_requests_refused(400, &lengths);
    assert_answers_refused(&lengths);
}

#[test]
fn c_55_several_content_lengths_are_refused_and_zeros_in_front_mean_nothing() {
    let different = ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: 0\r\nX: 1\r\ncontent-length: 5"];
    assert_requests_refused(400, different);
    assert_answers_refused(different);
    // The same value twice: refused from clients; from origins, where it is a known mistake, it is one value.
    assert_requests_refused(400, ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 05"]);
    let heard = heard_from("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\nhello");
    let expected =
        "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\nhello";
    assert_eq!(heard.text, expected);

    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(
        &rig,
        to(&origin, "POST", "Content-Length: 0000000000000000000000010\r\nConnection: close\r\n\r\n0123456789"),
    );
    assert_eq!(heard.text, RECORDED);
    rig.settled();
    let rest = "Content-Length: 10\r\nVia: 1.1 floodgate-*\r\n\r\n0123456789";
    assert_eq!(record(&origin), recorded(&origin, "POST", rest));
    let heard = heard_from("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 005\r\n\r\nhello");
    assert_eq!(heard.text, expected);
}

#[test]
fn c_56_a_chunk_size_is_hexadecimal_digits_that_fit() {
    assert_bodies_refused(&owned(&[
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        ";a\r\n",
        "g\r\n",
        "10000000000000000\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
    ]));
    let (heard, body) = chunked_request("A\r\n0123456789\r\n0f\r\n0123456789abcde\r\n0000000000000000\r\n\r\n");
    assert_eq!(heard.text, RECORDED);
    assert_eq!(body, "a\r\n0123456789\r\nf\r\n0123456789abcde\r\n0\r\n\r\n");
    // The largest size is no reason to add, to allocate or to wait for anything but data.
    for size in ["ffffffffffffffff", "7fffffffffffffff", "8000000000000000"] {
        let heard = heard_from(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nx"));
        assert!(!heard.clean && heard.text.ends_with("\r\n\r\n1\r\nx\r\n"), "{size}: {heard:?}");
    }
}

#[test]
fn c_57_chunk_extensions_are_checked_bounded_and_dropped() {
    let long = |length: usize| format!("5;a=\"{}\"\r\nhello\r\n0\r\n\r\n", "x".repeat(length));
    let scattered = |chunks: usize| format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "e".repeat(127)).repeat(chunks));
    let mut bad = owned(&[
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\"x\r\ny\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"x\ny\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"x\\\ny\"\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a=\0\r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n",
        "5;=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"x\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "5;a b\r\nhello\r\n0\r\n\r\n",
    ]);
    bad.extend([long(4093), scattered(33)]);
    assert_bodies_refused(&bad);
    let body = "5;a\r\nhello\r\n1; b = c ;d=\"e;\\\" \u{e9}\"\r\nx\r\n0;last=1\r\n\r\n";
    let (heard, passed_on) = chunked_request(body);
    assert_eq!(heard.text, RECORDED);
    assert_eq!(passed_on, "5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n");
    let heard = heard_from(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    assert!(heard.clean && heard.text.ends_with("\r\n\r\n5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n"), "{heard:?}");
    assert_eq!(chunked_request(&long(4090)).1, "5\r\nhello\r\n0\r\n\r\n", "4,096 bytes of extensions");
    assert_eq!(chunked_request(&scattered(31)).1, format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(31)));
}

#[test]
fn c_58_chunk_lines_and_data_end_with_crlf_and_nothing_else() {
    assert_bodies_refused(&owned(&[
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\n\r\r\n",
        "0\n\r\n",
        "0\r\r\n",
    ]));
}

#[test]
fn c_59_trailers_obey_the_rules_of_fields_and_are_dropped() {
    let section = |trailers: &str| format!("2\r\nhi\r\n0\r\n{trailers}\r\n");
    let trailers: String = (0..124).fold(String::new(), |mut all, n| {
        write!(all, "X-{n}: {}\r\n", "v".repeat(40)).unwrap();
        all
    }) + "Content-Length: 5\r\nHost: x\r\nAuthorization: x\r\nTransfer-Encoding: gzip\r\n";
    let (heard, passed_on) = chunked_request(&section(&trailers));
    assert_eq!(heard.text, RECORDED);
    assert_eq!(passed_on, "2\r\nhi\r\n0\r\n\r\n");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nDate: x\r\nTrailer: X-1\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        section(&trailers)
    );
    assert_eq!(
        heard_from(&*answer).text,
        "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\n\
         2\r\nhi\r\n0\r\n\r\n"
    );

    let mut bad: Vec<_> = [
        "X : 1\r\n",
        " X: 1\r\n",
        "X: a\r\n b\r\n",
        "X\r\n",
        ": x\r\n",
        "X y: 1\r\n",
        "X(: 1\r\n",
        "X\u{85}: 1\r\n",
        "X: a\nY: b\r\n",
        "X: a\n",
        "X: a\rY: b\r\n",
        "X: a\0b\r\n",
        "X: \x7f\r\n",
        "GET http://smuggled/ HTTP/1.1\r\n",
    ]
    .map(section)
    .into();
    bad.extend([section(&format!("X: {}\r\n", "x".repeat(8192))), section(&"X: 1\r\n".repeat(129))]);
    assert_bodies_refused(&bad);

    // What follows a trailer section is the next request, and is judged.
    let origin = Origin::scripted(|_, mut stream, received| {
        while !received.ends_with(b"\r\n0\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            received.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    let chunked = to(&origin, "POST", &format!("Transfer-Encoding: chunked\r\n\r\n{}", section("Host: x\r\n")));
    client.send(format!("{chunked}GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy));
    assert_eq!(client.answer().1, b"ok");
    hear(&mut client).assert_ours(403, "proxy_loop_detected", "the second request");
    rig.settled();
}
