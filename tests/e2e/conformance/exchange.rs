//! One exchange: bodies where none may be, how an answer ends, early and interim answers: C-60 to C-68.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use floodgate::outcome::RequestEnd;
use floodgate::telemetry::Direction;

use super::wire::{
    Heard, RECORDED, anonymous, answers, answers_in_two, assert_answers_refused, assert_nothing_forwarded, exchange,
    hear, heard_from, moved, record, recorder, to,
};
use crate::rig::{Origin, Rig, eventually, field, read_head};

#[test]
fn c_60_answers_that_have_no_body_end_with_their_head() {
    let via = "Via: 1.1 floodgate-*\r\n\r\n";
    for (method, answer, passed_on) in [
        ("HEAD", "200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n", "200 OK\r\nDate: x\r\nContent-Length: 5\r\n"),
        ("HEAD", "200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK\r\nDate: x\r\n"),
        ("HEAD", "200 OK\r\nDate: x\r\n\r\n", "200 OK\r\nDate: x\r\n"),
        ("GET", "204 None\r\nDate: x\r\nContent-Length: 5\r\n\r\n", "204 None\r\nDate: x\r\n"),
        ("GET", "204 None\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n", "204 None\r\nDate: x\r\n"),
        ("GET", "304 Same\r\nDate: x\r\nContent-Length: 5\r\n\r\n", "304 Same\r\nDate: x\r\nContent-Length: 5\r\n"),
        ("GET", "304 Same\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n", "304 Same\r\nDate: x\r\n"),
        ("GET", "103 Hint\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 None\r\nDate: x\r\n\r\n", "103 Hint\r\n"),
    ] {
        // With surplus bytes the origin's connection is not used again; the client's is, either way.
        for (surplus, dials) in [("", 1), ("hello", 3), ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 3)] {
            let origin = Origin::answering(format!("HTTP/1.1 {answer}{surplus}"));
            let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
            let mut client = rig.client();
            for _ in 0..3 {
                client.send(to(&origin, method, "\r\n"));
                let head = anonymous(&client.head());
                assert_eq!(head, format!("HTTP/1.1 {passed_on}{via}"), "{method} {answer:?} {surplus:?}");
                if head.starts_with("HTTP/1.1 103 ") {
                    assert!(client.head().starts_with("HTTP/1.1 204 "));
                }
            }
            drop(client);
            rig.settled();
            assert_eq!(rig.gateway.counters.connect_seconds.count(), dials, "{method} {answer:?} {surplus:?}");
        }
    }
}

#[test]
fn c_61_codings_that_cannot_be_undone_keep_their_label_under_our_chunks() {
    let compressed = "\u{1f}not really gzip";
    let chunks = format!("{:x}\r\n{compressed}\r\n0\r\n\r\n", compressed.len());
    let head = "HTTP/1.1 200 OK\r\nDate: x\r\n";
    for (coding, body) in [("gzip", compressed), ("GZip ,\tchunked", &chunks), ("a, gzip", compressed)] {
        let answer = format!("{head}Transfer-Encoding: {coding}\r\n\r\n{body}");
        let label = coding.split([' ', '\t']).collect::<String>().replace(",chunked", "").replace(',', ", ");
        assert_eq!(
            heard_from(&*answer).text,
            format!(
                "{head}Transfer-Encoding: {label}, chunked\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\n{chunks}"
            )
        );
        // HTTP/1.0 knows no transfer coding (RFC 9112 section 6.1).
        let origin = answers(answer);
        let rig = Rig::new(&[origin.address]);
        let heard = exchange(&rig, format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address));
        heard.assert_ours(502, "http_protocol_error", coding);
        rig.settled();
    }
    // Chunks that are themselves coded: no chunks may be put around them (RFC 9112 section 7).
    assert_answers_refused(["Transfer-Encoding: chunked, gzip", "Transfer-Encoding: chunked, identity"]);
    // RFC 2616's word for no coding at all.
    let heard = heard_from(format!("{head}Transfer-Encoding: identity\r\n\r\nplain"));
    let expected =
        "Transfer-Encoding: chunked\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\n5\r\nplain\r\n0\r\n\r\n";
    assert_eq!(heard.text, format!("{head}{expected}"));
}

