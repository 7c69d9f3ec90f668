//! What goes to the next hop, byte for byte.

use proptest::prelude::*;

use super::*;
use crate::http1::head::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { size: 32 * 1024, target: 8192, fields: 100 };

fn forwarded(head: &str) -> String {
    let mut out = Vec::new();
    request(&mut out, &Request::parse(head.as_bytes(), LIMITS).unwrap(), b"o:8", "us");
    String::from_utf8(out).unwrap()
}

fn answered(head: &str, to: ToClient) -> String {
    let mut out = Vec::new();
    response(&mut out, &Response::parse(head.as_bytes(), LIMITS, to.body == Body::Empty).unwrap(), to, "us", "NOW");
    String::from_utf8(out).unwrap()
}

const KEPT: ToClient = ToClient { body: Body::Length(5), keep_alive: true, upgrade: false };

#[test]
fn c_01_c_02_c_12_c_42_a_request_in_origin_form() {
    assert_eq!(
        forwarded(
            "GET http://o:8/a?b HTTP/1.0\r\nX: 1\r\nhost: evil\r\nVia: 1.1 a, 1.0 B\r\nx:  2 \r\nX: 1\r\nVia: 1.1 c\r\n\r\n"
        ),
        "GET /a?b HTTP/1.1\r\nHost: o:8\r\nX: 1\r\nVia: 1.1 a, 1.0 B\r\nx: 2\r\nX: 1\r\nVia: 1.1 c\r\nVia: 1.0 us\r\n\r\n"
    );
}

#[test]
fn c_04_c_05_c_06_targets() {
    let line =
        |line: &str| forwarded(&format!("{line} HTTP/1.0\r\n\r\n")).split(" HTTP/1.1\r\n").next().unwrap().to_owned();
    assert_eq!(line("GET http://o"), "GET /");
    assert_eq!(line("GET http://o?x"), "GET /?x");
    assert_eq!(line("GET http://o/%7e/../%2F?%0a"), "GET /%7e/../%2F?%0a");
    assert_eq!(line("OPTIONS http://o:8001"), "OPTIONS *");
    assert_eq!(line("OPTIONS http://o:8001?"), "OPTIONS /?");
    assert_eq!(line("OPTIONS http://o:8001/"), "OPTIONS /");
    assert_eq!(line("OPTIONS *"), "OPTIONS *");
    assert_eq!(line("GET /a//b"), "GET /a//b");
}

#[test]
fn c_39_c_40_c_50_hop_by_hop_fields_go() {
    let sent = forwarded(concat!(
        "GET http://o/ HTTP/1.1\r\nHost: o\r\nConnection: close, X-Foo, te\r\nX-Foo: 1\r\nx-fOO: 2\r\nX-Food: 3\r\nProxy-Connection: x\r\n",
        "Keep-Alive: x\r\nTE: gzip, trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nProxy-Authorization: Basic x\r\nproxy-authenticate: x\r\n",
        "Connection: X-Bar\r\nX-Bar: 4\r\n\r\n"
    ));
    assert_eq!(sent, "GET / HTTP/1.1\r\nHost: o:8\r\nX-Food: 3\r\nVia: 1.1 us\r\n\r\n");
    let passed = answered(
        "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: X-Foo\r\nX-Foo: 1\r\nTransfer-Encoding: chunked\r\nUpgrade: h2\r\nKeep-Alive: x\r\nProxy-Authenticate: x\r\nTrailer: y\r\nY: 1\r\n\r\n",
        ToClient { body: Body::Chunked, ..KEPT },
    );
    assert_eq!(passed, "HTTP/1.1 200 OK\r\nDate: x\r\nY: 1\r\nTransfer-Encoding: chunked\r\nVia: 1.1 us\r\n\r\n");
}

