//! How much of the box is left, as one level.
//!
//! Owns: [`Pressure`], what the journey obeys. Called by: control (sets it once a second), the journey (reads it).
//! Never: reads a file; slows anybody at level 0.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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

/// The level in force.
#[derive(Debug, Default)]
pub struct Pressure {
    level: AtomicU8,
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
