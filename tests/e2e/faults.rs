//! Things that go wrong around the gateway: each has its own outcome, and nothing stays behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use floodgate::outcome::{ConnectionEnd, RequestEnd};

use crate::rig::{Client, Origin, Rig, eventually, read_head};

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What an origin does after it has read the request; the beginning of the answer the client gets (nothing: the answer
/// is cut); how the request is booked.
struct Break {
    what: &'static str,
    script: fn(&mut TcpStream),
    begins: &'static str,
    end: RequestEnd,
}

fn writes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

const BREAKS: &[Break] = &[
    Break { what: "closes before a byte", script: |_| (), begins: "HTTP/1.1 502", end: RequestEnd::UpstreamReset },
    Break {
        what: "resets before a byte",
        script: |s| reset(s),
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamReset,
    },
    Break {
        what: "closes within the head",
        script: |s| writes(s, b"HTTP/1.1 200 OK\r\nConte"),
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamReset,
    },
    Break {
        what: "is not HTTP",
        script: |s| writes(s, b"SSH-2.0-x\r\n\r\n"),
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamMalformed,
    },
    Break {
        what: "frames its answer twice",
        script: |s| writes(s, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamMalformed,
    },
    Break {
        what: "sends less than it announced",
        script: |s| writes(s, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        begins: "",
        end: RequestEnd::UpstreamTruncated,
    },
    Break {
        what: "ends within a chunk",
        script: |s| writes(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf"),
        begins: "",
        end: RequestEnd::UpstreamTruncated,
    },
    Break {
        what: "sends a chunk that is none",
        script: |s| writes(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamMalformed,
    },
    Break {
        what: "floods with 1xx",
        script: |s| writes(s, &b"HTTP/1.1 103 Hint\r\n\r\n".repeat(50)),
        begins: "HTTP/1.1 103",
        end: RequestEnd::UpstreamMalformed,
    },
    Break {
        what: "resets within the head",
        script: |s| {
            writes(s, b"HTTP/1.1 200 OK\r\nConte");
            reset(s);
        },
        begins: "HTTP/1.1 502",
        end: RequestEnd::UpstreamReset,
    },
    Break {
        what: "resets within a body with a length",
        script: |s| {
            writes(s, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            reset(s);
        },
        begins: "",
        end: RequestEnd::UpstreamTruncated,
    },
    Break {
        what: "resets between two chunks",
        script: |s| {
            writes(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            reset(s);
        },
        begins: "",
        end: RequestEnd::UpstreamTruncated,
    },
    Break {
        what: "resets instead of closing a body that ends so",
        script: |s| {
            writes(s, b"HTTP/1.1 200 OK\r\n\r\nhalf");
            reset(s);
        },
        begins: "",
        end: RequestEnd::UpstreamTruncated,
    },
];

#[test]
fn f_18_an_upstream_that_breaks_is_reported_by_where_it_broke() {
    for Break { what, script, begins, end } in BREAKS {
        let origin = Origin::scripted(move |_, mut stream, _| {
            read_head(&mut stream);
            script(&mut stream);
        });
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        let mut seen = Vec::new();
        let ended = client.0.read_to_end(&mut seen);
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.starts_with(begins), "{what}: {seen:?}");
        if begins.is_empty() {
            assert!(ended.is_err() && !seen.contains("\r\n0\r\n"), "{what}: must not look whole: {ended:?} {seen:?}");
        }
        drop(client);
        rig.settled();
        assert_eq!(rig.ends(*end), 1, "{what}");
        rig.no_upstream_is_left();
    }
}

#[test]
fn an_upstream_that_resets_as_soon_as_it_is_connected_is_no_answer() {
    let origin = Origin::scripted(|_, stream, _| reset(&stream));
    let rig = Rig::new(&[origin.address]);
    for _ in 0..20 {
        let answer = rig.get(origin.address, "/");
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    // A tunnel stands for a moment, or the reset was there before it.
    let mut client = rig.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
    let head = client.head();
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 502 "), "{head}");
    drop(client);
    rig.settled();
    // Whether the reset arrives during the handshake or after it is up to the kernel.
    let ends = |end| rig.ends(end);
    assert_eq!(
        20,
        ends(RequestEnd::UpstreamReset) + ends(RequestEnd::ConnectUnreachable)
            - u64::from(head.starts_with("HTTP/1.1 502 "))
    );
    rig.no_upstream_is_left();
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        let part = vec![b'x'; 64 * 1024];
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        while stream.write_all(&part).is_ok() {}
    });
    let rig = Rig::new(&[origin.address]);
    for _ in 0..10 {
        let mut client = rig.client();
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        client.exactly(100_000);
    }
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::ClientGone), 10);
    rig.no_upstream_is_left();
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn slow_silent_and_random_clients_cost_next_to_nothing() {
    const EACH: usize = 700;
    let origin = Origin::ok("good");
    let rig = Rig::with(
        &[origin.address],
        "[limits]\nclient-connections = 100000\nclient-connection-rate = \"100000/s, burst 100000\"\n[timeouts]\nhead = \"2s\"",
    );
    assert!(rig.get(origin.address, "/").ends_with("good"));
    let before = resident();
    let mut crowd: Vec<Client> = Vec::new();
    for n in 0..EACH {
        crowd.push(rig.client());
        let mut slow = rig.client();
        slow.send("G");
        crowd.push(slow);
        let mut random = rig.client();
        let noise: Vec<u8> = (0..64_usize).map(|i| (i * 131 + n * 17 + 1).to_le_bytes()[0]).collect();
        let _ = random.0.write_all(&noise);
        crowd.push(random);
        if n % 100 == 0 {
            assert!(rig.get(origin.address, "/").ends_with("good"));
        }
    }
    let each = resident().saturating_sub(before) / (3 * EACH as u64);
    assert!(each < 8 * 1024, "{each} bytes for a connection that sends nothing of use, clients and threads included");
    assert!(rig.get(origin.address, "/").ends_with("good"));
    eventually("the deadline ends them all", || rig.open() == 0);
    let ends = &rig.gateway.counters.connection_ends;
    assert_eq!(ends.get(ConnectionEnd::Empty.index()), EACH as u64, "silent: closed without a word");
    assert_eq!(rig.ends(RequestEnd::HeadTimeout), EACH as u64, "begun: 408");
    assert_eq!(rig.ends(RequestEnd::Malformed), EACH as u64, "random");
    drop(crowd);
    rig.settled();
}
