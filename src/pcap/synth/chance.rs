//! Chance that comes out the same again: integers only, for the mathematics of floats differ between machines.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Values, and how many in a thousand are at most this large: from 0 to 1,000, ascending in both; what lies between is
/// interpolated.
pub(super) type Quantiles = [(u64, u64)];

/// The source of everything that is not determined by the scenario.
#[derive(Debug)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    /// The same seed gives the same values in the same order.
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A value within the range, each as likely (to 2⁻⁶⁴ of the range).
    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let values = u128::from(range.end().saturating_sub(*range.start())) + 1;
        let offset = (u128::from(self.0.next_u64()) * values) >> 64;
        range.start().saturating_add(u64::try_from(offset).unwrap_or_default())
    }

    /// True so many times in a thousand.
    pub(super) fn permille(&mut self, times: u64) -> bool {
        self.within(1..=1_000) <= times
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let last = u64::try_from(from.len()).unwrap_or_default().checked_sub(1)?;
        from.get(usize::try_from(self.within(0..=last)).unwrap_or_default())
    }

    /// A value distributed like this.
    pub(super) fn drawn(&mut self, from: &Quantiles) -> u64 {
        let rank = self.within(0..=1_000);
        let mut steps = from.iter().zip(from.iter().skip(1));
        steps.find(|(_, (_, upper))| rank <= *upper).map_or(0, |((least, lower), (most, upper))| {
            least + (most - least) * (rank - lower) / (upper - lower).max(1)
        })
    }

    /// Random bytes.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// So many lower-case hexadecimal digits, at most sixteen.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        format!("{:016x}", self.0.next_u64()).chars().take(digits).collect()
    }
}
