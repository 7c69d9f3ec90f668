//! Answers of origins, with the same care as requests: what is none is a 502, or a connection that breaks.

use std::io::{Read, Write};
use std::net::Shutdown;

use floodgate::outcome::RequestEnd;

use super::wire::{Heard, answers, exchange, hear, heard_from, reset, to};
use crate::rig::{Origin, Rig, read_head};

const VIA: &str = "Via: 1.1 floodgate-*\r\n\r\n";

#[test]
fn a_status_line_is_a_version_three_digits_and_perhaps_a_reason() {
    for line in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x1bK",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\nK",
        "http/1.1 200 OK",
        "HTTP/1.1x 200 OK",
        "HTTP/01.1 200 OK",
        "HTTP/1.11 200 OK",
        "HTTP/1,1 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2 200",
        "HTTP/2.0 200 OK",
        "HTTP 200 OK",
        "ICY 200 OK",
        "RTSP/1.0 200 OK",
        "200 OK",
        "",
        "\r\nHTTP/1.1 200 OK",
        "GET / HTTP/1.1",
    ] {
        let heard = heard_from(format!("{line}\r\nContent-Length: 2\r\n\r\nno"));
        heard.assert_ours(502, "http_protocol_error", line);
    }
    for (line, passed_on) in [
        ("HTTP/1.1 200", "HTTP/1.1 200 "),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        ("HTTP/1.0 200 OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200  two  spaces ", "HTTP/1.1 200  two  spaces "),
        ("HTTP/1.1 404 \u{4e0d}\u{5728}\t", "HTTP/1.1 404 \u{4e0d}\u{5728}\t"),
        ("HTTP/1.1 599 x", "HTTP/1.1 599 x"),
        ("HTTP/1.1 999 x", "HTTP/1.1 999 x"),
    ] {
        let heard = heard_from(format!("{line}\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"));
        let via = VIA.replace("1.1", &line[5..8]);
        let rest = format!("\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\n{via}ok");
        assert_eq!((heard.text, heard.clean), (format!("{passed_on}{rest}"), true), "{line:?}");
    }
}

#[test]
fn fields_of_answers_obey_the_rules_of_those_of_requests() {
    for field in [
        &b"X : 1"[..],
        b"Content-Length : 2",
        b"Transfer-Encoding\t: chunked",
        b" X: 1",
        b"\tX: 1",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\r\n ",
        b"Transfer-\r\n Encoding: chunked",
        b"X: a\0b",
        b"X: \0",
        b"X\0: 1",
        b"X: a\rb",
        b"X: a\r",
        b"\rX: 1",
        b"X: a\x1bb",
        b"X: \x7f",
        b"X: a\nY: b",
        b"X: a\n",
        b"\nX: a",
        b": x",
        b"X",
        b"X y: 1",
        b"X(: 1",
        b"X\x85: 1",
        b"\"X\": 1",
        b"HTTP/1.1 200 OK",
    ] {
        let what = String::from_utf8_lossy(field);
        for place in [[&b""[..], b"\r\nContent-Length: 2"], [b"Content-Length: 2\r\n", b""]] {
            let answer = [b"HTTP/1.1 200 OK\r\n", place[0], field, place[1], b"\r\n\r\nno"].concat();
            heard_from(answer).assert_ours(502, "http_protocol_error", &what);
        }
    }
    // Every line end of a head must be CRLF, the first and the last too.
    for head in [
        "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
        "HTTP/1.1 200 OK\rContent-Length: 2\r\r",
        "HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\n\r\n",
    ] {
        heard_from(format!("{head}no\r\n\r\n")).assert_ours(502, "http_protocol_error", head);
    }
    // Order, case, duplicates, and bytes that are not ASCII stay as they are.
    let origin = answers(
        b"HTTP/1.1 200 OK\r\nx-b:\t1 \r\nX-A: \xd6\xd0\r\nX-B:\r\nx-b: 2\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
            .to_vec(),
    );
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(to(&origin, "GET", "\r\n"));
    let head = read_head(&mut client.0);
    let passed_on =
        b"HTTP/1.1 200 OK\r\nx-b: 1\r\nX-A: \xd6\xd0\r\nX-B: \r\nx-b: 2\r\nDate: x\r\nContent-Length: 2\r\nVia: ";
    assert!(head.starts_with(passed_on), "{}", String::from_utf8_lossy(&head));
    drop(client);
    rig.settled();
}

