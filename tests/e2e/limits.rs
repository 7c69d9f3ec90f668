//! Who may come in, how many, how fast.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use floodgate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conformance::connections::unresponsive;
use crate::rig::{Client, Origin, Rig, eventually, field};

/// A client with this source address; all of 127/8 is ours to use.
pub(crate) fn from(source: [u8; 4], to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(Ipv4Addr::from(source).into(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
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
    eventually("the limit is left, and a few that may still be told", || rig.open() == 16);
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
    let began = Instant::now();
    let served = 20 - statuses([127, 0, 0, 2], 20);
    let tokens = 5 + began.elapsed().as_secs() + 1;
    assert!((5..=tokens).contains(&(served as u64)), "{served} of {tokens}");
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
    let counters = &rig.gateway.counters;
    eventually("no upstream is in use", || {
        counters.upstreams_open.load(Relaxed) == counters.upstreams_idle.load(Relaxed)
    });
}

/// `200` with "yes" for thousands of connections at once, kept alive.
fn crowded_origin() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    // The queue of a listener of std is too short for a crowd.
    socket2::SockRef::from(&listener).listen(4096).unwrap();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::spawn(move || runtime.block_on(serve));
    address
}

/// The defaults, with the guard at work. Only waits are longer: how fast a busy machine is says nothing of the limits.
fn by_default(origin: SocketAddr) -> Rig {
    Rig::with(&[origin], "[guard]\n[timeouts]\nhead = \"1h\"\n[upstream]\nconnect-timeout = \"1h\"")
}

/// Takes away what the gateway would learn of how long connections wait for it. A machine that is busy with something else
/// is short of itself, and rightly refuses some: that is no limit.
fn not_short_of_time(rig: &Rig) {
    rig.gateway.pressure().take_delay();
}

/// Nobody was refused anything.
fn nobody_was_limited(rig: &Rig) {
    rig.settled();
    for reason in Reason::ALL {
        assert_eq!(rig.refusals(*reason), 0, "{reason:?}");
    }
    assert_eq!(rig.gateway.counters.connection_ends.get(ConnectionEnd::Empty.index()), 0);
}

/// Says that a test was not tried. Not by `eprintln!`, which the test harness hides.
pub(crate) fn not_tried(why: &str) {
    drop(std::io::stderr().write_all(format!("not tried: {why}\n").as_bytes()));
}

/// Whether so many sockets fit into this process; says so if not.
fn fits(sockets: u64) -> bool {
    use rustix::process::{Resource, getrlimit};
    let fits = getrlimit(Resource::Nofile).maximum.is_none_or(|limit| limit > sockets);
    if !fits {
        not_tried(&format!("{sockets} sockets do not fit under the open-files limit"));
    }
    fits
}

/// Fifty PCs start at once: each opens the 32 sockets of a browser, six of them ahead of need, and loads what it loaded
/// yesterday; then it uses the six.
fn fifty_pcs_start_at_once(source: fn(u8) -> [u8; 4], sockets: usize) {
    if !fits(10_000) {
        return;
    }
    let origin = crowded_origin();
    let rig = by_default(origin);
    let proxy = rig.proxy;
    let pc = |n| {
        thread::spawn(move || {
            let mut sockets: Vec<_> = (0..sockets).map(|_| from(source(n), proxy)).collect();
            let (ahead, used) = sockets.split_at_mut(6);
            for part in [used, ahead] {
                let keep = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
                for client in part.iter_mut() {
                    client.send(&keep);
                }
                for client in part {
                    let (head, body) = client.answer();
                    assert_eq!(body, b"yes", "{head}");
                }
            }
            sockets
        })
    };
    let pcs: Vec<_> = (0..50).map(pc).collect();
    eventually("they have all they want", || {
        not_short_of_time(&rig);
        pcs.iter().all(thread::JoinHandle::is_finished)
    });
    let mut sockets: Vec<_> = pcs.into_iter().flat_map(|pc| pc.join().unwrap()).collect();
    // What a browser opens later, it opens as it goes: at the rate that is granted for ever.
    while sockets.len() < 50 * 32 {
        not_short_of_time(&rig);
        thread::sleep(Duration::from_millis(6));
        let mut client = from(source(0), proxy);
        client.send(format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n"));
        assert_eq!(client.answer().1, b"yes");
        sockets.push(client);
    }
    assert_eq!(rig.open(), 50 * 32, "all of them are open");
    drop(sockets);
    nobody_was_limited(&rig);
}

#[test]
fn fifty_pcs_behind_one_address_that_start_at_once_meet_no_limit() {
    fifty_pcs_start_at_once(|_| [127, 0, 0, 2], 20);
}

#[test]
fn fifty_clients_that_start_at_once_meet_no_limit() {
    fifty_pcs_start_at_once(|n| [127, 0, 1, n + 1], 32);
}

#[test]
fn a_page_of_two_hundred_objects_meets_no_limit() {
    let origin = crowded_origin();
    let rig = by_default(origin);
    // All at once on connections of their own, as a careless client does it; then on six that are kept, pipelined.
    let mut each: Vec<_> = (0..200).map(|_| rig.client()).collect();
    for client in &mut each {
        client.send(get(origin));
    }
    assert!(each.iter_mut().all(|client| client.answer().1 == b"yes"));
    drop(each);
    let mut kept: Vec<_> = (0..6).map(|_| rig.client()).collect();
    let object = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    for client in &mut kept {
        client.send(object.repeat(34));
    }
    assert!(kept.iter_mut().all(|client| (0..34).all(|_| client.answer().1 == b"yes")));
    drop(kept);
    nobody_was_limited(&rig);
}

#[test]
fn silent_and_slow_clients_do_not_take_the_table_from_those_who_speak() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(
        &[origin.address],
        "[limits]\nclient-heads = 16\nheads = 64\nconnections = 200\n[timeouts]\nhead = \"1h\"",
    );
    let ends = |end: ConnectionEnd| rig.gateway.counters.connection_ends.get(end.index());
    let silent: Vec<_> = (0..100).map(|_| from([127, 0, 0, 2], rig.proxy)).collect();
    eventually("those beyond its limit are closed", || rig.accepted() == 100 && rig.open() == 15);
    assert_eq!(ends(ConnectionEnd::Empty), 85, "without a word");
    let begins = |_| {
        let mut client = from([127, 0, 0, 2], rig.proxy);
        client.send("GET http://exam");
        client
    };
    let mut slow: Vec<_> = (0..20).map(begins).collect();
    for client in &mut slow {
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // Many clients, each within its limit: the box has one too.
    let many: Vec<_> = (1..120).map(|n| from([127, 0, 2, n], rig.proxy)).collect();
    eventually("those beyond the box's limit are closed", || rig.accepted() == 100 + 20 + 119 && rig.open() == 63);
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        let mut good = from(source, rig.proxy);
        good.send(get(origin.address));
        assert!(good.read_to_end().ends_with("yes"));
    }
    drop((silent, slow, many));
    rig.settled();
    assert_eq!(rig.refusals(Reason::ConnectionLimited) + rig.refusals(Reason::Overload), 0);
}

#[test]
fn one_client_has_so_many_requests_that_wait_for_a_connection() {
    let origin = Origin::ok("yes");
    let (nobody, _held) = unresponsive();
    let rig = Rig::with(
        &[origin.address, nobody],
        "[limits]\nclient-openings = 4\n[upstream]\nconnect-timeout = \"1h\"\n[clients]\nexempt = [\"127.0.0.7\"]",
    );
    let waits = |source| {
        let mut client = from(source, rig.proxy);
        client.send(get(nobody));
        client
    };
    let waiting: Vec<_> = (0..4).map(|_| waits([127, 0, 0, 2])).collect();
    eventually("they wait", || rig.gateway.counters.upstreams_open.load(Relaxed) == 4);
    let answer = waits([127, 0, 0, 2]).read_to_end();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!(field(&answer, "retry-after"), Some("5"));
    let exempt: Vec<_> = (0..9).map(|_| waits([127, 0, 0, 7])).collect();
    eventually("the exempt may", || rig.gateway.counters.upstreams_open.load(Relaxed) == 13);
    let mut other = from([127, 0, 0, 3], rig.proxy);
    other.send(get(origin.address));
    assert!(other.read_to_end().ends_with("yes"));
    drop((waiting, exempt));
    // With their places.
    rig.no_upstream_is_left();
    let mut again = from([127, 0, 0, 2], rig.proxy);
    again.send(get(origin.address));
    assert!(again.read_to_end().ends_with("yes"));
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::OpeningLimited), 1);
}

