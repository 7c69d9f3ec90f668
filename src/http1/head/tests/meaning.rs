//! What a head says: framing, persistence, upgrade, hops.

use super::*;
use crate::http1::cases;

#[test]
fn c_17_c_22_connect_wants_a_port_and_no_body() {
    for target in
        ["o", "o:", "o:443x", ":443", "/", "http://o:443", "o:1:2", "::1:443", "[::1]", "[::1]:", "[::1]443", "*"]
    {
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: o\r\n\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
    let empty = b"CONNECT o:443 HTTP/1.0\r\nHost: o\r\nContent-Length: 0\r\nPragma: no-cache\r\n\r\n";
    assert!(request(empty).unwrap().is_connect(), "as WinINet sends it");
    for fields in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let head = format!("CONNECT o:443 HTTP/1.1\r\nHost: o\r\n{fields}\r\n\r\n");
        assert_malformed(head.as_bytes(), request(head.as_bytes()));
    }
    let tunnel = request(b"CONNECT h:443 HTTP/1.0\r\n\r\n").unwrap();
    assert!(tunnel.is_connect() && !tunnel.is_head() && !tunnel.keep_alive);
    assert_eq!((tunnel.target, tunnel.body), (Target::Authority(b"h:443"), Body::Empty));
}

#[test]
fn c_43_our_own_via_is_found() {
    for via in
        ["Via: 1.1 ours", "via: 1.0 a, 1.1 OURS (x)", "Via: 1.1 a\r\nVia: HTTP/1.1\tours", "Via: 1.1 a,1.1  ours"]
    {
        assert!(request(&with(via)).unwrap().via_names("ours"), "{via}");
    }
    for via in ["X: 1", "Via: 1.1 ours2", "Via: 1.1 ours:80", "Via: ours", "Via: 1.1 a (ours)", "X-Via: 1.1 ours"] {
        assert!(!request(&with(via)).unwrap().via_names("ours"), "{via}");
    }
}

#[test]
fn c_45_max_forwards() {
    let hops = |method: &str, value: &str| {
        let head = format!("{method} http://o/ HTTP/1.0\r\nMax-Forwards: {value}\r\n\r\n");
        request(head.as_bytes()).map(|request| request.max_forwards)
    };
    assert_eq!(hops("OPTIONS", "0"), Ok(Some(0)));
    assert_eq!(hops("TRACE", "007"), Ok(Some(7)));
    assert_eq!(hops("OPTIONS", "99999999999999999999"), Ok(Some(u64::MAX)));
    assert_eq!(hops("GET", "x"), Ok(None));
    for value in ["", "-1", "1, 1", "1\r\nMax-Forwards: 1"] {
        assert_malformed(value.as_bytes(), hops("OPTIONS", value));
    }
}

#[test]
fn c_48_c_49_upgrade() {
    let upgrade = |head: &str| {
        let head = format!("{head}\r\n\r\n").into_bytes();
        request(&head).unwrap().upgrade.map(<[u8]>::to_vec)
    };
    let get = "GET http://o/ HTTP/1.1\r\nHost: o";
    assert_eq!(
        upgrade(&format!("{get}\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: websocket")),
        Some(b"websocket".to_vec())
    );
    assert_eq!(
        upgrade(&format!("{get}\r\nConnection: upgrade\r\nContent-Length: 0\r\nUpgrade: a, b/2")),
        Some(b"a, b/2".to_vec())
    );
    for head in [
        format!("{get}\r\nUpgrade: websocket"),
        format!("{get}\r\nConnection: Keep-Alive\r\nUpgrade: mmtls"),
        format!("{get}\r\nConnection: upgrade"),
        format!("{get}\r\nConnection: upgrade\r\nUpgrade: ,"),
        format!("{get}\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c"),
        format!("{get}\r\nConnection: upgrade\r\nUpgrade: websocket, H2C"),
        format!("{get}\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b"),
        format!("{get}\r\nConnection: upgrade\r\nContent-Length: 1\r\nUpgrade: a"),
        format!("{get}\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\nUpgrade: a"),
        "GET http://o/ HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket".to_owned(),
        "CONNECT o:443 HTTP/1.1\r\nHost: o\r\nConnection: upgrade\r\nUpgrade: websocket".to_owned(),
    ] {
        assert_eq!(upgrade(&head), None, "{head}");
    }
    let switch = |status: u16| {
        let head = format!("HTTP/1.1 {status} x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").into_bytes();
        response(&head).unwrap().upgrade.map(<[u8]>::to_vec)
    };
    assert_eq!(switch(101), Some(b"websocket".to_vec()));
    assert_eq!(switch(200), None);
    assert!(offered(b"a, WebSocket", b"websocket"));
    for (offer, chosen) in [("websocket", ""), ("websocket", "h2c"), ("a", "a, b"), ("", "a")] {
        assert!(!offered(offer.as_bytes(), chosen.as_bytes()), "{offer} {chosen}");
    }
}