#[test]
fn c_62_the_end_of_an_answer_is_a_clean_one_only_if_it_is_its_end() {
    // Without a length it ends with its connection: chunks, so that the client's may live on.
    for version in ["1.0", "1.1"] {
        let origin = answers(format!("HTTP/{version} 200 OK\r\nDate: x\r\n\r\nuntil the end"));
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        for _ in 0..2 {
            client.send(to(&origin, "GET", "\r\n"));
            let head = anonymous(&client.head());
            let via = format!("Via: {version} floodgate-*");
            assert_eq!(head, format!("HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n{via}\r\n\r\n"));
            assert_eq!(client.exactly(23), b"d\r\nuntil the end\r\n0\r\n\r\n");
        }
        drop(client);
        rig.settled();
    }
    // Cut short, all that came is passed on, and then the connection breaks.
    let part = "x".repeat(40_010);
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let chunk = if framing.starts_with('T') { "186a0\r\n" } else { "" };
        for version in ["1.0", "1.1"] {
            let origin = answers(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{chunk}{part}"));
            let rig = Rig::new(&[origin.address]);
            let heard = exchange(&rig, format!("GET http://{0}/ HTTP/{version}\r\nHost: {0}\r\n\r\n", origin.address));
            let (_, body) = heard.text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.matches('x').count(), 40_010, "{framing} {version}");
            assert!(!heard.clean && !body.contains("0\r\n\r\n"), "{framing} {version}");
            rig.settled();
            assert_eq!(rig.ends(RequestEnd::UpstreamTruncated), 1);
        }
    }
}

#[test]
fn c_63_http_1_0_gets_no_chunks() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
    );
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(&rig, format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address));
    assert_eq!(heard.text, "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\nonetwo");
    assert!(heard.clean);
    rig.settled();
}

#[test]
fn c_64_bytes_behind_an_answer_are_never_the_next_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
    ] {
        let origin = Origin::answering(format!("{answer}{evil}"));
        let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
        for number in 1..=3 {
            let heard = exchange(&rig, to(&origin, "GET", "Connection: close\r\n\r\n"));
            assert!(heard.clean && heard.text.contains("good") && !heard.text.contains("evil"), "{heard:?}");
            assert_eq!(rig.gateway.counters.connect_seconds.count(), number, "its connection is not used again");
        }
        rig.settled();
    }
    // The same bytes, but later, on a connection that nobody uses.
    let (origin, go) = answers_in_two(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", evil.as_bytes());
    let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
    let mut client = rig.client();
    client.send(to(&origin, "GET", "\r\n"));
    assert_eq!(client.answer().1, b"good");
    let open = || rig.gateway.counters.upstreams_open.load(Relaxed);
    assert_eq!(open(), 1, "kept");
    go.send(()).unwrap();
    eventually("it is thrown away without a request", || open() == 0);
    client.send(to(&origin, "GET", "\r\n"));
    assert_eq!(client.answer().1, b"good");
    go.send(()).unwrap();
    drop(client);
    rig.settled();
}

#[test]
fn c_65_an_early_final_answer_is_passed_on_and_the_rest_of_the_body_is_no_request() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nDate: x\r\nContent-Length: 3\r\n\r\nbig").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0);
    });
    for framing in ["Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nf4240\r\n"] {
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        client.send(to(&origin, "POST", framing));
        client.send(vec![b'x'; 1000]);
        assert_eq!(
            anonymous(&client.head()),
            "HTTP/1.1 413 Too Large\r\nDate: x\r\nContent-Length: 3\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\n"
        );
        assert_eq!(client.exactly(3), b"big");
        client.send(to(&origin, "GET", "\r\n"));
        let heard = hear(&mut client);
        assert_eq!((&*heard.text, heard.clean), ("", true), "{framing}");
        drop(client);
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::Forwarded), 1);
        assert_eq!(rig.gateway.counters.requests.load(Relaxed), 1);
    }
}

#[test]
fn c_66_interim_answers_are_passed_on_in_order_up_to_sixteen() {
    let last = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";
    let several = "HTTP/1.1 103 Hint\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 \r\n\r\n";
    let origin = answers(format!("{several}{last}"));
    let rig = Rig::new(&[origin.address]);
    let via = "Via: 1.1 floodgate-*\r\n\r\n";
    let final_answer = format!("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\n{via}ok");
    assert_eq!(
        exchange(&rig, to(&origin, "GET", "Connection: close\r\n\r\n")).text,
        format!(
            "HTTP/1.1 103 Hint\r\nLink: </a>\r\n{via}HTTP/1.1 100 Continue\r\n{via}HTTP/1.1 199 \r\n{via}{final_answer}"
        )
    );
    let old = exchange(&rig, format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address));
    assert_eq!(old.text, final_answer);
    rig.settled();

    let hint = "HTTP/1.1 103 Hint\r\n\r\n";
    let heard = heard_from(format!("{}{last}", hint.repeat(16)));
    let hints = format!("HTTP/1.1 103 Hint\r\n{via}").repeat(16);
    assert_eq!(heard.text, format!("{hints}{final_answer}"));
    for flood in [17, 5000] {
        let heard = heard_from(format!("{}{last}", hint.repeat(flood)));
        let rest = heard.text.strip_prefix(&*hints).unwrap_or_else(|| panic!("{heard:?}"));
        Heard { text: rest.to_owned(), clean: heard.clean }.assert_ours(502, "http_protocol_error", "a flood");
    }
}