#[test]
fn c_41_c_47_what_others_rely_on_cannot_be_nominated_away() {
    let kept = "Via: 1.0 a\r\nAuthorization: x\r\nCache-Control: x\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=x\r\nCookie: x\r\n";
    let head = format!(
        "POST http://o/ HTTP/1.1\r\nHost: o\r\nConnection: close, Host, Content-Length, Via, Authorization, Cache-Control, X-Forwarded-For, Forwarded, Cookie\r\nContent-Length: 010\r\n{kept}\r\n"
    );
    assert_eq!(
        forwarded(&head),
        format!("POST / HTTP/1.1\r\nHost: o:8\r\n{kept}Content-Length: 10\r\nVia: 1.1 us\r\n\r\n")
    );
    // Neither can framing, nor does the tab hide it.
    assert_eq!(
        forwarded(
            "POST http://o/ HTTP/1.1\r\nHost: o\r\nConnection: transfer-encoding\r\nTransfer-Encoding:\tchunked\r\n\r\n"
        ),
        "POST / HTTP/1.1\r\nHost: o:8\r\nTransfer-Encoding: chunked\r\nVia: 1.1 us\r\n\r\n"
    );
}

#[test]
fn c_45_max_forwards_is_counted_down() {
    let hops =
        |method: &str, hops: &str| forwarded(&format!("{method} http://o/ HTTP/1.0\r\nmax-forwards: {hops}\r\n\r\n"));
    assert!(hops("OPTIONS", "1").contains("\r\nmax-forwards: 0\r\n"));
    assert!(hops("TRACE", "99999999999999999999").contains("\r\nmax-forwards: 18446744073709551614\r\n"));
    assert!(hops("GET", "010").contains("\r\nmax-forwards: 010\r\n"));
    assert!(!hops("OPTIONS", "1").contains(": 1\r\n"));
}

#[test]
fn c_48_upgrade_is_passed_on_only_when_it_is_handled() {
    let head = "GET http://o/ HTTP/1.1\r\nHost: o\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let sent = "GET / HTTP/1.1\r\nHost: o:8\r\nSec-WebSocket-Key: x\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nVia: 1.1 us\r\n\r\n";
    assert_eq!(forwarded(head), sent);
    let switch = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nContent-Length: 5\r\n\r\n";
    let to = ToClient { body: Body::Empty, keep_alive: false, upgrade: true };
    assert_eq!(
        answered(switch, to),
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nVia: 1.1 us\r\n\r\n"
    );
    assert_eq!(answered(switch, ToClient { upgrade: false, ..to }), "HTTP/1.1 101 Switching\r\nVia: 1.1 us\r\n\r\n");
}

