//! What is sent: one alarm, what was counted in its window, and a sample.

use std::time::{Duration, SystemTime};

use super::{Alarm, Sample};

/// Where an alarm stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// It has begun, or goes on in another window.
    Firing,
    /// It is over.
    Resolved,
    /// Somebody wants to know whether messages arrive.
    Test,
}

/// What is told of one alarm, once in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What is wrong.
    pub alarm: Alarm,
    /// Whether it still is.
    pub stage: Stage,
    /// The gateway's name.
    pub gateway: String,
    /// What of that kind: see [`Sighting::subject`](super::Sighting::subject).
    pub subject: String,
    /// When it was first seen in the window.
    pub first: SystemTime,
    /// When it was last seen.
    pub last: SystemTime,
    /// How often it was seen in the window.
    pub count: u64,
    /// How long the window is.
    pub window: Duration,
    /// What the words of the catalogue leave open, by name.
    pub values: Vec<(&'static str, String)>,
    /// One of them: the first.
    pub sample: Option<Sample>,
}
