//! Saying no: prebuilt bytes, one write, then the close that loses nothing and leaves nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;

use crate::guard::Manner;
use crate::net::{ClientKey, close};
use crate::outcome::{ConnectionEnd, Form, RequestEnd};
use crate::proxy::Next;
use crate::proxy::accept::Arrival;
use crate::proxy::buffer::Buffer;
use crate::proxy::hold::Held;
use crate::proxy::ledger::{ConnectionEntry, RequestEntry};
use crate::proxy::request;
use crate::proxy::shared::{Shared, Visitor, Worker};

/// Seconds a client is asked to stay away (RFC 9110 section 10.2.3); 0 would invite it back at once.
const RETRY_AFTER: u32 = 5;

/// Methods a client may use; others are passed on too, these are the registered ones that make sense here.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH";

/// Every answer of our own, ready to be sent.
#[derive(Debug)]
pub struct Answers(Vec<Answer>);

#[derive(Debug)]
struct Answer {
    status: u16,
    bytes: Box<[u8]>,
    /// Length of the head alone: what a HEAD request gets.
    head: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self(RequestEnd::ALL.iter().map(|end| Answer::build(*end)).collect())
    }
}

impl Answers {
    /// Status and bytes of the answer to this end; no bytes if it has none.
    pub fn of(&self, end: RequestEnd, to_head: bool) -> (u16, &[u8]) {
        self.0.get(end.index()).map_or((0, &[]), |answer| {
            let length = if to_head { answer.head } else { answer.bytes.len() };
            (answer.status, answer.bytes.get(..length).unwrap_or_default())
        })
    }
}

impl Answer {
    fn build(end: RequestEnd) -> Self {
        let row = end.row();
        let Some(status) = row.status else {
            return Self { status: 0, bytes: Box::default(), head: 0 };
        };
        let body = if row.text.is_empty() { String::new() } else { format!("{}\n", row.text) };
        let mut lines = vec![format!("HTTP/1.1 {status} {}", reason_phrase(status))];
        if !row.error.is_empty() {
            lines.push(format!("Proxy-Status: floodgate; error={}", row.error));
        }
        match status {
            // RFC 9110 section 15.5.6: 405 says what is allowed; the answer to OPTIONS does the same.
            200 | 405 => lines.push(format!("Allow: {METHODS}")),
            429 | 503 => lines.push(format!("Retry-After: {RETRY_AFTER}")),
            _ => {}
        }
        if !body.is_empty() {
            lines.push("Content-Type: text/plain; charset=utf-8".to_owned());
            lines.push("Cache-Control: no-store".to_owned());
        }
        lines.push(format!("Content-Length: {}", body.len()));
        lines.push("Connection: close\r\n\r\n".to_owned());
        let mut text = lines.join("\r\n");
        let head = text.len();
        text.push_str(&body);
        Self { status, bytes: text.into_bytes().into_boxed_slice(), head }
    }
}

const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// A request that goes nowhere, and what we say to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Why.
    pub(crate) end: RequestEnd,
    /// Without a body: it was HEAD.
    pub(crate) to_head: bool,
    /// As far as can be known, nothing more of the request is to come.
    pub(crate) whole: bool,
}

