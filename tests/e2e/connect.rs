//! CONNECT: tunnels.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use floodgate::outcome::RequestEnd;

use crate::rig::{Client, Origin, Rig, closed_port, eventually};

/// The ports of test origins are not on the built-in list; pairs on `[self] allow` do not need to be.
fn tunnel(rig: &Rig, to: std::net::SocketAddr) -> Client {
    let mut client = rig.client();
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let head = client.head();
    assert_eq!(head, "HTTP/1.1 200 Connection established\r\n\r\n", "C-18: neither length nor coding");
    client
}

#[test]
fn bytes_pass_both_ways_and_half_close_is_passed_on() {
    let origin = Origin::echo();
    let rig = Rig::new(&[origin.address]);
    let mut client = tunnel(&rig, origin.address);
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
    client.send("last words");
    client.half_close();
    assert_eq!(client.read_to_end(), "last words", "C-25: the answer comes after our FIN");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), 1);
}

#[test]
fn an_origin_that_speaks_first_and_ends_is_heard_to_the_end() {
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.write_all(&vec![b'x'; 3_000_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = tunnel(&rig, origin.address);
    assert_eq!(client.read_to_end().len(), 3_000_000, "C-24");
    drop(client);
    rig.settled();
}

#[test]
fn a_megabyte_each_way_at_once_arrives_unchanged() {
    let origin = Origin::echo();
    let rig = Rig::new(&[origin.address]);
    let mut client = tunnel(&rig, origin.address);
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = Client(client.0.try_clone().unwrap());
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.send(&copy);
        writer.half_close();
    });
    let mut back = Vec::new();
    client.0.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    drop(client);
    rig.settled();
}

#[test]
fn c_20_early_bytes_belong_to_the_tunnel_however_they_are_split() {
    let origin = Origin::echo();
    let rig = Rig::new(&[origin.address]);
    let whole = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n\u{16}\u{3}\u{1}early", origin.address);
    let head = whole.find("\r\n\r\n").unwrap();
    for split in [0, 5, head, head + 1, head + 2, head + 3, head + 4, whole.len() - 2] {
        let mut client = rig.client();
        client.send(&whole[..split]);
        thread::yield_now();
        client.send(&whole[split..]);
        assert_eq!(client.head(), "HTTP/1.1 200 Connection established\r\n\r\n");
        assert_eq!(client.exactly(8), b"\x16\x03\x01early", "split at {split}");
    }
    rig.settled();
}

#[test]
fn c_19_c_21_no_tunnel_no_200_and_early_bytes_are_never_a_request() {
    let other = Origin::ok("must not be reached");
    let closed = closed_port();
    let rig = Rig::new(&[other.address, closed]);
    let answer = rig.ask(format!(
        "CONNECT {closed} HTTP/1.1\r\nHost: {closed}\r\n\r\nGET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        other.address
    ));
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("Proxy-Status: floodgate; error=connection_refused\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    rig.settled();
    assert_eq!(rig.gateway.counters.requests.load(Relaxed), 1);
    assert_eq!(rig.ends(RequestEnd::ConnectRefused), 1);
}

#[test]
fn c_17_c_22_c_23_targets_and_framing_that_connect_does_not_have() {
    let rig = Rig::new(&[]);
    for (line, fields, status) in [
        ("CONNECT origin.test", "", 400),
        ("CONNECT origin.test:", "", 400),
        ("CONNECT origin.test:0", "", 400),
        ("CONNECT origin.test:65536", "", 400),
        ("CONNECT origin.test:443x", "", 400),
        ("CONNECT /", "", 400),
        ("CONNECT http://origin.test:443", "", 400),
        ("CONNECT user@origin.test:443", "", 400),
        ("CONNECT origin.test:443", "Content-Length: 5\r\n", 400),
        ("CONNECT origin.test:443", "Transfer-Encoding: chunked\r\n", 400),
        ("CONNECT origin.test:25", "", 403),
    ] {
        let answer = rig.ask(format!("{line} HTTP/1.1\r\nHost: o\r\n{fields}\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {fields}: {answer}");
    }
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::PortDenied), 1);
}

#[test]
fn a_side_that_breaks_is_shown_to_the_other_as_broken() {
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.write_all(b"half").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        // Unread input turns the close into a reset.
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = tunnel(&rig, origin.address);
    assert_eq!(client.exactly(4), b"half");
    client.send("two bytes or more");
    let end = client.0.read(&mut [0; 1]);
    assert!(end.is_err(), "a clean end would pass the half for the whole: {end:?}");
    rig.settled();
}

#[test]
fn idle_and_half_closed_tunnels_end_by_one_clock() {
    let origin = Origin::scripted(|_, mut stream, _| {
        // Talks for a while, one way, then only waits.
        for _ in 0..8 {
            stream.write_all(b"tick").unwrap();
            thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = stream.read(&mut [0; 16]);
    });
    let rig = Rig::with(&[origin.address], "[timeouts]\ntunnel-idle = \"400ms\"\nhalf-closed = \"400ms\"");
    let mut client = tunnel(&rig, origin.address);
    assert_eq!(client.exactly(32), b"tick".repeat(8), "longer than the idle time, but never idle");
    eventually("the idle tunnel is closed", || rig.open() == 0);
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Stalled), 1);
}
