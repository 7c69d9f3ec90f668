//! Addresses to one TCP connection: Happy Eyeballs (RFC 8305), bounded in attempts and in time.
//!
//! Owns: outgoing sockets until one of them stands, and how they are set up.
//! Called by: the journey, with addresses that the policy has passed. Never: resolves a name or judges an address.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::config::settings::Upstream;
use crate::outcome::RequestEnd;

/// At most so many addresses of one destination are tried; the others are not looked at.
pub const ATTEMPTS: usize = 4;

/// The Connection Attempt Delay of RFC 8305 section 5: so long an attempt has the field to itself.
const STAGGER: Duration = Duration::from_millis(250);

/// More than this unsent in the kernel and the socket is not writable (tcp(7)): bytes wait in the other
/// socket's window, where they slow the sender down, and not in our memory.
const UNSENT: u32 = 32 * 1024;

/// A connection that stands.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TcpStream,
    /// Which of the addresses it leads to.
    pub address: SocketAddr,
    /// Its end with us.
    pub local: SocketAddr,
}

/// No connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Undialled {
    /// What the client is told.
    pub end: RequestEnd,
    /// The address that this was learned from; `None` if there was none to try.
    pub address: Option<SocketAddr>,
}

/// Why an attempt failed, the most telling last: of several failures the greatest is reported.
///
/// An address without a route says least (half of the dual-stack names on a box without IPv6), silence says more,
/// a refusal is the destination's own word. A lack of ours outranks all: the answer could have been another one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Failure {
    Unreachable,
    Timeout,
    Refused,
    Overload,
}

impl From<Failure> for RequestEnd {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable => Self::ConnectUnreachable,
            Failure::Timeout => Self::ConnectTimeout,
            Failure::Refused => Self::ConnectRefused,
            Failure::Overload => Self::Overload,
        }
    }
}

/// Connects to one of the addresses: families interleaved with IPv6 first, a new attempt every 250 ms or as soon as
/// one has failed, [`ATTEMPTS`] at most; the first that stands wins and the others are closed.
///
/// All attempts together take `connect_timeout` at most. An address that swallows packets cannot use it up: attempts
/// overlap, and of n addresses the last one starts early enough to have an n-th of the time.
///
/// # Errors
/// `ConnectRefused`, `ConnectTimeout`, `ConnectUnreachable` (also without any address), or `Overload` when this box
/// had no descriptor, memory or port left.
pub async fn dial(addresses: &[SocketAddr], settings: &Upstream) -> Result<Dialled, Undialled> {
    let deadline = Instant::now() + settings.connect_timeout;
    match addresses {
        // the common case, a literal or a name with one address, has no set of attempts to allocate
        &[only] => attempt(only, settings, deadline).await.map_err(Some),
        several => race(several, settings, deadline).await,
    }
    .map_err(|failed| match failed {
        Some((failure, address)) => Undialled { end: failure.into(), address: Some(address) },
        None => Undialled { end: RequestEnd::ConnectUnreachable, address: None },
    })
}

/// Staggered attempts; dropping the set closes those that have not won. The most telling failure, if there was an address.
async fn race(
    addresses: &[SocketAddr],
    settings: &Upstream,
    deadline: Instant,
) -> Result<Dialled, Option<(Failure, SocketAddr)>> {
    let mut waiting = interleaved(addresses).peekable();
    let mut share = settings.connect_timeout;
    if let Ok(several @ 1..) = u32::try_from(addresses.len().min(ATTEMPTS)) {
        share /= several;
    }
    let mut running = FuturesUnordered::new();
    let mut most_telling = None;
    loop {
        if let Some(address) = waiting.next() {
            running.push(attempt(address, settings, deadline));
        }
        let ended = match waiting.peek() {
            Some(_) => timeout_at(deadline.min(Instant::now() + STAGGER.min(share)), running.next()).await,
            // Each ends at the deadline by itself.
            None => Ok(running.next().await),
        };
        match ended {
            Ok(Some(Ok(won))) => return Ok(won),
            Ok(Some(Err(failed))) => most_telling = most_telling.max(Some(failed)),
            Ok(None) => return Err(most_telling),
            Err(_) => {}
        }
    }
}

/// The order of the attempts (RFC 8305 section 4, First Address Family Count 1).
fn interleaved(addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let mut v6 = addresses.iter().copied().filter(SocketAddr::is_ipv6);
    let mut v4 = addresses.iter().copied().filter(SocketAddr::is_ipv4);
    let mut v6_turn = false;
    std::iter::from_fn(move || {
        v6_turn = !v6_turn;
        if v6_turn { v6.next().or_else(|| v4.next()) } else { v4.next().or_else(|| v6.next()) }
    })
    .take(ATTEMPTS)
}

/// One of them, until the deadline; if it fails, why and which.
async fn attempt(
    address: SocketAddr,
    settings: &Upstream,
    deadline: Instant,
) -> Result<Dialled, (Failure, SocketAddr)> {
    let connected = match open(address, settings) {
        Ok(socket) => timeout_at(deadline, establish(socket, address))
            .await
            .unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::ETIMEDOUT))),
        Err(error) => Err(error),
    };
    connected.map_err(|error| (failure(&error, address), address))
}

/// A socket ready to connect, bound to the source address of its family if one is set.
fn open(address: SocketAddr, settings: &Upstream) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(10)).with_retries(6),
    )?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let source = match address {
        SocketAddr::V4(_) => settings.source_v4.map(|source| SocketAddr::V4(SocketAddrV4::new(source, 0))),
        SocketAddr::V6(_) => settings.source_v6.map(|source| SocketAddr::V6(SocketAddrV6::new(source, 0, 0, 0))),
    };
    if let Some(source) = source {
        // Without it bind(2) takes a port that no other destination can share (ip(7), Linux 4.2): 28,000 connections
        // in all instead of 28,000 to each destination. It acts on IPv6 sockets as well (inet6_bind).
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&source.into()).map_err(|error| {
            // No port was asked for, so none can be lacking: the address is not (any more) one of this box.
            match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => io::Error::from_raw_os_error(libc::ENETUNREACH),
                _ => error,
            }
        })?;
    }
    Ok(socket)
}

/// Connects the socket, and waits for it without a limit of its own (the deadline drops it).
async fn establish(socket: Socket, address: SocketAddr) -> io::Result<Dialled> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    // Nobody listens, but the kernel chose the very port we dial as our own: a simultaneous open with ourselves
    // (RFC 9293 section 3.5, figure 7), which would echo the request for ever.
    let local = stream.local_addr()?;
    if local == address {
        // reset, so that the port is not blocked in TIME_WAIT for the service that belongs there
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    Ok(Dialled { stream, address, local })
}

/// What an error of socket(2), bind(2) or connect(2) means.
fn failure(error: &io::Error, address: SocketAddr) -> Failure {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Failure::Refused,
        Some(libc::ETIMEDOUT) => Failure::Timeout,
        Some(libc::EADDRNOTAVAIL) if routable(address) => Failure::Overload,
        _ if is_exhaustion(error) => Failure::Overload,
        // no route, a firewall (EACCES, EPERM), no such family, a reset during the handshake
        _ => Failure::Unreachable,
    }
}

/// Whether the error says that the process or the box has run out of descriptors or memory.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether the kernel finds a route and a source address.
///
/// EADDRNOTAVAIL from connect(2) is ambiguous: no port is left, or no source address fits (every IPv6 destination
/// where IPv6 is switched off). Connecting a UDP socket sends nothing and needs no TCP port, so it tells them apart.
fn routable(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests;
