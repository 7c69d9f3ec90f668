//! The budget of held answers: kernel memory that refused connections may pin while they wait for theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::ladder::Class;

/// What a held connection costs the kernel, in bytes: an accepted socket with its inode, file and dentry (2,521 + 862 + 446
/// measured on Linux 6.18, in slab objects with their slack) and the state it would have in the reactor's place.
pub const HOLD_BYTES: u64 = 4_096;
/// The first held answer is late by this; each further one in a row by twice the time.
const FIRST: Duration = Duration::from_millis(250);
/// At most so many doublings: 8 s for what only programs ask for, 1 s for what a page may.
const DOUBLINGS: u32 = 5;
const DOUBLINGS_OF_PAGES: u32 = 2;

/// How late the n-th answer in a row (from 0) is.
pub fn lateness(class: Class, row: u32) -> Duration {
    FIRST * (1 << row.min(if class.is_a_programs() { DOUBLINGS } else { DOUBLINGS_OF_PAGES }))
}

/// How many answers are held.
#[derive(Debug, Default)]
pub struct Holds {
    open: AtomicU64,
    refused: AtomicU64,
}

impl Holds {
    /// A place, if `budget` bytes leave one; otherwise the refusal is answered at once, and counted in [`Holds::turned_away`].
    pub fn take(self: &Arc<Self>, budget: usize) -> Option<Hold> {
        let places = u64::try_from(budget).unwrap_or(u64::MAX) / HOLD_BYTES;
        let taken = self.open.fetch_update(Relaxed, Relaxed, |open| (open < places).then_some(open + 1));
        if taken.is_err() {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Hold(Arc::clone(self)))
    }

    /// Connections that are held.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Kernel memory they pin, in bytes.
    pub fn bytes(&self) -> u64 {
        self.open() * HOLD_BYTES
    }

    /// Refusals that found the budget spent, since the start.
    pub fn turned_away(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// A place in the budget; given back when dropped.
#[must_use]
#[derive(Debug)]
pub struct Hold(Arc<Holds>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{HOLD_BYTES, Holds, lateness};
    use crate::guard::ladder::Class;

    #[test]
    fn the_budget_is_kept_and_given_back() {
        let holds = Arc::new(Holds::default());
        let budget = 3 * usize::try_from(HOLD_BYTES).unwrap();
        let held: Vec<_> = (0..5).filter_map(|_| holds.take(budget)).collect();
        assert_eq!((held.len(), holds.open(), holds.turned_away()), (3, 3, 2));
        drop(held);
        assert_eq!(holds.bytes(), 0);
        assert!(holds.take(0).is_none());
    }

    #[test]
    fn lateness_doubles_to_eight_seconds_and_to_one_for_pages() {
        let late = |class| (0..8).map(|row| lateness(class, row).as_millis()).collect::<Vec<_>>();
        assert_eq!(late(Class::SelfTarget), [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(late(Class::Denied), [250, 500, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(lateness(Class::Malformed, u32::MAX), Duration::from_secs(8));
    }
}
