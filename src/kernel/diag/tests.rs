//! Sockets of every kind, made by real connections. Each test has a listener's address of its own: sockets of others that
//! have its port number, remnants among them, do not disturb, and are never ended.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use caps::{CapSet, Capability};
use netlink_packet_sock_diag::constants::AF_INET6;
use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use super::{Diag, Entry, Kind, Memory, State, Waiting};
use crate::toolkit::{in_a_network_of_its_own, skipped};

/// Long enough for any machine: what is looked at is what comes out, not when.
const BUDGET: Duration = Duration::from_mins(1);

fn listener() -> TcpListener {
    static MADE: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    TcpListener::bind(SocketAddr::from(([127, MADE.fetch_add(1, Relaxed), high, low], 0))).unwrap()
}

/// The sockets at this address.
fn told(at: SocketAddr) -> Vec<Entry> {
    let mut found = Vec::new();
    let dump = Diag::open().unwrap().dump(BUDGET, |entry| found.push(entry.clone())).unwrap();
    assert!(dump.complete && dump.odd == 0, "{dump:?}");
    assert_eq!(dump.sockets, u64::try_from(found.len()).unwrap());
    found.retain(|entry| entry.local == at);
    found
}

fn sockets_of(listener: &TcpListener) -> Vec<Entry> {
    told(listener.local_addr().unwrap())
}

/// Looks until it is so: the kernel's timers and acknowledgements take their time.
fn eventually(listener: &TcpListener, what: &str, is_so: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
    for _ in 0..3000 {
        let found = sockets_of(listener);
        if is_so(&found) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what}: {:#?}", sockets_of(listener));
}

/// The kernel drops whatever comes for this socket from now on. Some kernels want `CAP_NET_ADMIN` for that.
fn deafen(socket: &impl std::os::fd::AsFd) -> bool {
    let attached = SockRef::from(socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]);
    if let Err(error) = &attached {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        skipped("no filter may be attached, so no deaf clients");
    }
    attached.is_ok()
}

/// A pair of connected sockets: the client's and ours.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, ours)
}

fn write_until_full(mut stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let bytes = vec![7; 65536];
    let full = std::iter::repeat_with(|| stream.write(&bytes)).find_map(Result::err);
    assert_eq!(full.unwrap().kind(), ErrorKind::WouldBlock);
}

/// A network has its own limit of remnants; in one that is shared others may have used it up.
#[test]
fn sockets_of_every_kind_are_told_apart() {
    in_a_network_of_its_own(|| every_kind(&listener()));
}

