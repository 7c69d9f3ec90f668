//! One clock for everything that moves in an exchange or a tunnel, whatever the direction.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

/// When something last moved, in milliseconds since it was made.
#[derive(Debug)]
pub(crate) struct Activity {
    made: Instant,
    last: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { made: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(crate) fn touch(&self) {
        self.last.store(u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long nothing has moved.
    pub(crate) fn idle(&self) -> Duration {
        self.made.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)))
    }

    /// Waits for a socket for as long as anything moves; [`io::ErrorKind::TimedOut`] when nothing has for `limit`.
    pub(crate) async fn wait(&self, limit: Duration, socket: &TcpStream, interest: Interest) -> io::Result<()> {
        loop {
            let left = limit.saturating_sub(self.idle());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Ok(ready) = timeout(left, socket.ready(interest)).await {
                return ready.map(drop);
            }
        }
    }
}

/// Reads what has come. A read that leaves room has emptied the socket: the reactor is told, so that the next attempt waits
/// for an event instead of asking the kernel in vain. Nothing is missed: what comes later, an end too, is a new event
/// (epoll(7), questions and answers: a short read of a stream says as much as `EAGAIN`), but what lay behind urgent data,
/// where a read stops too: that waits for the next bytes.
pub(crate) fn read(stream: &TcpStream, free: &mut [u8]) -> io::Result<usize> {
    let n = stream.try_read(free)?;
    if 0 < n && n < free.len() {
        let emptied = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        stream.try_io(Interest::READABLE, emptied).unwrap_or_default();
    }
    Ok(n)
}

/// Bytes a connection may move before the others of its worker get their turn.
const TURN: u32 = 512 * 1024;

/// One connection's share of its worker.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    moved: u32,
}

impl Turn {
    /// Charges bytes; lets the others pass when the turn is over.
    pub(crate) async fn moved(&mut self, bytes: usize) {
        if self.is_over(bytes) {
            yield_now().await;
        }
    }

    /// The same for what is polled: pending, once, when the turn is over.
    pub(crate) fn poll_moved(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if self.is_over(bytes) { pin!(yield_now()).poll(cx) } else { Poll::Ready(()) }
    }

    fn is_over(&mut self, bytes: usize) -> bool {
        self.moved = self.moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let over = self.moved >= TURN;
        if over {
            self.moved = 0;
        }
        over
    }
}