#[test]
fn c_67_expect_is_passed_on_from_those_who_may_send_it() {
    let head = |version: &str| {
        forwarded(&format!(
            "PUT http://o/ HTTP/{version}\r\nHost: o\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        ))
    };
    assert!(head("1.1").contains("\r\nExpect: 100-continue\r\n"));
    assert!(!head("1.0").contains("Expect"));
}

#[test]
fn c_38_date_is_added_where_there_is_none() {
    assert_eq!(
        answered("HTTP/1.0 200\r\nX: 1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", KEPT),
        "HTTP/1.1 200 \r\nX: 1\r\nDate: NOW\r\nContent-Length: 5\r\nVia: 1.0 us\r\n\r\n"
    );
    assert!(!answered("HTTP/1.1 200 OK\r\ndate: x\r\nContent-Length: 5\r\n\r\n", KEPT).contains("NOW"));
    assert_eq!(
        answered(
            "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n",
            ToClient { body: Body::Empty, keep_alive: false, upgrade: false }
        ),
        "HTTP/1.1 103 Early\r\nLink: x\r\nVia: 1.1 us\r\n\r\n"
    );
}

#[test]
fn c_62_c_63_framing_towards_the_client_is_ours() {
    let head = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let close = ToClient { body: Body::UntilClose, keep_alive: false, upgrade: false };
    assert_eq!(answered(head, close), "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\nVia: 1.1 us\r\n\r\n");
}

#[test]
fn c_61_codings_that_we_cannot_undo_stay_under_our_chunks() {
    let to = ToClient { body: Body::Chunked, ..KEPT };
    for codings in ["gzip", "gzip,chunked"] {
        assert_eq!(
            answered(&format!("HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: {codings}\r\n\r\n"), to),
            "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: gzip, chunked\r\nVia: 1.1 us\r\n\r\n"
        );
    }
}

#[test]
fn c_68_framing_of_answers_without_a_body() {
    let empty = ToClient { body: Body::Empty, keep_alive: true, upgrade: false };
    let sent = |status: u16, to: ToClient| {
        answered(&format!("HTTP/1.1 {status} x\r\nDate: x\r\nContent-Length: 05\r\nContent-Length: 5\r\n\r\n"), to)
    };
    for status in [200, 304] {
        assert_eq!(
            sent(status, empty),
            format!("HTTP/1.1 {status} x\r\nDate: x\r\nContent-Length: 05\r\nVia: 1.1 us\r\n\r\n")
        );
    }
    for status in [100, 204] {
        for to in [empty, KEPT, ToClient { body: Body::Chunked, ..KEPT }] {
            assert_eq!(sent(status, to), format!("HTTP/1.1 {status} x\r\nDate: x\r\nVia: 1.1 us\r\n\r\n"));
        }
    }
}

/// Requests of which many are valid, with what a rewriter could stumble over.
fn requests() -> impl Strategy<Value = String> {
    let line = ("(GET|POST|OPTIONS|TRACE|PURGE)", "(http://o(:8)?|/|/x)", "(|\\?q|/a/%2f\\.\\.?x)", "1\\.[01]")
        .prop_map(|(method, start, path, version)| format!("{method} {start}{path} HTTP/{version}\r\nHost: h\r\n"));
    let fields = prop::sample::select(vec![
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Connection: x-a, upgrade, Cookie",
        "Upgrade: ws",
        "X-A: 1",
        "x-a:2",
        "X-B:",
        "Cookie: a=b",
        "Via: 1.0 z",
        "Max-Forwards: 3",
        "Expect: 100-continue",
        "TE: trailers",
        "Proxy-Connection: close",
        "Date: x",
        "Content-Length: 05",
    ]);
    (line, prop::collection::vec(fields, 0..6))
        .prop_map(|(line, fields)| fields.into_iter().fold(line, |head, field| head + field + "\r\n") + "\r\n")
}

proptest! {
    #[test]
    fn what_is_passed_on_is_what_was_understood(head in requests()) {
        let Ok(received) = Request::parse(head.as_bytes(), LIMITS) else { return Ok(()) };
        let mut out = Vec::new();
        request(&mut out, &received, b"o:8", "us");
        let sent = Request::parse(&out, LIMITS).unwrap();
        prop_assert_eq!(sent.method, received.method);
        prop_assert_eq!(sent.version, Version::Http11);
        prop_assert_eq!(sent.body, received.body);
        prop_assert_eq!(sent.host, Some(&b"o:8"[..]));
        prop_assert_eq!(sent.upgrade, received.upgrade);
        prop_assert_eq!(sent.expect_continue, received.expect_continue);
        prop_assert_eq!(sent.max_forwards, received.max_forwards.map(|hops| hops - 1));
        prop_assert!(sent.via_names("us") && sent.keep_alive);
        match (received.target, sent.target) {
            (Target::Absolute { path, .. } | Target::Origin(path), Target::Origin(sent)) => prop_assert_eq!(sent.strip_prefix(b"/"), Some(path.strip_prefix(b"/").unwrap_or(path))),
            (received, sent) => prop_assert!(sent == Target::Asterisk && matches!(received, Target::Absolute { path: b"", .. }), "{received:?}"),
        }
        let others = |request: &Request<'_>| request.fields.iter().filter(|field| Known::of(field.name).is_none() && !field.name.eq_ignore_ascii_case(b"x-a")).map(|field| (field.name.to_vec(), field.value.to_vec())).collect::<Vec<_>>();
        prop_assert_eq!(others(&sent), others(&received));
        // And once more: nothing is left to remove.
        let mut again = Vec::new();
        request(&mut again, &sent, b"o:8", "us");
        prop_assert_eq!(again.len(), out.len() + b"Via: 1.1 us\r\n".len());
    }
}