#[test]
fn one_client_has_so_many_names_in_question() {
    let origin = Origin::ok("yes");
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rig = Rig::with(
        &[origin.address],
        &format!(
            "[limits]\nclient-lookups = 4\n[upstream]\ndns-timeout = \"1h\"\ndns-servers = [\"{}\"]",
            server.local_addr().unwrap()
        ),
    );
    let asks = |source, n: usize| {
        let mut client = from(source, rig.proxy);
        client.send(format!("GET http://{n}.test/ HTTP/1.1\r\nHost: {n}.test\r\n\r\n"));
        client
    };
    let mut waiting: Vec<_> = (0..5).map(|n| asks([127, 0, 0, 2], n)).collect();
    // Four wait; which ones depends on who was first to be looked up.
    let has_heard = |client: &Client| {
        client.0.set_nonblocking(true).unwrap();
        let heard = client.0.peek(&mut [0]).is_ok();
        client.0.set_nonblocking(false).unwrap();
        heard
    };
    let mut told = None;
    eventually("the fifth is told", || {
        told = waiting.iter().position(has_heard);
        told.is_some()
    });
    let answer = waiting.remove(told.unwrap()).read_to_end();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    // Addresses need no name server, and other clients have places of their own.
    let mut address = from([127, 0, 0, 2], rig.proxy);
    address.send(get(origin.address));
    assert!(address.read_to_end().ends_with("yes"));
    let other = asks([127, 0, 0, 3], 6);
    eventually("it waits too", || rig.gateway.counters.requests.load(Relaxed) == 7);
    drop((waiting, other));
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::OpeningLimited), 1);
}
