//! Places: so many, and nobody from elsewhere takes all of them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::limits::Room;
use crate::net::ClientKey;

/// Places for connections of one sort, and who has them.
#[derive(Debug)]
pub(super) struct Places {
    room: Room,
    taken: Mutex<Vec<Option<ClientKey>>>,
}

impl Places {
    pub(super) fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, taken: Mutex::default() })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().len()
    }

    /// One more place, if there is one: for this box as long as any is left, for a client elsewhere as long as it and all of its
    /// kind have not taken theirs.
    pub(super) fn take(self: &Arc<Self>, from: Option<ClientKey>) -> Option<Place> {
        let mut taken = self.taken.lock();
        let count = |of: &dyn Fn(&Option<ClientKey>) -> bool| taken.iter().filter(|holder| of(holder)).count();
        let is_full = taken.len() >= self.room.all
            || from.is_some()
                && (count(&Option::is_some) >= self.room.elsewhere
                    || count(&|holder| *holder == from) >= self.room.one);
        if is_full {
            return None;
        }
        taken.push(from);
        Some(Place { places: Arc::clone(self), from })
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    from: Option<ClientKey>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(at) = taken.iter().position(|holder| *holder == self.from) {
            taken.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, Room};
    use crate::net::ClientKey;

    #[test]
    fn nobody_takes_all_and_this_box_finds_one() {
        let places = Places::new(Room { all: 10, elsewhere: 8, one: 5 });
        let client = |text: &str| Some(ClientKey::new(text.parse().unwrap()));
        let take = |from, wanted: usize| (0..wanted).filter_map(|_| places.take(from)).collect::<Vec<_>>();
        let one = take(client("10.0.0.1"), 9);
        assert_eq!(one.len(), 5);
        let other = take(client("2001:db8::1"), 2);
        // The addresses of a /64 are one client.
        let same = take(client("2001:db8::2"), 9);
        assert_eq!((other.len(), same.len()), (2, 1));
        assert!(places.take(client("10.0.0.3")).is_none());
        let here = take(None, 9);
        assert_eq!((here.len(), places.taken()), (2, 10));
        drop(one);
        assert_eq!(places.taken(), 5);
        assert_eq!(take(client("10.0.0.3"), 9).len(), 5);
        assert_eq!(take(None, 9).len(), 5);
        drop((other, same, here));
        assert_eq!(places.taken(), 0);
    }
}