#[test]
fn heads_of_answers_are_limited_in_size_and_number() {
    let fill = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\nX: \r\n\r\n".len();
    let sized = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "x".repeat(size - fill))
    };
    let numbered =
        |fields: usize| format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: 1\r\n".repeat(fields - 1));
    let interim = |size: usize| format!("HTTP/1.1 103 Hint\r\nX: {}\r\n\r\n{}", "x".repeat(size), sized(100));
    for fits in [sized(16 * 1024), numbered(100), interim(16 * 1024 - 26)] {
        let heard = heard_from(fits);
        assert!(heard.clean && heard.text.contains("HTTP/1.1 200 OK\r\n"), "{heard:?}");
    }
    let endless_line = format!("HTTP/1.1 200 {}", "x".repeat(1 << 20));
    let endless_field = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let bomb = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(200_000));
    for too_much in [sized(16 * 1024 + 1), numbered(101), interim(16 * 1024), endless_line, endless_field, bomb] {
        heard_from(&*too_much).assert_ours(502, "http_protocol_error", &too_much[..60]);
    }
}

#[test]
fn what_is_not_http_is_no_answer() {
    for (bytes, error) in [
        (&b"<html>hello</html>\n"[..], "http_protocol_error"),
        (b"<html>\r\nhello</html>\r\n\r\n", "http_protocol_error"),
        (b"hello\r\n", "http_protocol_error"),
        (b"\r\n\r\n\r\n", "http_protocol_error"),
        (b"\n", "http_protocol_error"),
        (b"\0\0\0\x12\x04\0\0\0\0\0\0", "http_protocol_error"),
        (b"\x15\x03\x03\0\x02\x02\x46", "http_protocol_error"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "http_protocol_error"),
        (b"220 mail ESMTP\r\n", "http_protocol_error"),
        // Without a line end it might still become one; the end of the connection decides.
        (b"hello", "connection_terminated"),
        (b"HTTP/1.1 200 OK", "connection_terminated"),
        (b"", "connection_terminated"),
    ] {
        heard_from(bytes).assert_ours(502, error, &String::from_utf8_lossy(bytes));
    }
    // One that says a line of another protocol and waits is not waited for.
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_or(0);
    });
    let rig = Rig::with(&[origin.address], "[upstream]\nfirst-byte-timeout = \"1h\"");
    exchange(&rig, to(&origin, "GET", "\r\n")).assert_ours(502, "http_protocol_error", "a banner");
    rig.settled();
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_none() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    heard_from(format!("{switch}raw bytes")).assert_ours(502, "http_protocol_error", switch);
    let offer = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for answer in [
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let origin = answers(answer);
        let rig = Rig::new(&[origin.address]);
        let heard = exchange(&rig, to(&origin, "GET", offer));
        heard.assert_ours(502, "http_protocol_error", answer);
        rig.settled();
    }
}

/// Answers that say where they end, in every kind of framing.
const WHOLE: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 11\r\n\r\nhello world",
    "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nX: 1\r\nY: 2\r\n\r\n",
    "HTTP/1.1 103 Hint\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 11\r\n\r\nhello world",
    "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
];

/// The data of an answer, whatever its framing; `None` without a final head.
fn data(text: &str) -> Option<String> {
    let (_, from_final_head) = text.split_once("HTTP/1.1 200 ")?;
    let (head, body) = from_final_head.split_once("\r\n\r\n")?;
    if !head.contains("chunked") {
        return Some(body.to_owned());
    }
    let lines: Vec<_> = body.split("\r\n").collect();
    Some(lines.chunks(2).filter_map(|chunk| chunk.get(1).copied()).collect())
}

/// Asks, once for each n, an origin that ends its answer after n bytes.
fn assert_no_part_is_taken_for(whole: &'static str, version: &str, resets: bool) {
    let origin = Origin::scripted(move |number, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(&whole.as_bytes()[..number]).unwrap_or(());
        if resets {
            reset(&stream);
        } else {
            stream.shutdown(Shutdown::Write).unwrap_or(());
            stream.read_to_end(&mut Vec::new()).unwrap_or(0);
        }
    });
    let rig = Rig::new(&[origin.address]);
    for cut in 0..whole.len() {
        let heard = exchange(&rig, format!("GET http://{0}/ HTTP/{version}\r\nHost: {0}\r\n\r\n", origin.address));
        let what = format!("{:?} to {version}, reset: {resets}: {heard:?}", &whole[..cut]);
        if heard.clean {
            assert!(!whole[..cut].contains("Date: x\r\n\r\n"), "{what}");
            let hint = format!("HTTP/1.1 103 Hint\r\nLink: x\r\n{VIA}");
            let text = heard.text.strip_prefix(&hint).unwrap_or(&heard.text).to_owned();
            Heard { text, clean: true }.assert_ours(502, "connection_terminated", &what);
        } else {
            // Whatever arrived of it is a part, and has no end.
            assert!("hello world".starts_with(&data(&heard.text).unwrap_or_default()), "{what}");
            assert!(!heard.text.contains("0\r\n\r\n") && !heard.text.contains(" 502 "), "{what}");
        }
    }
    rig.settled();
    let ends = |end| usize::try_from(rig.ends(end)).unwrap();
    assert_eq!(ends(RequestEnd::UpstreamReset) + ends(RequestEnd::UpstreamTruncated), whole.len());
    rig.no_upstream_is_left();
}

