//! The thread that writes: batches, reopens, outlives a full or broken disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use jiff::tz::TimeZone;

use super::format::Formatter;
use super::{LINE_BYTES, Message, Record, Shared, escape};
use crate::config::settings::{AccessFormat, AccessTarget};

/// The buffer is written when it is larger than this, or when no record waits.
const BATCH_BYTES: usize = 64 << 10;
/// After a failed write, lines are dropped for so long before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long to wait for a standard output that somebody else made non-blocking.
const NONBLOCKING_PAUSE: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// `None`: standard output, which cannot be reopened.
    path: Option<PathBuf>,
}

impl Sink {
    /// Opens the target; `None` for [`AccessTarget::Off`].
    pub(super) fn open(target: &AccessTarget) -> io::Result<Option<Self>> {
        match target {
            AccessTarget::Off => Ok(None),
            AccessTarget::Stdout => {
                Ok(Some(Self { file: File::from(io::stdout().as_fd().try_clone_to_owned()?), path: None }))
            }
            AccessTarget::File(path) => Ok(Some(Self { file: open_file(path)?, path: Some(path.clone()) })),
        }
    }

    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard output".to_owned(), |p| p.display().to_string())
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = open_file(path)?;
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    // Opened for writing only, a FIFO without a reader blocks; for reading too it does not (fifo(7)).
    let is_fifo = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    OpenOptions::new()
        .read(is_fifo)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    sink: Sink,
    formatter: Formatter,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    lines: u64,
    /// A write was cut short: the file ends in the middle of a line.
    torn: bool,
    broken: Option<Broken>,
}

/// The sink does not take lines.
#[derive(Debug)]
struct Broken {
    retry_at: Instant,
    /// [`Shared::dropped`] at its beginning, to tell how much was lost.
    dropped_before: u64,
}

impl Writer {
    pub(super) fn new(queue: Receiver<Message>, shared: Arc<Shared>, sink: Sink, format: AccessFormat) -> Self {
        Self {
            queue,
            shared,
            sink,
            formatter: Formatter::new(format, TimeZone::system()),
            buffer: Vec::with_capacity(BATCH_BYTES),
            lines: 0,
            torn: false,
            broken: None,
        }
    }

    /// Until the last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.queue.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty) => {
                    self.write_out();
                    match self.queue.recv() {
                        Ok(message) => message,
                        Err(_) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => return self.write_out(),
            };
            if self.shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            match message {
                Message::Record(record) => self.record(*record),
                Message::Flush(done) => {
                    self.write_out();
                    drop(done);
                }
                Message::Wake => {}
            }
            if self.buffer.len() > BATCH_BYTES {
                self.write_out();
            }
        }
    }

    fn record(&mut self, mut record: Record) {
        self.shared.queued_bytes.fetch_sub(record.request_line.len(), Relaxed);
        if self.broken.as_ref().is_some_and(|broken| Instant::now() < broken.retry_at) {
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        if let std::borrow::Cow::Owned(masked) = escape::safe_line(&record.request_line, LINE_BYTES) {
            record.request_line = masked.into_boxed_slice();
        }
        match self.formatter.append(&mut self.buffer, &record) {
            Ok(()) => self.lines += 1,
            Err(e) => self.failed(&e, 0),
        }
    }

    fn reopen(&mut self) {
        self.write_out();
        match self.sink.reopen() {
            Ok(()) => {
                self.torn &= !self.sink_is_empty();
                // Perhaps the operator has just made room: do not wait for the end of the pause.
                if let Some(broken) = &mut self.broken {
                    broken.retry_at = Instant::now();
                }
            }
            Err(error) => {
                self.shared.errors.fetch_add(1, Relaxed);
                tracing::error!(%error, "the access log cannot be reopened; lines go on to the file that is open");
            }
        }
    }

    fn sink_is_empty(&self) -> bool {
        self.sink.file.metadata().is_ok_and(|m| m.len() == 0)
    }

    /// Writes the buffer; whatever happens, it is empty afterwards.
    fn write_out(&mut self) {
        if self.lines == 0 {
            return;
        }
        if self.broken.is_some() {
            // The file may be another one by now, or its disk mounted again.
            if let Err(error) = self.sink.reopen() {
                return self.failed(&error, 0);
            }
            self.torn &= !self.sink_is_empty();
        }
        let mend = usize::from(self.torn);
        if self.torn {
            self.buffer.insert(0, b'\n');
        }
        let (taken, result) = write_all(&mut self.sink.file, &self.buffer);
        if taken > 0 {
            self.torn = taken < self.buffer.len() && self.buffer.get(taken - 1).is_some_and(|last| *last != b'\n');
        }
        match result {
            Ok(()) => {
                self.shared.written.fetch_add(self.lines, Relaxed);
                self.buffer.clear();
                self.lines = 0;
                if let Some(broken) = self.broken.take() {
                    let lost = self.shared.dropped.load(Relaxed).saturating_sub(broken.dropped_before);
                    tracing::info!(file = %self.sink.name(), lost, "the access log is written again");
                }
            }
            Err(error) => {
                let complete =
                    self.buffer.get(mend..taken).map_or(0, |taken| memchr::memchr_iter(b'\n', taken).count());
                self.failed(&error, complete as u64);
            }
        }
    }

    /// Gives the buffer up, of which so many lines were written; says so only the first time.
    fn failed(&mut self, error: &io::Error, written: u64) {
        let dropped_before = self.shared.dropped.load(Relaxed);
        self.shared.errors.fetch_add(1, Relaxed);
        self.shared.written.fetch_add(written, Relaxed);
        self.shared.dropped.fetch_add(self.lines.saturating_sub(written), Relaxed);
        self.buffer.clear();
        self.lines = 0;
        let retry_at = Instant::now() + RETRY_AFTER;
        if let Some(broken) = &mut self.broken {
            broken.retry_at = retry_at;
            return;
        }
        tracing::error!(
            file = %self.sink.name(), %error,
            "the access log cannot be written; its lines are dropped and it is tried again every 5 s"
        );
        self.broken = Some(Broken { retry_at, dropped_before });
    }
}

