//! What is to be played, attempt by attempt.
//!
//! Owns: [`Script`] and its bounds. Called by: whoever wants load with a course of its own. Never: does anything.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ahash::AHashSet;

use super::plan::{MAX_CONNECTIONS, MAX_DURATION, PlanError};

const MAX_CLASSES: usize = 8;
const MAX_CLIENTS: usize = 65_536;
const MAX_PLAYERS: usize = 1 << 20;

/// The course of many clients, and how long it may take.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where all connections go.
    pub target: SocketAddr,
    /// After so long without its answer, an attempt is given up and its connection closed.
    pub patience: Duration,
    /// When it ends at the latest.
    pub duration: Duration,
    /// Connections at a time, of all clients together. What is due beyond waits, and that counts as latency.
    pub connections: usize,
    /// How often each client plays its part at the same time.
    pub copies: usize,
    /// The names of the classes in the report.
    pub classes: Vec<String>,
    /// What is asked; many steps may ask the same.
    pub requests: Vec<Request>,
    /// Who asks what and when, in the order of [`Lane::begins`].
    pub lanes: Vec<Lane>,
    /// Who plays.
    pub clients: Vec<Role>,
}

/// A client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Role {
    /// Its address; none: the kernel chooses.
    pub source: Option<IpAddr>,
    /// It plays all lanes of this part. Several may play the same.
    pub part: usize,
}

/// A request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Request {
    /// Its head, and what is known of its body.
    pub bytes: Box<[u8]>,
    /// How many more bytes its body has, whatever they are.
    pub filler: u64,
}

/// Attempts of one client, one after the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lane {
    /// Whose.
    pub part: usize,
    /// When it begins, counted from the beginning of the script.
    pub begins: Duration,
    /// How it goes on.
    pub rhythm: Rhythm,
    /// What is asked, in order.
    pub steps: Vec<Step>,
}

/// When the next step of a lane is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rhythm {
    /// When it is due, or as soon after as the one before has ended. Latency is counted from when it was due.
    OnTime,
    /// When the one before has ended.
    InTurn,
    /// The same, and after the last comes the first, always after this pause.
    Again(Duration),
}

/// An attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// When it is due, counted from the beginning of the script. Only [`Rhythm::OnTime`] asks.
    pub due: Duration,
    /// Which of the requests.
    pub request: u32,
    /// Which of the classes.
    pub class: u8,
    /// What becomes of its connection.
    pub then: Then,
}

/// What becomes of the connection after an attempt. Where the other side closes it, the next step opens another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// The next step is made on it.
    Keep,
    /// It is closed.
    Close,
    /// If it was wanted (a status of 2xx), it is held so long, then closed.
    Hold(Duration),
}

impl Script {
    /// Whether everything is within bounds.
    pub fn check(&self) -> Result<(), PlanError> {
        let must = |holds: bool, else_: &str| if holds { Ok(()) } else { Err(PlanError(else_.to_owned())) };
        must((1..=MAX_CLASSES).contains(&self.classes.len()), "a script has 1 to 8 classes")?;
        must(
            self.classes.iter().collect::<AHashSet<_>>().len() == self.classes.len(),
            "two classes have the same name",
        )?;
        must(self.duration <= MAX_DURATION, "a script is not longer than 24 h")?;
        must(!self.patience.is_zero(), "a script must have some patience")?;
        must((1..=MAX_CONNECTIONS).contains(&self.connections), "a script has 1 to 262144 connections")?;
        must((1..=MAX_CLIENTS).contains(&self.clients.len()), "a script has 1 to 65536 clients")?;
        must((1..=MAX_CLIENTS).contains(&self.copies), "a part is played 1 to 65536 times")?;
        must(
            self.clients.len().saturating_mul(self.copies) <= MAX_PLAYERS,
            "a script is played by at most 1048576 at once",
        )?;
        must(self.requests.iter().all(|request| !request.bytes.is_empty()), "a request is empty")?;
        must(self.lanes.is_sorted_by_key(|lane| lane.begins), "lanes are not in order")?;
        let known = |step: &Step| {
            self.requests.get(step.request as usize).is_some() && self.classes.get(usize::from(step.class)).is_some()
        };
        must(
            self.lanes.iter().all(|lane| !lane.steps.is_empty() && lane.steps.iter().all(known)),
            "a lane is empty, or names a request or a class that there is not",
        )?;
        must(
            self.clients.iter().filter_map(|role| role.source).all(|source| source.is_ipv4() == self.target.is_ipv4()),
            "a source address is not of the target's family",
        )
    }
}
