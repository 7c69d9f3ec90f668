//! What is a head at all.

use super::*;

#[test]
fn c_01_c_04_absolute_form_is_split_and_kept_byte_for_byte() {
    let head = b"GET HTTP://o.test:8080/%7e/../%2F?%0a HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let request = request(head).unwrap();
    let expected = Target::Absolute { scheme: b"HTTP", authority: b"o.test:8080", path: b"/%7e/../%2F?%0a" };
    assert_eq!((request.target, request.version), (expected, Version::Http11));
    assert_eq!(request.raw_target, b"HTTP://o.test:8080/%7e/../%2F?%0a");
    assert_eq!(request.host, Some(&b"evil.test"[..]));
    assert!(request.keep_alive);
}

#[test]
fn c_04_bytes_above_ascii_in_the_target_stay_as_they_came() {
    let head = b"GET http://o/\xc4\xe3\xff?q=\x80 HTTP/1.0\r\nX: \xe4\r\n\r\n";
    let request = request(head).unwrap();
    assert_eq!(request.raw_target, b"http://o/\xc4\xe3\xff?q=\x80");
    assert_eq!(request.fields.iter().next(), Some(Field { name: b"X", value: b"\xe4" }));
}

#[test]
fn c_03_host_is_present_single_and_valid() {
    for fields in [
        "",
        "Host: o\r\nHost: o",
        "Host: o\r\nhost: p",
        "Host: a,b",
        "Host: o:99999",
        "Host: o:8o",
        "Host: o:0",
        "Host: u@o",
        "Host: o/",
        "Host: a b",
        "Host: [10.20.30.40]",
        "Host: [::1",
        "Host: [::1]x",
        "Host: ::g",
        "Host: a:b:c",
        "Host: \u{fc}",
        "Host: o\\",
    ] {
        let separator = if fields.is_empty() { "" } else { "\r\n" };
        let head = format!("GET http://o/ HTTP/1.1\r\n{fields}{separator}\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
    for host in [
        "",
        "o",
        "O.test.",
        "o:",
        "o:80",
        "o:00080",
        "0.0.0.0=5000",
        "[::1]",
        "[::1]:80",
        "240e:97c:2f:4001::31",
        "a_b.c",
    ] {
        let head = format!("GET http://o/ HTTP/1.1\r\nhOST:{host} \t\r\n\r\n");
        assert_eq!(request(head.as_bytes()).map(|request| request.host), Ok(Some(host.as_bytes())));
    }
    assert_eq!(request(b"GET http://o/ HTTP/1.0\r\n\r\n").map(|request| request.host), Ok(None));
    assert_malformed(b"CONNECT", request(b"CONNECT o:443 HTTP/1.1\r\n\r\n"));
}

#[test]
fn c_05_c_06_c_07_c_08_the_other_forms() {
    let target = |line: &'static str| {
        let head = format!("{line} HTTP/1.0\r\n\r\n").leak();
        request(head.as_bytes()).map(|request| request.target)
    };
    let absolute = |path| Ok(Target::Absolute { scheme: b"http", authority: b"o:8001", path });
    assert_eq!(target("OPTIONS http://o:8001"), absolute(b""));
    assert_eq!(target("GET http://o:8001?x"), absolute(b"?x"));
    assert_eq!(target("GET http://o:8001/a?b/c?d"), absolute(b"/a?b/c?d"));
    assert_eq!(target("OPTIONS *"), Ok(Target::Asterisk));
    assert_eq!(target("GET //o/"), Ok(Target::Origin(b"//o/")));
    assert_eq!(target("CONNECT [::1]:443"), Ok(Target::Authority(b"[::1]:443")));
    for line in [
        "GET *",
        "GET http://o#f",
        "GET http://o/#f",
        "GET /#f",
        "GET http://o\\@p/",
        "GET http:\\\\o\\",
        "GET http:o",
        "GET http:/o",
        "GET o",
        "GET o:80",
        "GET 1http://o/",
        "GET ://o/",
        "GET h_p://o/",
        "OPTIONS **",
        "OPTIONS *?",
        "GET ?x",
    ] {
        assert_malformed(line.as_bytes(), target(line));
    }
}

#[test]
fn c_10_white_space_in_the_request_line() {
    for line in [
        "GET  http://o/ HTTP/1.1",
        "GET\thttp://o/ HTTP/1.1",
        "GET http://o/  HTTP/1.1",
        "GET http://o/ a HTTP/1.1",
        " GET http://o/ HTTP/1.1",
        "GET http://o/ HTTP/1.1 ",
        "GET http://o/\t HTTP/1.1",
        "GET http://o/ HTTP/1.1\t",
        "GET http://o/\x0b HTTP/1.1",
        "GET http://o/\x7f HTTP/1.1",
        "GET http://o/\r HTTP/1.1",
        "GET\rhttp://o/ HTTP/1.1",
        "GET",
        "GET ",
        "GET http://o/",
        "GET http://o/ ",
    ] {
        let head = format!("{line}\r\nHost: o\r\n\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
}

#[test]
fn c_11_versions() {
    let version = |version: &str| {
        request(format!("GET http://o/ {version}\r\nHost: o\r\n\r\n").as_bytes()).map(|request| request.version)
    };
    assert_eq!(version("HTTP/1.0"), Ok(Version::Http10));
    assert_eq!(version("HTTP/1.1"), Ok(Version::Http11));
    for unknown in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9"] {
        assert_eq!(version(unknown), Err(HeadError::VersionUnknown));
    }
    for malformed in ["HTTP/1.32", "http/1.1", "HTTP/01.1", "HTTP/1", "HTTP/1.1.", "HTTPS/1.1", "HTTP/a.1", "FTP/1.0"] {
        assert_malformed(malformed.as_bytes(), version(malformed));
    }
    // HTTP/0.9 is known for what it is before the head is complete.
    assert_malformed(b"0.9", Scan::request().advance(b"GET http://o/\r\n", LIMITS));
}

#[test]
fn c_13_long_targets() {
    let head = |size: usize| format!("GET http://o/{} HTTP/1.0\r\n\r\n", "a".repeat(size - 9)).into_bytes();
    assert!(request(&head(8192)).is_ok());
    assert_eq!(request(&head(8193)).map(|_| ()), Err(HeadError::TargetTooLong));
    // Known before the space arrives, and even where the whole head has less room than the target.
    assert_eq!(Scan::request().advance(&head(9000)[..8200], LIMITS), Err(HeadError::TargetTooLong));
    assert_eq!(Scan::request().advance(&head(100), HeadLimits { size: 50, ..LIMITS }), Err(HeadError::TargetTooLong));
}

#[test]
fn c_14_methods() {
    for method in ["PURGE", "FOO", "get", "M-SEARCH", "!#$%&'*+-.^_`|~09"] {
        let head = format!("{method} http://o/ HTTP/1.0\r\n\r\n");
        assert_eq!(request(head.as_bytes()).map(|request| request.method), Ok(method.as_bytes()));
    }
    for method in ["G=\":<>(e),[T];?\"", "G\u{e4}T", "", "GET/"] {
        let head = format!("{method} http://o/ HTTP/1.0\r\n\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
    let idempotent =
        |method: &str| request(format!("{method} http://o/ HTTP/1.0\r\n\r\n").as_bytes()).unwrap().is_idempotent();
    assert!(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].into_iter().all(idempotent));
    assert!(!["POST", "PATCH", "get", "FOO"].into_iter().any(idempotent));
}

#[test]
fn c_27_to_c_33_field_lines_of_both_directions() {
    for line in [
        "X : 1",
        "X\t: 1",
        "Content-Length : 3",
        " X: 1",
        "\tX: 1",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "Transfer-\r\n Encoding: chunked",
        "X: a\rY: b",
        "X: a\nY: b",
        "X: a\x00b",
        "X: a\x01b",
        "X: a\x7fb",
        "X: a\x0bb",
        ": x",
        "X\u{85}: 1",
        "X(: 1",
        "X",
        "X y: 1",
        "X\x00: 1",
        "\"X\": 1",
    ] {
        assert_malformed(line.as_bytes(), request(&with(line)));
        assert_malformed(line.as_bytes(), response(&answer(line)));
    }
    for line in ["Host: a\r\n b", "Host: o\x00"] {
        let head = format!("GET http://o/ HTTP/1.1\r\n{line}\r\n\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
    // C-28: white space between the start-line and the first field.
    assert_malformed(b"space", request(b"GET http://o/ HTTP/1.0\r\n X: 1\r\n\r\n"));
    let head = with("x|Y: \t a\tb \t\r\nEmpty:\r\nEmpty: \t");
    let fields: Vec<_> = request(&head).unwrap().fields.iter().skip(1).map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [(&b"x|Y"[..], &b"a\tb"[..]), (b"Empty", b""), (b"Empty", b"")]);
}

#[test]
fn c_31_bare_lf_is_refused_as_early_as_seen() {
    assert_malformed(b"line", Scan::request().advance(b"GET http://o/ HTTP/1.1\n", LIMITS));
    assert_malformed(b"field", Scan::request().advance(b"GET http://o/ HTTP/1.1\r\nHost: o\n", LIMITS));
    assert_malformed(b"end", Scan::request().advance(b"GET http://o/ HTTP/1.1\r\nHost: o\r\n\n", LIMITS));
    assert_malformed(b"first", Scan::request().advance(b"\nGET http://o/ HTTP/1.1\r\n", LIMITS));
    assert_malformed(b"status", Scan::response().advance(b"HTTP/1.1 200 OK\n", LIMITS));
    assert_malformed(b"cr", Scan::request().advance(b"GET http://o/ HTTP/1.1\r\nX: a\rb", LIMITS));
}

#[test]
fn c_34_too_large() {
    let many = |count: usize| with(&vec!["X: 1"; count - 1].join("\r\n"));
    assert!(request(&many(100)).is_ok());
    assert_eq!(request(&many(101)).map(|_| ()), Err(HeadError::TooLarge));
    let unlimited = HeadLimits { fields: usize::MAX, ..LIMITS };
    assert!(Request::parse(&many(128), unlimited).is_ok());
    assert_eq!(Request::parse(&many(129), unlimited).map(|_| ()), Err(HeadError::TooLarge));

    // Known at the end of the line that is one too many.
    let lines = many(101);
    let early = &lines[..lines.len() - b"\r\n".len()];
    assert_eq!(Scan::request().advance(early, LIMITS), Err(HeadError::TooLarge));

    let exact = with(&format!("X: {}", "a".repeat(LIMITS.size - with("X: ").len())));
    assert_eq!(exact.len(), LIMITS.size);
    assert!(request(&exact).is_ok());
    // A buffer of that size is full: no byte that could still come would make it a head.
    assert_eq!(
        Scan::request().advance(&[&exact[..exact.len() - 4], b"aaaa"].concat(), LIMITS),
        Err(HeadError::TooLarge)
    );
    assert_eq!(Scan::response().advance(&vec![b'H'; LIMITS.size], LIMITS), Err(HeadError::TooLarge));
}

#[test]
fn c_35_empty_lines_before_a_request() {
    let head = |lines: usize| [&b"\r\n".repeat(lines)[..], b"GET http://o/ HTTP/1.0\r\n\r\n"].concat();
    for lines in 0..=4 {
        let head = head(lines);
        assert_eq!(Scan::request().advance(&[&head[..], b"\x00\n"].concat(), LIMITS), Ok(Some(head.len())));
        assert_eq!(request(&head).map(|request| request.method), Ok(&b"GET"[..]));
    }
    assert_malformed(b"five", Scan::request().advance(&head(5), LIMITS));
    assert_malformed(b"response", Scan::response().advance(b"\r\nHTTP/1.1 200 OK\r\n\r\n", LIMITS));
}

#[test]
fn c_36_what_is_not_http_is_refused_by_its_first_bytes() {
    for bytes in [
        &b"\x16"[..],
        b"\x16\x03\x01",
        b"\x04\x01",
        b"\x05\x01\x00",
        b"PRI ",
        b"\xab\x00",
        b"SSH-2.0-x\r\n",
        b"\0",
        b"{",
        b"\x16\xf1\x03",
    ] {
        assert_malformed(bytes, Scan::request().advance(bytes, LIMITS));
    }
}

#[test]
fn c_37_status_lines() {
    let status = |line: &str| {
        response(format!("{line}\r\n\r\n").as_bytes()).map(|response| (response.status, response.reason.to_vec()))
    };
    assert_eq!(status("HTTP/1.1 200 OK"), Ok((200, b"OK".to_vec())));
    assert_eq!(status("HTTP/1.0 404 Not  Found\t"), Ok((404, b"Not  Found\t".to_vec())));
    assert_eq!(status("HTTP/1.1 200 "), Ok((200, Vec::new())));
    assert_eq!(status("HTTP/1.1 200"), Ok((200, Vec::new())));
    assert_eq!(status("HTTP/1.1 200 \u{e9}t\u{e9}"), Ok((200, "\u{e9}t\u{e9}".as_bytes().to_vec())));
    assert_eq!(status("HTTP/1.1 999 No"), Ok((999, b"No".to_vec())));
    for line in [
        "HTTP/1.1 20 OK",
        "ICY 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 x",
        "HTTP/1.1 -20 x",
        "HTTP/1.1 200\tOK",
        "http/1.1 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1\t200 OK",
        "",
        "HTTP/1.1 200 a\x01",
    ] {
        assert_malformed(line.as_bytes(), status(line));
        // Told as soon as the line has ended.
        assert_malformed(line.as_bytes(), Scan::response().advance(format!("{line}\r\n").as_bytes(), LIMITS));
    }
    assert_eq!(status("HTTP/2.0 200 OK"), Err(HeadError::VersionUnknown));
}

#[test]
fn a_parser_takes_exactly_one_head() {
    assert_malformed(b"more", request(b"GET http://o/ HTTP/1.0\r\n\r\nx"));
    assert_malformed(b"less", request(b"GET http://o/ HTTP/1.0\r\n"));
    assert_malformed(b"nothing", request(b""));
    assert_malformed(b"nothing", response(b""));
}
