//! Forwarding: what the origin sees, what the client gets, and what is kept.

use std::io::{Read, Write};

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
