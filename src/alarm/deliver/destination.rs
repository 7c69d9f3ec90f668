//! One destination: takes messages from its queue to where they go, one at a time, and again if they did not arrive.
//!
//! Owns: its queue, its pause, its pace. Called by: the deliveries (orders come over a channel). Never: waits for the disk, for
//! the other side or for another destination while orders come in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::failure::{Failure, Trouble};
use super::item::{Item, chance};
use super::pace::{Gate, pause};
use super::queue::{Gone, Queue};
use super::report::{Event, Report};
use super::spool::Folder;
use super::transport::Transport;
use crate::config::settings::WebhookKind;

/// At the end, how long the disk may take for what has no file yet, and the other side for what is on its way.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// What the other side turns down for so long is given up: one message that it will never take would hold up the others.
const PATIENCE: Duration = Duration::from_hours(24);

/// What a destination is told.
#[derive(Debug)]
pub(super) enum Order<T> {
    /// Deliver this: the bytes of an [`Item`].
    Deliver(Bytes),
    /// The configuration was read again: go this way from now on, and at once.
    Change(Arc<T>),
}

/// One of them.
#[derive(Debug)]
pub(super) struct Destination<T> {
    /// As the log and the report name it.
    pub(super) name: String,
    pub(super) kind: WebhookKind,
    pub(super) orders: mpsc::Receiver<Order<T>>,
    pub(super) transport: Arc<T>,
    pub(super) queue: Queue,
    /// `None`: the queue is in memory alone.
    pub(super) folder: Option<Folder>,
    pub(super) report: Arc<Report>,
}

impl<T: Transport> Destination<T> {
    /// Until its orders end; then what has no file yet is written.
    pub(super) async fn run(self) {
        let Self { name, kind, mut orders, transport, queue, folder, report } = self;
        let mut desk = Desk {
            disk: Disk { folder: folder.map(Arc::new), ..Disk::default() },
            gate: Gate::new(kind),
            name,
            kind,
            transport,
            queue,
            report,
            tasks: JoinSet::new(),
            sending: None,
            repeating: false,
            closing: false,
            failures: 0,
            not_before: None,
            told: None,
        };
        loop {
            let wake = desk.start_what_can();
            desk.report.queue(&desk.name, kind, desk.queue.len());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => desk.obey(order),
                    None => break,
                },
                Some(done) = desk.tasks.join_next() => desk.finish(done),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
        desk.closing = true;
        // Whatever is not on disk by then is lost.
        drop(timeout(LAST_WRITES, desk.write_the_rest()).await);
    }
}

struct Desk<T> {
    name: String,
    kind: WebhookKind,
    transport: Arc<T>,
    queue: Queue,
    disk: Disk,
    report: Arc<Report>,
    /// What runs: an attempt, a repetition, a call to the disk; at most one of each.
    tasks: JoinSet<Done>,
    /// The number of the message that is on its way.
    sending: Option<u64>,
    repeating: bool,
    /// Nothing is sent any more.
    closing: bool,
    /// In a row.
    failures: u32,
    /// The pause after a failure.
    not_before: Option<Instant>,
    gate: Gate,
    /// The trouble that the log knows of.
    told: Option<Trouble>,
}

/// What has run.
enum Done {
    Sent(u64, Option<Item>, Result<(), Failure>),
    Repeated(Result<(), Failure>),
    Disk(Did),
}

impl<T: Transport> Desk<T> {
    /// Starts what can be started; when to look again if nothing happens before.
    fn start_what_can(&mut self) -> Option<Instant> {
        let head = self.queue.head().filter(|_| !self.closing);
        let now = Instant::now();
        let pause = self.not_before.filter(|until| *until > now);
        if let Some((number, None)) = head.as_ref().filter(|_| pause.is_none()) {
            self.disk.read(*number);
        }
        if let Some(call) = self.disk.next() {
            self.tasks.spawn_blocking(move || Done::Disk(call()));
        }
        if self.closing || self.sending.is_some() || self.repeating {
            return None;
        }
        if pause.is_some() {
            return pause;
        }
        let due = self.transport.due();
        if due.is_some_and(|due| due <= now) {
            self.repeating = true;
            let transport = Arc::clone(&self.transport);
            self.tasks.spawn(async move { Done::Repeated(transport.repeat().await) });
            return None;
        }
        let Some((number, Some(load))) = head else { return due };
        if let Err(wait) = self.gate.pass() {
            return Some(now + wait);
        }
        self.sending = Some(number);
        let transport = Arc::clone(&self.transport);
        self.tasks.spawn(async move {
            match Item::from_bytes(&load) {
                Some(item) => {
                    let sent = transport.send(&item).await;
                    Done::Sent(number, Some(item), sent)
                }
                None => Done::Sent(number, None, Ok(())),
            }
        });
        None
    }

