//! The client book: how many connections each client has open.
//!
//! Bounded by the box-wide limit of connections: an entry lives only while its client has a connection open.

use std::sync::Arc;

use dashmap::DashMap;

use crate::net::ClientKey;

/// Open connections per client.
#[derive(Debug)]
pub struct ClientBook {
    open: DashMap<ClientKey, u32, ahash::RandomState>,
}

impl Default for ClientBook {
    fn default() -> Self {
        Self { open: DashMap::with_capacity_and_hasher_and_shard_amount(0, ahash::RandomState::new(), 64) }
    }
}

impl ClientBook {
    /// Counts one more connection of this client. The seat gives it back when dropped.
    pub fn enter(self: &Arc<Self>, client: ClientKey) -> Seat {
        let mut open = self.open.entry(client).or_insert(0);
        *open = open.saturating_add(1);
        let place = *open;
        drop(open);
        Seat { book: Arc::clone(self), client, place }
    }

    /// Clients with at least one connection open.
    pub fn clients(&self) -> usize {
        self.open.len()
    }

    /// The `n` clients with the most connections open, most first.
    pub fn top(&self, n: usize) -> Vec<(ClientKey, u32)> {
        let mut all: Vec<_> = self.open.iter().map(|entry| (*entry.key(), *entry.value())).collect();
        all.sort_unstable_by_key(|(client, open)| (std::cmp::Reverse(*open), *client));
        all.truncate(n);
        all
    }

    fn leave(&self, client: ClientKey) {
        if let dashmap::Entry::Occupied(mut entry) = self.open.entry(client) {
            let open = entry.get_mut();
            *open = open.saturating_sub(1);
            if *open == 0 {
                entry.remove();
            }
        }
    }
}

/// One connection's place in the book.
#[must_use]
#[derive(Debug)]
pub struct Seat {
    book: Arc<ClientBook>,
    /// Whose it is.
    pub client: ClientKey,
    /// The client's open connections when it sat down, this one included.
    pub place: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.book.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::ClientBook;
    use crate::net::ClientKey;

    #[test]
    fn seats_are_given_back_and_the_book_empties() {
        let book = Arc::new(ClientBook::default());
        let client = |text: &str| ClientKey::new(text.parse().unwrap());
        let seats: Vec<_> = (0..3).map(|_| book.enter(client("10.0.0.1"))).collect();
        let other = book.enter(client("10.0.0.2"));
        assert_eq!(seats.iter().map(|seat| seat.place).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(book.top(1), [(client("10.0.0.1"), 3)]);
        drop(seats);
        assert_eq!(book.top(9), [(client("10.0.0.2"), 1)]);
        drop(other);
        assert_eq!(book.clients(), 0);
    }
}
