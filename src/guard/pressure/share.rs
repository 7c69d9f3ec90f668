//! Max-min fairness: who has to give, when there is not enough for all.

/// The clients with no more open than this are never shed at [`Level::High`](super::Level::High): two browsers' worth
/// (six connections to each of a few destinations).
pub const FLOOR: u32 = 64;

/// The fair share: as many for each as possible, if all together are to fit into `capacity`. Who wants less than the share
/// gets what it wants, and what it leaves is for the others (water-filling). `None` when all fit as they are.
///
/// `open`: what each has, most first.
pub fn fair(open: &[u32], capacity: u64) -> Option<u32> {
    let total: u64 = open.iter().map(|open| u64::from(*open)).sum();
    if total <= capacity {
        return None;
    }
    // From the least upwards: each leaves what it does not want.
    let mut left = capacity;
    let mut others = open.len() as u64;
    for wanted in open.iter().rev() {
        let share = left / others.max(1);
        if u64::from(*wanted) > share {
            return Some(u32::try_from(share).unwrap_or(u32::MAX));
        }
        left = left.saturating_sub(u64::from(*wanted));
        others = others.saturating_sub(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fair;

    #[test]
    fn the_heaviest_give_first() {
        assert_eq!(fair(&[], 0), None);
        assert_eq!(fair(&[5, 3, 1], 9), None);
        assert_eq!(fair(&[100, 3, 1], 50), Some(46));
        assert_eq!(fair(&[100, 90, 3, 1], 50), Some(23));
        assert_eq!(fair(&[10, 10, 10], 29), Some(9));
        assert_eq!(fair(&[1, 1], 1), Some(0));
    }

    proptest! {
        /// It is the greatest share with which all fit.
        #[test]
        fn all_fit_and_nothing_is_wasted(mut open in prop::collection::vec(0_u32..5_000, 0..200), capacity in 0_u64..100_000) {
            open.sort_unstable_by_key(|open| std::cmp::Reverse(*open));
            let sum = |share: u32| open.iter().map(|open| u64::from(*open.min(&share))).sum::<u64>();
            match fair(&open, capacity) {
                None => prop_assert!(sum(u32::MAX) <= capacity),
                Some(share) => prop_assert!(sum(share) <= capacity && sum(share + 1) > capacity),
            }
        }
    }
}
