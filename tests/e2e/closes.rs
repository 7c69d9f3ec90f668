//! The close after a refusal: whole answers, no reset, nothing left in the kernel, whatever the reader does.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use floodgate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};

use crate::rig::{Client, Origin, Rig, eventually};

/// A request that is refused as self-target.
fn refused(rig: &Rig) -> String {
    format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy)
}

/// Sockets on the gateway's side of connections to `proxy` in these states of `tcp_states.h`.
fn sockets(proxy: SocketAddr, states: &[&str]) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", proxy.port());
    table
        .lines()
        .filter(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns.get(1).is_some_and(|local| local.ends_with(&port))
                && columns.get(3).is_some_and(|s| states.contains(s))
        })
        .count()
}

const TIME_WAIT: &str = "06";
/// `FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`.
const CLOSING: [&str; 5] = ["04", "05", "08", "09", "0B"];

#[test]
fn readers_by_length_leave_no_time_wait_with_us() {
    let rig = Rig::new(&[]);
    for _ in 0..200 {
        let mut client = rig.client();
        client.send(refused(&rig));
        let (head, body) = client.answer();
        assert!(head.starts_with("HTTP/1.1 403 ") && !body.is_empty(), "{head}");
        // Drop: the reader has what was announced, and closes.
    }
    rig.settled();
    // On a busy machine a few may have been kept from the processor for longer than we wait for their FIN.
    let closed_first = sockets(rig.proxy, &[TIME_WAIT]);
    assert!(closed_first <= 10, "{closed_first} of 200");
    eventually("no socket is closing", || sockets(rig.proxy, &CLOSING) == 0);
    assert_eq!(rig.gateway.counters.refusals(Reason::SelfTarget, Form::Answered), 200);
}

#[test]
fn readers_to_the_end_get_a_clean_end() {
    let rig = Rig::new(&[]);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let (proxy, request) = (rig.proxy, refused(&rig));
            thread::spawn(move || {
                let mut client = Client::connect(proxy);
                client.send(request);
                // A reset would be an error here.
                client.read_to_end()
            })
        })
        .collect();
    for reader in readers {
        let answer = reader.join().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    }
    rig.settled();
    eventually("no socket is closing", || sockets(rig.proxy, &CLOSING) == 0);
}

#[test]
fn slow_readers_get_everything() {
    let rig = Rig::new(&[]);
    let mut client = rig.client();
    socket2::SockRef::from(&client.0).set_recv_buffer_size(1).unwrap();
    client.send(refused(&rig));
    // Longer than the gateway waits for our FIN: by now it has closed.
    eventually("the gateway is done with it", || {
        rig.gateway.counters.refusals(Reason::SelfTarget, Form::Answered) == 1
    });
    let mut answer = Vec::new();
    let mut byte = [0];
    while client.0.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
    drop(client);
    rig.settled();
}

#[test]
fn what_a_client_leaves_unfinished_does_not_cost_it_the_answer_before() {
    // More than the client's kernel takes unread, and all of it in the hands of ours.
    let body = "b".repeat(24_000);
    let origin = Origin::ok(&body);
    // An empty line as old clients send it behind a body (RFC 9112 section 2.2), and the beginning of a head.
    for unfinished in ["\r\n", "GET http"] {
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client_without_room();
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n{unfinished}", origin.address));
        client.half_close();
        eventually("the gateway is done with it", || rig.accepted() == 1 && rig.open() == 0);
        // A reset would be an error here.
        let answer = client.read_to_end();
        assert!(answer.ends_with(&body), "{unfinished:?}: {} bytes", answer.len());
        drop(client);
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::Forwarded), 1);
        assert_eq!(rig.gateway.counters.connection_ends.get(ConnectionEnd::Served.index()), 1);
    }
}

#[test]
fn clients_that_reset_or_leave_at_once_are_booked_and_gone() {
    let rig = Rig::new(&[]);
    for linger in [None, Some(Duration::ZERO)] {
        for _ in 0..50 {
            let mut client = rig.client();
            client.send(refused(&rig));
            socket2::SockRef::from(&client.0).set_linger(linger).unwrap();
        }
    }
    eventually("all have been accepted", || rig.gateway.counters.connection_ends.sum() == 100);
    rig.settled();
    // A reset may overtake the request in the queue of the socket: then nothing was asked.
    let empty = rig.gateway.counters.connection_ends.get(ConnectionEnd::Empty.index());
    assert_eq!(rig.refusals(Reason::SelfTarget) + empty, 100);
    assert!(empty <= 50, "{empty}");
    eventually("no socket is closing", || sockets(rig.proxy, &CLOSING) == 0);
}

#[test]
fn head_gets_no_body_in_a_refusal() {
    let rig = Rig::new(&[]);
    let answer = rig.ask(format!("HEAD http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy));
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    rig.settled();
}

#[test]
fn a_storm_that_retries_at_once_keeps_the_books_and_leaves_nothing() {
    let rig = Rig::with(&[], "[clients]\nexempt = [\"127.0.0.0/8\"]");
    let stop = AtomicBool::new(false);
    let request = refused(&rig);
    let attempts: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut attempts = 0;
                    while !stop.load(Relaxed) {
                        let mut client = rig.client();
                        client.send(&request);
                        assert!(client.answer().0.starts_with("HTTP/1.1 403 "));
                        attempts += 1;
                    }
                    attempts
                })
            })
            .collect();
        eventually("the storm is counted", || rig.refusals(Reason::SelfTarget) >= 5000);
        stop.store(true, Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    rig.settled();
    assert_eq!(rig.gateway.counters.refusals(Reason::SelfTarget, Form::Answered), attempts);
    // On a busy machine a client may need longer than we wait for its FIN; then, and only then, we close first.
    let closed_first = sockets(rig.proxy, &[TIME_WAIT]) as u64;
    assert!(closed_first * 20 <= attempts, "{closed_first} of {attempts}");
}
