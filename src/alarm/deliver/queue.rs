//! What waits for one destination, the oldest first.
//!
//! Owns: the order, the bounds, and what of it is in memory. Called by: the destination. Never: touches the disk, or the clock.

use std::collections::VecDeque;

use bytes::Bytes;

/// Messages that wait for one destination: days of an outage, with a dozen alarms that stand.
pub(super) const MOST_MESSAGES: usize = 1_000;
/// Bytes of them, on disk and in memory together.
const MOST_BYTES: usize = 4 << 20;
/// Bytes of those that are in memory alone: while the disk is slow, full or absent.
const MOST_HELD: usize = 1 << 20;

/// One destination's queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// The number of the next message; they only grow, also over a restart.
    next: u64,
    bytes: usize,
    /// Of these, what is in memory alone.
    held: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    size: usize,
    /// In memory: until it is on disk, and when it is its turn.
    load: Option<Bytes>,
    stored: bool,
}

/// What has left the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gone {
    pub(super) number: u64,
    /// It has a file that is to go, too.
    pub(super) stored: bool,
}

impl Queue {
    /// A queue of what lies on disk: numbers and bytes.
    pub(super) fn new(mut found: Vec<(u64, usize)>) -> Self {
        found.sort_unstable();
        let mut queue = Self::default();
        for (number, size) in found {
            queue.next = number.saturating_add(1);
            queue.bytes += size;
            queue.entries.push_back(Entry { number, size, load: None, stored: true });
        }
        queue
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a message; its number. What is too much goes with [`Self::evict`].
    pub(super) fn push(&mut self, load: Bytes) -> u64 {
        let (number, size) = (self.next, load.len());
        self.next = self.next.saturating_add(1);
        self.bytes += size;
        self.held += size;
        self.entries.push_back(Entry { number, size, load: Some(load), stored: false });
        number
    }

    /// Drops the oldest beyond the bounds, but not the one that is just being sent.
    pub(super) fn evict(&mut self, busy: Option<u64>) -> Vec<Gone> {
        let mut gone = Vec::new();
        while self.entries.len() > MOST_MESSAGES || self.bytes > MOST_BYTES || self.held > MOST_HELD {
            let too_much_held = self.held > MOST_HELD;
            let may_go = |entry: &&Entry| Some(entry.number) != busy && !(too_much_held && entry.stored);
            let victim = self.entries.iter().find(may_go).map(|entry| entry.number);
            let Some(removed) = victim.and_then(|number| self.remove(number)) else { break };
            gone.push(removed);
        }
        gone
    }

    /// Whose turn it is, and what it says if that is in memory.
    pub(super) fn head(&self) -> Option<(u64, Option<Bytes>)> {
        self.entries.front().map(|entry| (entry.number, entry.load.clone()))
    }

    /// It lies on disk now, and leaves memory unless it is its turn; false if it has left the queue meanwhile.
    pub(super) fn stored(&mut self, number: u64) -> bool {
        let turn = self.entries.front().is_some_and(|first| first.number == number);
        let Some(entry) = self.entry(number) else { return false };
        let (size, before) = (entry.size, std::mem::replace(&mut entry.stored, true));
        if !turn {
            entry.load = None;
        }
        if !before {
            self.held = self.held.saturating_sub(size);
        }
        true
    }

    /// It was read from disk.
    pub(super) fn loaded(&mut self, number: u64, load: Bytes) {
        if let Some(entry) = self.entry(number) {
            entry.load = Some(load);
        }
    }

    /// It is delivered, or given up.
    pub(super) fn remove(&mut self, number: u64) -> Option<Gone> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let entry = self.entries.remove(at)?;
        self.bytes = self.bytes.saturating_sub(entry.size);
        if !entry.stored {
            self.held = self.held.saturating_sub(entry.size);
        }
        Some(Gone { number, stored: entry.stored })
    }

    /// What is in memory alone.
    pub(super) fn unstored(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        let unstored = self.entries.iter().filter(|entry| !entry.stored);
        unstored.filter_map(|entry| Some((entry.number, entry.load.clone()?)))
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.entries.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Gone, MOST_BYTES, MOST_HELD, MOST_MESSAGES, Queue};

    #[test]
    fn the_oldest_goes_first_and_is_dropped_first() {
        let mut queue = Queue::default();
        for n in 0..MOST_MESSAGES as u64 + 3 {
            assert_eq!(queue.push(Bytes::from_static(b"x")), n);
        }
        // Number 0 is on its way.
        let gone: Vec<_> = queue.evict(Some(0)).iter().map(|gone| gone.number).collect();
        assert_eq!(gone, [1, 2, 3]);
        assert_eq!(queue.head().map(|(number, _)| number), Some(0));
        assert_eq!(queue.remove(0), Some(Gone { number: 0, stored: false }));
        assert_eq!(queue.head().map(|(number, _)| number), Some(4));
        assert_eq!(queue.remove(0), None);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut queue = Queue::new(vec![(9, 10), (7, 10)]);
        assert_eq!((queue.len(), queue.head()), (2, Some((7, None))));
        assert_eq!(queue.push(Bytes::from_static(b"x")), 10);
        queue.loaded(7, Bytes::from_static(b"seven"));
        assert_eq!(queue.head(), Some((7, Some(Bytes::from_static(b"seven")))));
        assert_eq!(queue.unstored().map(|(number, _)| number).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn what_is_on_disk_leaves_memory_but_for_the_next() {
        let mut queue = Queue::default();
        let numbers: Vec<_> = (0..3).map(|_| queue.push(Bytes::from_static(b"x"))).collect();
        assert!(numbers.iter().all(|number| queue.stored(*number)));
        assert!(queue.head().unwrap().1.is_some());
        queue.remove(0);
        assert!(queue.head().unwrap().1.is_none());
        assert!(!queue.stored(0), "its file is to go");
    }

    #[test]
    fn without_a_disk_less_is_kept() {
        let mut queue = Queue::default();
        let big = Bytes::from(vec![0; MOST_HELD / 4]);
        let stored = queue.push(big.clone());
        queue.stored(stored);
        let gone: Vec<_> = (0..8)
            .flat_map(|_| {
                queue.push(big.clone());
                queue.evict(None)
            })
            .map(|gone| gone.number)
            .collect();
        assert_eq!(gone, [1, 2, 3, 4], "what is on disk costs no memory");
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_order_too(steps in prop::collection::vec((0_u8..4, 0_usize..300_000), 0..400)) {
            let mut queue = Queue::default();
            let mut last = None;
            for (step, size) in steps {
                match step {
                    0 | 1 => {
                        queue.push(Bytes::from(vec![0; size]));
                    }
                    2 => {
                        let number = queue.unstored().next().map(|(number, _)| number);
                        prop_assert!(number.is_none_or(|number| queue.stored(number)));
                    }
                    _ => {
                        if let Some((number, _)) = queue.head() {
                            prop_assert!(last.is_none_or(|last| last < number));
                            last = Some(number);
                            queue.remove(number);
                        }
                    }
                }
                queue.evict(None);
                prop_assert!(queue.len() <= MOST_MESSAGES && queue.bytes <= MOST_BYTES && queue.held <= MOST_HELD);
                prop_assert_eq!(queue.bytes, queue.entries.iter().map(|entry| entry.size).sum::<usize>());
                let held = queue.entries.iter().filter(|entry| !entry.stored).map(|entry| entry.size).sum::<usize>();
                prop_assert_eq!(queue.held, held);
            }
        }
    }
}
