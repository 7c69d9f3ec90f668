//! Token buckets per client with a fixed number of exact buckets (governor's GCRA on a bounded store).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::config::settings::Rate;
use crate::net::ClientKey;

/// Buckets that strangers share once the table of exact buckets is full.
const SHARED_BUCKETS: usize = 4096;
/// Shards of the table: more than the workers, so that two seldom meet at a lock.
const SHARDS: usize = 64;

/// At most this many tokens per second and client, with a burst.
///
/// Memory is fixed: `cap` exact buckets of about 22 bytes, then 4,096 shared ones. A client that is known keeps its own
/// bucket while strangers flood the table; evicting instead would let an attacker reset its own bucket.
pub struct Limiter {
    buckets: RateLimiter<u64, Bounded, MonotonicClock, NoOpMiddleware<Instant>>,
    overflowed: Arc<AtomicU64>,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("tracked", &self.tracked()).finish_non_exhaustive()
    }
}

impl Limiter {
    /// A fresh limiter; state is never moved into one with another rate, since governor's times are relative to its start.
    pub fn new(rate: Rate, cap: usize) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let overflowed = Arc::default();
        let store = Bounded::new(cap, Arc::clone(&overflowed));
        Self { buckets: RateLimiter::new(quota, store, MonotonicClock), overflowed }
    }

    /// Takes a token; false when the client has none left. Does not allocate for a known client.
    pub fn allows(&self, client: ClientKey) -> bool {
        self.buckets.check_key(&client.bits()).is_ok()
    }

    /// Forgets the clients whose bucket is full again. Called every few seconds; locks one shard at a time.
    pub fn forget_idle(&self) {
        let before = self.tracked();
        self.buckets.retain_recent();
        // Shrinking rehashes under the shard locks: worth it only when a flood of clients has gone.
        if before > SHARDS * 64 && self.tracked() < before / 4 {
            self.buckets.shrink_to_fit();
        }
    }

    /// Clients with an exact bucket.
    pub fn tracked(&self) -> usize {
        self.buckets.len()
    }

    /// Checks that met a full table and took a shared bucket.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }
}

/// An exact bucket per key up to `cap` keys, then a fixed array of shared ones.
struct Bounded {
    exact: DashMapStateStore<u64, ahash::RandomState>,
    shared: Box<[InMemoryState]>,
    tracked: AtomicUsize,
    cap: usize,
    overflowed: Arc<AtomicU64>,
}

impl Bounded {
    fn new(cap: usize, overflowed: Arc<AtomicU64>) -> Self {
        let exact = dashmap::DashMap::with_capacity_and_hasher_and_shard_amount(0, ahash::RandomState::new(), SHARDS);
        let shared = (0..SHARED_BUCKETS).map(|_| InMemoryState::default()).collect();
        Self { exact, shared, tracked: AtomicUsize::new(0), cap, overflowed }
    }
}

impl StateStore for Bounded {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.exact.get(key) {
            return bucket.measure_and_replace(&NotKeyed::NonKey, f);
        }
        if self.tracked.load(Relaxed) >= self.cap {
            self.overflowed.fetch_add(1, Relaxed);
            let index = usize::try_from(self.exact.hasher().hash_one(key)).unwrap_or(0) % SHARED_BUCKETS;
            if let Some(bucket) = self.shared.get(index) {
                return bucket.measure_and_replace(&NotKeyed::NonKey, f);
            }
        }
        let entry = self.exact.entry(*key);
        if matches!(entry, dashmap::Entry::Vacant(_)) {
            self.tracked.fetch_add(1, Relaxed);
        }
        entry.or_default().measure_and_replace(&NotKeyed::NonKey, f)
    }
}

impl ShrinkableKeyedStateStore<u64> for Bounded {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&self.exact, drop_below);
        self.tracked.store(self.exact.len(), Relaxed);
    }

    fn shrink_to_fit(&self) {
        self.exact.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.exact.len()
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{Limiter, SHARED_BUCKETS};
    use crate::config::settings::Rate;
    use crate::net::ClientKey;

    fn limiter(burst: u32, cap: usize) -> Limiter {
        // One token in more than an hour: the clock plays no part.
        let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(burst).unwrap() };
        Limiter::new(rate, cap)
    }

    fn client(n: u32) -> ClientKey {
        ClientKey::new(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn each_client_has_its_own_burst() {
        let limiter = limiter(3, 10);
        let taken = (0..5).filter(|_| limiter.allows(client(1))).count();
        assert_eq!(taken, 3);
        assert!(limiter.allows(client(2)));
        assert_eq!((limiter.tracked(), limiter.overflowed()), (2, 0));
    }

    #[test]
    fn a_flood_of_clients_neither_grows_the_table_nor_resets_a_known_one() {
        let limiter = limiter(1, 100);
        assert!(limiter.allows(client(0)));
        let let_in = (1..100_000).filter(|n| limiter.allows(client(*n))).count();
        assert_eq!(limiter.tracked(), 100);
        assert!(let_in <= 100 + SHARED_BUCKETS, "{let_in}");
        assert_eq!(limiter.overflowed(), 100_000 - 100);
        assert!(!limiter.allows(client(0)), "the known client's bucket is still empty");
    }
}
