//! The client book: what is known of every client, in one bounded table.
//!
//! Owns: [`Client`], who forgets it and when. Called by: admission and the journey (they hold their client and count on it,
//! without a look-up), control (once a second), admin (reads). Never: grows beyond its capacity, or decides by rates.
//!
//! A client costs about 350 bytes, and 250 more from its first refusal on; [`detail`] of those that storm. Strangers that find the book full share 1,024
//! entries, and the /64s of one IPv6 /48 share one entry beyond the first [`SITE`]: neither a flood of addresses nor one
//! site's can push out those who are known.

mod client;
pub mod detail;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;

pub use client::{Client, Place, Rates, Rung, Seat, Stalled};
use detail::{Act, Details};

use super::Moment;
use crate::net::ClientKey;

/// Entries that strangers share once the book is full.
const STRANGERS: usize = 1024;
/// Shards of the table: more than the workers, so that two seldom meet at a lock.
const SHARDS: usize = 64;
/// The /64s of one /48 that have an entry each.
pub const SITE: u32 = 256;
/// A client with nothing open and nothing to remember is forgotten after this.
const IDLE: Duration = Duration::from_mins(1);
/// The same when the book is nearly full.
const HASTE: Duration = Duration::from_secs(5);

/// What all clients share.
#[derive(Debug, Default)]
struct Common {
    /// Connections whose first request is not complete.
    heads: AtomicU32,
    details: Arc<Details>,
}

/// Every client.
#[derive(Debug)]
pub struct ClientBook {
    clients: DashMap<ClientKey, Arc<Client>, ahash::RandomState>,
    /// Entries per /48 of IPv6.
    sites: DashMap<ClientKey, u32, ahash::RandomState>,
    strangers: OnceLock<Box<[Arc<Client>]>>,
    common: Arc<Common>,
    tracked: AtomicUsize,
    capacity: AtomicUsize,
    overflowed: AtomicU64,
}

impl ClientBook {
    /// An empty book for so many clients.
    pub fn new(capacity: usize) -> Self {
        let hasher = ahash::RandomState::new;
        Self {
            clients: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher(), SHARDS),
            sites: DashMap::with_hasher(hasher()),
            strangers: OnceLock::new(),
            common: Arc::default(),
            tracked: AtomicUsize::new(0),
            capacity: AtomicUsize::new(capacity),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Another capacity, from now on; those who are known stay.
    pub fn resize(&self, capacity: usize) {
        self.capacity.store(capacity, Relaxed);
    }

    /// Counts one more connection of this client. The seat gives it back when dropped.
    pub fn enter(&self, key: ClientKey, now: Moment) -> Seat {
        Client::sit(self.find(key, now), now)
    }

    /// The client's entry: its own, its site's, or one that strangers share.
    pub fn find(&self, key: ClientKey, now: Moment) -> Arc<Client> {
        if let Some(known) = self.clients.get(&key) {
            return Arc::clone(&known);
        }
        let crowded = key.site().filter(|site| self.sites.get(site).is_some_and(|entries| *entries >= SITE));
        if let Some(site) = crowded
            && site != key
        {
            return self.find(site, now);
        }
        if self.tracked.fetch_add(1, Relaxed) >= self.capacity.load(Relaxed) {
            self.tracked.fetch_sub(1, Relaxed);
            self.overflowed.fetch_add(1, Relaxed);
            return self.stranger(key, now);
        }
        match self.clients.entry(key) {
            dashmap::Entry::Occupied(known) => {
                self.tracked.fetch_sub(1, Relaxed);
                Arc::clone(known.get())
            }
            dashmap::Entry::Vacant(place) => {
                if let Some(site) = key.site() {
                    *self.sites.entry(site).or_insert(0) += 1;
                }
                Arc::clone(&place.insert(Arc::new(Client::new(Some(key), &self.common, now))))
            }
        }
    }

    fn stranger(&self, key: ClientKey, now: Moment) -> Arc<Client> {
        let shared = || Arc::new(Client::new(None, &self.common, now));
        let strangers = self.strangers.get_or_init(|| (0..STRANGERS).map(|_| shared()).collect());
        let index = usize::try_from(self.clients.hasher().hash_one(key)).unwrap_or(0) % STRANGERS;
        strangers.get(index).map_or_else(shared, Arc::clone)
    }

    /// A second has passed: brings every client's rates up to date, hands each to `each`, and forgets who has left.
    pub fn tick(&self, now: Moment, mut each: impl FnMut(&Arc<Client>, Rates)) {
        let nearly_full = self.tracked.load(Relaxed) >= self.capacity.load(Relaxed) / 10 * 9;
        let patience = if nearly_full { HASTE } else { IDLE };
        let mut forgotten = 0;
        self.clients.retain(|key, client| {
            let rates = client.tick(now);
            // Nobody else holds it, and nobody can take it meanwhile: its shard is locked.
            let stays = Arc::strong_count(client) > 1 || !client.is_forgotten(now, patience);
            if stays {
                each(client, rates);
            } else {
                forgotten += 1;
                self.leave_site(*key);
            }
            stays
        });
        self.tracked.fetch_sub(forgotten, Relaxed);
        for stranger in self.strangers.get().into_iter().flatten() {
            stranger.tick(now);
        }
    }

    fn leave_site(&self, key: ClientKey) {
        if let Some(site) = key.site()
            && let dashmap::Entry::Occupied(mut entries) = self.sites.entry(site)
        {
            *entries.get_mut() = entries.get().saturating_sub(1);
            if *entries.get() == 0 {
                entries.remove();
            }
        }
    }

    /// Clients with an entry of their own.
    pub fn tracked(&self) -> usize {
        self.tracked.load(Relaxed)
    }

    /// Connections of all clients whose first request is not complete.
    pub fn heads(&self) -> u32 {
        self.common.heads.load(Relaxed)
    }

    /// The places for detail.
    pub fn details(&self) -> &Details {
        &self.common.details
    }

    /// A request line of a refusal of this client, for its detail if it has any.
    pub fn sample(&self, key: ClientKey, line: &[u8]) {
        if let Some(client) = self.clients.get(&key) {
            client.sample(line);
        }
    }

    /// Something was done with this client, for its detail if it has any.
    pub fn acted(&self, key: ClientKey, act: Act, now: Moment) {
        if let Some(client) = self.clients.get(&key) {
            client.acted(act, now);
        }
    }

    /// Look-ups that found the book full and took an entry that is shared.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// The entry of a client that has one.
    pub fn known(&self, key: ClientKey) -> Option<Arc<Client>> {
        self.clients.get(&key).map(|known| Arc::clone(&known))
    }

    /// Shows every client that has an entry of its own, in no order.
    pub fn each(&self, mut show: impl FnMut(ClientKey, &Client)) {
        for entry in &self.clients {
            show(*entry.key(), entry.value());
        }
    }
}

#[cfg(test)]
mod tests;