    fn obey(&mut self, order: Order<T>) {
        match order {
            Order::Deliver(load) => {
                let number = self.queue.push(load.clone());
                self.disk.write(number, load);
                let gone = self.queue.evict(self.sending);
                self.report.add(self.kind, Event::Dropped, gone.len() as u64);
                for gone in gone {
                    self.disk.forget(gone);
                }
            }
            Order::Change(transport) => {
                self.transport = transport;
                (self.failures, self.not_before, self.told) = (0, None, None);
            }
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Disk(did)) => self.disk_did(did),
            Ok(Done::Repeated(result)) => {
                self.repeating = false;
                match result {
                    Ok(()) => self.arrived(),
                    Err(failure) => self.failed(&failure),
                }
            }
            Ok(Done::Sent(number, item, result)) => {
                self.sending = None;
                match (item, result) {
                    (Some(_), Ok(())) => {
                        self.report.add(self.kind, Event::Delivered, 1);
                        self.remove(number);
                        self.arrived();
                    }
                    (Some(item), Err(failure)) => {
                        if failure.trouble == Trouble::Message || is_hopeless(&item, &failure) {
                            self.give_up(number);
                        }
                        self.failed(&failure);
                    }
                    (None, _) => {
                        warn!(destination = self.name, number, "a message that waited is lost: its file is damaged");
                        self.give_up(number);
                    }
                }
            }
            Err(error) => {
                // A defect of ours; whatever ran with it is begun again.
                self.tasks.abort_all();
                (self.sending, self.repeating) = (None, false);
                (self.disk.busy, self.disk.reading) = (false, false);
                self.failed(&Failure::new(Trouble::Server, format!("a defect of floodgate: {error}")));
            }
        }
    }

    fn arrived(&mut self) {
        (self.failures, self.not_before) = (0, None);
        self.report.succeeded(&self.name);
        if self.told.take().is_some() {
            info!(destination = self.name, waiting = self.queue.len(), "alarms arrive again");
        }
    }

    /// Tells of it once, and pauses.
    fn failed(&mut self, failure: &Failure) {
        let event = if failure.trouble.is_lasting() { Event::Refused } else { Event::Failed };
        self.report.add(self.kind, event, 1);
        self.report.failed(&self.name, failure, SystemTime::now());
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause(self.failures, failure.wait, chance()));
        if self.told != Some(failure.trouble) {
            let (trouble, remedy) = (failure.trouble.label(), failure.trouble.remedy());
            warn!(destination = self.name, trouble, why = failure.why, remedy, "an alarm did not arrive");
            self.told = Some(failure.trouble);
        }
    }

    fn give_up(&mut self, number: u64) {
        self.report.add(self.kind, Event::Dropped, 1);
        self.remove(number);
    }

    fn remove(&mut self, number: u64) {
        if let Some(gone) = self.queue.remove(number) {
            self.disk.forget(gone);
        }
    }

    fn disk_did(&mut self, did: Did) {
        (self.disk.busy, self.disk.reading) = (false, false);
        match did {
            Did::Written(number, Ok(())) => {
                if !self.queue.stored(number) {
                    self.disk.forget(Gone { number, stored: true });
                }
                if self.report.disk(None) {
                    info!("messages that wait are kept on disk again");
                }
                if std::mem::take(&mut self.disk.failed) {
                    self.write_again();
                }
            }
            Did::Written(_, Err(error)) => {
                self.disk.failed = true;
                if self.report.disk(Some(error.to_string())) {
                    warn!(%error, "messages that wait cannot be kept on disk: they are in memory alone, fewer of them");
                }
            }
            Did::Read(number, Ok(load)) => self.queue.loaded(number, load.into()),
            // It is there, and we are short of something: it is read when we are not.
            Did::Read(_, Err(error)) if is_shortage(&error) => {
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(Instant::now() + pause(self.failures, None, chance()));
            }
            Did::Read(number, Err(error)) => {
                warn!(destination = self.name, %error, "a message that waited is lost: its file cannot be read");
                self.give_up(number);
            }
            Did::Removed => {}
        }
    }

    /// Whatever has no file.
    fn write_again(&mut self) {
        self.disk.waiting.retain(|call| !matches!(call, Call::Write(..)));
        for (number, load) in self.queue.unstored() {
            self.disk.write(number, load);
        }
    }

    async fn write_the_rest(&mut self) {
        // The disk may have room again, and nobody will try later.
        if std::mem::take(&mut self.disk.failed) {
            self.write_again();
        }
        loop {
            self.start_what_can();
            // What is on its way may have arrived: it is worth a moment to know, or it arrives again after the restart.
            if !self.disk.busy && self.sending.is_none() && !self.repeating {
                return;
            }
            match self.tasks.join_next().await {
                Some(done) => self.finish(done),
                None => return,
            }
        }
    }
}

