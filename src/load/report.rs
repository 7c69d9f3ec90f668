//! What a run found.
//!
//! Owns: the report and its JSON. Called by: the tally, whoever wanted load. Never: counts.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::http1::head::HeadError;

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
    /// Attempts of an open loop that were due by the last mark and had not begun: no connection was free, or the one they
    /// belong to was still waiting for an answer.
    pub overdue: u64,
    /// How attempts ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Attempts that began in each second.
    pub per_second: Vec<u64>,
    /// How long an answer took, or a client waited until it gave up; in an open loop also how long those had waited that
    /// were still waiting at the last mark.
    pub latency: Latency,
    /// How long attempts took that ended like this: an answer, a time-out, but also a close or a reset, to two digits.
    pub latency_by_outcome: BTreeMap<Outcome, Latency>,
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
        let by_outcome: Map<_, _> =
            self.latency_by_outcome.iter().map(|(outcome, latency)| (outcome.to_string(), latency.to_json())).collect();
        json!({
            "attempts": self.attempts,
            "completed": self.completed,
            "open_at_begin": self.open_at_begin,
            "open_at_end": self.open_at_end,
            "overdue": self.overdue,
            "outcomes": outcomes,
            "per_second": self.per_second,
            "latency_us": self.latency.to_json(),
            "latency_by_outcome_us": by_outcome,
            "bytes_received": self.received,
            "bytes_sent": self.sent,
            "held": self.held,
            "lost": self.lost,
        })
    }
}

impl Latency {
    fn to_json(self) -> Value {
        let Self { p50, p90, p99, p999, max } = self;
        json!({ "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max })
    }
}
