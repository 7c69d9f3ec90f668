//! Forwarding: what the origin sees, what the client gets, and what is kept.

use std::io::{Read, Write};
use std::net::Shutdown;

use floodgate::outcome::RequestEnd;

use crate::rig::{Origin, Rig, field, read_head};

#[test]
fn a_client_keeps_its_connection_and_the_upstream_is_reused() {
    let origin = Origin::ok("again");
    let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
    let mut client = rig.client();
    for n in 0..50 {
        client.send(format!("GET http://{0}/{n} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        let (head, body) = client.answer();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == b"again", "{head}");
        assert_eq!(field(&head, "connection"), None, "kept");
    }
    drop(client);
    rig.settled();
    assert_eq!(rig.gateway.counters.connect_seconds.count(), 1, "one upstream connection for all");
    assert_eq!(rig.ends(RequestEnd::Forwarded), 50);
}

#[test]
fn c_71_pipelined_requests_are_answered_in_order_and_each_is_judged() {
    let origin = Origin::ok("one");
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    let good = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address);
    let bad = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy);
    client.send(format!("{good}{good}{bad}{good}"));
    let all = client.read_to_end();
    let statuses: Vec<_> = all.match_indices("HTTP/1.1 ").map(|(at, _)| &all[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "403"], "after a refusal the connection is over: {all}");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::SelfTarget), 1);
}

#[test]
fn bodies_are_framed_anew_and_arrive_whole() {
    let origin = Origin::scripted(|_, mut stream, received| {
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            let body = if field(&text, "transfer-encoding") == Some("chunked") {
                let mut body = Vec::new();
                while !body.ends_with(b"0\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    body.push(byte[0]);
                }
                body
            } else {
                let mut body = vec![0; field(&text, "content-length").unwrap().parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                body
            };
            received.extend(&body);
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for part in body.chunks(1000) {
                write!(stream, "{:x};ext=dropped\r\n", part.len()).unwrap();
                stream.write_all(part).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            stream.write_all(b"0\r\nTrailer: dropped\r\n\r\n").unwrap();
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    let body = "0123456789".repeat(30_000);
    client.send(format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: {1}\r\n\r\n",
        origin.address,
        body.len()
    ));
    client.send(&body);
    let head = client.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
    assert!(dechunk(&mut client) == body.as_bytes());
    // The same connection, now with chunks from the client, an extension and a trailer.
    client.send(format!("PUT http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n", origin.address));
    client.send("5;name=\"value\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n");
    client.head();
    let seen = String::from_utf8(dechunk(&mut client)).unwrap();
    assert!(seen.contains("hello") && seen.ends_with("0\r\n\r\n"), "{seen}");
    assert!(!seen.contains("name") && !seen.contains("X-Trailer"), "C-57, C-59: {seen}");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Forwarded), 2);
}

fn dechunk(client: &mut crate::rig::Client) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(client.exactly(1));
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        body.extend(client.exactly(size));
        assert_eq!(client.exactly(2), b"\r\n");
        if size == 0 {
            return body;
        }
    }
}

#[test]
fn c_60_c_62_c_63_answers_without_a_length() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let chunked = rig.get(origin.address, "/");
    assert!(chunked.starts_with("HTTP/1.1 200 OK\r\n"), "C-12: {chunked}");
    assert!(chunked.ends_with("\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n"), "{chunked}");
    let plain = rig.ask(format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address));
    assert!(plain.ends_with("\r\n\r\nuntil the end") && !plain.contains("chunked"), "{plain}");
    assert_eq!(field(&plain, "connection"), Some("close"), "C-69");
    let head = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let empty = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let rig = Rig::new(&[head.address, empty.address]);
    let mut client = rig.client();
    client.send(format!("HEAD http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", head.address));
    assert_eq!(field(&client.head(), "content-length"), Some("5"));
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", empty.address));
    assert!(client.head().starts_with("HTTP/1.1 204 "), "nothing stood between the two");
    drop(client);
    rig.settled();
}

#[test]
fn c_66_interim_answers_pass_to_http_1_1_only() {
    let origin = Origin::scripted(|_, mut stream, _| {
        while !read_head(&mut stream).is_empty() {
            stream
                .write_all(
                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                )
                .unwrap();
        }
    });
    let rig = Rig::new(&[origin.address]);
    let new = rig.get(origin.address, "/");
    assert!(new.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n") && new.contains("HTTP/1.1 200 OK"), "{new}");
    let old = rig.ask(format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address));
    assert!(old.starts_with("HTTP/1.1 200 OK") && !old.contains("103"), "{old}");
    rig.settled();
}

#[test]
fn c_67_a_body_waits_for_100_continue_of_the_origin() {
    let origin = Origin::scripted(|_, mut stream, _| {
        let head = String::from_utf8(read_head(&mut stream)).unwrap();
        assert!(head.contains("Expect: 100-continue"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(format!(
        "PUT http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        origin.address
    ));
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send("body");
    assert!(client.head().starts_with("HTTP/1.1 201 "));
    drop(client);
    rig.settled();
}

#[test]
fn c_65_an_early_final_answer_reaches_a_client_that_is_still_sending() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1000000\r\n\r\n", origin.address));
    client.send(vec![b'x'; 1000]);
    let (head, body) = client.answer();
    assert!(head.starts_with("HTTP/1.1 413 ") && body == b"big", "{head}");
    assert!(client.is_at_end(), "the rest of the body is never taken for a request");
    drop(client);
    rig.settled();
}

#[test]
fn c_79_a_stale_pooled_connection_costs_one_retry_for_a_get_and_none_for_a_post() {
    // Answers once per connection, promising to keep it, and then resets when the next request has come.
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    for _ in 0..2 {
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        let (head, _) = client.answer();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!(rig.gateway.counters.connect_seconds.count(), 2, "the second one was dialled anew");
    client.send(format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 0\r\n\r\n", origin.address));
    assert!(client.answer().0.starts_with("HTTP/1.1 200 "));
    assert_eq!(
        rig.gateway.counters.connect_seconds.count(),
        3,
        "it may not be sent twice: not given a used connection"
    );
    drop(client);
    rig.settled();
}