/// Replies in the manner the guard wants. `buffer` still begins with the request's head, or is empty if that is used up.
pub(crate) async fn answer(
    stream: TcpStream,
    reply: Reply,
    entry: RequestEntry,
    visitor: &Visitor,
    buffer: &mut Buffer,
) -> Next {
    let shared = Arc::clone(&entry.worker.shared);
    let (status, bytes) = shared.answers.of(reply.end, reply.to_head);
    let over = |entry: RequestEntry| {
        entry.end(reply.end);
        Next::Over(connection_end(reply.end))
    };
    if bytes.is_empty() {
        note(&entry, reply.end, Form::Dropped, buffer);
        close::abort(stream);
        return over(entry);
    }
    let manner = possible(visitor.manner(reply, &shared), || vanish(&stream, || stream.local_addr(), visitor, &shared));
    note(&entry, reply.end, form(&manner), buffer);
    match manner {
        Manner::Drop => {
            drop(stream);
            return over(entry);
        }
        // Waiting is done in one place, without a task and without the reactor.
        Manner::Hold(hold, late) => {
            return match stream.into_std() {
                Ok(stream) => Next::Held(Box::new(Held { stream, reply, entry, hold, late })),
                Err(_) => over(entry),
            };
        }
        Manner::Answer => {}
    }
    if write_now(&stream, bytes).await.is_ok() {
        entry.status(status);
        entry.sent(bytes.len());
    }
    let tracked = forgotten(&entry, reply.end, || stream.local_addr());
    close::after_answer(stream, close::SHORT_ANSWER, shared.is_lean()).await;
    forget(&entry, tracked);
    over(entry)
}

/// The same on a connection the reactor does not know, without waiting and without an allocation.
pub(crate) fn at_once(
    arrival: Arrival,
    connection: ConnectionEntry,
    reply: Reply,
    buffer: &mut Buffer,
    worker: &Arc<Worker>,
) {
    let Arrival { stream, visitor, .. } = arrival;
    let entry = RequestEntry::new(worker, &visitor);
    let vanish = || vanish(&stream, || stream.local_addr(), &visitor, &worker.shared);
    let manner = possible(visitor.manner(reply, &worker.shared), vanish);
    note(&entry, reply.end, form(&manner), buffer);
    match manner {
        Manner::Drop => {
            drop(stream);
            Refused { connection, request: entry, end: reply.end, tracked: None }.closed();
        }
        Manner::Hold(hold, late) => worker.holding.add(Held { stream, reply, entry, hold, late }, connection),
        Manner::Answer => say(stream, reply, entry, connection, worker),
    }
}

/// Prepares a socket so that nothing is left of it once it is closed: neither with us nor in connection tracking, which would
/// take it for established for days. False if that is not permitted any more.
fn vanish(
    stream: &impl AsFd,
    ours: impl FnOnce() -> io::Result<SocketAddr>,
    visitor: &Visitor,
    shared: &Shared,
) -> bool {
    let vanishes = close::vanishes(stream).is_ok();
    if vanishes
        && let Some(ours) = tracked(shared, ours)
        && let Some(forgetter) = &shared.forgetter
    {
        forgetter.forget(visitor.peer, ours);
    }
    vanishes
}

