//! C-17 to C-26: CONNECT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use floodgate::outcome::RequestEnd;
use floodgate::telemetry::Direction;
use socket2::SockRef;

use super::chain::{CONNECT_REFUSED, Chain, DNS_FAILURE, MALFORMED, PORT_DENIED, SELF_TARGET};
use super::wire::moved;
use crate::cases::NoNames;
use crate::rig::{Origin, Rig, closed_port, eventually};

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[test]
fn c_17_a_target_is_host_and_port() {
    let chain = Chain::new();
    let targets = [
        "o.test",
        "o.test:",
        "o.test:0",
        "o.test:65536",
        "o.test:4294967739",
        "o.test:443x",
        "o.test:x443",
        "o.test:+443",
        "o.test:-443",
        "o.test:443:443",
        "o.test:443/",
        "o.test:443?",
        "o.test:443#",
        ":443",
        "443",
        "/",
        "//o.test:443",
        "*",
        "http://o.test:443",
        "http://<origin>/",
        "u@o.test:443",
        "[::1:443",
        "[::1]",
        "[::1]443",
        "2001:db8::1:443",
    ];
    chain.refuses(MALFORMED, &targets.map(|target| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")));
    chain.finish();
}

#[test]
fn c_18_the_answer_is_a_status_line_and_the_rest_is_the_tunnel() {
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.write_all(b"220 ready\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let rig = Rig::new(&[origin.address]);
    for (version, host) in [("1.1", "Host: x\r\n"), ("1.0", ""), ("1.0", "Connection: keep-alive\r\n")] {
        let answer = rig.ask(format!("CONNECT {} HTTP/{version}\r\n{host}\r\n", origin.address));
        assert_eq!(
            answer,
            format!("{ESTABLISHED}220 ready\r\n"),
            "neither length nor coding, and nothing of ours behind"
        );
    }
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), 3);
}

#[test]
fn c_19_no_200_before_the_connection_stands() {
    let closed = closed_port();
    let chain = Chain::beside(&[closed], "");
    chain.refuses(CONNECT_REFUSED, &[format!("CONNECT {closed} HTTP/1.1\r\nHost: {closed}\r\n\r\n")]);
    chain.finish();
}

#[test]
fn c_20_what_follows_the_head_belongs_to_the_tunnel_however_it_is_split() {
    let chain = Chain::new();
    let early = b"\x16\x03\x01\0\r\n\r\nGET http://o.test/ HTTP/1.1\r\n\r\n";
    let head = chain.fill("CONNECT <origin> HTTP/1.1\r\nHost: <origin>\r\n\r\n");
    let whole = [&head[..], early].concat();
    let mut cuts: Vec<Vec<usize>> = (head.len() - 6..=head.len() + 6).map(|at| vec![at]).collect();
    cuts.push(Vec::new());
    cuts.push((1..whole.len()).collect());
    for cuts in cuts {
        let mut client = chain.rig.client();
        let mut from = 0;
        for at in cuts.into_iter().chain([whole.len()]) {
            client.send(&whole[from..at]);
            from = at;
        }
        assert_eq!(client.head(), ESTABLISHED);
        client.send("later");
        chain.origin.hears(&[&early[..], b"later"].concat());
    }
    chain.finish();
}

#[test]
fn c_21_early_bytes_are_never_a_request() {
    let (closed, names) = (closed_port(), NoNames::start());
    let servers = format!("[upstream]\ndns-servers = [\"{}\"]", names.address);
    let chain = Chain::beside(&[closed], &servers);
    let refused = [
        (CONNECT_REFUSED, closed.to_string()),
        (DNS_FAILURE, "nx.test:443".to_owned()),
        (PORT_DENIED, "o.test:25".to_owned()),
        (SELF_TARGET, "<proxy>".to_owned()),
        (MALFORMED, "o.test".to_owned()),
    ];
    let early = [
        "GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        "POST http://<proxy>/ HTTP/1.1\r\nHost: <proxy>\r\nContent-Length: 2\r\n\r\nhi",
        "CONNECT <origin> HTTP/1.1\r\nHost: <origin>\r\n\r\n",
    ];
    let before = chain.rig.gateway.counters.requests.load(Relaxed);
    for (refusal, target) in &refused {
        chain.refuses(*refusal, &early.map(|early| format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n{early}")));
    }
    let asked = chain.rig.gateway.counters.requests.load(Relaxed) - before;
    assert_eq!(asked, (refused.len() * early.len()) as u64, "one request each");
    chain.finish();
}

#[test]
fn c_22_connect_has_no_content() {
    let chain = Chain::new();
    let request = |fields: &str| format!("CONNECT <origin> HTTP/1.1\r\nHost: <origin>\r\n{fields}\r\n\r\nhello");
    chain.refuses(
        MALFORMED,
        &[
            "Content-Length: 5",
            "Content-Length: 1",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 0, 0",
            "Content-Length:",
            "Content-Length: -0",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
        ]
        .map(request),
    );
    // Says the same as no length at all; WinINet sends it.
    for length in ["0", "000"] {
        let mut client = chain.rig.client();
        client.send(chain.fill(request(&format!("Content-Length: {length}"))));
        assert_eq!(client.head(), ESTABLISHED);
        chain.origin.hears(b"hello");
    }
    chain.finish();
}

#[test]
fn c_23_ports_are_a_matter_of_policy() {
    let chain = Chain::new();
    let targets = ["o.test:25", "o.test:22", "o.test:21", "203.0.113.7:3306", "[2001:db8::1]:25", "o.test:00025"];
    chain.refuses(PORT_DENIED, &targets.map(|target| format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n")));
    chain.finish();
}

/// A mebibyte that shows what is missing or in the wrong place.
fn mebibyte() -> Vec<u8> {
    (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect()
}

#[test]
fn c_24_what_is_under_way_arrives_before_the_end() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |number, mut stream, _| {
        if number == 0 {
            stream.write_all(&mebibyte()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read(&mut [0; 1]);
        } else {
            tell.send(slowly(&mut stream)).unwrap();
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.tunnel(origin.address);
    let got = slowly(&mut client.0);
    assert!(got == mebibyte(), "{} bytes", got.len());
    drop(client);
    // And the other way round.
    let mut client = rig.tunnel(origin.address);
    client.send(mebibyte());
    client.half_close();
    let got = told.recv().unwrap();
    assert!(got == mebibyte(), "{} bytes", got.len());
    assert_eq!(client.read_to_end(), "", "the end of the other side");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), 2);
    a_farewell_that_nobody_takes_costs_no_answer();
}

/// The origin has said everything and closed; what the client still says is answered with a reset, which must not overtake
/// what is on its way to a slow client.
fn a_farewell_that_nobody_takes_costs_no_answer() {
    let origin = Origin::scripted(|_, mut stream, _| stream.write_all("a".repeat(12_000).as_bytes()).unwrap());
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client_without_room();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    moved(&rig, Direction::FromUpstream, 12_000);
    let head = usize::try_from(rig.gateway.counters.bytes.get(Direction::FromClient as usize)).unwrap();
    for bytes in 1..=2 {
        client.send("x");
        moved(&rig, Direction::FromClient, head + bytes);
        thread::sleep(Duration::from_millis(20));
    }
    eventually("the gateway is done with it", || rig.open() == 0);
    SockRef::from(&client.0).set_recv_buffer_size(256 * 1024).unwrap();
    assert_eq!(client.read_to_end().len(), 12_000);
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), 1);
}

/// Everything up to the end, through a window that is a small part of it.
fn slowly(stream: &mut TcpStream) -> Vec<u8> {
    SockRef::from(&*stream).set_recv_buffer_size(64 * 1024).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn c_25_a_closed_side_leaves_the_other_open_for_a_while() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |number, mut stream, _| {
        let mut question = Vec::new();
        if number == 0 {
            // Answers when the client has ended.
            stream.read_to_end(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        } else {
            // Ends first, and listens on.
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut question).unwrap();
            tell.send(question).unwrap();
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.tunnel(origin.address);
    client.send("last words");
    client.half_close();
    assert_eq!(client.read_to_end(), "last words");
    drop(client);
    let mut client = rig.tunnel(origin.address);
    assert!(client.is_at_end());
    client.send("still here");
    drop(client);
    assert_eq!(told.recv().unwrap(), b"still here");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), 2);

    // A side that never ends is not waited for longer than `timeouts.half-closed`.
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::scripted(move |_, _stream, _| {
        let _ = held.lock().unwrap().recv();
    });
    let rig = Rig::with(&[origin.address], "[timeouts]\nhalf-closed = \"200ms\"");
    let mut client = rig.tunnel(origin.address);
    client.half_close();
    assert!(client.0.read(&mut [0; 1]).is_err(), "cut, not ended");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Stalled), 1);
    drop(release);
}

#[test]
fn c_26_a_failed_connect_is_framed_and_closed() {
    let (closed, names) = (closed_port(), NoNames::start());
    let rig = Rig::with(&[closed], &format!("[upstream]\ndns-servers = [\"{}\"]", names.address));
    for (target, status, error, text) in [
        (&*closed.to_string(), "502 Bad Gateway", "connection_refused", "The destination refused the connection."),
        ("nx.test:443", "502 Bad Gateway", "dns_error", "The name could not be resolved."),
        ("o.test:25", "403 Forbidden", "http_request_denied", "This port may not be reached through the proxy."),
        (
            "10.0.0.1:443",
            "403 Forbidden",
            "destination_ip_prohibited",
            "This destination may not be reached through the proxy.",
        ),
        ("o.test", "400 Bad Request", "http_request_error", "The proxy cannot read this request."),
    ] {
        for fields in ["", "Connection: keep-alive\r\n", "Proxy-Connection: keep-alive\r\nKeep-Alive: 300\r\n"] {
            let answer = rig.ask_one(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n"));
            assert_eq!(
                answer,
                format!(
                    "HTTP/1.1 {status}\r\nProxy-Status: floodgate; error={error}\r\n\
                     Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
                    text.len() + 1
                )
            );
        }
    }
    rig.settled();
}
