//! Ten thousand clients that send nothing, a byte a second, or noise: what one of them costs, and that nobody notices.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::{Client, Floodgate, NET, eventually, origin, raise_descriptor_limit};

/// Clients at the same time.
const CROWD: usize = 10_000;
/// Good requests before the first measurement: both workers have then served some, and hold what they keep.
const FIRST: usize = 50;

const OPEN: &str = "floodgate_connections_open";
const ACCEPTED: &str = "floodgate_connections_total{";
/// Connections that good requests have open at once.
const GOOD: u64 = 2;

/// Resident bytes a connection may cost that has sent next to nothing: two pages. It is 6.0 KiB, in this build and in
/// an optimized one: the task (1.7 KiB), the road on which it waits for its head (3.8 KiB, boxed), and some hundred bytes
/// for the reactor, the allocator and the beginning of the head. One that kept its buffer while it waits (a read of
/// 16 KiB, a block of 64 KiB) would be far beyond.
const EACH: u64 = 8192;
/// Resident bytes that depend on no connection: two workers keep up to sixteen blocks of 64 KiB each; as much again for
/// the allocator's arenas and the table of the reactor.
const KEPT: u64 = 2 * 2 * 16 * 64 * 1024;

/// As many clients as fit into half of the descriptors this process and the gateway may have; the rest is for the tests
/// beside this one and for what the gateway keeps back.
fn size() -> usize {
    let fit = raise_descriptor_limit() / 2;
    if fit < CROWD {
        // Past the harness, which would keep it to itself.
        let line = format!("reduced: {fit} clients instead of {CROWD}, for the open-files limit of this process\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    fit.min(CROWD)
}

/// Resident memory of the gateway, in bytes.
fn resident(floodgate: &Floodgate) -> u64 {
    let status = std::fs::read_to_string(floodgate.proc("status")).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() * 1024
}

/// The sum of all series of the page that begin like this.
fn sum(page: &str, series: &str) -> u64 {
    let values = page.lines().filter(|line| line.starts_with(series)).map(|line| line.rsplit_once(' ').unwrap().1);
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// Good requests, alternately on one connection and on a new one each, until told to stop: how many.
fn good_requests(proxy: SocketAddr, origin: SocketAddr, stop: &AtomicBool) -> usize {
    let mut kept = Client::connect(proxy);
    let mut count = 0;
    while count < FIRST || !stop.load(Relaxed) {
        for (what, answer) in [("kept", kept.get(origin, "/")), ("new", Client::connect(proxy).get(origin, "/"))] {
            assert!(answer.ends_with("good"), "{what}, after {count}: {answer:?}");
        }
        count += 2;
        thread::sleep(Duration::from_millis(5));
    }
    count
}

/// Sends every client's head a byte a second, the first at once, until no more clients can come.
fn drip(arrivals: &Receiver<TcpStream>) -> Vec<TcpStream> {
    const HEAD: &[u8] = b"GET http://slow.example/and-a-long-way-to-go HTTP/1.1\r\nHost: slow.example\r\n\r\n";
    const PERIOD: Duration = Duration::from_secs(1);
    let mut clients = Vec::new();
    let send = |(stream, sent): &mut (TcpStream, usize)| {
        // The gateway may have lost patience.
        stream.write_all(&HEAD[*sent..=*sent]).unwrap_or_default();
        *sent += 1;
    };
    let mut next = Instant::now() + PERIOD;
    loop {
        match arrivals.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(stream) => {
                let mut client = (stream, 0);
                send(&mut client);
                clients.push(client);
            }
            Err(RecvTimeoutError::Timeout) => {
                clients.iter_mut().for_each(send);
                next += PERIOD;
            }
            Err(RecvTimeoutError::Disconnected) => return clients.into_iter().map(|(stream, _)| stream).collect(),
        }
    }
}

/// Random bytes, the same in every run (xorshift64).
fn noise(state: &mut u64) -> [u8; 64] {
    let mut bytes = [0; 64];
    for word in bytes.chunks_exact_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// What each of these clients got begins with this; nothing: the connection ended without a word.
fn got(clients: Vec<TcpStream>, begin: &str) {
    for mut client in clients {
        client.set_read_timeout(Some(NET)).unwrap();
        let mut seen = vec![0; begin.len().max(1)];
        let n = client.read(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen[..n]), begin);
    }
}

/// A crowd comes, a third of each kind, and is waited out. Returns the most connections that were open at once and by how
/// much resident memory was then above this.
fn crowd(floodgate: &Floodgate, third: usize, memory: u64) -> (u64, u64) {
    let (proxy, before) = (floodgate.proxy, sum(&floodgate.ask_admin("/metrics"), ACCEPTED));
    let (mut silent, mut random) = (Vec::new(), Vec::new());
    let (arrive, arrivals) = channel();
    let dripping = thread::spawn(move || drip(&arrivals));
    let (mut state, mut held) = (0x9e37_79b9_7f4a_7c15, 0);
    for number in 0..third {
        silent.push(TcpStream::connect(proxy).unwrap());
        arrive.send(TcpStream::connect(proxy).unwrap()).unwrap();
        let mut client = TcpStream::connect(proxy).unwrap();
        client.write_all(&noise(&mut state)).unwrap();
        // A box that falls behind with accepting refuses whoever comes next, rightly: the crowd comes as fast as it is taken in.
        if number % 10 == 0 {
            client.set_read_timeout(Some(NET)).unwrap();
            client.peek(&mut [0]).unwrap();
        }
        random.push(client);
        if number % 500 == 0 {
            held = floodgate.metric(OPEN).max(held);
        }
    }
    eventually("all are in", || {
        let page = floodgate.ask_admin("/metrics");
        // On a slow machine the first ones have gone when the last ones come.
        held = held.max(sum(&page, OPEN));
        sum(&page, ACCEPTED) - before >= 3 * third as u64
    });
    let grown = resident(floodgate).saturating_sub(memory);
    eventually("the deadline ends them all", || {
        thread::sleep(Duration::from_millis(50));
        floodgate.metric(OPEN) <= GOOD
    });
    drop(arrive);
    got(silent, "");
    got(dripping.join().unwrap(), "HTTP/1.1 408 ");
    got(random, "HTTP/1.1 400 ");
    (held, grown)
}

#[test]
fn ten_thousand_useless_clients() {
    let third = size() / 3;
    let origin = origin("good");
    let floodgate = Floodgate::start(
        &[origin],
        "[runtime]\nworkers = 2\n[timeouts]\nhead = '5s'\n[limits]\nconnections = 16000\nclient-connections = 16000\n\
         heads = 16000\nclient-heads = 16000\n\
         client-connection-rate = '100000/s, burst 100000'\nclient-request-rate = '100000/s, burst 100000'",
    );
    let first = good_requests(floodgate.proxy, origin, &AtomicBool::new(true));
    eventually("their connections are over", || floodgate.metric(OPEN) == 0);
    eventually("the first reading of everything", || floodgate.ask_admin("/metrics").contains("floodgate_kernel"));
    let (descriptors, memory) = (floodgate.descriptors(), resident(&floodgate));

    let stop = Arc::new(AtomicBool::new(false));
    let (proxy, stopped) = (floodgate.proxy, Arc::clone(&stop));
    let good = thread::spawn(move || good_requests(proxy, origin, &stopped));
    let (held, grown) = crowd(&floodgate, third, memory);
    assert!(grown < KEPT + EACH * held, "{grown} bytes for {held} connections");
    // What was freed may stay with the allocator: then it serves the next crowd, which costs next to nothing.
    let (again, grown_again) = crowd(&floodgate, third, memory);
    let same = grown * again.max(held) / held;
    assert!(grown_again < same / 4 * 5, "{grown} bytes for {held} connections, then {grown_again} for {again}");
    stop.store(true, Relaxed);
    let good = u64::try_from(first + good.join().unwrap()).unwrap();

    eventually("nothing is open", || floodgate.metric(OPEN) == 0);
    books_are_right(&floodgate.ask_admin("/metrics"), 2 * third as u64, good);
    eventually("its descriptors are as before", || floodgate.descriptors().abs_diff(descriptors) <= 4);
    let after = resident(&floodgate).saturating_sub(memory);
    assert!(after < same / 4 * 5, "{after} bytes for nothing");
}

/// So many clients of each kind, and so many good requests, half of them on two connections, in all.
fn books_are_right(page: &str, each: u64, good: u64) {
    let connections = [("served", good / 2 + 2), ("refused", 2 * each), ("empty", each)];
    let requests = [("forwarded", good), ("head_timeout", each), ("malformed", each)];
    for (scope, outcomes, total) in
        [("connection", connections, ACCEPTED), ("request", requests, "floodgate_requests_total ")]
    {
        let series = format!("floodgate_outcomes_total{{scope=\"{scope}\",outcome=");
        for (outcome, expected) in outcomes {
            assert_eq!(sum(page, &format!("{series}\"{outcome}\"}} ")), expected, "{scope} {outcome}");
        }
        // Nothing has ended otherwise.
        let expected: u64 = outcomes.iter().map(|(_, count)| count).sum();
        assert_eq!((sum(page, total), sum(page, &series)), (expected, expected), "{total}");
    }
    for reason in ["head_timeout", "malformed"] {
        let refusals = format!("floodgate_refusals_total{{reason=\"{reason}\",form=\"answered\"}} ");
        assert_eq!(sum(page, &refusals), each, "{reason}");
    }
    assert_eq!(sum(page, "floodgate_panics_total "), 0);
}
