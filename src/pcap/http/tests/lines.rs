//! First lines, as broken clients write them.

use super::super::line::{self, RequestLine, Trust};

fn split(line: &str, trust: Trust) -> Option<[&str; 3]> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    let line = RequestLine::parse(line.as_bytes(), trust)?;
    Some([text(line.method), text(line.target), text(line.version)])
}

#[test]
fn a_request_line_is_split_at_its_first_and_last_blank() {
    for (line, parts) in [
        ("GET / HTTP/1.1", ["GET", "/", "HTTP/1.1"]),
        ("GET http://10.115.5.2/x HTTP/1.1", ["GET", "http://10.115.5.2/x", "HTTP/1.1"]),
        ("CONNECT a.example:443 HTTP/1.0", ["CONNECT", "a.example:443", "HTTP/1.0"]),
        ("GET /a b c HTTP/1.1", ["GET", "/a b c", "HTTP/1.1"]),
        ("GET  /\tHTTP/1.1 ", ["GET", "/", "HTTP/1.1"]),
        ("get /lower HTTP/1.1", ["get", "/lower", "HTTP/1.1"]),
        ("M-SEARCH * HTTP/1.1", ["M-SEARCH", "*", "HTTP/1.1"]),
        ("FROB http://a/ HTTP/1.1", ["FROB", "http://a/", "HTTP/1.1"]),
        ("GET / HTTP/1.", ["GET", "/", "HTTP/1."]),
        ("GET / HTTP/9.9x", ["GET", "/", "HTTP/9.9x"]),
    ] {
        assert_eq!(split(line, Trust::Due), Some(parts), "{line}");
        assert_eq!(split(line, Trust::Anywhere), Some(parts), "{line}");
    }
}

#[test]
fn a_line_without_a_version_is_believed_where_a_message_is_due() {
    for (line, parts) in [
        ("GET /old", ["GET", "/old", ""]),
        ("GET /HTTP/1.1", ["GET", "/HTTP/1.1", ""]),
        ("OPTIONS HTTP/1.1", ["OPTIONS", "HTTP/1.1", ""]),
        ("OPTIONS", ["OPTIONS", "", ""]),
        ("CONNECT a:443", ["CONNECT", "a:443", ""]),
        ("GET index.html HTTP/1.0", ["GET", "index.html", "HTTP/1.0"]),
    ] {
        assert_eq!(split(line, Trust::Due), Some(parts), "{line}");
        assert_eq!(split(line, Trust::Anywhere), None, "{line}");
    }
}

#[test]
fn lines_of_other_protocols_are_none() {
    for line in [
        "",
        " GET / HTTP/1.1",
        "OPTIONS sip:bob@b.example SIP/2.0",
        "OPTIONS rtsp://b.example/ RTSP/1.0",
        "GET key",
        "CONNECT {\"verbose\":false}",
        "PRI * HTTP/2.0",
        "EHLO mail.example",
        "SSH-2.0-OpenSSH_9.2",
        "GET/ HTTP/1.1",
        "FROB thing HTTP/1.1",
        "AMETHODTHATISLONGERTHANANY / HTTP/1.1",
        "HTTP/1.1 200 OK",
    ] {
        assert_eq!(split(line, Trust::Due), None, "{line}");
    }
}

#[test]
fn a_cut_line_tells_what_there_is_of_its_target() {
    let cut = |line: &'static str| RequestLine::parse_cut(line.as_bytes()).map(|line| (line.method, line.target));
    assert_eq!(cut("GET http://10.115.5.2/lo"), Some((&b"GET"[..], &b"http://10.115.5.2/lo"[..])));
    assert_eq!(cut("POST /x HTT"), Some((&b"POST"[..], &b"/x"[..])));
    assert_eq!(cut("GET htt"), None);
    assert_eq!(cut("GE"), None);
    assert_eq!(cut("FROB /x"), None);
}

#[test]
fn what_is_no_http_is_known_by_its_first_bytes() {
    for begin in
        ["", "G", "GET", "GET ", "GET\t", "GET\r", "GET /", "frob", "frob ", "frob /", "CONNECT a", "OPTIONS\n"]
    {
        assert!(line::may_be_request(begin.as_bytes()), "{begin}");
    }
    for begin in
        ["\x16\x03\x01", "GET\0", "GET/", "frob x", "\0", "1 /", "G=", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "GET \x01"]
    {
        assert!(!line::may_be_request(begin.as_bytes()), "{begin}");
    }
    for begin in ["", "H", "HTTP/", "HTTP/1.1 2", "ICY 200"] {
        assert!(line::may_be_status(begin.as_bytes()), "{begin}");
    }
    for begin in ["x", "HTTQ", "http/1.1", "ICX"] {
        assert!(!line::may_be_status(begin.as_bytes()), "{begin}");
    }
}

#[test]
fn a_status_has_three_digits() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", Some(200)),
        ("HTTP/1.0 404", Some(404)),
        ("HTTP/1.1  503  Busy", Some(503)),
        ("ICY 200 OK", Some(200)),
        ("HTTP/1.1 20", None),
        ("HTTP/1.1 2000", None),
        ("HTTP/1.1", None),
        ("HTTP/1.1 abc", None),
        ("GET / HTTP/1.1", None),
    ] {
        assert_eq!(line::status(line.as_bytes()), status, "{line}");
    }
}

#[test]
fn tls_records_are_known() {
    for begin in [&b"\x16\x03"[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01", b"\x17\x03\x03\x40\x00\xff"] {
        assert!(line::is_tls(begin), "{}", begin.escape_ascii());
    }
    for begin in [&b""[..], b"\x16", b"\x16\x02", b"\x17\x03", b"\x17\x03\x03\xff\xff", b"GET /"] {
        assert!(!line::is_tls(begin), "{}", begin.escape_ascii());
    }
}
