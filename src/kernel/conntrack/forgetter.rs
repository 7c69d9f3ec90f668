//! The thread that deletes entries, and the queue to it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use super::{BATCH, Conntrack, Flow, Forgotten};

/// Flows that wait to be forgotten: 0.4 s of 20,000 a second, in 0.6 MB that are taken at the start. One that finds no place
/// stays in the kernel's table, and is counted.
const QUEUE: usize = 8192;
/// How long flows are collected: the thread then wakes up 200 times a second at most, and nobody wakes it in between.
const COLLECT: Duration = Duration::from_millis(5);
/// How long the last acknowledgement of a connection that has just been closed may be on its way: it would be taken for a
/// connection that is under way, and tracked anew (`nf_conntrack_tcp_loose`).
const SETTLED: Duration = Duration::from_secs(2);
/// So many unknown in a row, and none found: connections are not tracked here.
pub(super) const IN_VAIN: u64 = 64;
/// How long nothing is tried then.
const SLEEP: Duration = Duration::from_secs(10);

/// What became of the flows that were handed over: they add up to the calls of [`Forgetter::forget`].
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries deleted.
    pub deleted: AtomicU64,
    /// No entry was found.
    pub unknown: AtomicU64,
    /// Not tried: nothing was found for long, the right is missing, or the kernel failed.
    pub skipped: AtomicU64,
    /// Not tried: the queue was full.
    pub dropped: AtomicU64,
}

/// Hands flows over to a thread that deletes their entries. Dropping it deletes what has been handed over, and ends the
/// thread.
#[derive(Debug)]
pub struct Forgetter {
    queue: Option<Sender<Handed>>,
    pub(super) state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// A flow, and when its entry may be deleted, if that is not at once.
type Handed = (Flow, Option<Instant>);

#[derive(Debug, Default)]
pub(super) struct State {
    is_asleep: AtomicBool,
    pub(super) counters: Counters,
}

impl Forgetter {
    /// Starts the thread, with the rights and in the network namespace of the calling one.
    ///
    /// # Errors
    /// When no thread can be started. Where connections are not tracked it starts and sleeps, since that may change.
    pub fn start() -> io::Result<Self> {
        let mut tracker = Tracker::default();
        Self::with(QUEUE, SLEEP, move |flows| tracker.forget(flows))
    }

    /// The same with other means: `delete` is asked for every batch.
    pub(super) fn with(
        capacity: usize,
        sleep: Duration,
        delete: impl FnMut(&[Flow]) -> Option<Forgotten> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, flows) = bounded(capacity);
        let state = Arc::<State>::default();
        let worker = Worker { flows, state: Arc::clone(&state), sleep, delete, in_vain: 0, settling: VecDeque::new() };
        let thread = thread::Builder::new().name("conntrack".to_owned()).spawn(|| worker.run())?;
        Ok(Self { queue: Some(queue), state, thread: Some(thread) })
    }

    /// Has the entry of this connection deleted, some 5 ms later: nothing more comes from either side. Never blocks.
    pub fn forget(&self, client: SocketAddr, ours: SocketAddr) {
        self.hand_over((client, ours), None);
    }

    /// The same of a connection that has just been closed by both sides, 2 s later.
    pub fn forget_closed(&self, client: SocketAddr, ours: SocketAddr) {
        self.hand_over((client, ours), Some(Instant::now() + SETTLED));
    }

    fn hand_over(&self, flow: Flow, due: Option<Instant>) {
        let counters = &self.state.counters;
        if self.state.is_asleep.load(Relaxed) {
            counters.skipped.fetch_add(1, Relaxed);
        } else if self.queue.as_ref().is_none_or(|queue| queue.try_send((flow, due)).is_err()) {
            counters.dropped.fetch_add(1, Relaxed);
        }
    }

    /// What became of them so far.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// Whether nothing is tried at present, since nothing was found.
    pub fn is_asleep(&self) -> bool {
        self.state.is_asleep.load(Relaxed)
    }
}