/// [`Write::write_all`] that tells how much was taken before the error.
fn write_all(file: &mut File, mut bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return (taken, Err(ErrorKind::WriteZero.into())),
            Ok(n) => {
                taken += n;
                bytes = bytes.get(n..).unwrap_or_default();
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(NONBLOCKING_PAUSE),
            Err(e) => return (taken, Err(e)),
        }
    }
    (taken, Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::{Duration, Instant, SystemTime};

    use super::{Broken, Sink, Writer};
    use crate::config::settings::{AccessFormat, AccessTarget};
    use crate::outcome::RequestEnd;
    use crate::telemetry::access_log::{Record, Shared};

    fn writer(target: &AccessTarget) -> (Writer, Arc<Shared>) {
        let shared = Arc::new(Shared::default());
        let sink = Sink::open(target).unwrap().unwrap();
        let (_, queue) = crossbeam_channel::bounded(1);
        let writer = Writer::new(queue, Arc::clone(&shared), sink, AccessFormat::Main);
        (writer, shared)
    }

    fn record(shared: &Shared, line: &str) -> Record {
        shared.queued_bytes.fetch_add(line.len(), Relaxed);
        Record {
            client: "10.0.0.7".parse().unwrap(),
            at: SystemTime::UNIX_EPOCH,
            request_line: line.as_bytes().into(),
            status: Some(200),
            end: RequestEnd::Forwarded,
            from_client: 0,
            to_client: 0,
            took: Duration::ZERO,
            upstream: None,
            count: 1,
        }
    }

    #[test]
    fn a_full_disk_drops_lines_and_is_tried_again() {
        let (mut writer, shared) = writer(&AccessTarget::File("/dev/full".into()));
        for _ in 0..3 {
            writer.record(record(&shared, "GET /1 HTTP/1.1"));
        }
        writer.write_out();
        assert_eq!(shared.errors.load(Relaxed), 1);
        assert_eq!(shared.dropped.load(Relaxed), 3);

        // Not tried before the time has come ...
        writer.record(record(&shared, "GET /2 HTTP/1.1"));
        writer.write_out();
        assert_eq!(shared.errors.load(Relaxed), 1);
        assert_eq!(shared.dropped.load(Relaxed), 4);

        // ... then under the same name, which is a good file by now.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        writer.sink.path = Some(path.clone());
        writer.broken.as_mut().unwrap().retry_at = Instant::now();
        writer.record(record(&shared, "GET /3 HTTP/1.1"));
        writer.write_out();
        assert_eq!(shared.written.load(Relaxed), 1);
        assert!(writer.broken.is_none());
        assert_eq!(shared.queued_bytes.load(Relaxed), 0);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("GET /3 ") && text.lines().count() == 1);
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "half a li").unwrap();
        let (mut writer, shared) = writer(&AccessTarget::File(path.clone()));
        writer.torn = true;
        writer.broken = Some(Broken { retry_at: Instant::now(), dropped_before: 0 });
        for _ in 0..2 {
            writer.record(record(&shared, "GET / HTTP/1.1"));
            writer.write_out();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next(), Some("half a li"));
        assert_eq!(text.lines().count(), 3);
    }
}
