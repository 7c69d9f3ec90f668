//! The close: the only place where a connection to a client ends after an answer.
//!
//! A close can lose the answer (unread input turns it into a reset, RFC 9112 section 9.6), leave an orphan for 107 s
//! (the client vanished) or leave a `TIME_WAIT` (we closed first). Waiting for the client's FIN while discarding what it
//! still sends avoids all three; a client that reads to the end of the stream is made to wait 200 ms for it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpRepair;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::kernel::sys;

/// How long a silent client may keep us from closing.
const QUIET: Duration = Duration::from_millis(200);
/// How long a client that goes on sending may.
const SENDING: Duration = Duration::from_secs(1);
/// How much of it is read and thrown away.
const DISCARDED: usize = 1024 * 1024;
/// How much of it at a time, so that others get their turn.
const AT_ONCE: usize = 64 * 1024;
/// How long the kernel may try to deliver an answer of ours, one segment, to a client that has vanished.
pub const SHORT_ANSWER: Duration = Duration::from_secs(5);
/// The same for the rest of an origin's answer or of a tunnel, which a slow reader may still be busy with.
pub const LONG_ANSWER: Duration = Duration::from_secs(30);

/// Closes after an answer that carried its length and `Connection: close`.
///
/// `delivery` bounds how long the kernel goes on with a client that acknowledges nothing more: by default that would be
/// 107 s of an orphan. `lean`: the kernel has no `TIME_WAIT` places to spare; then a client that did not close first gets a
/// reset after it has acknowledged everything, instead of costing one.
pub async fn after_answer(stream: TcpStream, delivery: Duration, lean: bool) {
    let mut wait = FinWait::new(Instant::now());
    while let Some(until) = wait.look(Instant::now(), |scrap| stream.try_read(scrap)) {
        timeout_at(until, stream.ready(Interest::READABLE)).await.map(drop).unwrap_or_default();
    }
    wait.release(stream, delivery, lean);
}

/// Waiting for a client's FIN, within limits.
#[derive(Debug)]
pub(super) struct FinWait {
    begun: Instant,
    quiet_until: Instant,
    discarded: usize,
    /// The client has closed: closing now leaves nothing.
    closed: bool,
}

impl FinWait {
    pub(super) fn new(begun: Instant) -> Self {
        Self { begun, quiet_until: begun + QUIET, discarded: 0, closed: false }
    }

    /// Discards what has come. `Some` is until when to wait for more, `None` the end of the wait.
    pub(super) fn look(
        &mut self,
        now: Instant,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Option<Instant> {
        let most = self.discarded + AT_ONCE;
        loop {
            match read(&mut [0; 1024]) {
                Ok(n @ 1..) => {
                    self.discarded += n;
                    self.quiet_until = (now + QUIET).min(self.begun + SENDING);
                    if self.discarded > DISCARDED || now >= self.quiet_until {
                        return None;
                    }
                    if self.discarded >= most {
                        return Some(self.quiet_until);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return (now < self.quiet_until).then_some(self.quiet_until);
                }
                Ok(0) | Err(_) => {
                    self.closed = true;
                    return None;
                }
            }
        }
    }

    /// Closes. What is left to do for a client that has not closed is the kernel's, for as long as it is told:
    /// RFC 5482's user timeout applies to orphans.
    pub(super) fn release(self, stream: impl AsFd, delivery: Duration, lean: bool) {
        if !self.closed {
            socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(delivery)).unwrap_or_default();
            if lean {
                sys::skip_fin_wait2(&stream).unwrap_or_default();
            }
        }
        drop(stream);
    }
}

/// Closes a connection on which nothing runs. `lean` as in [`after_answer`].
pub fn idle(stream: TcpStream, lean: bool) {
    if lean {
        sys::skip_fin_wait2(&stream).unwrap_or_default();
    }
    drop(stream);
}

/// Ends a connection that has nothing more to say to its peer, who may still be reading.
pub fn finished(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(LONG_ANSWER)).unwrap_or_default();
    drop(stream);
}

/// Closes so that the peer sees a failure and nothing is left in the kernel: a reset.
///
/// For exchanges that broke half-way (the peer must not take the part for the whole), and for upstreams we are done with:
/// closing those first in the ordinary way would cost a `TIME_WAIT` and a local port for 60 s each.
pub fn abort(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap_or_default();
    drop(stream);
}

/// Makes a socket one that vanishes when it is closed: no FIN, no reset, nothing left of it (`tcp_close` and
/// `tcp_disconnect` in the kernel, for a socket under `TCP_REPAIR`). Its client goes on waiting, until its own time-out.
///
/// What has come is acknowledged first: otherwise the client would send it again and meet the reset of a port where no such
/// connection exists. For the same reason nothing more may be on its way.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over the network namespace.
pub fn vanishes(stream: &impl AsFd) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_quickack(true)?;
    Ok(setsockopt(stream, TcpRepair, &1)?)
}

/// Whether [`vanishes`] is permitted, tried on a socket that is connected to nothing.
pub fn may_vanish() -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    socket.is_ok_and(|socket| vanishes(&socket).is_ok())
}

/// Closes without an answer: the client sees an ordinary end, and neither `FIN_WAIT2` nor `TIME_WAIT` remains with us.
pub fn unanswered(mut stream: std::net::TcpStream) {
    // Unread input would turn the end into a reset, and nothing makes a storm come back faster.
    stream.read(&mut [0; 16 * 1024]).unwrap_or_default();
    sys::skip_fin_wait2(&stream).unwrap_or_default();
    drop(stream);
}
