//! How long connections wait before they are looked at: in the kernel's accept queue, and for our own turn.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::guard::Moment;

/// At most one connection is asked in this time: 100 a second and accept loop, at half a microsecond each.
const PACE: Duration = Duration::from_millis(10);
/// So many say something about all.
const ENOUGH: u32 = 4;

/// The delay of one accept loop, sampled.
///
/// What counts is the least of a second, as in `CoDel` (RFC 8289 section 3.2): a burst, or a moment in which the machine did
/// something else, makes some wait long, but the luckiest not at all; only a queue that stands makes everybody wait.
#[derive(Debug)]
pub struct AcceptDelay {
    asked: AtomicU64,
    least: AtomicU32,
    samples: AtomicU32,
}

impl Default for AcceptDelay {
    fn default() -> Self {
        Self { asked: AtomicU64::new(0), least: AtomicU32::new(u32::MAX), samples: AtomicU32::new(0) }
    }
}

impl AcceptDelay {
    /// Whether it is time to ask a connection. Only the accept loop itself may call this.
    pub fn is_due(&self, now: Moment) -> bool {
        let due = now.since(Moment::from_millis(self.asked.load(Relaxed))) >= PACE;
        if due {
            self.asked.store(now.millis(), Relaxed);
        }
        due
    }

    /// One connection has waited so long.
    pub fn record(&self, waited: Duration) {
        self.least.fetch_min(u32::try_from(waited.as_millis()).unwrap_or(u32::MAX), Relaxed);
        self.samples.fetch_add(1, Relaxed);
    }

    /// The least since the last call; `None`, and nothing is forgotten, while too few have been asked.
    pub fn take(&self) -> Option<Duration> {
        if self.samples.load(Relaxed) < ENOUGH {
            return None;
        }
        self.samples.store(0, Relaxed);
        Some(Duration::from_millis(self.least.swap(u32::MAX, Relaxed).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::AcceptDelay;
    use crate::guard::Moment;

    #[test]
    fn the_luckiest_counts_once_enough_have_been_asked() {
        let delay = AcceptDelay::default();
        for waited in [700, 300, 900] {
            delay.record(Duration::from_millis(waited));
        }
        assert_eq!(delay.take(), None, "three are too few");
        delay.record(Duration::from_millis(500));
        assert_eq!(delay.take(), Some(Duration::from_millis(300)), "what came before is not forgotten");
        assert_eq!(delay.take(), None);
        (0..4).for_each(|n| delay.record(Duration::from_millis(n * 100)));
        assert_eq!(delay.take(), Some(Duration::ZERO));
    }

    #[test]
    fn connections_are_asked_at_a_pace() {
        let delay = AcceptDelay::default();
        let asked = (0..1_000).filter(|n| delay.is_due(Moment::from_millis(*n))).count();
        assert_eq!(asked, 99);
    }
}