/// Answers a connection the reactor does not know: one small segment always fits into a socket that has sent nothing, and
/// the worker waits for the client's FIN together with all the others'.
pub(super) fn say(
    stream: std::net::TcpStream,
    reply: Reply,
    entry: RequestEntry,
    connection: ConnectionEntry,
    worker: &Arc<Worker>,
) {
    let (status, bytes) = worker.shared.answers.of(reply.end, reply.to_head);
    if send(&stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok_and(|sent| sent == bytes.len()) {
        entry.status(status);
        entry.sent(bytes.len());
    }
    let tracked = forgotten(&entry, reply.end, || stream.local_addr());
    worker.lingering.add(stream, Refused { connection, request: entry, end: reply.end, tracked });
}

/// Our side of an answered connection if connection tracking is to forget it: it would remember it for two minutes, and of a
/// client that comes back at once that is the table. Who asks for this box is taken for one from the first time on.
fn forgotten(
    entry: &RequestEntry,
    end: RequestEnd,
    ours: impl FnOnce() -> io::Result<SocketAddr>,
) -> Option<SocketAddr> {
    let shared = &entry.worker.shared;
    let storms = end == RequestEnd::SelfTarget || entry.client().is_suspect(shared.guard.clock.now());
    if storms { tracked(shared, ours) } else { None }
}

/// Has it forgotten, now that it is closed.
fn forget(entry: &RequestEntry, tracked: Option<SocketAddr>) {
    if let Some(ours) = tracked
        && let Some(forgetter) = &entry.worker.shared.forgetter
    {
        forgetter.forget_closed(entry.peer(), ours);
    }
}

/// Our side of a connection that may be in connection tracking.
fn tracked(shared: &Shared, ours: impl FnOnce() -> io::Result<SocketAddr>) -> Option<SocketAddr> {
    let awake = shared.forgetter.as_ref().is_some_and(|forgetter| !forgetter.is_asleep());
    if awake { ours().ok() } else { None }
}

/// A refusal that is through but for its close: in the books as soon as its connection is closed.
#[derive(Debug)]
pub struct Refused {
    pub(super) connection: ConnectionEntry,
    pub(super) request: RequestEntry,
    pub(super) end: RequestEnd,
    /// Our side, if connection tracking is to forget it.
    pub(super) tracked: Option<SocketAddr>,
}

impl Refused {
    /// The connection is closed.
    pub(crate) fn closed(self) {
        forget(&self.request, self.tracked);
        self.request.end(self.end);
        self.connection.end(connection_end(self.end));
    }
}

/// Where silence cannot be had, the client is answered.
fn possible(manner: Manner, vanish: impl FnOnce() -> bool) -> Manner {
    match manner {
        Manner::Drop if !vanish() => Manner::Answer,
        manner @ (Manner::Answer | Manner::Drop | Manner::Hold(..)) => manner,
    }
}

const fn form(manner: &Manner) -> Form {
    match manner {
        Manner::Answer => Form::Answered,
        Manner::Drop => Form::Dropped,
        Manner::Hold(..) => Form::Held,
    }
}

/// Charges the client, while its request line can still be read, and forgets the request.
fn note(entry: &RequestEntry, end: RequestEnd, form: Form, buffer: &mut Buffer) {
    if end.row().reason.is_some() {
        let peer = entry.peer().ip();
        let line = entry.take_line();
        let sample = || line.unwrap_or_else(|| request::line(buffer.bytes()));
        entry.worker.shared.refusals.note(ClientKey::new(peer), peer, end, form, sample);
    }
    entry.received(buffer.len());
    buffer.consume(usize::MAX);
    buffer.rest();
}

const fn connection_end(end: RequestEnd) -> ConnectionEnd {
    let row = end.row();
    match (row.status, row.reason) {
        (None, _) => ConnectionEnd::Failed,
        (Some(_), Some(_)) => ConnectionEnd::Refused,
        (Some(_), None) => ConnectionEnd::Served,
    }
}

/// Writes a short message. The first attempt does not ask the reactor, which does not know yet that a new socket is writable.
pub(crate) async fn write_now(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let mut attempt = send(stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map_err(io::Error::from);
    loop {
        match attempt {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let patience = std::time::Duration::from_secs(1);
                tokio::time::timeout(patience, stream.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
            Err(error) => return Err(error),
        }
        if bytes.is_empty() {
            return Ok(());
        }
        attempt = stream.try_write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Answers;
    use crate::outcome::RequestEnd;

    #[test]
    fn every_answer_is_framed_by_its_length_and_closes() {
        let answers = Answers::default();
        for end in RequestEnd::ALL {
            let (status, bytes) = answers.of(*end, false);
            assert_eq!(end.row().status.unwrap_or(0), status);
            if status == 0 {
                assert!(bytes.is_empty());
                continue;
            }
            let text = std::str::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && !head.contains(" Error\r"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("\r\nConnection: close"), "{head}");
            assert_eq!(head.contains("Retry-After: 5"), matches!(status, 429 | 503));
            assert_eq!(answers.of(*end, true).1.len(), head.len() + 4, "HEAD gets no body");
            assert!(bytes.len() < 400, "a refusal is one small segment");
        }
    }
}
