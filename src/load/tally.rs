//! What the clients of a class saw, and the report of it.
//!
//! Owns: every figure. Called by: clients as things happen, `run` at the marks. Never: counts what is not between the marks.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::http1::head::HeadError;

use super::pace::Schedule;
use super::plan::{Class, PlanError};

/// The longest latency that is told apart, in microseconds: longer ones count as an hour.
const LONGEST: u64 = 3_600_000_000;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// A complete answer with this status.
    Status(u16),
    /// Anything else.
    Failed(Failure),
}

/// Why an attempt got no complete answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// The client lost its patience.
    Timeout,
    /// Nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// It was closed before the answer was complete.
    Closed,
    /// No way to the target.
    Unreachable,
    /// What came is not an answer.
    Malformed,
    /// This side has no descriptor, port, address or memory left.
    Local,
}

impl Failure {
    const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Local => "local",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds that mean something here")]
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Self::Unreachable
            }
            _ => Self::Local,
        }
    }
}

impl From<HeadError> for Failure {
    fn from(_: HeadError) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Failed(failure) => f.write_str(failure.label()),
        }
    }
}

/// The figures of a class.
#[derive(Debug)]
pub(super) struct Tally {
    seen: Mutex<Seen>,
    schedule: OnceLock<Arc<Schedule>>,
}

#[derive(Debug)]
struct Seen {
    /// The first mark, if it has passed and the last has not.
    begun: Option<Instant>,
    /// Since when each connection waits for an answer, if it does.
    waiting: Vec<Option<Instant>>,
    held: u64,
    latency: Histogram<u64>,
    report: ClassReport,
}

/// What the clients of a class saw between the marks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClassReport {
    /// The name of the class.
    pub name: String,
    /// Attempts that began.
    pub attempts: u64,
    /// Attempts that ended with a complete answer, whatever its status.
    pub completed: u64,
    /// Attempts that had begun before the first mark and had not ended by then.
    pub open_at_begin: u64,
    /// Attempts that had not ended at the last mark: `attempts + open_at_begin = sum of outcomes + open_at_end`.
    pub open_at_end: u64,
    /// Attempts of an open loop that were due by the last mark, and for which there was no connection.
    pub overdue: u64,
    /// How attempts ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Attempts that began in each second.
    pub per_second: Vec<u64>,
    /// How long an answer took, or a client waited until it gave up; in an open loop also how long those had waited that
    /// were still waiting at the last mark.
    pub latency: Latency,
    /// Bytes read from the target.
    pub received: u64,
    /// Bytes written to it.
    pub sent: u64,
    /// Connections that were held at the last mark.
    pub held: u64,
    /// Held connections that the other side ended before it.
    pub lost: u64,
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// Nine of ten are below.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the load went.
    pub target: SocketAddr,
    /// From the first mark to the last.
    pub duration: Duration,
    /// Source addresses; 1 if the kernel chose.
    pub clients: usize,
    /// One for each class of the plan, in its order.
    pub classes: Vec<ClassReport>,
}

