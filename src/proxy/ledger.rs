//! One outcome per connection and per request: opened where it begins, closed where it ends, counted once.
//!
//! An entry that is dropped without an end was cut off: by a panic, or because the process stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::guard::{Client, Seat};
use crate::outcome::{ConnectionEnd, Form, RequestEnd};
use crate::proxy::policy::Destination;
use crate::proxy::shared::{Visitor, Worker};
use crate::telemetry::access_log::{Record, UpstreamRecord};
use crate::telemetry::counters::{Counters, Direction};
use crate::telemetry::errors;

/// An accepted connection in the books.
#[derive(Debug)]
pub(crate) struct ConnectionEntry {
    worker: Arc<Worker>,
    /// Its place in the client book, given back with the entry.
    seat: Option<Seat>,
    ended: bool,
}

impl ConnectionEntry {
    /// Counts an accepted connection.
    pub(crate) fn new(worker: &Arc<Worker>, listener: usize) -> Self {
        let counters = &worker.shared.counters;
        if let Some((_, accepted)) = counters.connections.get(listener) {
            accepted.fetch_add(1, Relaxed);
        }
        counters.connections_open.fetch_add(1, Relaxed);
        Self { worker: Arc::clone(worker), seat: None, ended: false }
    }

    pub(crate) fn sit(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// Its first request is complete, or refused.
    pub(crate) fn heard(&mut self) {
        self.seat.iter_mut().for_each(Seat::heard);
    }

    pub(crate) fn end(mut self, end: ConnectionEnd) {
        self.close(end);
    }

    fn close(&mut self, end: ConnectionEnd) {
        let counters = &self.worker.shared.counters;
        counters.connection_ends.add(end.index(), 1);
        counters.connections_open.fetch_sub(1, Relaxed);
        self.ended = true;
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        if !self.ended {
            let panicked = std::thread::panicking();
            self.close(if panicked { ConnectionEnd::Panicked } else { ConnectionEnd::Drained });
            if panicked {
                self.worker.shared.counters.panics.fetch_add(1, Relaxed);
            }
        }
    }
}

/// A request in the books.
#[derive(Debug)]
pub(crate) struct RequestEntry {
    pub(crate) worker: Arc<Worker>,
    client: Arc<Client>,
    peer: SocketAddr,
    begun: Instant,
    /// The status the client was sent; 0 before.
    status: AtomicU16,
    from_client: AtomicU64,
    to_client: AtomicU64,
    /// What only the access log wants; a lock because both directions of an exchange write, never at the same time.
    note: Mutex<Option<Box<Note>>>,
    /// Its answer was late on purpose.
    held: bool,
    /// Its upstream has taken long to answer, which was noted.
    slow: AtomicBool,
    ended: bool,
}

#[derive(Debug)]
struct Note {
    at: SystemTime,
    line: Box<[u8]>,
    upstream: Option<UpstreamRecord>,
}

impl RequestEntry {
    /// Counts a request.
    pub(crate) fn new(worker: &Arc<Worker>, visitor: &Visitor) -> Self {
        worker.shared.counters.requests.fetch_add(1, Relaxed);
        visitor.client.asked();
        Self {
            worker: Arc::clone(worker),
            client: Arc::clone(&visitor.client),
            peer: visitor.peer,
            begun: Instant::now(),
            status: AtomicU16::new(0),
            from_client: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            note: Mutex::new(None),
            held: false,
            slow: AtomicBool::new(false),
            ended: false,
        }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Who asks.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn counters(&self) -> &Counters {
        &self.worker.shared.counters
    }

    /// The request line, for the access log.
    pub(crate) fn line(&self, line: Box<[u8]>) {
        *self.note.lock() = Some(Box::new(Note { at: SystemTime::now(), line, upstream: None }));
    }

    /// Takes the line back: a refusal is aggregated, and gets no line of its own.
    pub(crate) fn take_line(&self) -> Option<Box<[u8]>> {
        self.note.lock().take().map(|note| note.line)
    }

    /// The status the client is being sent. What is answered cannot be refused any more: only an access log still wants
    /// the note.
    pub(crate) fn status(&self, status: u16) {
        self.status.store(status, Relaxed);
        if !self.worker.shared.access.is_on() {
            *self.note.lock() = None;
        }
    }

    /// Whether the client has seen the beginning of a final answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.status.load(Relaxed) != 0
    }

