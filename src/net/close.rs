//! The close: the only place where a connection to a client ends after an answer.
//!
//! A close can lose the answer (unread input turns it into a reset, RFC 9112 section 9.6), leave an orphan for 107 s
//! (the client vanished) or leave a `TIME_WAIT` (we closed first). Waiting for the client's FIN while discarding what it
//! still sends avoids all three; a client that reads to the end of the stream is made to wait 200 ms for it.

use std::io::{self, Read};
use std::time::Duration;

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
/// How long the kernel may try to deliver an answer of ours, one segment, to a client that has vanished.
pub const SHORT_ANSWER: Duration = Duration::from_secs(5);
/// The same for the rest of an origin's answer or of a tunnel, which a slow reader may still be busy with.
pub const LONG_ANSWER: Duration = Duration::from_secs(30);

/// Closes after an answer that carried its length and `Connection: close`.
///
/// `delivery` bounds how long the kernel goes on with a client that acknowledges nothing more: by default that would be
/// 107 s of an orphan. `lean`: the kernel has no `TIME_WAIT` places to spare; then a client that did not close first gets a reset after it
/// has acknowledged everything, instead of costing one.
pub async fn after_answer(stream: TcpStream, delivery: Duration, lean: bool) {
    if fin_within_limits(&stream).await {
        return;
    }
    // From here the kernel delivers on its own, for as long as it is told: RFC 5482's user timeout applies to orphans.
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(delivery)).unwrap_or_default();
    if lean {
        sys::skip_fin_wait2(&stream).unwrap_or_default();
    }
}

/// Waits for the client's FIN, discarding. False when a limit ended the wait.
async fn fin_within_limits(stream: &TcpStream) -> bool {
    let mut discarded = 0;
    let begun = Instant::now();
    let mut quiet_until = begun + QUIET;
    loop {
        match discard(stream) {
            Ok(0) => return true,
            Ok(n) => {
                discarded += n;
                if discarded > DISCARDED {
                    return false;
                }
                quiet_until = (Instant::now() + QUIET).min(begun + SENDING);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let wait = timeout_at(quiet_until, stream.ready(Interest::READABLE));
                if wait.await.is_err() {
                    return false;
                }
            }
            Err(_) => return true,
        }
    }
}

/// Reads into nothing. Not inline: the scrap would live in every waiting connection's future.
fn discard(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 4096])
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

/// Closes without an answer: the client sees an ordinary end, and neither `FIN_WAIT2` nor `TIME_WAIT` remains with us.
pub fn unanswered(mut stream: std::net::TcpStream) {
    // Unread input would turn the end into a reset, and nothing makes a storm come back faster.
    stream.read(&mut [0; 16 * 1024]).unwrap_or_default();
    sys::skip_fin_wait2(&stream).unwrap_or_default();
    drop(stream);
}