impl Tally {
    pub(super) fn new(class: &Class) -> Result<Self, PlanError> {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| PlanError(error.to_string()))?;
        let report = ClassReport { name: class.name.clone(), ..ClassReport::default() };
        let seen = Seen { begun: None, waiting: vec![None; class.connections], held: 0, latency, report };
        Ok(Self { seen: Mutex::new(seen), schedule: OnceLock::new() })
    }

    /// What is due and not taken is known to this schedule.
    pub(super) fn follow(&self, schedule: &Arc<Schedule>) {
        self.schedule.get_or_init(|| Arc::clone(schedule));
    }

    /// The first mark.
    pub(super) fn begin(&self, now: Instant) {
        let mut seen = self.seen.lock();
        if seen.begun.is_none() {
            seen.begun = Some(now);
            seen.report.open_at_begin = seen.open();
        }
    }

    /// An attempt on this connection begins; `since` is when it was due.
    pub(super) fn attempt(&self, connection: usize, since: Instant) {
        let mut seen = self.seen.lock();
        if let Some(waiting) = seen.waiting.get_mut(connection) {
            *waiting = Some(since);
        }
        if let Some(begun) = seen.begun {
            seen.report.attempts += 1;
            let second = usize::try_from(begun.elapsed().as_secs()).unwrap_or_default();
            let series = &mut seen.report.per_second;
            if series.len() <= second {
                series.resize(second + 1, 0);
            }
            if let Some(count) = series.get_mut(second) {
                *count += 1;
            }
        }
    }

    /// It has ended.
    pub(super) fn outcome(&self, connection: usize, since: Instant, result: Result<u16, Failure>) {
        let mut seen = self.seen.lock();
        if let Some(waiting) = seen.waiting.get_mut(connection) {
            *waiting = None;
        }
        if seen.begun.is_some() {
            if matches!(result, Ok(_) | Err(Failure::Timeout)) {
                seen.latency.saturating_record(micros(since.elapsed()));
            }
            seen.report.completed += u64::from(result.is_ok());
            *seen.report.outcomes.entry(result.map_or_else(Outcome::Failed, Outcome::Status)).or_default() += 1;
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        let mut seen = self.seen.lock();
        seen.report.received += if seen.begun.is_some() { bytes as u64 } else { 0 };
    }

    pub(super) fn sent(&self, bytes: usize) {
        let mut seen = self.seen.lock();
        seen.report.sent += if seen.begun.is_some() { bytes as u64 } else { 0 };
    }

    /// A connection is held from now on.
    pub(super) fn held(&self) {
        self.seen.lock().held += 1;
    }

    /// And is no more.
    pub(super) fn lost(&self) {
        let mut seen = self.seen.lock();
        seen.held = seen.held.saturating_sub(1);
        seen.report.lost += u64::from(seen.begun.is_some());
    }

    /// The last mark.
    pub(super) fn end(&self, now: Instant) -> ClassReport {
        let mut seen = self.seen.lock();
        let seen = &mut *seen;
        seen.begun = None;
        seen.report.open_at_end = seen.open();
        seen.report.held = seen.held;
        if let Some(schedule) = self.schedule.get() {
            let waiting = seen.waiting.iter().flatten().copied();
            for since in waiting.chain(schedule.overdue()) {
                seen.latency.saturating_record(micros(now.saturating_duration_since(since)));
            }
            seen.report.overdue = schedule.overdue().count() as u64;
        }
        let at = |quantile| seen.latency.value_at_quantile(quantile);
        seen.report.latency =
            Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: seen.latency.max() };
        seen.report.clone()
    }
}

impl Seen {
    fn open(&self) -> u64 {
        self.waiting.iter().flatten().count() as u64
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Report {
    /// A class by its name.
    pub fn class(&self, name: &str) -> Option<&ClassReport> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// The report as one object; `floodgate pcap replay --json` has the same keys.
    pub fn to_json(&self) -> Value {
        let classes: Map<_, _> = self.classes.iter().map(|class| (class.name.clone(), class.to_json())).collect();
        json!({
            "target": self.target.to_string(),
            "duration_s": self.duration.as_secs_f64(),
            "clients": self.clients,
            "classes": classes,
        })
    }
}

impl ClassReport {
    fn to_json(&self) -> Value {
        let outcomes: Map<_, _> = self.outcomes.iter().map(|(outcome, n)| (outcome.to_string(), (*n).into())).collect();
        let Latency { p50, p90, p99, p999, max } = self.latency;
        json!({
            "attempts": self.attempts,
            "completed": self.completed,
            "open_at_begin": self.open_at_begin,
            "open_at_end": self.open_at_end,
            "overdue": self.overdue,
            "outcomes": outcomes,
            "per_second": self.per_second,
            "latency_us": { "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max },
            "bytes_received": self.received,
            "bytes_sent": self.sent,
            "held": self.held,
            "lost": self.lost,
        })
    }
}
