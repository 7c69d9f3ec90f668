//! How much of the box is left, as one level.
//!
//! Owns: [`Pressure`], what the journey obeys. Called by: control (sets it once a second), the journey (reads it).
//! Never: reads a file; slows anybody at level 0.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use arc_swap::ArcSwap;

/// How short the box is of anything.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    /// Of nothing.
    #[default]
    Calm,
    /// Something is half used up.
    Elevated,
    /// Something is short.
    High,
    /// Something is about to run out.
    Critical,
}

impl Level {
    /// From calm to critical.
    pub const ALL: [Self; 4] = [Self::Calm, Self::Elevated, Self::High, Self::Critical];
}

/// What the level was made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Each signal that could be read, from 0 (nothing is used up) to 1 (all is).
    pub signals: Vec<(&'static str, f64)>,
    /// The one that decides.
    pub driver: Option<&'static str>,
    /// What will run out, at the present slope.
    pub forecast: Option<Forecast>,
}

/// When something will run out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The signal.
    pub signal: &'static str,
    /// In how many seconds it reaches its limit.
    pub seconds: f64,
}

/// The level in force.
#[derive(Debug, Default)]
pub struct Pressure {
    level: AtomicU8,
    /// What it was made of.
    pub report: ArcSwap<Report>,
}

impl Pressure {
    /// The level in force.
    pub fn level(&self) -> Level {
        Level::ALL.get(usize::from(self.level.load(Relaxed))).copied().unwrap_or_default()
    }

    /// Puts a level in force.
    pub fn set(&self, level: Level) {
        self.level.store(level as u8, Relaxed);
    }
}
