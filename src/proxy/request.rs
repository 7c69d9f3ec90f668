//! From the bytes of a head to a decision. The head is read against one deadline, in as much memory as has arrived.
//! A connection on which nothing has come is only waited on: it holds no memory, and ends when the gateway stops.

use std::future::poll_fn;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::guard::Moment;
use crate::http1::body::Body;
use crate::http1::head::{HeadError, HeadLimits, Request, Scan, Version};
use crate::http1::rewrite;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::accept::Arrival;
use crate::proxy::buffer::Buffer;
use crate::proxy::policy::{Destination, Verdict};
use crate::proxy::refuse::Reply;
use crate::proxy::shared::{Shared, Visitor, Worker};

/// Bytes asked of the kernel at once while a head is read: more would be body, which may wait.
const READ: usize = 16 * 1024;
/// Bytes of a request line kept for the logs.
const LINE: usize = 2048;

/// What remains of a head that is passed on: everything the way back needs to know.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) to: Destination,
    /// The head as the origin will get it; empty for CONNECT.
    pub(crate) forwarded: Vec<u8>,
    /// Length of the head in the buffer.
    pub(crate) head_length: usize,
    /// The request line, for the logs.
    pub(crate) line: Box<[u8]>,
    pub(crate) body: Body,
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    pub(crate) to_head: bool,
    /// May be sent a second time if a reused connection turns out to be closed (RFC 9110 section 9.2.2).
    pub(crate) repeatable: bool,
    /// The protocols it offers to switch to.
    pub(crate) upgrade: Option<Box<[u8]>>,
}

/// What to do with a request. Boxed, so that a connection that waits for one does not hold the room for it.
#[derive(Debug)]
pub(crate) enum Decision {
    Tunnel(Box<Asked>),
    Forward(Box<Asked>),
    /// Answer it ourselves.
    Refuse(Reply),
}

/// What can be known of a connection without waiting.
#[derive(Debug)]
pub(crate) enum Glance {
    /// A whole head had arrived.
    Decided(Decision),
    /// Nothing had, or a part.
    Open,
    /// The client has left.
    Gone,
}

