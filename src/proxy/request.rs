//! From the bytes of a head to a decision. The head is read against one deadline, in as much memory as has arrived.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::http1::body::Body;
use crate::http1::head::{HeadError, HeadLimits, Request, Scan, Version};
use crate::http1::rewrite;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::accept::Arrival;
use crate::proxy::buffer::Buffer;
use crate::proxy::policy::{Destination, Verdict};
use crate::proxy::shared::{Visitor, Worker};

/// Bytes asked of the kernel at once while a head is read: more would be body, which may wait.
const READ: usize = 16 * 1024;
/// Bytes of a request line kept for the logs.
const LINE: usize = 2048;

/// What came instead of silence.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    /// The first so many bytes of the buffer are a head.
    Complete(usize),
    /// It is to be refused without being understood.
    Unreadable(RequestEnd),
}

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
    Answer { to_head: bool },
    Refuse(RequestEnd, bool),
}

/// Reads the first head. What has already arrived is read before the reactor knows the socket: it saves a refusal a turn.
pub(crate) async fn first(arrival: Arrival, buffer: &mut Buffer) -> Result<(TcpStream, Head), ConnectionEnd> {
    let Arrival { stream: mut socket, visitor, deadline } = arrival;
    let limits = head_limits(&visitor);
    let mut scan = Scan::request();
    let mut ended = false;
    let found = match buffer.fill(READ, |free| socket.read(free)) {
        Ok(0) => return Err(ConnectionEnd::Empty),
        Ok(_) => scan.advance(buffer.bytes(), limits),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(_) => {
            ended = true;
            Ok(None)
        }
    };
    if ended {
        return Err(ConnectionEnd::Empty);
    }
    let stream = TcpStream::from_std(socket).map_err(|_| ConnectionEnd::Failed)?;
    let head = match found {
        Ok(Some(length)) => Head::Complete(length),
        Ok(None) => finish(&stream, buffer, scan, limits, deadline).await?,
        Err(error) => Head::Unreadable(refusal(error)),
    };
    Ok((stream, head))
}

/// Waits for another request on a kept-alive connection, and reads its head.
pub(crate) async fn next(
    stream: &TcpStream,
    buffer: &mut Buffer,
    worker: &Arc<Worker>,
    visitor: &Visitor,
) -> Result<Head, ConnectionEnd> {
    let limits = head_limits(visitor);
    let timeouts = &visitor.rules.settings.timeouts;
    let mut scan = Scan::request();
    if buffer.is_empty() {
        buffer.rest();
        let idle = timeout_at(Instant::now() + timeouts.keep_alive, stream.readable());
        tokio::select! {
            biased;
            ready = idle => if ready.is_err() { return Err(ConnectionEnd::Served) },
            () = worker.shared.drain.wait() => return Err(ConnectionEnd::Served),
        }
    } else {
        match scan.advance(buffer.bytes(), limits) {
            Ok(Some(length)) => return Ok(Head::Complete(length)),
            Ok(None) => {}
            Err(error) => return Ok(Head::Unreadable(refusal(error))),
        }
    }
    match finish(stream, buffer, scan, limits, Instant::now() + timeouts.head).await {
        Err(ConnectionEnd::Empty) => Err(ConnectionEnd::Served),
        other => other,
    }
}

/// Reads on until the head is complete, wrong or late.
async fn finish(
    stream: &TcpStream,
    buffer: &mut Buffer,
    mut scan: Scan,
    limits: HeadLimits,
    deadline: Instant,
) -> Result<Head, ConnectionEnd> {
    loop {
        match buffer.fill(READ, |free| stream.try_read(free)) {
            Ok(0) if buffer.is_empty() => return Err(ConnectionEnd::Empty),
            Ok(0) => return Ok(Head::Unreadable(RequestEnd::ClientGone)),
            Ok(_) => match scan.advance(buffer.bytes(), limits) {
                Ok(Some(length)) => return Ok(Head::Complete(length)),
                Ok(None) => {}
                Err(error) => return Ok(Head::Unreadable(refusal(error))),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer.rest();
                if timeout_at(deadline, stream.readable()).await.is_err() {
                    // RFC 9110 section 15.5.9; a client that sent nothing (a browser's spare connection) is just closed.
                    let silent = buffer.is_empty();
                    return if silent {
                        Err(ConnectionEnd::Empty)
                    } else {
                        Ok(Head::Unreadable(RequestEnd::HeadTimeout))
                    };
                }
            }
            Err(_) if buffer.is_empty() => return Err(ConnectionEnd::Empty),
            Err(_) => return Ok(Head::Unreadable(RequestEnd::ClientGone)),
        }
    }
}

/// Understands a head and judges it. What is refused costs no allocation.
pub(crate) fn decide(
    head: Head,
    stream: &TcpStream,
    buffer: &Buffer,
    worker: &Arc<Worker>,
    visitor: &Visitor,
) -> Decision {
    let shared = &worker.shared;
    let length = match head {
        Head::Complete(length) => length,
        Head::Unreadable(end) => return Decision::Refuse(end, false),
    };
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
    let arrived_at = || stream.local_addr().ok();
    let looped = shared.loops.leads_back(visitor.peer, arrived_at, |ip| own.owns(ip));
    let verdict = visitor.policy(&own, shared).judge(&request, looped);
    match verdict {
        Verdict::Tunnel(to) => Decision::Tunnel(asked(&request, bytes, Vec::new()), to),
        Verdict::Forward(to) => {
            let mut forwarded = Vec::with_capacity(length + 128);
            rewrite::request(&mut forwarded, &request, to.host_field().as_bytes(), &shared.via);
            Decision::Forward(asked(&request, bytes, forwarded), to)
        }
        Verdict::Answer => Decision::Answer { to_head },
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
