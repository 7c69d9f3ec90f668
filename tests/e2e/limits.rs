//! Who may come in, how many, how fast.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use floodgate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};
use socket2::{Domain, Socket, Type};

use crate::rig::{Client, Origin, Rig, eventually, field};

/// A client with this source address; all of 127/8 is ours to use.
pub(crate) fn from(source: [u8; 4], to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(Ipv4Addr::from(source).into(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    Client(stream)
}

fn get(origin: SocketAddr) -> String {
    format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_client_off_the_list_is_closed_unanswered() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[clients]\nallow = [\"127.0.0.2/32\"]");
    let mut stranger = from([127, 0, 0, 3], rig.proxy);
    assert!(stranger.is_at_end(), "no answer, and an ordinary end");
    let mut friend = from([127, 0, 0, 2], rig.proxy);
    friend.send(get(origin.address));
    assert!(friend.read_to_end().ends_with("yes"));
    rig.settled();
    assert_eq!(rig.gateway.counters.connection_ends.get(ConnectionEnd::ClientDenied.index()), 1);
    assert_eq!(rig.gateway.counters.refusals(Reason::ClientDenied, Form::Dropped), 1);
}

#[test]
fn one_client_has_so_many_connections_and_others_do_not_notice() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[limits]\nclient-connections = 4");
    let held: Vec<_> = (0..4).map(|_| from([127, 0, 0, 2], rig.proxy)).collect();
    eventually("they are in", || rig.open() == 4);
    let mut fifth = from([127, 0, 0, 2], rig.proxy);
    fifth.send(get(origin.address));
    let answer = fifth.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(field(&answer, "retry-after").unwrap().parse::<u32>().unwrap() >= 5);
    let mut other = from([127, 0, 0, 9], rig.proxy);
    other.send(get(origin.address));
    assert!(other.read_to_end().ends_with("yes"));
    drop(held);
    eventually("the seats are given back", || rig.open() == 0);
    let mut again = from([127, 0, 0, 2], rig.proxy);
    again.send(get(origin.address));
    assert!(again.read_to_end().ends_with("yes"));
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::ConnectionLimited), 1);
}

#[test]
fn a_client_that_opens_more_and_sends_nothing_cannot_take_the_box() {
    let rig = Rig::with(&[], "[limits]\nclient-connections = 8");
    let held: Vec<_> = (0..100).map(|_| from([127, 0, 0, 2], rig.proxy)).collect();
    let closed = || rig.gateway.counters.connection_ends.get(ConnectionEnd::Overload.index());
    eventually("what is far above the limit is closed unanswered", || closed() == 100 - 16);
    assert_eq!(rig.open(), 16, "the limit, and a few that may still be told");
    drop(held);
    rig.settled();
}

#[test]
fn connection_and_request_rates_are_per_client_and_exemption_lifts_them() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(
        &[origin.address],
        "[limits]\nclient-connection-rate = \"1/s, burst 5\"\n[clients]\nexempt = [\"127.0.0.7/32\"]",
    );
    let statuses = |source: [u8; 4], n: usize| {
        let ask = |_| {
            let mut client = from(source, rig.proxy);
            client.send(get(origin.address));
            client.answer().0
        };
        (0..n).map(ask).filter(|head| head.starts_with("HTTP/1.1 429 ")).count()
    };
    assert!(statuses([127, 0, 0, 2], 20) >= 12, "a token may have come back meanwhile");
    assert_eq!(statuses([127, 0, 0, 7], 20), 0, "exempt");
    assert_eq!(statuses([127, 0, 0, 3], 5), 0, "another client");
    rig.settled();
    let rig = Rig::with(&[origin.address], "[limits]\nclient-request-rate = \"1/s, burst 3\"");
    let mut client = rig.client();
    let mut served = 0;
    loop {
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        let (head, _) = client.answer();
        if head.starts_with("HTTP/1.1 429 ") {
            break;
        }
        served += 1;
        assert!(served < 50);
    }
    assert!(served >= 3, "{served}");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::RateLimited), 1);
}

#[test]
fn a_full_box_closes_what_comes_and_recovers() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[limits]\nconnections = 10");
    let held: Vec<_> = (0..10_u8).map(|n| from([127, 0, 1, n + 1], rig.proxy)).collect();
    eventually("the box is full", || rig.open() == 10);
    let mut late = from([127, 0, 2, 1], rig.proxy);
    assert!(late.is_at_end());
    eventually("it is counted", || rig.gateway.counters.refusals(Reason::Overload, Form::Dropped) == 1);
    assert!(rig.admin("/healthz").starts_with("HTTP/1.1 200 "), "the admin has places of its own");
    drop(held);
    eventually("they are gone", || rig.open() == 0);
    assert!(rig.get(origin.address, "/").ends_with("yes"));
    rig.settled();
    assert_eq!(rig.gateway.counters.upstreams_open.load(Relaxed), rig.gateway.counters.upstreams_idle.load(Relaxed));
}