    /// Its answer is held back; its client may not wait for it.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// The upstream that serves it; `connect` is `None` for one that was reused.
    pub(crate) fn upstream(&self, address: SocketAddr, connect: Option<Duration>) {
        if let Some(note) = &mut *self.note.lock() {
            note.upstream = Some(UpstreamRecord { address, status: None, connect, response: None });
        }
    }

    /// The upstream's final answer has begun.
    pub(crate) fn upstream_answered(&self, status: u16) {
        let waited = self.begun.elapsed();
        if let Some(upstream) = self.note.lock().as_mut().and_then(|note| note.upstream.as_mut()) {
            upstream.status = Some(status);
            upstream.response = Some(waited);
        }
    }

    /// It has failed at its destination: counted for the operator, who gets to see the first of a second. `answer`: what has
    /// come back and was not passed on.
    pub(crate) fn failed(&self, end: RequestEnd, to: &Destination, upstream: Option<SocketAddr>, answer: &[u8]) {
        // Noted when it had waited for so long that it was as good as that.
        if end == RequestEnd::FirstByteTimeout && self.slow.load(Relaxed) {
            return;
        }
        let shared = &self.worker.shared;
        let noted = shared.errors.note(end, &to.host, to.port, || {
            let note = self.note.lock();
            let line = note.as_ref().map_or(&[][..], |note| &*note.line);
            errors::sample(self.peer.ip(), upstream, line, answer)
        });
        if !noted {
            shared.counters.failures_untracked.add(end.index(), 1);
        }
    }

    /// Its answer has been waited for longer than is usual: the operator is told as if it had timed out, and it goes on.
    pub(crate) fn waits(&self, to: &Destination) {
        let upstream = self.note.lock().as_ref().and_then(|note| Some(note.upstream.as_ref()?.address));
        self.failed(RequestEnd::FirstByteTimeout, to, upstream, &[]);
        self.slow.store(true, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.from_client.fetch_add(bytes as u64, Relaxed);
        self.counters().moved(Direction::FromClient, bytes);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.to_client.fetch_add(bytes as u64, Relaxed);
        self.counters().moved(Direction::ToClient, bytes);
    }

    pub(crate) fn fetched(&self, bytes: usize) {
        self.client.moved(bytes);
        self.counters().moved(Direction::FromUpstream, bytes);
    }

    pub(crate) fn passed_on(&self, bytes: usize) {
        self.client.moved(bytes);
        self.counters().moved(Direction::ToUpstream, bytes);
    }

    pub(crate) fn end(mut self, end: RequestEnd) {
        self.close(end);
    }

    fn close(&mut self, end: RequestEnd) {
        self.ended = true;
        let counters = self.counters();
        counters.request_ends.add(end.index(), 1);
        if let Some(reason) = end.row().reason {
            let form = match self.is_answered() {
                _ if self.held => Form::Held,
                true => Form::Answered,
                false => Form::Dropped,
            };
            counters.refused(reason, form);
        }
        if matches!(end, RequestEnd::Forwarded) {
            counters.request_seconds.record(self.begun.elapsed());
        }
        let status = Some(self.status.load(Relaxed)).filter(|status| *status != 0);
        if let Some(note) = self.note.get_mut().take()
            && self.worker.shared.access.is_on()
        {
            self.worker.shared.access.write(Record {
                client: self.peer.ip(),
                at: note.at,
                request_line: note.line,
                status,
                end,
                from_client: self.from_client.load(Relaxed),
                to_client: self.to_client.load(Relaxed),
                took: self.begun.elapsed(),
                upstream: note.upstream,
                count: 1,
            });
        }
    }
}

impl Drop for RequestEntry {
    fn drop(&mut self) {
        if !self.ended {
            self.close(if std::thread::panicking() { RequestEnd::Panicked } else { RequestEnd::Drained });
        }
    }
}
