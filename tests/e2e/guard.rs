//! The guard in life: who storms is stalled, and nobody notices; neither do the good requests of the client that storms.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use floodgate::guard::ladder::Class;
use floodgate::net::close;
use floodgate::outcome::{Form, Reason, RequestEnd};
use socket2::{Domain, Socket, Type};

use crate::limits::{from, not_tried};
use crate::rig::{Client, Origin, Rig, eventually, field};

fn get(to: SocketAddr) -> String {
    format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")
}

/// A rig whose guard works, and stalls in this way.
fn guarded(origins: &[SocketAddr], stall: &str) -> Rig {
    Rig::with(origins, &format!("[guard]\nstall = \"{stall}\""))
}

/// The ways to stall that are permitted here; what each looks like in the books.
fn ways() -> Vec<(&'static str, Form)> {
    let mut ways = vec![("hold", Form::Held)];
    if close::may_vanish() {
        ways.push(("drop", Form::Dropped));
    } else {
        not_tried("dropping connections needs CAP_NET_ADMIN");
    }
    ways
}

/// Clients at 127.0.0.1 that come back at once, whatever happens to them, and have little patience.
struct Storm {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Storm {
    fn begin(proxy: SocketAddr, request: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (over, request) = (Arc::clone(&over), request.to_owned());
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let mut stream = TcpStream::connect(proxy).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                    drop(stream.write_all(request.as_bytes()));
                    drop(stream.read(&mut [0; 1024]));
                }
            })
        };
        Self { clients: (0..8).map(client).collect(), over }
    }

    fn end(self) {
        self.over.store(true, Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
    }
}

/// A port that is ours and refuses connections until it is told to listen.
struct Dead(Socket);

impl Dead {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Answers from now on.
    fn comes_back(self) {
        self.0.listen(128).unwrap();
        let listener = TcpListener::from(self.0);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                crate::rig::read_head(&mut stream);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback"));
            }
        });
    }
}

/// Good requests from the address that storms, until it is stalled and for a while after.
fn is_good_meanwhile(rig: &Rig, origin: &Origin, reason: Reason) {
    let stalled =
        || [Form::Held, Form::Dropped].map(|form| rig.gateway.counters.refusals(reason, form)).iter().sum::<u64>();
    let mut done = 0;
    eventually("the storm is stalled, and good requests are not", || {
        let answer = rig.get(origin.address, "/");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("good"), "{answer}");
        let mut tunnel = rig.tunnel(origin.address);
        tunnel.send("GET / HTTP/1.1\r\nHost: o\r\n\r\n");
        assert_eq!(tunnel.answer().1, b"good");
        done += 1;
        done >= 25 && stalled() >= 25
    });
}

#[test]
fn a_client_that_storms_with_our_own_address_is_stalled_and_its_good_requests_are_not() {
    for (stall, form) in ways() {
        let origin = Origin::ok("good");
        let rig = guarded(&[origin.address], stall);
        let storm = Storm::begin(rig.proxy, &get(rig.proxy));
        is_good_meanwhile(&rig, &origin, Reason::SelfTarget);
        assert!(rig.gateway.counters.refusals(Reason::SelfTarget, form) > 0, "{stall}");
        storm.end();
        let seen = rig.ends(RequestEnd::SelfTarget);
        assert!(rig.gateway.counters.refusals(Reason::SelfTarget, Form::Answered) < 60, "of {seen}");
        rig.settled();
    }
}

#[test]
fn a_client_that_storms_with_a_dead_destination_is_stalled_and_whoever_asks_when_it_is_back_is_served() {
    for (stall, _) in ways() {
        let (origin, dead) = (Origin::ok("good"), Dead::new());
        let address = dead.address();
        let rig = guarded(&[origin.address, address], stall);
        let storm = Storm::begin(rig.proxy, &get(address));
        is_good_meanwhile(&rig, &origin, Reason::DestinationFailing);
        storm.end();
        let (asked, memory) = (rig.ends(RequestEnd::ConnectRefused), rig.ends(RequestEnd::DestinationFailing));
        assert!(asked < memory / 2, "{asked} were dialled, {memory} answered from memory");
        dead.comes_back();
        let returned = Instant::now();
        // Different people: one who asked so often would be a storm.
        let mut people = (1..=250).cycle();
        eventually("it is reached again", || {
            let mut user = from([127, 0, 3, people.next().unwrap()], rig.proxy);
            user.send(get(address));
            user.answer().0.starts_with("HTTP/1.1 200 ")
        });
        assert!(returned.elapsed() < Duration::from_secs(30), "the longest that a destination is remembered");
        rig.settled();
    }
}

