//! One example for each bucket of a histogram, so that a slow request can be looked up in the access log.
//!
//! Owns: the examples. Called by: the histogram (writes), admin (reads, and says whether any are wanted). Never: waits for a
//! lock, knows who asked for what, or costs more than the look at one flag while nobody wants any.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// The slowest of so long a time stands for its bucket; then whatever comes next takes its place.
const FRESH: Duration = Duration::from_mins(1);

/// One of the durations that were counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exemplar {
    /// How long it was.
    pub took: Duration,
    /// When it was over.
    pub ended: SystemTime,
}

/// At most one for each of `N` buckets, and none until they are wanted.
#[derive(Debug)]
pub struct Exemplars<const N: usize> {
    wanted: AtomicBool,
    buckets: [Mutex<Option<Exemplar>>; N],
}

impl<const N: usize> Default for Exemplars<N> {
    fn default() -> Self {
        Self { wanted: AtomicBool::new(false), buckets: std::array::from_fn(|_| Mutex::new(None)) }
    }
}

impl<const N: usize> Exemplars<N> {
    /// Whether to keep any from now on. Those that were kept are forgotten when no more are wanted.
    pub fn want(&self, wanted: bool) {
        if self.wanted.swap(wanted, Relaxed) && !wanted {
            self.buckets.iter().for_each(|bucket| *bucket.lock() = None);
        }
    }

    /// One more duration of this bucket, over now.
    pub(super) fn note(&self, bucket: usize, took: Duration) {
        if self.wanted.load(Relaxed) {
            self.offer(bucket, Exemplar { took, ended: SystemTime::now() });
        }
    }

    /// Whoever finds the bucket taken goes without: another one will do as well.
    fn offer(&self, bucket: usize, new: Exemplar) {
        let Some(mut kept) = self.buckets.get(bucket).and_then(Mutex::try_lock) else {
            return;
        };
        // A clock that was set back makes everything old.
        let is_fresh = |old: Exemplar| new.ended.duration_since(old.ended).is_ok_and(|age| age <= FRESH);
        if kept.is_none_or(|old| new.took >= old.took || !is_fresh(old)) {
            *kept = Some(new);
        }
    }

    /// What stands for each bucket.
    pub fn read(&self) -> [Option<Exemplar>; N] {
        self.buckets.each_ref().map(|bucket| *bucket.lock())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Exemplar, Exemplars};

    #[test]
    fn none_is_kept_that_nobody_wants() {
        let exemplars = Exemplars::<2>::default();
        exemplars.note(0, Duration::from_secs(1));
        assert_eq!(exemplars.read(), [None, None]);
        exemplars.want(true);
        exemplars.note(0, Duration::from_secs(1));
        exemplars.note(7, Duration::from_secs(1));
        assert_eq!(exemplars.read().map(|kept| kept.map(|kept| kept.took)), [Some(Duration::from_secs(1)), None]);
        exemplars.want(false);
        exemplars.note(1, Duration::from_secs(1));
        assert_eq!(exemplars.read(), [None, None]);
    }

    #[test]
    fn the_slowest_of_a_minute_stands_for_all() {
        let exemplars = Exemplars::<1>::default();
        let kept = |took, second| {
            let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            exemplars.offer(0, Exemplar { took: Duration::from_millis(took), ended });
            exemplars.read()[0].unwrap().took.as_millis()
        };
        assert_eq!(kept(5, 1_000), 5);
        assert_eq!(kept(3, 1_001), 5);
        assert_eq!(kept(9, 1_002), 9);
        assert_eq!(kept(2, 1_062), 9, "a minute is not over");
        assert_eq!(kept(2, 1_063), 2);
        assert_eq!(kept(1, 10), 1, "the clock was set back");
    }
}