fn every_kind(listener: &TcpListener) {
    let mut expected = BTreeMap::new();
    let mut expect = |client: &TcpStream, state, kind| {
        expected.insert(client.local_addr().unwrap(), (state, kind));
    };

    let (mut talker, _unread) = pair(listener);
    talker.write_all(&[7; 1000]).unwrap();
    expect(&talker, State::Established, Kind::Live);

    let (gone, _kept) = pair(listener);
    gone.shutdown(Shutdown::Write).unwrap();
    expect(&gone, State::CloseWait, Kind::Live);

    let (half_closed, ours) = pair(listener);
    ours.shutdown(Shutdown::Write).unwrap();
    expect(&half_closed, State::FinWait2, Kind::Live);

    // Closed by us alone: with nothing left to send it shrinks at once.
    let (mut told, closed) = pair(listener);
    drop(closed);
    assert_eq!(told.read(&mut [0; 1]).unwrap(), 0);
    expect(&told, State::FinWait2, Kind::TimeWait);

    // Closed by us, then by the client.
    let (mut told, closed) = pair(listener);
    drop(closed);
    assert_eq!(told.read(&mut [0; 1]).unwrap(), 0);
    expect(&told, State::TimeWait, Kind::TimeWait);
    drop(told);

    let (stopped, closed) = pair(listener);
    write_until_full(&closed);
    drop(closed);
    expect(&stopped, State::FinWait1, Kind::Orphan);

    // The client closed first, and does not hear of our end any more.
    let (deaf, closed) = pair(listener);
    deaf.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&closed).read(&mut [0; 1]).unwrap(), 0);
    let is_deaf = deafen(&deaf);
    drop(closed);
    if is_deaf {
        expect(&deaf, State::LastAck, Kind::Orphan);
    }

    let waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    expect(&waiting, State::Established, Kind::Queued);

    let half_open = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    half_open.set_nonblocking(true).unwrap();
    let half_open = deafen(&half_open).then(|| {
        let in_progress = half_open.connect(&listener.local_addr().unwrap().into()).unwrap_err();
        assert_eq!(in_progress.raw_os_error(), Some(libc::EINPROGRESS));
        TcpStream::from(half_open)
    });
    if let Some(half_open) = &half_open {
        expect(half_open, State::SynReceived, Kind::HalfOpen);
    }

    let kinds = |found: &[Entry]| -> BTreeMap<_, _> {
        found.iter().map(|entry| (entry.remote, (entry.state, entry.kind))).collect()
    };
    let found = eventually(listener, "every kind", |found| kinds(found) == expected);
    assert_eq!(found.len(), expected.len(), "each once");

    let of = |client: &TcpStream| found.iter().find(|entry| entry.remote == client.local_addr().unwrap()).unwrap();
    let unread = of(&talker);
    assert_eq!(unread.local, listener.local_addr().unwrap());
    assert_eq!((unread.receive_queue, unread.send_queue), (1000, 0));
    assert!((1000..100_000).contains(&unread.memory.unwrap().receive), "{unread:?}");
    assert_eq!(unread.uid, rustix::process::getuid().as_raw());
    assert_ne!(unread.inode, 0);
    let orphan = of(&stopped);
    assert!(orphan.buffers() > u64::from(orphan.send_queue) && orphan.send_queue > 65536, "{orphan:?}");
    assert_eq!(orphan.inode, 0);
    // The FIN of the deaf client's connection is sent again and again.
    eventually(listener, "retransmits", |found| {
        let mut again = found.iter().filter(|entry| matches!(entry.waiting, Some(Waiting::Retransmit(1..))));
        !is_deaf || again.any(|entry| entry.state == State::LastAck)
    });
}

#[test]
fn ipv6_and_mapped_addresses_are_found() {
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    listener.set_only_v6(false).unwrap();
    listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    listener.listen(8).unwrap();
    let listener: TcpListener = listener.into();
    let port = listener.local_addr().unwrap().port();
    let connect = |host| {
        let client = TcpStream::connect((host, port)).unwrap();
        (listener.accept().unwrap(), client)
    };
    for ((_ours, peer), client) in [connect("127.0.0.1"), connect("::1")] {
        let server = client.peer_addr().unwrap();
        let found = told(server);
        let found = found.iter().find(|entry| entry.remote == client.local_addr().unwrap()).unwrap();
        assert_eq!(found.kind, Kind::Live);
        assert_eq!(peer.is_ipv6(), found.id.family == AF_INET6, "both of an IPv6 socket");
    }
}

#[test]
fn many_sockets_are_told_of_within_the_budget_and_none_without() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    let many = usize::try_from(hard.unwrap_or(u64::MAX) / 4).unwrap_or(usize::MAX).min(5000);
    let listener = listener();
    let pairs: Vec<_> = std::iter::repeat_with(|| pair(&listener)).take(many).collect();
    let address = listener.local_addr().unwrap();
    let mut diag = Diag::open().unwrap();
    for _ in 0..3 {
        let none = diag.dump(Duration::ZERO, |entry| panic!("{entry:?}")).unwrap();
        assert!(!none.complete && none.sockets == 0, "{none:?}");
        // What the first one left unread answers nothing now.
        let mut seen = ahash::AHashSet::new();
        let all = diag.dump(BUDGET, |entry| {
            assert!(entry.local != address || seen.insert(entry.remote), "twice: {entry:?}");
        });
        let all = all.unwrap();
        assert!(all.complete && all.odd == 0, "{all:?}");
        assert_eq!(seen.len(), pairs.len());
    }
}

