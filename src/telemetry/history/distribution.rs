//! How long things took within a time, from two readings of a histogram.

use crate::telemetry::counters::{BUCKETS, Histogram};

/// How many things took how long: counts per bucket of a [`Histogram`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Distribution([u64; BUCKETS.len() + 1]);

impl Distribution {
    /// All since the start.
    pub fn of(histogram: &Histogram) -> Self {
        let mut counts = [0; BUCKETS.len() + 1];
        for (count, (_, counted)) in counts.iter_mut().zip(histogram.buckets()) {
            *count = counted;
        }
        Self(counts)
    }

    /// Those that came since the reading before.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(before.0) {
            *count = count.saturating_sub(before);
        }
        Self(counts)
    }

    /// What `part` of them (0 to 1) did not exceed, in seconds; `None` if there was none.
    ///
    /// The true value (the nearest rank) lies in the same bucket, within which times are taken to be evenly spread: the bounds
    /// of [`BUCKETS`] are 2 to 3 times apart. Beyond the last bound it is that bound, 60 s.
    #[expect(clippy::cast_precision_loss, reason = "as many as a counter of a second can count")]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let all: u64 = self.0.iter().sum();
        let rank = (part * all as f64).ceil().clamp(1.0, all.max(1) as f64);
        let (mut below, mut from) = (0.0, 0.0);
        for (count, to) in self.0.iter().zip(BUCKETS) {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                return Some((from + (to - from) * (rank - below) / count).min(to));
            }
            below += count;
            from = to;
        }
        (all > 0).then_some(from)
    }
}
