//! CONNECT and upgrades: bytes both ways, one clock, nothing held while idle.

use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::config::settings::Timeouts;
use crate::net::close;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::activity::{Activity, Turn};
use crate::proxy::buffer::{BLOCK, Buffer, SMALL_READ};
use crate::proxy::connect::{self, Upstream};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::policy::Destination;
use crate::proxy::request::Asked;
use crate::proxy::shared::{Shared, Visitor};
use crate::proxy::{Next, Stop};
use crate::proxy::{presence, refuse};

/// RFC 9110 section 9.3.6: no Content-Length, no Transfer-Encoding; what follows is the tunnel.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Two connections whose bytes belong to each other.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: TcpStream,
    upstream: Upstream,
    early: Buffer,
    first_answer: Buffer,
    idle: Duration,
    half_closed: Duration,
    entry: RequestEntry,
    end: RequestEnd,
}

/// CONNECT: 200 only when the upstream connection stands. What the client sent early is kept, and never parsed:
/// if there is no tunnel, the connection is closed over it.
pub(crate) async fn open(
    client: TcpStream,
    asked: Asked,
    to: Destination,
    entry: RequestEntry,
    visitor: &Visitor,
    buffer: &mut Buffer,
) -> Next {
    entry.line(asked.line);
    entry.received(asked.head_length);
    buffer.consume(asked.head_length);
    buffer.rest();
    let shared = Arc::clone(&entry.worker.shared);
    let upstream = match presence::unless_left(&client, buffer, connect::open(&to, &shared, visitor)).await {
        Some(Ok((upstream, took))) => {
            entry.upstream(upstream.address(), Some(took));
            upstream
        }
        Some(Err(end)) => return refuse::answer(client, end, false, entry, buffer).await,
        None => return refuse::answer(client, RequestEnd::ClientGone, false, entry, buffer).await,
    };
    if refuse::write_now(&client, ESTABLISHED).await.is_err() {
        upstream.abort();
        entry.end(RequestEnd::ClientGone);
        return Next::Stop(Stop::Over(ConnectionEnd::Failed));
    }
    entry.status(200);
    entry.sent(ESTABLISHED.len());
    entry.received(buffer.len());
    let (early, timeouts) = (std::mem::take(buffer), &visitor.rules.settings.timeouts);
    let buffers = [early, Buffer::default()];
    Next::Stop(Stop::Carry(Tunnel::new(client, upstream, buffers, timeouts, entry, RequestEnd::Tunneled)))
}

/// Counts a tunnel as open while it lives.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn count(shared: &'a Shared) -> Self {
        shared.counters.tunnels_open.fetch_add(1, Relaxed);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters.tunnels_open.fetch_sub(1, Relaxed);
    }
}

/// Why one direction ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PumpEnd {
    /// The sender closed its side, and the receiver has been told.
    Finished,
    /// The client's connection failed.
    ClientBroken,
    /// The upstream's connection failed.
    UpstreamBroken,
}

impl Tunnel {
    /// `early`: bytes the client sent behind its head. `first_answer`: bytes the upstream sent behind its 101. `end`: how
    /// the request is booked when the tunnel ends well.
    pub(crate) fn new(
        client: TcpStream,
        upstream: Upstream,
        [early, first_answer]: [Buffer; 2],
        timeouts: &Timeouts,
        entry: RequestEntry,
        end: RequestEnd,
    ) -> Box<Self> {
        let (idle, half_closed) = (timeouts.tunnel_idle, timeouts.half_closed);
        Box::new(Self { client, upstream, early, first_answer, idle, half_closed, entry, end })
    }

    /// Carries bytes until it ends, and books how. Boxed and split in two, so that a tunnel that stands for hours holds
    /// each of its parts once.
    pub(crate) async fn carry(mut self: Box<Self>) {
        let buffers = [std::mem::take(&mut self.early), std::mem::take(&mut self.first_answer)];
        let end = self.run(buffers).await;
        let Self { client, upstream, entry, .. } = *self;
        if end == self.end {
            close::finished(client);
        } else {
            // The side that is still whole must not take a cut stream for a finished one.
            upstream.abort();
            close::abort(client);
        }
        entry.end(end);
    }