impl Drop for Forgetter {
    fn drop(&mut self) {
        // Without its last sender the queue ends.
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

struct Worker<D> {
    flows: Receiver<Handed>,
    state: Arc<State>,
    sleep: Duration,
    delete: D,
    /// Flows in a row that were unknown.
    in_vain: u64,
    /// Those whose time has not come, as many as the queue has places.
    settling: VecDeque<(Flow, Instant)>,
}

impl<D: FnMut(&[Flow]) -> Option<Forgotten>> Worker<D> {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let first = match self.settling.front() {
                None => self.flows.recv().map_err(RecvTimeoutError::from),
                Some((_, due)) => self.flows.recv_deadline(*due),
            };
            match first {
                Ok(handed) => self.sort(handed, &mut batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            thread::sleep(COLLECT);
            // All there are, and not those that come meanwhile: they are collected too.
            for _ in 0..=self.flows.len() / BATCH {
                while batch.len() < BATCH
                    && let Ok(handed) = self.flows.try_recv()
                {
                    self.sort(handed, &mut batch);
                }
                self.take_settled(Instant::now(), &mut batch);
                if batch.is_empty() {
                    break;
                }
                self.forget(&batch);
                batch.clear();
                if self.in_vain >= IN_VAIN {
                    self.rest();
                    break;
                }
            }
        }
        // Whoever ends has no time to wait.
        let left: Vec<Flow> = batch.into_iter().chain(self.settling.drain(..).map(|(flow, _)| flow)).collect();
        for batch in left.chunks(BATCH) {
            self.forget(batch);
        }
    }

    fn sort(&mut self, (flow, due): Handed, batch: &mut Vec<Flow>) {
        match due {
            None => batch.push(flow),
            Some(due) if self.settling.len() < QUEUE => self.settling.push_back((flow, due)),
            Some(_) => {
                self.state.counters.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    fn take_settled(&mut self, now: Instant, batch: &mut Vec<Flow>) {
        while batch.len() < BATCH
            && let Some((flow, _)) = self.settling.pop_front_if(|(_, due)| *due <= now)
        {
            batch.push(flow);
        }
    }

    fn forget(&mut self, batch: &[Flow]) {
        let counters = &self.state.counters;
        let count = u64::try_from(batch.len()).unwrap_or(0);
        if let Some(Forgotten { deleted, unknown }) = (self.delete)(batch) {
            counters.deleted.fetch_add(deleted, Relaxed);
            counters.unknown.fetch_add(unknown, Relaxed);
            self.in_vain = if deleted == 0 { self.in_vain.saturating_add(unknown) } else { 0 };
        } else {
            counters.skipped.fetch_add(count, Relaxed);
            self.in_vain = IN_VAIN;
        }
    }

    /// Sleeps, and leaves it at one failure then: what comes next is a sample.
    fn rest(&mut self) {
        self.state.is_asleep.store(true, Relaxed);
        let until = Instant::now() + self.sleep;
        loop {
            match self.flows.recv_deadline(until) {
                Ok(_) => {
                    self.state.counters.skipped.fetch_add(1, Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        self.in_vain = IN_VAIN - 1;
        self.state.is_asleep.store(false, Relaxed);
    }
}

/// The kernel's table, opened when it is first needed and again after a failure.
#[derive(Debug, Default)]
struct Tracker {
    open: Option<Conntrack>,
    /// What was said last, and is not said again.
    said: Option<io::ErrorKind>,
}

impl Tracker {
    fn forget(&mut self, flows: &[Flow]) -> Option<Forgotten> {
        let result = match &mut self.open {
            Some(open) => open.forget(flows),
            None => Conntrack::open().and_then(|open| self.open.insert(open).forget(flows)),
        };
        match result {
            Ok(forgotten) => {
                self.said = None;
                Some(forgotten)
            }
            Err(error) => {
                // What it still has to say must not answer the next batch.
                self.open = None;
                if self.said.replace(error.kind()) != Some(error.kind()) {
                    if error.kind() == io::ErrorKind::Unsupported {
                        info!(why = %error, "no entry of connection tracking is deleted");
                    } else {
                        warn!(why = %error, "dropped connections stay in connection tracking");
                    }
                }
                None
            }
        }
    }
}