#[test]
fn c_51_c_52_c_53_transfer_encoding_of_requests() {
    let body = |fields: &str| request(&with(fields)).map(|request| request.body);
    assert_eq!(body("Transfer-Encoding: chunked"), Ok(Body::Chunked));
    assert_eq!(body("transfer-encoding:\tChunKed \t"), Ok(Body::Chunked));
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: chunked,chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: gzip\r\nContent-Length: 5",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding: chunked\u{a0}",
    ] {
        assert_malformed(fields.as_bytes(), body(fields));
    }
    for fields in ["identity", "xchunked", "gzip", "gzip, chunked", "identity, chunked"] {
        assert_eq!(body(&format!("Transfer-Encoding: {fields}")), Err(HeadError::CodingUnknown), "{fields}");
    }
    assert_malformed(b"1.0", request(b"POST http://o/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert_malformed(b"1.0", response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

#[test]
fn c_54_c_55_content_length() {
    for (value, length) in [("0", 0), ("10", 10), ("010", 10), ("18446744073709551615", u64::MAX)] {
        assert_eq!(
            request(&with(&format!("Content-Length: {value}"))).map(|request| request.body),
            Ok(Body::Length(length))
        );
        assert_eq!(
            response(&answer(&format!("Content-Length: {value}"))).map(|response| response.body),
            Ok(Body::Length(length))
        );
    }
    for value in [
        "+5",
        "-1",
        "0x10",
        " ",
        "",
        "5,6",
        "5, 5",
        "5 5",
        "1_0",
        "18446744073709551616",
        "5.0",
        "\u{665}",
        "5;",
        "1e3",
        "5\r\nContent-Length: 6",
        "\r\nContent-Length: 5",
    ] {
        let fields = format!("Content-Length: {value}");
        assert_malformed(value.as_bytes(), request(&with(&fields)));
        assert_malformed(value.as_bytes(), response(&answer(&fields)));
    }
    // The same length twice is unambiguous: origins get away with it, clients do not.
    let twice = "Content-Length: 5\r\nContent-Length: 05";
    assert_malformed(twice.as_bytes(), request(&with(twice)));
    assert_eq!(response(&answer(twice)).map(|response| response.body), Ok(Body::Length(5)));
}

#[test]
fn c_60_some_answers_have_no_body_whatever_they_say() {
    for status in [100, 103, 199, 204, 304] {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: 1"] {
            let head = format!("HTTP/1.1 {status} x\r\n{framing}\r\n\r\n");
            let response = response(head.as_bytes()).unwrap();
            assert_eq!((response.body, response.keep_alive), (Body::Empty, true), "{head}");
        }
    }
    let head = answer("Content-Length: 5");
    assert_eq!(Response::parse(&head, LIMITS, true).map(|response| response.body), Ok(Body::Empty));
}

#[test]
fn c_61_framing_of_responses() {
    let framing = |fields: &str| {
        let head = answer(fields);
        response(&head).map(|response| (response.body, response.keep_alive, response.codings.to_owned()))
    };
    let coded = |codings: &str| codings.as_bytes().to_owned();
    assert_eq!(framing("Transfer-Encoding: chunked"), Ok((Body::Chunked, true, coded(""))));
    assert_eq!(framing("X: 1"), Ok((Body::UntilClose, false, coded(""))));
    assert_eq!(framing("Transfer-Encoding: Identity"), Ok((Body::UntilClose, false, coded(""))));
    assert_eq!(framing("Transfer-Encoding: identity, chunked"), Ok((Body::Chunked, true, coded(""))));
    assert_eq!(framing("Transfer-Encoding: gzip"), Ok((Body::UntilClose, false, coded("gzip"))));
    assert_eq!(framing("Transfer-Encoding: a, gzip ,\tChunked"), Ok((Body::Chunked, true, coded("a, gzip"))));
    for fields in [
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
    ] {
        assert_malformed(fields.as_bytes(), framing(fields));
    }
    let persists = |head: &str| response(head.as_bytes()).unwrap().keep_alive;
    assert!(!persists("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"));
    assert!(!persists("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\n"));
    assert!(persists("HTTP/1.1 200 OK\r\nConnection: closed\r\nContent-Length: 5\r\n\r\n"));
}

#[test]
fn c_67_expect() {
    let expect = |version: &str, value: &str| {
        let head = format!("PUT http://o/ HTTP/{version}\r\nHost: o\r\nContent-Length: 5\r\nExpect: {value}\r\n\r\n");
        request(head.as_bytes()).map(|request| request.expect_continue)
    };
    assert_eq!(expect("1.1", "100-Continue"), Ok(true));
    assert_eq!(expect("1.1", ""), Ok(false));
    for other in ["200-ok", "100-continue, x", "100-continue\r\nExpect: x", "100-continue=1"] {
        assert_eq!(expect("1.1", other), Err(HeadError::ExpectationUnknown));
        assert_eq!(expect("1.0", other), Ok(false));
    }
    assert_eq!(expect("1.0", "100-continue"), Ok(false));
}

#[test]
fn c_69_c_70_persistence_of_clients() {
    let persists = |version: &str, fields: &str| {
        let head = format!("GET http://o/ HTTP/{version}\r\nHost: o\r\n{fields}\r\n\r\n");
        request(head.as_bytes()).unwrap().keep_alive
    };
    assert!(!persists("1.0", "Connection: keep-alive"));
    assert!(!persists("1.0", "Proxy-Connection: keep-alive"));
    assert!(persists("1.1", "X: 1"));
    assert!(!persists("1.1", "Connection: TE, Close"));
    assert!(!persists("1.1", "Connection: TE\r\nConnection: close"));
    assert!(!persists("1.1", "Proxy-Connection: close"));
    assert!(persists("1.1", "Proxy-Connection: close\r\nConnection: keep-alive"));
    assert!(!persists("1.1", "Proxy-Connection: keep-alive\r\nConnection: close"));
}

#[test]
fn too_many_connection_options_are_refused() {
    assert!(request(&with(&format!("Connection: {}", ["a"; 32].join(",")))).is_ok());
    let too_many = format!("Connection: {}\r\nConnection: {}", ["a"; 16].join(","), ["a"; 17].join(","));
    assert_malformed(too_many.as_bytes(), request(&with(&too_many)));
}

#[test]
fn heads_of_real_clients_are_understood() {
    for (file, key, name) in [("client-heads.json", "first_head", "client"), ("wechat-heads.json", "head", "name")] {
        let Some(heads) = cases::json(file) else {
            return;
        };
        let heads = heads.as_array().unwrap();
        assert!(heads.len() > 40);
        for case in heads {
            let head = case[key].as_str().unwrap().as_bytes();
            let scanned = Scan::request().advance(head, LIMITS);
            if case[name] == "mianliu-injection" {
                assert!(matches!(scanned, Ok(Some(_)) | Err(_)));
                assert_malformed(head, request(head));
                continue;
            }
            assert_eq!(scanned, Ok(Some(head.len())), "{case}");
            let request = request(head).unwrap_or_else(|error| panic!("{error:?}: {case}"));
            assert!(
                matches!(request.target, Target::Absolute { .. } | Target::Authority(_) | Target::Origin(_)),
                "{case}"
            );
        }
    }
}
