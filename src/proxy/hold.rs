//! Answers that are late on purpose: each a socket, a time and its place in the books; no task, no timer, no reactor.
//!
//! Owns: held connections of one worker, as many as the guard's budget has places. Called by: the journey, for refusals.
//! Never: keeps one whose client has left longer than a second.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::guard::holds::Hold;
use crate::proxy::ledger::{ConnectionEntry, RequestEntry};
use crate::proxy::refuse::{self, Refused, Reply};
use crate::proxy::shared::Worker;

/// How often it is looked whether a client is still there: its time-out is over sooner than ours, mostly.
const LOOK: Duration = Duration::from_secs(1);
/// Connections looked at before others get their turn.
const TURN: usize = 64;

/// A refused connection, as it is handed over.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) stream: TcpStream,
    pub(crate) reply: Reply,
    pub(crate) entry: RequestEntry,
    pub(crate) hold: Hold,
    /// How late its answer is to be.
    pub(crate) late: Duration,
}

#[derive(Debug)]
struct Waiting {
    held: Held,
    until: Instant,
    connection: ConnectionEntry,
}

/// The connections a worker holds, by the time they are looked at next.
#[derive(Debug, Default)]
pub struct Holding {
    queue: Mutex<Queue>,
    /// Told when something is to be looked at before everything else.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    by_time: BTreeMap<(Instant, u64), Waiting>,
    /// Tells apart what is due at the same time.
    number: u64,
}

impl Holding {
    /// Takes over a connection.
    pub(crate) fn add(&self, mut held: Held, connection: ConnectionEntry) {
        held.entry.hold();
        let now = Instant::now();
        let until = now + held.late;
        self.put(Waiting { held, until, connection }, now);
    }

    fn put(&self, waiting: Waiting, now: Instant) {
        let due = waiting.until.min(now + LOOK);
        let mut queue = self.queue.lock();
        queue.number = queue.number.wrapping_add(1);
        let key = (due, queue.number);
        if queue.by_time.first_key_value().is_none_or(|(first, _)| key < *first) {
            self.sooner.notify_one();
        }
        queue.by_time.insert(key, waiting);
    }

    fn next_due(&self) -> Option<Instant> {
        self.queue.lock().by_time.first_key_value().map(|((due, _), _)| *due)
    }

    fn take_due(&self, now: Instant) -> Option<Waiting> {
        let mut queue = self.queue.lock();
        let first = queue.by_time.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// Answers those whose time has come and lets go those who have left. Runs for ever; when it is dropped, what is still here
/// is given up. A drain answers all of them: they have waited long enough.
pub(crate) async fn run(worker: Arc<Worker>) {
    let _cleared = Cleared(&worker.holding);
    let drain = &worker.shared.drain;
    loop {
        let due = worker.holding.next_due();
        tokio::select! {
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = worker.holding.sooner.notified() => {}
            () = drain.wait(), if !drain.begun() => {}
        }
        let now = Instant::now();
        // Nothing is looked at later than this: at a drain all of them are due.
        let horizon = if drain.begun() { now + LOOK } else { now };
        let mut looked = 0;
        while let Some(waiting) = worker.holding.take_due(horizon) {
            look(waiting, now, &worker);
            looked += 1;
            if looked % TURN == 0 {
                yield_now().await;
            }
        }
    }
}

fn look(waiting: Waiting, now: Instant, worker: &Arc<Worker>) {
    let left = match recv(&waiting.held.stream, &mut [0; 1024], RecvFlags::DONTWAIT) {
        Ok((_, n)) => n == 0,
        Err(error) => error != Errno::AGAIN,
    };
    if !left && now < waiting.until && !worker.shared.drain.begun() {
        return worker.holding.put(waiting, now);
    }
    let Waiting { held: Held { stream, reply, entry, hold: _over, .. }, connection, .. } = waiting;
    if left {
        drop(stream);
        Refused { connection, request: entry, end: reply.end, tracked: None }.closed();
    } else {
        refuse::say(stream, reply, entry, connection, worker);
    }
}

/// Empties the queue when it is dropped: what waits in it keeps the worker alive to which it belongs.
struct Cleared<'a>(&'a Holding);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        let given_up = std::mem::take(&mut self.0.queue.lock().by_time);
        drop(given_up);
    }
}