#[test]
fn a_failing_destination_is_answered_from_memory_with_its_status() {
    let dead = Dead::new();
    let (silent, _held) = crate::conformance::connections::unresponsive();
    let rig = Rig::with(&[dead.address(), silent], "[upstream]\nconnect-timeout = \"100ms\"\n[guard]");
    for (to, status, error, end, memory) in [
        (
            dead.address(),
            "502 Bad Gateway",
            "connection_refused",
            RequestEnd::ConnectRefused,
            RequestEnd::DestinationFailing,
        ),
        (
            silent,
            "504 Gateway Timeout",
            "connection_timeout",
            RequestEnd::ConnectTimeout,
            RequestEnd::DestinationSilent,
        ),
    ] {
        let proxy_status = |answer: &str| field(answer, "proxy-status").unwrap().to_owned();
        for _ in 0..3 {
            let answer = rig.ask_one(get(to));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert_eq!(proxy_status(&answer), format!("floodgate; error={error}"));
        }
        let requests = [get(to), format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")];
        for request in requests {
            let answer = rig.ask_one(request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert_eq!(proxy_status(&answer), "floodgate; error=destination_unavailable");
        }
        rig.settled();
        assert_eq!((rig.ends(end), rig.ends(memory)), (3, 2));
    }
    assert_eq!(rig.refusals(Reason::DestinationFailing), 4);
}

#[test]
fn whoever_only_measures_or_is_exempt_is_not_answered_from_memory() {
    for more in
        ["[guard]\nladder = \"answer\"", "[guard]\nmode = \"observe\"", "[guard]\n[clients]\nexempt = [\"127.0.0.1\"]"]
    {
        let dead = Dead::new();
        let rig = Rig::with(&[dead.address()], more);
        (0..10).for_each(|_| drop(rig.ask_one(get(dead.address()))));
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::ConnectRefused), 10, "{more}");
    }
}

/// Refused as often as is answered.
fn climb(rig: &Rig) {
    for _ in 1..Class::SelfTarget.climbs() {
        assert!(rig.ask_one(get(rig.proxy)).starts_with("HTTP/1.1 403 "));
    }
}

/// Whether the kernel has a socket with these ends.
fn has_socket(local: SocketAddr, remote: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => panic!("not asked for"),
    };
    let wanted = format!(" {} {} ", hex(local), hex(remote));
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| line.contains(&wanted))
}

#[test]
fn a_dropped_client_hears_nothing_and_we_keep_nothing() {
    if !close::may_vanish() {
        not_tried("dropping connections needs CAP_NET_ADMIN");
        return;
    }
    let rig = guarded(&[], "drop");
    climb(&rig);
    let mut clients: Vec<Client> = (0..10).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(get(rig.proxy));
    }
    let dropped = || rig.gateway.counters.refusals(Reason::SelfTarget, Form::Dropped);
    eventually("all are dropped", || dropped() == 10);
    for client in &mut clients {
        let here = client.0.local_addr().unwrap();
        assert!(!has_socket(rig.proxy, here), "ours is gone");
        assert!(has_socket(here, rig.proxy), "the client's stands");
        client.0.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let heard = client.0.read(&mut [0; 1]);
        assert!(heard.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "neither an end nor a reset");
    }
    drop(clients);
    rig.settled();
}

#[test]
fn held_answers_come_late_and_whole_and_a_drain_brings_them_all() {
    let rig = guarded(&[], "hold");
    climb(&rig);
    let counters = Arc::clone(&rig.gateway.counters);
    let begun = Instant::now();
    let mut clients: Vec<Client> = (0..10).map(|_| rig.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(rig.proxy));
        eventually("it is judged", || counters.requests.load(Relaxed) == 10 + n as u64);
    }
    let whole = |client: &mut Client| {
        let (head, body) = client.answer();
        assert!(head.starts_with("HTTP/1.1 403 ") && !body.is_empty(), "{head}");
    };
    whole(&mut clients[0]);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    let last = clients.last_mut().unwrap();
    last.0.set_nonblocking(true).unwrap();
    assert!(last.0.read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    last.0.set_nonblocking(false).unwrap();
    let draining = thread::spawn(move || rig.gateway.drain(|| false));
    clients.iter_mut().skip(1).for_each(whole);
    drop(clients);
    assert_eq!(draining.join().unwrap(), 0, "none was cut");
    assert!(begun.elapsed() < Duration::from_secs(8), "the last would have waited for longer");
    assert_eq!(counters.refusals(Reason::SelfTarget, Form::Held), 10);
    assert_eq!(counters.request_ends.get(RequestEnd::SelfTarget.index()), 19);
}
