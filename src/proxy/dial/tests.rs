use std::future::Future;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::time::Instant;

use super::{ATTEMPTS, Dialled, Failure, STAGGER, Undialled, dial, establish, failure, interleaved, open};
use crate::config::settings::Upstream;
use crate::outcome::RequestEnd;

fn settings() -> Upstream {
    Upstream {
        connect_timeout: Duration::from_secs(10),
        first_byte_timeout: Duration::from_mins(1),
        dns_timeout: Duration::from_secs(5),
        dns_servers: vec![],
        source_v4: None,
        source_v6: None,
        idle_connections: 0,
        idle_per_host: 0,
        idle_timeout: Duration::from_secs(30),
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that nobody listens on, and that no outgoing connection can take while the socket is held.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A listener that answers no SYN: its accept queue holds one connection and is full.
struct Blackhole {
    listener: Socket,
    address: SocketAddr,
    _filler: std::net::TcpStream,
}

fn blackhole() -> Blackhole {
    let (listener, address) = refusing();
    listener.listen(0).unwrap();
    let filler = std::net::TcpStream::connect(address).unwrap();
    Blackhole { listener, address, _filler: filler }
}

/// Connections to this port that wait for an answer to their SYN (state 02 of /proc/net/tcp).
fn half_open(address: SocketAddr) -> usize {
    let remote = format!(":{:04X}", address.port());
    std::fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[2].ends_with(&remote) && fields[3] == "02")
        .count()
}

/// Drives the future while the paused clock stands still: only the network can make it ready.
async fn in_no_time<F: Future>(future: F) -> F::Output {
    let before = Instant::now();
    let mut future = pin!(future);
    let output = loop {
        match futures_util::poll!(future.as_mut()) {
            Poll::Ready(output) => break output,
            Poll::Pending => tokio::task::yield_now().await,
        }
    };
    assert_eq!(before.elapsed(), Duration::ZERO);
    output
}

fn end(result: Result<Dialled, Undialled>) -> RequestEnd {
    result.map(|dialled| dialled.address).unwrap_err().end
}

#[tokio::test]
async fn one_address() {
    let (listener, address) = listener();
    let dialled = dial(&[address], &settings()).await.unwrap();
    assert_eq!(dialled.address, address);
    assert_eq!(dialled.stream.peer_addr().unwrap(), address);
    let (accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, dialled.stream.local_addr().unwrap());
    drop(accepted);
}

#[tokio::test]
async fn the_socket_is_set_up() {
    let (_listener, address) = listener();
    let dialled = dial(&[address], &settings()).await.unwrap();
    let socket = SockRef::from(&dialled.stream);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.nonblocking().unwrap());
    let flags = rustix::io::fcntl_getfd(&dialled.stream).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 32 * 1024);
}

#[tokio::test]
async fn the_source_address_is_used_and_shares_its_ports() {
    let (listener, address) = listener();
    let from = Upstream { source_v4: Some(Ipv4Addr::new(127, 0, 0, 2)), ..settings() };
    // with IP_BIND_ADDRESS_NO_PORT no port is taken until the destination is known
    let bound = open(address, &from).unwrap();
    let local = bound.local_addr().unwrap().as_socket().unwrap();
    assert_eq!((local.ip().to_string().as_str(), local.port()), ("127.0.0.2", 0));

    let _dialled = dial(&[address], &from).await.unwrap();
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 2));
}

#[tokio::test]
async fn a_source_address_of_another_box_is_not_an_overload() {
    let (_listener, address) = listener();
    let from = Upstream { source_v4: Some(Ipv4Addr::new(192, 0, 2, 1)), ..settings() };
    assert_eq!(end(dial(&[address], &from).await), RequestEnd::ConnectUnreachable);
}

#[tokio::test]
async fn refused() {
    let (_held, address) = refusing();
    assert_eq!(end(dial(&[address], &settings()).await), RequestEnd::ConnectRefused);
    assert_eq!(end(dial(&[address; 9], &settings()).await), RequestEnd::ConnectRefused);
}

