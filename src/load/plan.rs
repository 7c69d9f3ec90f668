//! What is to be played.
//!
//! Owns: [`Plan`] and its bounds. Called by: whoever wants load. Never: does anything.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ahash::AHashSet;

/// Connections of all classes together.
pub const MAX_CONNECTIONS: usize = 262_144;
const MAX_CLASSES: usize = 64;
/// No plan or script is longer.
pub const MAX_DURATION: Duration = Duration::from_hours(24);
const MAX_RATE: u32 = 1_000_000;
const MAX_REQUEST: usize = 1024 * 1024;

/// Classes of clients, and how long they run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all connections go.
    pub target: SocketAddr,
    /// How long opening the held connections may take; then the others begin with what there is.
    pub settle: Duration,
    /// Played, but not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
    /// The clients.
    pub classes: Vec<Class>,
}

/// Clients that do the same.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name in the report.
    pub name: String,
    /// Local addresses, taken in turn by its connections; empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// How many connections it has at a time. With an open loop: at most.
    pub connections: usize,
    /// After so long without its answer, an attempt is given up and its connection closed.
    pub patience: Duration,
    /// What is asked.
    pub exchange: Exchange,
    /// On which connection.
    pub connection: Connection,
    /// In which way.
    pub manner: Manner,
    /// And when.
    pub pace: Pace,
}

/// A request, by itself or within a tunnel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The head that asks for a tunnel, sent once per connection.
    pub tunnel: Option<Box<[u8]>>,
    /// The request, its body included.
    pub request: Box<[u8]>,
}

/// How long a connection lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// For one exchange. The client closes first, as soon as it has its answer.
    New,
    /// As long as the other side keeps it.
    Kept,
}

/// How a client sends its request and takes the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// As fast as it can.
    Prompt,
    /// It sends a byte at a time, each after such a pause. With a pause as long as its patience it says nothing at all.
    Drip(Duration),
    /// It stops reading after so many bytes, and stays.
    Stall {
        /// Bytes of the answer, its head included.
        after: u64,
    },
}

/// When an attempt is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// Each connection waits for its answer before it tries again.
    Closed(Retry),
    /// At fixed times, whatever happened to the attempts before. Latency is counted from the time an attempt was due, even
    /// if no connection was free to make it.
    Open {
        /// Attempts per second of the class.
        per_second: u32,
        /// Whether each connection makes one attempt only.
        once: bool,
    },
    /// One exchange on each connection, which then stays open. Needs [`Connection::Kept`].
    Hold,
}

/// When a client of a closed loop tries again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// Never: one attempt each.
    Never,
    /// At once.
    Instant,
    /// After a pause.
    After(Duration),
}

/// A plan that cannot be played, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlanError(pub(super) String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Whether everything is within bounds.
    pub fn check(&self) -> Result<(), PlanError> {
        let must = |holds: bool, else_: &str| if holds { Ok(()) } else { Err(PlanError(else_.to_owned())) };
        must((1..=MAX_CLASSES).contains(&self.classes.len()), "a plan has 1 to 64 classes")?;
        must(
            self.settle.max(self.warm_up).max(self.duration) <= MAX_DURATION,
            "no part of a plan is longer than 24 h",
        )?;
        let connections = self.classes.iter().fold(0_usize, |sum, class| sum.saturating_add(class.connections));
        must(connections <= MAX_CONNECTIONS, "a plan has at most 262144 connections")?;
        let names: AHashSet<_> = self.classes.iter().map(|class| &class.name).collect();
        must(names.len() == self.classes.len(), "two classes have the same name")?;
        for class in &self.classes {
            let must = |holds: bool, else_: &str| must(holds, &format!("class {}: {else_}", class.name));
            must(class.connections > 0, "has no connection")?;
            must(!class.patience.is_zero(), "must have some patience")?;
            must(!class.exchange.request.is_empty(), "has no request")?;
            must(class.exchange.request.len() <= MAX_REQUEST, "its request is longer than 1 MiB")?;
            must(
                class.sources.iter().all(|source| source.is_ipv4() == self.target.is_ipv4()),
                "a source address is not of the target's family",
            )?;
            match class.pace {
                Pace::Open { per_second, .. } => {
                    must((1..=MAX_RATE).contains(&per_second), "its rate is not within 1 to 1000000 per second")?;
                }
                Pace::Hold => must(class.connection == Connection::Kept, "what is held must be kept")?,
                Pace::Closed(_) => {}
            }
            let prompt = class.manner == Manner::Prompt;
            must(prompt || class.connection == Connection::New, "only a prompt client can keep its connection")?;
        }
        Ok(())
    }

    /// How many clients the target can tell apart: the source addresses, or one if the kernel chooses.
    pub(super) fn clients(&self) -> usize {
        self.classes.iter().flat_map(|class| &class.sources).collect::<AHashSet<_>>().len().max(1)
    }
}

impl Class {
    /// Whether attempts are due whatever happened to those before.
    pub(super) const fn is_open_loop(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }
}
