//! Sums over the last seconds, of what was added second by second.

use std::collections::VecDeque;
use std::time::Duration;

use crate::guard::Moment;

/// Looks that are kept apart: one a second of a minute, and some to spare. What comes more often is added to the last.
const LOOKS: usize = 64;

/// The last so many seconds, at most a minute.
#[derive(Clone, Debug)]
pub struct Last<const SECONDS: u64, const N: usize> {
    looks: VecDeque<(Moment, [u64; N])>,
}

impl<const SECONDS: u64, const N: usize> Default for Last<SECONDS, N> {
    fn default() -> Self {
        Self { looks: VecDeque::new() }
    }
}

impl<const SECONDS: u64, const N: usize> Last<SECONDS, N> {
    /// Adds what this second brought.
    pub fn add(&mut self, now: Moment, added: [u64; N]) {
        self.forget(now);
        if self.looks.len() < LOOKS {
            self.looks.push_back((now, added));
        } else if let Some((_, last)) = self.looks.back_mut() {
            for (sum, added) in last.iter_mut().zip(added) {
                *sum = sum.saturating_add(added);
            }
        }
    }

    /// Leaves out what lies further back.
    pub fn forget(&mut self, now: Moment) {
        let span = Duration::from_secs(SECONDS);
        while self.looks.front().is_some_and(|(at, _)| now.since(*at) >= span) {
            self.looks.pop_front();
        }
    }

    /// All of it.
    pub fn sums(&self) -> [u64; N] {
        let mut sums = [0_u64; N];
        for (_, added) in &self.looks {
            for (sum, added) in sums.iter_mut().zip(added) {
                *sum = sum.saturating_add(*added);
            }
        }
        sums
    }

    /// Nothing was added.
    pub fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOKS, Last};
    use crate::guard::Moment;

    #[test]
    fn it_holds_what_sixty_seconds_brought() {
        let mut minute = Last::<60, 2>::default();
        for second in 0..200 {
            minute.add(Moment::from_millis(second * 1_000), [1, second]);
        }
        assert_eq!(minute.sums(), [60, (140..200).sum()]);
        minute.forget(Moment::from_millis(258_999));
        assert_eq!(minute.sums(), [1, 199]);
        minute.forget(Moment::from_millis(259_000));
        assert!(minute.is_empty());
    }

    #[test]
    fn however_often_it_is_added_to_it_stays_small() {
        let mut minute = Last::<60, 1>::default();
        for milli in 0..10_000 {
            minute.add(Moment::from_millis(milli), [1]);
        }
        assert_eq!((minute.sums(), minute.looks.len()), ([10_000], LOOKS));
    }
}