#[test]
fn an_orphan_is_ended_and_only_it() {
    let listener = listener();
    let (mut client, mut ours) = pair(&listener);
    let (mut stopped, closed) = pair(&listener);
    write_until_full(&closed);
    drop(closed);
    let is_orphan = |entry: &Entry| entry.kind == Kind::Orphan;
    let found = eventually(&listener, "an orphan", |found| found.iter().any(is_orphan));
    let orphan = found.iter().find(|entry| is_orphan(entry)).unwrap().id.clone();

    let mut diag = Diag::open().unwrap();
    match diag.destroy(std::slice::from_ref(&orphan)) {
        Ok(destroyed) => assert_eq!((destroyed.ended, destroyed.refused), (1, 0)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            return skipped(&error.to_string());
        }
    }
    let left = sockets_of(&listener);
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(left[0].remote, client.local_addr().unwrap());
    // Its client is told, the other goes on.
    let mut rest = Vec::new();
    assert_eq!(stopped.read_to_end(&mut rest).unwrap_err().kind(), ErrorKind::ConnectionReset);
    client.write_all(b"still here").unwrap();
    ours.read_exact(&mut [0; 10]).unwrap();

    let again = diag.destroy(&[orphan.clone(), orphan]).unwrap();
    assert_eq!((again.ended, again.refused), (0, 2));
    // Of more than one batch.
    let more: Vec<_> = std::iter::repeat_with(|| pair(&listener)).take(100).collect();
    let found: Vec<_> = sockets_of(&listener).into_iter().map(|entry| entry.id).collect();
    let all = diag.destroy(&found).unwrap();
    assert_eq!((all.ended, all.refused), (101, 0));
    assert_eq!(sockets_of(&listener), []);
    drop(more);
}

#[test]
fn without_the_right_no_socket_is_ended_and_it_is_said() {
    let without = std::thread::spawn(|| {
        // Of this thread only.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let listener = listener();
        let (_client, _ours) = pair(&listener);
        let mut diag = Diag::open().unwrap();
        for _ in 0..2 {
            let dump = diag.dump(BUDGET, |_| {}).unwrap();
            assert!(dump.complete && dump.sockets > 0, "{dump:?}");
            let ours: Vec<_> = sockets_of(&listener).into_iter().map(|entry| entry.id).collect();
            let denied = diag.destroy(&ours).unwrap_err();
            assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
            assert!(denied.to_string().contains("CAP_NET_ADMIN"), "{denied}");
        }
    });
    without.join().unwrap();
}

/// An established IPv4 socket with 1,000 unread bytes, as kernel 6.18 tells of it.
const RECORDED: &str = "\
    02010000b48d83687f0000010000000000000000000000007f000001000000000000000000000000000000009a1000000000\
    000000000000e8030000000000000000000030f99b04050008000000000008000f00000000000c0015000100000000000000\
    060016005200000028000700280700000000020000000000001e3c00d808000000000000000000000000000000000000";

fn recorded() -> Vec<u8> {
    RECORDED.as_bytes().chunks(2).map(|hex| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap()).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn a_recorded_message_is_read() {
    let entry = Entry::parse(&recorded()).unwrap();
    assert_eq!((entry.state, entry.kind), (State::Established, Kind::Live));
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!((entry.local, entry.remote), (at(46221), at(33640)));
    assert_eq!((entry.receive_queue, entry.send_queue, entry.uid, entry.inode), (1000, 0, 0, 77_330_736));
    let memory = Memory { receive: 1832, forward: 2264, ..Memory::default() };
    assert_eq!((entry.memory, entry.buffers()), (Some(memory), 4096));
    assert_eq!(entry.waiting, None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::parse(&bytes);
    }

    #[test]
    fn a_message_that_is_cut_or_spoilt_is_read_without_harm(
        spoilt in prop::collection::vec((0..200_usize, any::<u8>()), 0..4), length in 0..200_usize,
    ) {
        let mut bytes = recorded();
        for (at, value) in spoilt {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length);
        let entry = Entry::parse(&bytes);
        prop_assert!(length >= 72 || entry.is_none());
    }
}
