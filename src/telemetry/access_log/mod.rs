//! The access log: one line per request or tunnel.
//!
//! Owns: the queue of records, the thread that writes them, the three formats. Called by: the journey ([`AccessLog::write`]), control.
//! Never: makes a caller wait for a disk. What does not fit in the queue, or cannot be written, is dropped and counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::config::settings::{AccessFormat, AccessTarget};
use crate::outcome::RequestEnd;

pub mod escape;
mod format;
mod writer;

/// Records that wait for the writer; more are dropped.
const QUEUE_RECORDS: usize = 8_192;
/// Bytes of request lines that wait for the writer; records beyond are dropped.
/// A full queue of the longest lines would be 16 MiB, as much as the whole process may take.
const QUEUE_BYTES: usize = 4 << 20;
/// Bytes of a request line that are logged, before escapes.
const LINE_BYTES: usize = 2_048;
/// How long [`AccessLog::flush`] waits.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// What one line tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Who asked.
    pub client: IpAddr,
    /// When the request arrived.
    pub at: SystemTime,
    /// `METHOD target HTTP/1.1` as it came, unescaped; its first 2 KiB are logged, credentials masked.
    pub request_line: Box<[u8]>,
    /// The status sent to the client; `None`: no answer was sent.
    pub status: Option<u16>,
    /// How it ended.
    pub end: RequestEnd,
    /// Bytes received from the client.
    pub from_client: u64,
    /// Bytes sent to the client.
    pub to_client: u64,
    /// From the arrival to the end.
    pub took: Duration,
    /// The connection to the origin, if there was one.
    pub upstream: Option<UpstreamRecord>,
    /// Above 1: so many alike within a second, of which this is the first.
    pub count: u32,
}

/// The origin's side of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamRecord {
    /// Where we connected.
    pub address: SocketAddr,
    /// The origin's status; `None`: no answer, or a tunnel.
    pub status: Option<u16>,
    /// How long connecting took; `None`: the connection was reused.
    pub connect: Option<Duration>,
    /// To the first byte of the answer.
    pub response: Option<Duration>,
}

/// A handle on the access log; clones share it. The thread ends with the last handle, after it has written what is queued.
#[derive(Clone, Debug)]
pub struct AccessLog(Option<Arc<Handle>>);

#[derive(Debug)]
struct Handle {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

/// What the callers and the writer both touch.
#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    queued_bytes: AtomicUsize,
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
}

#[derive(Debug)]
enum Message {
    /// Boxed to keep the slots of the queue, which are all allocated at the start, small.
    Record(Box<Record>),
    /// Write everything that came before, then drop the sender.
    Flush(Sender<()>),
    /// Look at the flags.
    Wake,
}

impl AccessLog {
    /// No access log: every call does nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the target and starts the writer.
    ///
    /// Lines are in local time; the zone is the one of this moment.
    ///
    /// # Errors
    /// A file that cannot be opened (the error names its path), or no thread to be had.
    pub fn start(target: &AccessTarget, format: AccessFormat) -> io::Result<Self> {
        Self::start_with(target, format, QUEUE_RECORDS)
    }

    fn start_with(target: &AccessTarget, format: AccessFormat, capacity: usize) -> io::Result<Self> {
        let Some(sink) = writer::Sink::open(target)? else {
            return Ok(Self::off());
        };
        let (queue, records): (_, Receiver<Message>) = bounded(capacity);
        let shared = Arc::new(Shared::default());
        let writer = writer::Writer::new(records, Arc::clone(&shared), sink, format);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Some(Arc::new(Handle { queue, shared }))))
    }

    /// Whether lines are written; if not, the caller need not make a record.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Queues the record, or drops and counts it. Never blocks.
    pub fn write(&self, mut record: Record) {
        let Some(handle) = &self.0 else { return };
        if record.request_line.len() > LINE_BYTES {
            record.request_line = escape::safe_line(&record.request_line, LINE_BYTES).into_owned().into_boxed_slice();
        }
        let shared = &handle.shared;
        let bytes = record.request_line.len();
        let fits = shared.queued_bytes.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES;
        if !fits || handle.queue.try_send(Message::Record(Box::new(record))).is_err() {
            shared.queued_bytes.fetch_sub(bytes, Relaxed);
            shared.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Has the file opened anew under its name, after it was renamed. Lines queued before may reach either file.
    ///
    /// If that fails, lines go on to the old one.
    pub fn reopen(&self) {
        if let Some(handle) = &self.0 {
            handle.shared.reopen.store(true, Relaxed);
            // A full queue means that the writer is busy: it looks at the flag before each message.
            drop(handle.queue.try_send(Message::Wake));
        }
    }

    /// Waits until everything queued before is written, at most 2 s.
    pub fn flush(&self) {
        let Some(handle) = &self.0 else { return };
        let deadline = Instant::now() + FLUSH_WAIT;
        let (done, finished) = bounded(1);
        let late = handle
            .queue
            .send_deadline(Message::Flush(done), deadline)
            .is_err()
            // Nothing is ever sent: the wait ends with the writer dropping its end, or with the deadline.
            || finished.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout);
        if late {
            tracing::warn!("lines of the access log still wait for the disk");
        }
    }

    /// Lines written since the start.
    pub fn written(&self) -> u64 {
        self.count(|shared| &shared.written)
    }

    /// Records dropped since the start: the queue was full, or the file could not be written.
    pub fn dropped(&self) -> u64 {
        self.count(|shared| &shared.dropped)
    }

    /// Failed attempts to write or reopen since the start.
    pub fn errors(&self) -> u64 {
        self.count(|shared| &shared.errors)
    }

    fn count(&self, counter: impl FnOnce(&Shared) -> &AtomicU64) -> u64 {
        self.0.as_ref().map_or(0, |handle| counter(&handle.shared).load(Relaxed))
    }
}

#[cfg(test)]
mod tests;