#[tokio::test]
async fn without_an_address_nothing_is_reachable() {
    let failed = dial(&[], &settings()).await.map(|dialled| dialled.address).unwrap_err();
    assert_eq!(failed, Undialled { end: RequestEnd::ConnectUnreachable, address: None });
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_whatever_the_number_of_addresses() {
    let silent = blackhole();
    for count in [1, 2, 4, 16] {
        let before = Instant::now();
        let result = dial(&vec![silent.address; count], &settings()).await;
        assert_eq!(end(result), RequestEnd::ConnectTimeout);
        // a timer is never early, and late by its granularity of a millisecond at most
        assert_eq!(before.elapsed().as_secs(), 10, "{count}");
    }
    assert_eq!(half_open(silent.address), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_v6_starts_v4_at_once() {
    let (_listener, address) = listener();
    // refused, or without IPv6 unreachable: either way no reason to wait
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
    let dialled = in_no_time(dial(&[address, v6], &settings())).await.unwrap();
    assert_eq!(dialled.address, address);
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_delays_the_next_by_the_stagger_and_is_closed_when_it_loses() {
    let silent = blackhole();
    let (listener, address) = listener();
    let order = [silent.address, address];
    let mut dialling = Box::pin(async { dial(&order, &settings()).await });

    assert!(futures_util::poll!(dialling.as_mut()).is_pending());
    assert_eq!(half_open(silent.address), 1);
    tokio::time::advance(STAGGER * 9 / 10).await;
    assert!(futures_util::poll!(dialling.as_mut()).is_pending());
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let dialled = dialling.await.unwrap();
    assert_eq!(dialled.address, address);
    listener.accept().unwrap();
    assert_eq!(half_open(silent.address), 0);
}

#[tokio::test(start_paused = true)]
async fn short_deadlines_are_shared_by_all_addresses() {
    let silent = blackhole();
    let (_listener, address) = listener();
    let short = Upstream { connect_timeout: Duration::from_millis(400), ..settings() };
    // with a stagger of 250 ms the fourth would start after the deadline
    let order = [silent.address, silent.address, silent.address, address];
    assert_eq!(dial(&order, &short).await.unwrap().address, address);
}

#[tokio::test(start_paused = true)]
async fn at_most_four_are_tried() {
    let (_held, refused) = refusing();
    let (_listener, fifth) = listener();
    let order = [refused, refused, refused, refused, fifth];
    assert_eq!(end(dial(&order, &settings()).await), RequestEnd::ConnectRefused);
    assert_eq!(dial(&order[1..], &settings()).await.unwrap().address, fifth);
}

#[tokio::test(start_paused = true)]
async fn the_most_telling_failure_is_reported() {
    let silent = blackhole();
    let (_held, refused) = refusing();
    for order in [[silent.address, refused], [refused, silent.address]] {
        let failed = dial(&order, &settings()).await.map(|dialled| dialled.address).unwrap_err();
        assert_eq!(failed, Undialled { end: RequestEnd::ConnectRefused, address: Some(refused) });
    }
}

/// Where IPv6 is unreachable and IPv4 silent, it is the IPv4 address that did not answer in time.
#[tokio::test(start_paused = true)]
async fn a_time_out_names_who_was_silent() {
    let silent = blackhole();
    // A source that this box does not have (RFC 3849): nothing can be reached from there.
    let from = Upstream { source_v6: Some("2001:db8::2".parse().unwrap()), ..settings() };
    let nowhere: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
    let failed = dial(&[silent.address, nowhere], &from).await.map(|dialled| dialled.address).unwrap_err();
    assert_eq!(failed, Undialled { end: RequestEnd::ConnectTimeout, address: Some(silent.address) });
}

/// Both attempts stand in the same turn of the reactor: one is returned, and the other's server sees the end.
#[tokio::test(start_paused = true)]
async fn a_loser_that_stands_is_closed() {
    let slow = blackhole();
    let (listener, quick) = listener();
    let order = [slow.address, quick];
    let mut dialling = Box::pin(async { dial(&order, &settings()).await });
    assert!(futures_util::poll!(dialling.as_mut()).is_pending());
    tokio::time::advance(STAGGER + Duration::from_millis(1)).await;
    assert!(futures_util::poll!(dialling.as_mut()).is_pending());

    // The kernel completes both while this thread, and with it the reactor, does not look:
    // the second accept returns when the SYN has been repeated after a second.
    let (_filler, _) = slow.listener.accept().unwrap();
    let (slow_server, _) = slow.listener.accept().unwrap();
    let (quick_server, _) = listener.accept().unwrap();

    let won = dialling.await.unwrap().address;
    let mut loser: std::net::TcpStream = if won == quick { slow_server.into() } else { quick_server };
    assert_eq!(loser.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_connection_to_itself_is_refused() {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let socket = open(any, &settings()).unwrap();
    socket.bind(&any.into()).unwrap();
    let own = socket.local_addr().unwrap().as_socket().unwrap();
    let error = establish(socket, own).await.unwrap_err();
    assert_eq!(failure(&error, own), Failure::Refused);
    // and its port is free again, even for a service that does not set SO_REUSEADDR
    let service = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    service.bind(&own.into()).unwrap();
}

#[test]
fn errors_have_their_meaning() {
    let (_held, address) = refusing();
    for (errno, meaning) in [
        (libc::ECONNREFUSED, Failure::Refused),
        (libc::ETIMEDOUT, Failure::Timeout),
        (libc::ENETUNREACH, Failure::Unreachable),
        (libc::EHOSTUNREACH, Failure::Unreachable),
        (libc::EACCES, Failure::Unreachable),
        (libc::EPERM, Failure::Unreachable),
        (libc::EAFNOSUPPORT, Failure::Unreachable),
        (libc::ECONNRESET, Failure::Unreachable),
        (libc::EMFILE, Failure::Overload),
        (libc::ENFILE, Failure::Overload),
        (libc::ENOBUFS, Failure::Overload),
        (libc::ENOMEM, Failure::Overload),
        // a route to 127.0.0.1 there is, so the ports have run out
        (libc::EADDRNOTAVAIL, Failure::Overload),
    ] {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(failure(&error, address), meaning, "{error}");
    }
}

#[test]
fn families_alternate_and_v6_begins() {
    let order = |addresses: &[&str]| {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        interleaved(&addresses).map(|a| a.to_string()).collect::<Vec<_>>()
    };
    let v4 = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"];
    let v6 = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"];
    assert_eq!(order(&[v4[0], v4[1], v4[2], v6[0], v6[1], v6[2]]), [v6[0], v4[0], v6[1], v4[1]]);
    assert_eq!(order(&[v4[0], v4[1], v6[0]]), [v6[0], v4[0], v4[1]]);
    assert_eq!(order(&v4), v4);
    assert_eq!(order(&[v6[0], v6[1], v4[0]]), [v6[0], v4[0], v6[1]]);
    assert_eq!(order(&[v4[0]; 16]).len(), ATTEMPTS);
}
