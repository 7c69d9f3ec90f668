//! From the bytes of a head to a decision. The head is read against one deadline, in as much memory as has arrived.
//! A connection on which nothing has come is only waited on: it holds no memory, and ends when the gateway stops.

use std::io::{self, Read};
use std::net::SocketAddr;

use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::http1::body::Body;
use crate::http1::head::{HeadError, HeadLimits, Request, Scan, Version};
use crate::http1::rewrite;
use crate::net::close;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::accept::Arrival;
use crate::proxy::buffer::Buffer;
use crate::proxy::policy::{Destination, Verdict};
use crate::proxy::shared::{Visitor, Worker};

/// Bytes asked of the kernel at once while a head is read: more would be body, which may wait.
const READ: usize = 16 * 1024;
/// Bytes of a request line kept for the logs.
const LINE: usize = 2048;

/// What remains of a head that is passed on: everything the way back needs to know.
#[derive(Debug)]
pub(crate) struct Asked {
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

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Decision {
    Tunnel(Asked, Destination),
    Forward(Asked, Destination),
    /// Answer it ourselves; without a body if the second says so (HEAD).
    Refuse(RequestEnd, bool),
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
            Err(error) => Glance::Decided(Decision::Refuse(refusal(error), false)),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Glance::Open,
        _ => Glance::Gone,
    }
}

/// Hands the socket to the reactor, and waits for what a glance has not seen of the first head.
pub(crate) async fn first(
    arrival: Arrival,
    seen: Glance,
    buffer: &mut Buffer,
    worker: &Worker,
) -> Result<(TcpStream, Decision), ConnectionEnd> {
    let Arrival { stream, visitor, deadline } = arrival;
    let stream = TcpStream::from_std(stream).map_err(|_| ConnectionEnd::Failed)?;
    if let Glance::Decided(decision) = seen {
        return Ok((stream, decision));
    }
    if buffer.is_empty()
        && let Err(end) = first_byte(&stream, buffer, deadline, worker).await
    {
        close::idle(stream, worker.shared.is_lean());
        return Err(end);
    }
    let decision = finish(&stream, buffer, deadline, worker, &visitor).await;
    Ok((stream, decision.unwrap_or(Decision::Refuse(RequestEnd::ClientGone, false))))
}

/// Waits for another request on a kept-alive connection, and reads its head. A client that leaves before that is complete has
/// asked for nothing, and may still be reading the answer before.
pub(crate) async fn next(
    stream: &TcpStream,
    buffer: &mut Buffer,
    worker: &Worker,
    visitor: &Visitor,
) -> Result<Decision, ConnectionEnd> {
    let timeouts = &visitor.rules.settings.timeouts;
    // What some clients send behind a body does not begin another request (RFC 9112 section 2.2).
    if buffer.bytes() == b"\r\n" {
        buffer.consume(2);
    }
    if buffer.is_empty() {
        let until = Instant::now() + timeouts.keep_alive;
        first_byte(stream, buffer, until, worker).await.map_err(|_| ConnectionEnd::Served)?;
    }
    finish(stream, buffer, Instant::now() + timeouts.head, worker, visitor).await.ok_or(ConnectionEnd::Served)
}

/// Waits until something has come; `Err` when the client closes, the time is up or the gateway stops.
async fn first_byte(
    stream: &TcpStream,
    buffer: &mut Buffer,
    until: Instant,
    worker: &Worker,
) -> Result<(), ConnectionEnd> {
    loop {
        match buffer.fill(READ, |free| stream.try_read(free)) {
            Ok(n) if n > 0 => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer.rest();
                tokio::select! {
                    biased;
                    ready = timeout_at(until, stream.readable()) => if ready.is_err() { return Err(ConnectionEnd::Empty) },
                    () = worker.shared.drain.wait() => {
                        // What the kernel has and the reactor has not told yet came before the end.
                        let unheard = |free: &mut [u8]| Ok(recv(stream, free, RecvFlags::DONTWAIT)?.1);
                        let come = buffer.fill(READ, unheard).is_ok_and(|n| n > 0);
                        return if come { Ok(()) } else { Err(ConnectionEnd::Drained) };
                    }
                }
            }
            _ => return Err(ConnectionEnd::Empty),
        }
    }
}

/// Reads on until the head, of which something has come, is complete, wrong or late; `None` if the client leaves before.
async fn finish(
    stream: &TcpStream,
    buffer: &mut Buffer,
    deadline: Instant,
    worker: &Worker,
    visitor: &Visitor,
) -> Option<Decision> {
    let limits = head_limits(visitor);
    let mut scan = Scan::request();
    loop {
        match scan.advance(buffer.bytes(), limits) {
            Ok(Some(length)) => return Some(decide(length, buffer, worker, visitor, || stream.local_addr().ok())),
            Ok(None) => {}
            Err(error) => return Some(Decision::Refuse(refusal(error), false)),
        }
        loop {
            match buffer.fill(READ, |free| stream.try_read(free)) {
                Ok(n) if n > 0 => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    buffer.rest();
                    if timeout_at(deadline, stream.readable()).await.is_err() {
                        return Some(Decision::Refuse(RequestEnd::HeadTimeout, false));
                    }
                }
                _ => return None,
            }
        }
    }
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
        Err(error) => return Decision::Refuse(refusal(error), false),
    };
    let to_head = request.is_head();
    if let Some(end) = visitor.request_limit() {
        return Decision::Refuse(end, to_head);
    }
    let own = shared.own.load();
    let looped = shared.loops.leads_back(visitor.peer, arrived_at, |ip| own.owns(ip));
    match visitor.policy(&own, shared).judge(&request, looped) {
        Verdict::Tunnel(to) => Decision::Tunnel(asked(&request, bytes, Vec::new()), to),
        Verdict::Forward(to) => {
            let mut forwarded = Vec::with_capacity(length + 128);
            rewrite::request(&mut forwarded, &request, to.host_field().as_bytes(), &shared.via);
            Decision::Forward(asked(&request, bytes, forwarded), to)
        }
        Verdict::Answer => Decision::Refuse(RequestEnd::AnsweredLocally, to_head),
        Verdict::Refuse(end) => Decision::Refuse(end, to_head),
    }
}

fn asked(request: &Request<'_>, head: &[u8], forwarded: Vec<u8>) -> Asked {
    Asked {
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
