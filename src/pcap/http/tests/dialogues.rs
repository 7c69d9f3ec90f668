//! Whole dialogues: which bytes are a body, and whose answer it is.

use super::{Notes, Tape, told};
use crate::pcap::stream::{Interest, Side};

#[test]
fn a_request_and_its_answer() {
    let lines = told(&[
        (
            true,
            "GET http://10.115.5.2/x HTTP/1.1\r\nHost: 10.115.5.2\r\nuser-agent :  Mozilla/4.0 (x) \r\n\
             Proxy-Connection: Keep-Alive\r\n\r\n",
        ),
        (false, "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"),
        (true, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (false, "HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    ]);
    assert_eq!(
        lines,
        [
            "0 GET http://10.115.5.2/x HTTP/1.1 host=10.115.5.2 agent=Mozilla/4.0 (x) proxy stay",
            "  404 to 0 stay",
            "1 GET / HTTP/1.0 host=a",
            "  200 to 1",
            "closed, 0 unanswered",
        ]
    );
}

#[test]
fn keep_alive_is_what_the_client_wants() {
    for (head, stays) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nProxy-Connection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nProxy-Connection: keep-alive\r\nConnection: close\r\n\r\n", false),
    ] {
        let lines = told(&[(true, head)]);
        assert_eq!(lines[0].contains(" stay"), stays, "{head}");
    }
}

#[test]
fn bodies_are_passed_over_as_they_are_framed() {
    // The smuggled line is inside the body, or after it: (fields, body, is it a request?).
    for (fields, body, found) in [
        ("Content-Length: 40\r\n", "", false),
        ("Content-Length: 00000000000000000005\r\n", "GET /", true),
        ("Content-Length: -1\r\n", "", true),
        ("Content-Length: 18446744073709551615\r\n", "", true),
        ("Content-Length: 9223372036854775807\r\n", "", false),
        ("Content-Length: five\r\n", "", true),
        ("Content-Length:\r\n 5\r\n", "12345", true),
        ("Content-Length: 50\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", true),
        ("Transfer-Encoding:\r\n chunked\r\n", "3;x=y\r\nabc\r\n0\r\nT: x\r\n\r\n", true),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", true),
        ("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "ab", true),
        ("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n\r\n", false),
        ("", "\r\n\r\n\n", true),
    ] {
        let stream = format!("POST / HTTP/1.1\r\n{fields}\r\n{body}GET /next HTTP/1.1\r\nHost: n\r\n\r\n");
        let lines = told(&[(true, &stream)]);
        assert_eq!(lines.iter().any(|line| line.starts_with("1 GET /next")), found, "{stream}: {lines:#?}");
    }
}

#[test]
fn the_body_of_a_request_is_told_as_sent() {
    let lines = told(&[
        (true, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        (true, "lo\r\n0\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"),
    ]);
    assert_eq!(
        lines,
        [
            "0 POST /a HTTP/1.1 stay",
            "  body 5\\r\\nhello\\r\\n0\\r\\n\\r\\n",
            "1 PUT /b HTTP/1.1 stay",
            "  body ok",
            "closed, 2 unanswered",
        ]
    );
}

#[test]
fn answers_without_a_body_have_none_whatever_they_say() {
    let mut tape = Tape::new();
    tape.client("HEAD /0 HTTP/1.1\r\n\r\nGET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    tape.server(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    );
    tape.server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(
        tape.end().0.lines,
        [
            "0 HEAD /0 HTTP/1.1 stay",
            "1 GET /1 HTTP/1.1 stay",
            "2 GET /2 HTTP/1.1 stay",
            "  200 to 0 stay",
            "  304 to 1 stay",
            "  100 to 2 stay",
            "  103 to 2 stay",
            "  204 to 2 stay",
            "closed, 0 unanswered",
        ]
    );
}

#[test]
fn bare_line_feeds_and_folds_and_odd_lines_are_read() {
    let mut tape = Tape::new();
    tape.client(
        "OPTIONS *\nHost: a\n\nGET /x y HTTP/1.1\nUser-Agent: one\n  two\nno colon\nHost:\th \n\nOPTIONS\nHost: b\n\n",
    );
    let (notes, counts) = tape.end();
    assert_eq!(
        notes.lines,
        [
            "0 OPTIONS *  host=a",
            "1 GET /x y HTTP/1.1 host=h agent=one\\n  two stay",
            "2 OPTIONS   host=b",
            "closed, 3 unanswered"
        ]
    );
    assert_eq!(counts.requests, 3);
}

#[test]
fn a_hundred_thousand_requests_that_nobody_answers_are_numbered_and_not_kept() {
    let mut tape = Tape::new();
    for _ in 0..1000 {
        tape.client("GET / HTTP/1.1\r\n\r\n".repeat(100));
        tape.interpreter.witness_mut().lines.clear();
        tape.interpreter.witness_mut().heads.clear();
    }
    tape.server("HTTP/1.1 204 No\r\n\r\n".repeat(99_999));
    let (Notes { lines, .. }, counts) = tape.end();
    assert_eq!(lines.len(), 100_000);
    assert_eq!(lines[99_998], "  204 to 99998 stay");
    assert_eq!(lines[99_999], "closed, 1 unanswered");
    assert_eq!((counts.requests, counts.answers), (100_000, 99_999));
}

#[test]
fn a_request_that_is_refused_before_its_body_leaves_the_body_out() {
    let lines = told(&[
        (true, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"),
        (false, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
        (true, "GET / HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(lines[2], "1 GET / HTTP/1.1 stay");
}

#[test]
fn an_answer_without_an_end_ends_where_the_next_begins() {
    let mut tape = Tape::new();
    tape.client("GET /0 HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\n\r\nbody")
        .server("HTTP/1.1 200 OK\r\n\r\nno answer");
    tape.client("GET /1 HTTP/1.1\r\n\r\n").server("HTTP/1.1 500 Oh\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(
        notes.lines,
        [
            "0 GET /0 HTTP/1.1 stay",
            "  200 to 0 stay",
            "1 GET /1 HTTP/1.1 stay",
            "  500 to 1 stay",
            "closed, 0 unanswered"
        ]
    );
    assert_eq!(counts.resynchronised, 1);
}

#[test]
fn what_is_no_http_is_soon_ignored() {
    let mut tape = Tape::new();
    assert_eq!(tape.say(Side::Client, b"\x16\x03\x01\x02\x00\x01\x00"), Interest::Ignore);
    assert_eq!(tape.say(Side::Server, b"\x16\x03\x03\x02\x00\x02\x00"), Interest::Ignore);

    let mut tape = Tape::new();
    assert_eq!(tape.say(Side::Server, b"220 mail.example ESMTP\r\n"), Interest::Listen);
    assert_eq!(tape.say(Side::Client, b"EHLO c.example\r\n"), Interest::Listen);
    assert_eq!(tape.say(Side::Client, &[b'x'; 2000]), Interest::Ignore);
    assert_eq!(tape.say(Side::Client, b"GET / HTTP/1.1\r\n\r\n"), Interest::Ignore);
    assert_eq!(tape.end().0.lines, ["closed, 0 unanswered"]);
}

#[test]
fn bytes_like_tls_amid_http_end_nothing() {
    let lines = told(&[
        (true, "POST / HTTP/1.1\r\n\r\n"),
        (true, "\x16\x03\x01\x02\0 a body that no field told of"),
        (true, "GET / HTTP/1.1\r\n\r\n"),
    ]);
    assert_eq!(lines[1], "1 GET / HTTP/1.1 stay");
}
