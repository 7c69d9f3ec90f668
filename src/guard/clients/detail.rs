//! What is known in detail of the most interesting clients: those that have climbed a ladder.
//!
//! Owns: [`Details`], the places for it. Called by: the client book. Never: keeps more than [`DETAILED`], or anything of a
//! client that is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::guard::Moment;
use crate::guard::fence::book::Why;
use crate::guard::ladder::Class;
use crate::http1::target::Host;

/// Clients with detail. The 257th that storms is counted and stalled like the others, and it is counted that no more is
/// known of it. A client's detail is about 280 bytes, its request line at most 256 more, and what was done with it 256:
/// 200 KiB in all.
pub const DETAILED: usize = 256;
/// What was done with a client: the latest so many times.
pub const ACTS: usize = 16;
/// Destinations kept by name; the others a client fails on are counted together.
pub const DESTINATIONS: usize = 4;
/// Upper bounds of the reaction gaps, in milliseconds; the last bucket has none. A machine is back within the first two, a
/// person never before the fourth.
pub const GAPS: [u64; 6] = [1, 10, 100, 300, 1_000, 5_000];

/// The places, shared by the book and its clients.
#[derive(Debug, Default)]
pub struct Details {
    taken: AtomicUsize,
    turned_away: AtomicU64,
}

impl Details {
    /// Clients with detail.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Refusals that should have begun a client's detail and found no place.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    /// Detail that is still empty, if there is a place.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Box<Detail>> {
        let taken = self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < DETAILED).then_some(taken + 1));
        if taken.is_err() {
            self.turned_away.fetch_add(1, Relaxed);
            return None;
        }
        Some(Box::new(Detail { seen: Seen::default(), place: Arc::clone(self) }))
    }
}

/// One client's detail; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) seen: Seen,
    place: Arc<Details>,
}

impl Drop for Detail {
    fn drop(&mut self) {
        self.place.taken.fetch_sub(1, Relaxed);
    }
}

/// What the guard did with a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// What is refused to it in this class is not answered any more.
    Stalled(Class),
    /// It is kept out in the kernel, for what it did in this class.
    Fenced(Class),
    /// Some of its connections are let in, to see whether it still storms.
    HalfOpened,
    /// It did.
    FencedAgain,
    /// It was let in.
    Released(Why),
    /// It was let in, since keeping it out made no difference.
    FencedInVain,
}

/// What has been seen of a client since it first climbed a ladder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// From a refusal, as it was decided, to the client's next connection: how often within each of [`GAPS`], and later.
    pub gaps: [u32; GAPS.len() + 1],
    /// Its first refused request line: credentials masked, at most 256 bytes.
    pub sample: Option<Box<[u8]>>,
    /// The first destinations it failed on, and how often.
    pub destinations: [Option<(Host, u16, u32)>; DESTINATIONS],
    /// How often it failed on others.
    pub others: u32,
    /// What was done with it, the latest [`ACTS`] times.
    pub acts: VecDeque<(Moment, Act)>,
}

impl Seen {
    pub(super) fn acted(&mut self, act: Act, now: Moment) {
        if self.acts.len() >= ACTS {
            self.acts.pop_front();
        }
        self.acts.push_back((now, act));
    }

    pub(super) fn came_back(&mut self, after: Duration) {
        let bucket = GAPS.iter().position(|bound| after < Duration::from_millis(*bound)).unwrap_or(GAPS.len());
        if let Some(count) = self.gaps.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn failed_on(&mut self, host: &Host, port: u16) {
        for place in &mut self.destinations {
            match place {
                Some((known, at, count)) if known == host && *at == port => {
                    *count = count.saturating_add(1);
                    return;
                }
                Some(_) => {}
                None => {
                    *place = Some((host.clone(), port, 1));
                    return;
                }
            }
        }
        self.others = self.others.saturating_add(1);
    }
}
