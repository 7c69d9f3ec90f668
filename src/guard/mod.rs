//! What the journey asks before it serves and when it refuses: who is inside, how fast they come, who storms, how much of
//! the box is left.
//!
//! Owns: the client book, ladders, holds, limits, pressure, admission. Called by: accept and the journey (ask), control
//! (tells the time), admin (reads). Never: touches a socket or a file. A limit stands in one place; a full table has a
//! stated behaviour.

pub mod admission;
pub mod attribution;
pub mod clients;
pub mod failing;
pub mod fence;
pub mod holds;
pub mod ladder;
pub mod limits;
mod moment;
pub mod pressure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use admission::{Admission, Capacity, admit};
pub use clients::{Client, ClientBook, Seat};
use failing::Failing;
use holds::{Hold, Holds, lateness};
use ladder::{Class, Reaction};
pub use limits::Limiter;
pub use moment::{Clock, Moment};
use pressure::Pressure;

use crate::config::settings::{self, GuardMode, LadderMode, StallChoice};
use crate::outcome::RequestEnd;

/// The guard's state, shared by all workers.
#[derive(Debug)]
pub struct Guard {
    /// What time it is.
    pub clock: Clock,
    /// Every client.
    pub book: ClientBook,
    /// Destinations that keep failing.
    pub failing: Failing,
    /// Answers that are late on purpose.
    pub holds: Arc<Holds>,
    /// How much of the box is left.
    pub pressure: Pressure,
    /// Whether connections may be dropped without a word (`CAP_NET_ADMIN`).
    pub may_drop: bool,
    /// Whose the kernel's memory is.
    pub memory: attribution::Memory,
    /// Who is kept out in the kernel.
    pub fences: fence::Register,
    /// Refusals that would have been stalled, had it not been told to observe only.
    pub observed: AtomicU64,
}

/// How a refusal is met.
#[derive(Debug)]
pub enum Manner {
    /// With its answer.
    Answer,
    /// With silence: our socket is freed, the client is not told.
    Drop,
    /// With its answer, but later.
    Hold(Hold, Duration),
}

/// A refusal, as the guard sees it.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Who is refused.
    pub client: &'a Client,
    /// It is never limited, so it is always answered.
    pub exempt: bool,
    /// Why.
    pub end: RequestEnd,
    /// Nothing more of the request is to come. Only then can it be dropped: what the client sends to a socket that is gone
    /// draws a reset.
    pub whole: bool,
}

impl Guard {
    /// One that knows nobody.
    pub fn new(clients: usize, may_drop: bool) -> Self {
        Self {
            clock: Clock::default(),
            book: ClientBook::new(clients),
            failing: Failing::default(),
            holds: Arc::default(),
            pressure: Pressure::default(),
            memory: attribution::Memory::default(),
            fences: fence::Register::default(),
            may_drop,
            observed: AtomicU64::new(0),
        }
    }

    /// Counts a refusal and tells how to meet it. What the ladder wants stalled is dropped where that is permitted and
    /// possible, held where memory and pressure allow it, and otherwise answered.
    pub fn refused(&self, refusal: &Refusal<'_>, settings: &settings::Guard, now: Moment) -> Manner {
        let Some(class) = Class::of(refusal.end) else {
            return Manner::Answer;
        };
        if refusal.exempt || settings.ladder == LadderMode::Answer {
            return Manner::Answer;
        }
        let Reaction::Stall(row) = refusal.client.refused(class, now) else {
            return Manner::Answer;
        };
        if settings.mode == GuardMode::Observe {
            self.observed.fetch_add(1, Relaxed);
            return Manner::Answer;
        }
        let droppable = refusal.whole && class.is_a_programs();
        if self.may_drop && droppable && settings.stall != StallChoice::Hold {
            return Manner::Drop;
        }
        if !self.pressure.relief().holds {
            return Manner::Answer;
        }
        match self.holds.take(settings.hold_memory) {
            Some(hold) => Manner::Hold(hold, lateness(class, row)),
            None => Manner::Answer,
        }
    }
}

#[cfg(test)]
mod tests;