/// Reads what has already arrived, past the reactor: it saves a refusal a turn, and mostly all of the reactor's work.
pub(crate) fn glance(arrival: &mut Arrival, buffer: &mut Buffer, worker: &Worker) -> Glance {
    let Arrival { stream, visitor, .. } = arrival;
    match buffer.fill(READ, |free| stream.read(free)) {
        Ok(n) if n > 0 => match Scan::request().advance(buffer.bytes(), head_limits(visitor)) {
            Ok(Some(length)) => Glance::Decided(decide(length, buffer, worker, visitor, || stream.local_addr().ok())),
            Ok(None) => Glance::Open,
            Err(error) => Glance::Decided(unreadable(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Glance::Open,
        _ => Glance::Gone,
    }
}

/// Waits for a request and reads its head. `first`: when the head of a connection's first one must be complete, of which a
/// glance has seen nothing or a part; later ones have the patience of a kept-alive connection, and a client that leaves
/// before one is complete has asked for nothing, and may still be reading the answer before.
pub(crate) async fn next(
    stream: &mut TcpStream,
    buffer: &mut Buffer,
    first: Option<Instant>,
    worker: &Worker,
    visitor: &Visitor,
) -> Result<Decision, ConnectionEnd> {
    let timeouts = &visitor.rules.settings.timeouts;
    // One clock for both waits: it is much of what an idle connection holds.
    let mut clock = pin!(sleep_until(first.unwrap_or_else(|| Instant::now() + timeouts.keep_alive)));
    // What some clients send behind a body does not begin another request (RFC 9112 section 2.2).
    if first.is_none() && buffer.bytes() == b"\r\n" {
        buffer.consume(2);
    }
    if buffer.is_empty() {
        let begun = tokio::select! {
            biased;
            read = read_until(stream, buffer, clock.as_mut()) => match read {
                Ok(n) if n > 0 => Ok(()),
                _ => Err(ConnectionEnd::Empty),
            },
            () = no_longer(worker, first.is_none()) => {
                // What the kernel has and the reactor has not told yet came before the end.
                let unheard = |free: &mut [u8]| Ok(recv(&*stream, free, RecvFlags::DONTWAIT)?.1);
                let come = buffer.fill(READ, unheard).is_ok_and(|n| n > 0);
                if come { Ok(()) } else { Err(ConnectionEnd::Drained) }
            }
        };
        begun.map_err(|end| if first.is_some() { end } else { ConnectionEnd::Served })?;
    }
    let mut head_timed = first.is_some();
    let limits = head_limits(visitor);
    let mut scan = Scan::request();
    loop {
        match scan.advance(buffer.bytes(), limits) {
            Ok(Some(length)) => return Ok(decide(length, buffer, worker, visitor, || stream.local_addr().ok())),
            Ok(None) if head_timed => {}
            Ok(None) => {
                head_timed = true;
                clock.as_mut().reset(Instant::now() + timeouts.head);
            }
            Err(error) => return Ok(unreadable(error)),
        }
        match read_until(stream, buffer, clock.as_mut()).await {
            Ok(n) if n > 0 => {}
            // Empty lines that came late: nobody has asked for anything, or expects an answer.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && first.is_none() && is_blank(buffer.bytes()) => {
                return Err(ConnectionEnd::Served);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Ok(incomplete(RequestEnd::HeadTimeout));
            }
            _ if first.is_some() => return Ok(incomplete(RequestEnd::ClientGone)),
            _ => return Err(ConnectionEnd::Served),
        }
    }
}

/// Waits until nothing more is to be waited for: the gateway stops or, on a kept connection, pressure has no more patience.
fn no_longer(worker: &Worker, kept: bool) -> impl Future<Output = ()> + Send {
    let Shared { drain, guard, .. } = &*worker.shared;
    // The first request of a connection has only just been expected.
    let since = if kept { guard.clock.now() } else { Moment::from_millis(u64::MAX) };
    drain.wait_until(move || {
        let patience = worker.shared.guard.pressure.relief().keep_alive;
        let tired = patience.is_some_and(|patience| worker.shared.guard.clock.now().since(since) > patience);
        (worker.shared.drain.begun() || tired).then_some(())
    })
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Reads what comes; [`io::ErrorKind::TimedOut`] when nothing has by then.
fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Buffer,
    mut clock: Pin<&mut Sleep>,
) -> impl Future<Output = io::Result<usize>> {
    poll_fn(move |cx| match buffer.poll_fill(cx, READ, stream) {
        Poll::Pending => clock.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        read @ Poll::Ready(_) => read,
    })
}

/// Understands a head and judges it. What is refused costs no allocation.
fn decide(
    length: usize,
    buffer: &Buffer,
    worker: &Worker,
    visitor: &Visitor,
    arrived_at: impl FnOnce() -> Option<SocketAddr>,
) -> Decision {
    let shared = &worker.shared;
    let bytes = buffer.bytes().get(..length).unwrap_or_default();
    let request = match Request::parse(bytes, head_limits(visitor)) {
        Ok(request) => request,
        Err(error) => return unreadable(error),
    };
    let refuse = |end| {
        let rest = buffer.len().saturating_sub(length) as u64;
        let whole = match request.body {
            Body::Empty => rest == 0,
            // `Content-Length: 0`, or a short body that came with its head: what a storm of POSTs looks like.
            Body::Length(body) => rest == body,
            Body::Chunked | Body::UntilClose => false,
        };
        Decision::Refuse(Reply { end, to_head: request.is_head(), whole })
    };
    if let Some(end) = visitor.request_limit() {
        return refuse(end);
    }
    let own = shared.own.load();
    let looped = shared.loops.leads_back(visitor.peer, arrived_at, |ip| own.owns(ip));
    match visitor.policy(&own, shared).judge(&request, looped) {
        Verdict::Tunnel(to) => Decision::Tunnel(Box::new(asked(&request, to, bytes, Vec::new()))),
        Verdict::Forward(to) => {
            let mut forwarded = Vec::with_capacity(length + 128);
            rewrite::request(&mut forwarded, &request, to.host_field().as_bytes(), &shared.via);
            Decision::Forward(Box::new(asked(&request, to, bytes, forwarded)))
        }
        Verdict::Answer => refuse(RequestEnd::AnsweredLocally),
        Verdict::Refuse(end) => refuse(end),
    }
}

/// What cannot be read has no known end: that nothing more was there is the best that can be said.
const fn unreadable(error: HeadError) -> Decision {
    Decision::Refuse(Reply { end: refusal(error), to_head: false, whole: true })
}

const fn incomplete(end: RequestEnd) -> Decision {
    Decision::Refuse(Reply { end, to_head: false, whole: false })
}

fn asked(request: &Request<'_>, to: Destination, head: &[u8], forwarded: Vec<u8>) -> Asked {
    Asked {
        to,
        forwarded,
        head_length: head.len(),
        line: line(head),
        body: request.body,
        version: request.version,
        keep_alive: request.keep_alive,
        to_head: request.is_head(),
        repeatable: request.is_idempotent() && request.body == Body::Empty,
        upgrade: request.upgrade.map(Box::from),
    }
}

/// The first line of a head, or of what should have been one.
pub(crate) fn line(bytes: &[u8]) -> Box<[u8]> {
    let begin = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let bytes = bytes.get(begin..).unwrap_or_default();
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    Box::from(bytes.get(..end.min(LINE)).unwrap_or_default())
}

pub(crate) fn head_limits(visitor: &Visitor) -> HeadLimits {
    let limits = &visitor.rules.settings.limits;
    HeadLimits { size: limits.head_size, target: limits.target_size, fields: limits.head_fields }
}

const fn refusal(error: HeadError) -> RequestEnd {
    match error {
        HeadError::Malformed(_) => RequestEnd::Malformed,
        HeadError::TargetTooLong => RequestEnd::TargetTooLong,
        HeadError::TooLarge => RequestEnd::HeadTooLarge,
        HeadError::VersionUnknown => RequestEnd::VersionUnknown,
        HeadError::CodingUnknown => RequestEnd::CodingUnknown,
        HeadError::ExpectationUnknown => RequestEnd::ExpectationFailed,
    }
}