    /// Until both sides have closed, one fails, or nothing moves for too long.
    async fn run(&self, [early, first_answer]: [Buffer; 2]) -> RequestEnd {
        let Self { client, upstream, idle, half_closed, entry, .. } = self;
        let _open = Open::count(&entry.worker.shared);
        let activity = Activity::new();
        let mut there = pin!(pump(client, &upstream.stream, early, Way::There, entry, &activity));
        let mut back = pin!(pump(&upstream.stream, client, first_answer, Way::Back, entry, &activity));
        let mut clock = pin!(sleep(*idle));
        let mut cut = pin!(entry.worker.shared.drain.wait_for_cut());
        let (mut there_open, mut back_open) = (true, true);
        loop {
            let ended = tokio::select! {
                ended = &mut there, if there_open => { there_open = false; ended }
                ended = &mut back, if back_open => { back_open = false; ended }
                () = &mut clock => {
                    let limit = if there_open && back_open { *idle } else { *half_closed.min(idle) };
                    let left = limit.saturating_sub(activity.idle());
                    if left.is_zero() {
                        return RequestEnd::Stalled;
                    }
                    clock.as_mut().reset(Instant::now() + left);
                    continue;
                }
                () = &mut cut => return RequestEnd::Drained,
            };
            match ended {
                PumpEnd::ClientBroken => return RequestEnd::ClientGone,
                PumpEnd::UpstreamBroken => return RequestEnd::UpstreamTruncated,
                PumpEnd::Finished if !there_open && !back_open => return self.end,
                PumpEnd::Finished => clock.as_mut().reset(Instant::now() + *half_closed.min(idle)),
            }
        }
    }
}

/// The direction a pump works in.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// From the client to the upstream.
    There,
    /// From the upstream to the client.
    Back,
}

impl Way {
    fn read(self, entry: &RequestEntry, bytes: usize) {
        match self {
            Self::There => entry.received(bytes),
            Self::Back => entry.fetched(bytes),
        }
    }

    fn wrote(self, entry: &RequestEntry, bytes: usize) {
        match self {
            Self::There => entry.passed_on(bytes),
            Self::Back => entry.sent(bytes),
        }
    }

    const fn reader_broken(self) -> PumpEnd {
        match self {
            Self::There => PumpEnd::ClientBroken,
            Self::Back => PumpEnd::UpstreamBroken,
        }
    }

    const fn writer_broken(self) -> PumpEnd {
        match self {
            Self::There => PumpEnd::UpstreamBroken,
            Self::Back => PumpEnd::ClientBroken,
        }
    }
}

/// One direction: read what is there, write it, and hold nothing while there is nothing.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    mut pending: Buffer,
    way: Way,
    entry: &RequestEntry,
    activity: &Activity,
) -> PumpEnd {
    let (mut most, mut turn) = (SMALL_READ, Turn::default());
    loop {
        while !pending.is_empty() {
            match to.try_write(pending.bytes()) {
                Ok(n) => {
                    pending.consume(n);
                    way.wrote(entry, n);
                    activity.touch();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A slow reader: what we hold for it stays small from here on.
                    most = SMALL_READ;
                    pending.rest();
                    if to.writable().await.is_err() {
                        return way.writer_broken();
                    }
                }
                Err(_) => return way.writer_broken(),
            }
        }
        match pending.fill(most, |free| from.try_read(free)) {
            Ok(0) => {
                let told = socket2::SockRef::from(to).shutdown(Shutdown::Write);
                return if told.is_ok() { PumpEnd::Finished } else { way.writer_broken() };
            }
            Ok(n) => {
                way.read(entry, n);
                if n == most {
                    most = (most * 2).min(BLOCK);
                }
                turn.moved(n).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pending.rest();
                if from.readable().await.is_err() {
                    return way.reader_broken();
                }
            }
            Err(_) => return way.reader_broken(),
        }
    }
}