#[test]
fn an_answer_cut_anywhere_is_never_taken_for_a_whole_one() {
    for whole in WHOLE {
        for resets in [false, true] {
            assert_no_part_is_taken_for(whole, "1.1", resets);
            // HTTP/1.0 gets no coded answer at all (C-61).
            if !whole.contains("gzip") {
                assert_no_part_is_taken_for(whole, "1.0", resets);
            }
        }
    }
}

#[test]
fn an_answer_is_the_same_however_its_bytes_arrive() {
    for whole in WHOLE {
        let origin = Origin::scripted(move |number, mut stream, _| {
            stream.set_nodelay(true).unwrap();
            read_head(&mut stream);
            let size = if number == 0 { whole.len() } else { number };
            for piece in whole.as_bytes().chunks(size) {
                stream.write_all(piece).unwrap();
                std::thread::yield_now();
            }
        });
        let rig = Rig::new(&[origin.address]);
        for _ in 0..20 {
            let heard = exchange(&rig, to(&origin, "GET", "Connection: close\r\n\r\n"));
            assert!(heard.clean && data(&heard.text).as_deref() == Some("hello world"), "{heard:?}");
        }
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::Forwarded), 20);
    }
}

#[test]
fn a_head_that_comes_in_drops_is_not_waited_for_longer_than_one_that_does_not_come() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream.write_all(b"X").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    let rig = Rig::with(&[origin.address], "[upstream]\nfirst-byte-timeout = \"200ms\"");
    exchange(&rig, to(&origin, "GET", "\r\n")).assert_ours(504, "http_response_timeout", "drops");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::FirstByteTimeout), 1);
}

#[test]
fn a_flood_of_interim_answers_without_an_end_is_stopped() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        while stream.write_all(b"HTTP/1.1 102 Processing\r\nX: 1\r\n\r\n").is_ok() {}
    });
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(&rig, to(&origin, "GET", "\r\n"));
    let processing = format!("HTTP/1.1 102 Processing\r\nX: 1\r\n{VIA}").repeat(16);
    let rest = heard.text.strip_prefix(&*processing).unwrap_or_else(|| panic!("{heard:?}"));
    Heard { text: rest.to_owned(), clean: heard.clean }.assert_ours(502, "http_protocol_error", "a flood");
    rig.settled();
    rig.no_upstream_is_left();
}

#[test]
fn an_origin_that_says_close_or_speaks_1_0_is_not_used_again_and_the_client_does_not_notice() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n",
    ] {
        let origin = Origin::answering(format!("{head}ok"));
        let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
        let mut client = rig.client();
        for number in 1..=5 {
            client.send(to(&origin, "GET", "\r\n"));
            let (answered, body) = client.answer();
            assert_eq!(body, b"ok");
            assert!(!answered.to_lowercase().contains("\r\nconnection:"), "{answered}");
            assert_eq!(rig.gateway.counters.connect_seconds.count(), number, "{head:?}");
            rig.no_upstream_is_left();
        }
        drop(client);
        rig.settled();
    }
}

#[test]
fn an_origin_that_closes_each_time_without_a_word_costs_no_request() {
    // It says that it keeps the connection, and closes it right after the answer: at each request the end may be there
    // already, arrive with it, or come after it.
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    for method in ["GET", "POST", "HEAD", "PATCH"].iter().cycle().take(400) {
        client.send(to(&origin, method, "\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{method}: {head}");
        if *method != "HEAD" {
            assert_eq!(client.exactly(2), b"ok");
        }
    }
    client.half_close();
    assert_eq!(hear(&mut client).text, "");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Forwarded), 400);
}