/// No descriptor, or no memory, at the moment.
fn is_shortage(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Whether the other side has turned it down for so long that the next one is to have its chance.
fn is_hopeless(item: &Item, failure: &Failure) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    failure.trouble == Trouble::Refused && now.saturating_sub(item.made) > PATIENCE.as_secs()
}

/// What the disk is asked for: one thing at a time, in order, never waited for.
#[derive(Debug, Default)]
struct Disk {
    folder: Option<Arc<Folder>>,
    waiting: VecDeque<Call>,
    busy: bool,
    /// What it is busy with is the message whose turn it is.
    reading: bool,
    /// The last write failed: there are messages without a file.
    failed: bool,
}

#[derive(Debug)]
enum Call {
    Write(u64, Bytes),
    Read(u64),
    Remove(u64),
}

#[derive(Debug)]
enum Did {
    Written(u64, io::Result<()>),
    Read(u64, io::Result<Vec<u8>>),
    Removed,
}

impl Disk {
    fn write(&mut self, number: u64, load: Bytes) {
        if self.folder.is_some() {
            self.waiting.push_back(Call::Write(number, load));
        }
    }

    /// It is its turn: before everything else.
    fn read(&mut self, number: u64) {
        let asked = self.reading || matches!(self.waiting.front(), Some(Call::Read(_)));
        if self.folder.is_some() && !asked {
            self.waiting.push_front(Call::Read(number));
        }
    }

    /// It is no longer wanted. One that is just being written is told so when it is ([`Queue::stored`]).
    fn forget(&mut self, gone: Gone) {
        self.waiting.retain(|call| !matches!(call, Call::Write(number, _) if *number == gone.number));
        if gone.stored && self.folder.is_some() {
            self.waiting.push_back(Call::Remove(gone.number));
        }
    }

    /// The next call, for a thread that may wait.
    fn next(&mut self) -> Option<impl FnOnce() -> Did + Send + 'static> {
        let folder = self.folder.as_ref().filter(|_| !self.busy)?;
        let (folder, call) = (Arc::clone(folder), self.waiting.pop_front()?);
        (self.busy, self.reading) = (true, matches!(call, Call::Read(_)));
        Some(move || match call {
            Call::Write(number, load) => Did::Written(number, folder.put(number, &load)),
            Call::Read(number) => Did::Read(number, folder.get(number)),
            Call::Remove(number) => {
                // What stays behind arrives twice after a restart, and is removed then.
                drop(folder.remove(number));
                Did::Removed
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::is_shortage;

    #[test]
    fn a_file_that_cannot_be_opened_for_a_moment_is_not_lost() {
        assert!(is_shortage(&io::Error::from(Errno::MFILE)) && is_shortage(&io::Error::from(Errno::NOMEM)));
        assert!(!is_shortage(&io::Error::from(Errno::NOENT)) && !is_shortage(&io::Error::from(Errno::IO)));
        assert!(!is_shortage(&io::Error::other("odd")));
    }
}
