//! Time as the guard sees it: milliseconds since it was made, so that a state of many times stays small, and hours can be
//! played in a test.

use std::time::{Duration, Instant};

/// A point in time, in milliseconds since the guard's clock began.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Moment(u64);

impl Moment {
    /// So many milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The monotonic clock (`CLOCK_MONOTONIC`): a wall clock that is set leaves it alone, and it stands still while the box is
/// suspended, as the kernel's own time-outs do.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    /// How long ago it began.
    pub fn age(&self) -> Duration {
        self.0.elapsed()
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
