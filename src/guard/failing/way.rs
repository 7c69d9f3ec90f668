//! Is the way out cut for everybody? Then nobody's destination is to blame.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::guard::Moment;

/// So many different destinations that fail while none is reached mean a way that is cut: one may be dead, and two be
/// names of the same thing.
const DIFFERENT: usize = 3;
/// "While" is so long: no attempt takes longer with the default `connect-timeout`.
const LATELY: Duration = Duration::from_secs(10);

/// What all attempts have in common: the name servers, or the network.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// When it last led somewhere, in milliseconds and one.
    stood: AtomicU64,
    /// The last different destinations that failed, by their hash.
    failed: Mutex<[Option<(u64, Moment)>; DIFFERENT]>,
}

impl Way {
    /// Somebody was reached.
    pub(super) fn stands(&self, now: Moment) {
        self.stood.store(now.millis().saturating_add(1), Relaxed);
    }

    /// A destination was not.
    pub(super) fn failed(&self, destination: u64, now: Moment) {
        let mut failed = self.failed.lock();
        let known = failed.iter().position(|seen| seen.is_some_and(|(hash, _)| hash == destination));
        // Otherwise it takes the place of the one that is longest ago.
        let oldest = || (0..DIFFERENT).min_by_key(|at| failed.get(*at).copied().flatten().map(|(_, when)| when));
        if let Some(place) = known.or_else(oldest).and_then(|at| failed.get_mut(at)) {
            *place = Some((destination, now));
        }
    }

    /// Nobody has been reached lately, and different destinations have failed.
    pub(super) fn is_cut(&self, now: Moment) -> bool {
        let stood = self.stood.load(Relaxed).checked_sub(1).map(Moment::from_millis);
        let lately = |when| now.since(when) <= LATELY;
        !stood.is_some_and(lately) && self.failed.lock().iter().all(|seen| seen.is_some_and(|(_, when)| lately(when)))
    }
}
