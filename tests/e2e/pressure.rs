//! A box that is as short of something as the test wants: what each level does, and what it leaves alone.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use floodgate::guard::pressure::Level;
use floodgate::outcome::{ConnectionEnd, RequestEnd};
use tempfile::TempDir;

use crate::limits::from;
use crate::rig::{Client, Origin, Rig, eventually, read_head};

/// A recorded box whose only shortage is of places for orphans.
struct Shortage {
    root: TempDir,
}

impl Shortage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let limits = root.path().join("proc/sys/net/ipv4");
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        fs::create_dir_all(&limits).unwrap();
        fs::write(limits.join("tcp_max_orphans"), "100\n").unwrap();
        let shortage = Self { root };
        shortage.orphans(0);
        shortage
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    /// So many of a hundred; always two digits, so that no reading meets an empty file.
    fn orphans(&self, orphans: u32) {
        let path = self.path().join("proc/net/sockstat");
        let text = format!("TCP: inuse 1 orphan {orphans:02} tw 0 alloc 1 mem 1\n");
        let mut file = fs::File::options().create(true).truncate(false).write(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rig(&self, origins: &[SocketAddr], more: &str) -> Rig {
        Rig::on(self.path(), origins, more)
    }

    /// Waits until a level is in force.
    fn reach(&self, rig: &Rig, level: Level) {
        self.orphans([0, 55, 75, 95][level as usize]);
        eventually("the level is in force", || rig.gateway.pressure().level() == level);
    }
}

fn request(origin: SocketAddr) -> String {
    format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n")
}

/// Whether the peer has closed, in whatever way.
fn has_ended(client: &mut Client) -> bool {
    client.0.set_nonblocking(true).unwrap();
    let ended = match client.0.read(&mut [0; 1024]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    client.0.set_nonblocking(false).unwrap();
    ended
}

#[test]
fn calm_slows_nobody_and_comes_back() {
    let origin = Origin::ok("yes");
    let (shortage, before) = (Shortage::new(), "HTTP/1.1 200 OK\r\n");
    shortage.orphans(49);
    let rig = shortage.rig(&[origin.address], "");
    eventually("it has been read", || rig.gateway.pressure().report.load().driver == Some("orphans"));
    let kept: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = rig.client();
            client.send(request(origin.address));
            let (head, _) = client.answer();
            assert!(head.starts_with(before) && !head.contains("Connection: close"), "{head}");
            client
        })
        .collect();
    eventually("upstreams are kept for reuse", || rig.gateway.counters.upstreams_idle.load(Relaxed) > 0);
    assert_eq!((rig.open(), rig.gateway.pressure().level()), (200, Level::Calm));
    let pressure = rig.gateway.pressure();
    shortage.reach(&rig, Level::Critical);
    shortage.reach(&rig, Level::Calm);
    drop(kept);
    assert!(rig.get(origin.address, "/").starts_with(before), "all is as before");
    assert_eq!(pressure.reaped.load(Relaxed), 0);
    rig.settled();
}