#[test]
fn c_67_an_expectation_is_passed_on_and_waited_for_by_nobody_else() {
    let put = |to: SocketAddr, version: &str, expectation: &str| {
        format!("PUT http://{to}/ HTTP/{version}\r\nHost: {to}\r\nContent-Length: 4\r\nExpect: {expectation}\r\n\r\n")
    };
    let passed_on = |to: SocketAddr, expect: &str| {
        format!("PUT / HTTP/1.1\r\nHost: {to}\r\n{expect}Content-Length: 4\r\nVia: 1.1 floodgate-*\r\n\r\nbody")
    };
    // The origin says 100, and the body follows.
    let origin = Origin::scripted(|_, mut stream, received| {
        received.extend(read_head(&mut stream));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        received.extend(body);
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(put(origin.address, "1.1", "100-Continue"));
    assert!(client.head().starts_with("HTTP/1.1 100 Continue\r\n"));
    client.send("body");
    assert!(client.head().starts_with("HTTP/1.1 201 "));
    drop(client);
    rig.settled();
    assert_eq!(record(&origin), passed_on(origin.address, "Expect: 100-Continue\r\n"));

    // The origin says no: the client gets that, and its connection ends, since its body may or may not come.
    let origin = answers("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(&rig, put(origin.address, "1.1", "100-continue"));
    assert!(heard.clean && heard.text.starts_with("HTTP/1.1 401 No\r\n"), "{heard:?}");
    assert_eq!(field(&heard.text, "connection"), Some("close"));
    rig.settled();

    // The origin says nothing; a client that has waited long enough sends its body, and it goes through.
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    let head = put(origin.address, "1.1", "100-continue");
    client.send(&head);
    let to_origin = passed_on(origin.address, "Expect: 100-continue\r\n");
    moved(&rig, Direction::ToUpstream, to_origin.len() - "body".len());
    client.send("body");
    assert_eq!(client.answer().1, b"ok");
    drop(client);
    rig.settled();
    assert_eq!(record(&origin), to_origin);

    // One that never does is not waited for longer than for any other body.
    let silent = Origin::scripted(|_, mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let rig = Rig::with(&[silent.address], "[timeouts]\nbody = \"100ms\"\n[upstream]\nfirst-byte-timeout = \"50ms\"");
    let heard = exchange(&rig, put(silent.address, "1.1", "100-continue"));
    heard.assert_ours(408, "http_request_error", "no body");
    rig.settled();

    // HTTP/1.0 knows no expectation: it goes no further.
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(&rig, put(origin.address, "1.0", "100-continue") + "body");
    assert_eq!(heard.text, RECORDED);
    rig.settled();
    assert_eq!(record(&origin), passed_on(origin.address, "").replace("Via: 1.1", "Via: 1.0"));

    // Another expectation is not understood here.
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    for expectation in ["x", "100-continue, x", "100-continue;a", "\"100-continue\"", "200-ok"] {
        let heard = exchange(&rig, put(origin.address, "1.1", expectation) + "body");
        heard.assert_ours(417, "http_request_error", expectation);
    }
    rig.settled();
    assert_nothing_forwarded(&rig, &origin);
}

#[test]
fn c_68_interim_answers_and_204_carry_no_framing() {
    for framing in ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"] {
        let heard = heard_from(format!(
            "HTTP/1.1 100 Go\r\n{framing}\r\n\r\nHTTP/1.1 103 Hint\r\n{framing}\r\n\r\nHTTP/1.1 204 None\r\nDate: x\r\n{framing}\r\n\r\n"
        ));
        assert_eq!(
            heard.text,
            "HTTP/1.1 100 Go\r\nVia: 1.1 floodgate-*\r\n\r\nHTTP/1.1 103 Hint\r\nVia: 1.1 floodgate-*\r\n\r\n\
             HTTP/1.1 204 None\r\nDate: x\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\n"
        );
    }
}