#[test]
fn idle_connections_go_sooner_and_answers_are_the_last() {
    let (asked, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let origin = Origin::scripted({
        let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
        move |_, mut stream, _| {
            while read_head(&mut stream).starts_with(b"GET ") {
                asked.store(true, Relaxed);
                eventually("the answer is wanted", || answer.load(Relaxed));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").unwrap();
            }
        }
    });
    let shortage = Shortage::new();
    let rig = shortage.rig(&[origin.address], "");
    let mut busy = rig.client();
    answer.store(true, Relaxed);
    let mut idle = rig.client();
    idle.send(request(origin.address));
    assert!(idle.answer().0.starts_with("HTTP/1.1 200 "));
    eventually("its connection is kept", || rig.gateway.counters.upstreams_idle.load(Relaxed) == 1);
    answer.store(false, Relaxed);
    asked.store(false, Relaxed);
    busy.send(request(origin.address));
    eventually("its request has arrived", || asked.load(Relaxed));

    // 2 s of keep-alive instead of 60.
    shortage.reach(&rig, Level::High);
    eventually("the idle one is closed", || has_ended(&mut idle));
    shortage.reach(&rig, Level::Critical);
    answer.store(true, Relaxed);
    let (head, body) = busy.answer();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Connection: close") && body == b"yes", "{head}");
    assert!(busy.is_at_end());
    rig.no_upstream_is_left();
    rig.settled();
}

#[test]
fn everything_new_is_refused_at_last_and_what_is_there_goes_on() {
    let (origin, echo) = (Origin::ok("yes"), Origin::echo());
    let shortage = Shortage::new();
    let rig = shortage.rig(&[origin.address, echo.address], "[clients]\nexempt = [\"127.0.3.0/24\"]");
    let mut tunnel = rig.tunnel(echo.address);
    let mut word = |word: &[u8; 4]| {
        tunnel.send(word);
        assert_eq!(tunnel.exactly(4), word);
    };
    word(b"calm");
    shortage.reach(&rig, Level::Critical);
    for n in 1..=20 {
        assert!(from([127, 0, 1, n], rig.proxy).is_at_end(), "closed unanswered");
    }
    eventually("they are counted", || rig.gateway.counters.connection_ends.get(ConnectionEnd::Overload.index()) == 20);
    assert_eq!(rig.gateway.pressure().shed.load(Relaxed), 20);
    word(b"full");
    assert!(rig.admin("/healthz").starts_with("HTTP/1.1 200 "), "the admin has places of its own");
    let mut exempt = from([127, 0, 3, 1], rig.proxy);
    exempt.send(request(origin.address));
    assert!(exempt.answer().0.starts_with("HTTP/1.1 200 "), "exempt clients are served");
    word(b"last");
    shortage.reach(&rig, Level::Calm);
    assert!(rig.get(origin.address, "/").ends_with("yes"));
    drop((tunnel, exempt));
    rig.settled();
}

#[test]
fn the_heaviest_clients_give_and_the_others_do_not_notice() {
    let origin = Origin::ok("yes");
    let shortage = Shortage::new();
    let rig = shortage.rig(&[origin.address], "");
    let heavy: Vec<_> = (0..300).map(|_| from([127, 0, 1, 1], rig.proxy)).collect();
    let light: Vec<_> = (0..60).map(|_| from([127, 0, 1, 2], rig.proxy)).collect();
    eventually("all are in", || rig.open() == 360);
    shortage.reach(&rig, Level::High);
    let mut refused = from([127, 0, 1, 1], rig.proxy);
    refused.send(request(origin.address));
    let (head, _) = refused.answer();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: "), "{head}");
    for source in [[127, 0, 1, 2], [127, 0, 1, 3]] {
        let mut served = from(source, rig.proxy);
        served.send(request(origin.address));
        assert!(served.answer().0.starts_with("HTTP/1.1 200 "), "{source:?}");
    }
    drop((heavy, light, refused));
    rig.settled();
}

/// At the last level a minute of idleness at first, and half of that every five seconds.
#[test]
fn idle_tunnels_end_the_longest_idle_first() {
    let echo = Origin::echo();
    let shortage = Shortage::new();
    let rig = shortage.rig(&[echo.address], "[clients]\nexempt = [\"127.0.3.0/24\"]");
    let tunnel = |source| {
        let mut client = from(source, rig.proxy);
        client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", echo.address));
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        client
    };
    let (mut idle, mut busy, mut exempt) = (tunnel([127, 0, 1, 1]), tunnel([127, 0, 1, 1]), tunnel([127, 0, 3, 1]));
    shortage.reach(&rig, Level::Critical);
    eventually("the idle one is gone", || {
        busy.send(b"tick");
        assert_eq!(busy.exactly(4), b"tick");
        has_ended(&mut idle)
    });
    exempt.send(b"tick");
    assert_eq!(exempt.exactly(4), b"tick");
    eventually("it is booked", || rig.ends(RequestEnd::Stalled) == 1);
    assert_eq!(rig.gateway.pressure().reaped.load(Relaxed), 1);
    drop((busy, exempt));
    rig.settled();
}

#[test]
fn transfers_that_stand_still_are_cut_sooner() {
    let endless = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        while stream.write_all(&[0; 16_384]).is_ok() {}
    });
    let silent = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        // It has not answered yet, which is no standstill: it waits for the end.
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    });
    let shortage = Shortage::new();
    let rig = shortage.rig(&[endless.address, silent.address], "");
    let mut waiting = rig.client();
    waiting.send(request(silent.address));
    let mut reader = rig.client();
    reader.send(request(endless.address));
    let mut inside = rig.tunnel(endless.address);
    inside.send(request(endless.address));
    assert!(reader.head().starts_with("HTTP/1.1 200 ") && inside.head().starts_with("HTTP/1.1 200 "));
    // Neither reads any more; the defaults have a minute of patience with one, and a quarter of an hour with the other.
    shortage.reach(&rig, Level::Critical);
    eventually("both are cut", || rig.ends(RequestEnd::Stalled) == 2);
    assert!(!has_ended(&mut waiting), "who waits for an origin is left alone");
    drop((waiting, reader, inside));
    rig.settled();
}

#[test]
fn a_destination_gets_nine_tenths_of_the_ports() {
    let (busy, other) = (Origin::echo(), Origin::echo());
    let shortage = Shortage::new();
    fs::write(shortage.path().join("proc/sys/net/ipv4/ip_local_port_range"), "40000\t40009\n").unwrap();
    let rig = shortage.rig(&[busy.address, other.address], "");
    eventually("it has been read", || rig.gateway.pressure().report.load().driver.is_some());
    let tunnels: Vec<_> = (0..9).map(|_| rig.tunnel(busy.address)).collect();
    let connect = |to: SocketAddr| rig.ask_one(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let refused = connect(busy.address);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    drop(rig.tunnel(other.address));
    eventually("it is seen", || rig.gateway.pressure().level() == Level::Elevated);
    drop(tunnels);
    eventually("they are gone", || rig.open() == 0);
    drop(rig.tunnel(busy.address));
    rig.settled();
}
