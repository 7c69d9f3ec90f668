//! The conversations that are known: the open ones, and of those that closed last, their addresses.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use ahash::AHashMap;

use super::super::decode::{ACK, RST, SYN, Segment};
use super::flow::Flow;
use super::sequence::distance;

/// The initial sequence numbers of the lower and of the higher address, as far as they are known.
pub(super) type Bases = [Option<u32>; 2];

/// Two addresses with ports, whoever is the sender: the lower comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    /// Address and port in one number each: most conversations are these, and none is compared faster.
    V4([u64; 2]),
    V6([[u64; 2]; 2], u32),
}

const _: () = assert!(size_of::<(Key, Place)>() <= 48, "the table's size is stated");

impl Key {
    /// The key, and whether `one` is the lower address (also if they are the same).
    pub(super) fn of(one: SocketAddr, other: SocketAddr) -> (Self, bool) {
        if let (SocketAddr::V4(one), SocketAddr::V4(other)) = (one, other) {
            let number = |address: SocketAddrV4| u64::from(address.ip().to_bits()) << 16 | u64::from(address.port());
            let (one, other) = (number(one), number(other));
            return (Self::V4([one.min(other), one.max(other)]), one <= other);
        }
        let (one, other) = (halves(one), halves(other));
        let ((low, low_port), (high, high_port)) = (one.min(other), one.max(other));
        (Self::V6([low, high], u32::from(low_port) << 16 | u32::from(high_port)), one <= other)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
fn halves(address: SocketAddr) -> ([u64; 2], u16) {
    let bits = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    ([(bits >> 64) as u64, bits as u64], address.port())
}

/// Where a conversation is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Open, in this slot.
    Open(u32),
    /// Closed, as the so-and-so-many-th.
    Closed(u32),
}

#[derive(Debug)]
struct Closed {
    key: Key,
    bases: Bases,
}

/// Open conversations in slots, closed ones in the order of their ends.
#[derive(Debug)]
pub(super) struct Table<S> {
    places: AHashMap<Key, Place>,
    slots: Vec<Option<Flow<S>>>,
    free: Vec<u32>,
    /// Where the search for a silent conversation goes on.
    hand: usize,
    closed: VecDeque<Closed>,
    /// How many closed ones are forgotten: the number of the first of `closed`.
    forgotten: u32,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        let (slots, free, closed) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { places: AHashMap::default(), slots, free, hand: 0, closed, forgotten: 0 }
    }
}

impl<S: Default> Table<S> {
    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        self.places.get(key).copied()
    }

    pub(super) fn open(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// What the table has taken, used or not.
    pub(super) fn memory(&self) -> usize {
        // A byte for each entry of the map is its own.
        let places = self.places.capacity() * (size_of::<(Key, Place)>() + 1);
        let slots = self.slots.capacity() * size_of::<Option<Flow<S>>>() + self.free.capacity() * size_of::<u32>();
        places + slots + self.closed.capacity() * size_of::<Closed>()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Flow<S>> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Flow<S>> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_mut()
    }

    /// Adds an open conversation, in the place of a closed one if there is one.
    pub(super) fn insert(&mut self, key: Key, flow: Flow<S>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(entry) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
            *entry = Some(flow);
        }
        self.places.insert(key, Place::Open(slot));
        slot
    }

    /// Takes an open conversation out; nothing is known of it any more.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Flow<S>> {
        let flow = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        self.free.push(slot);
        self.places.remove(&flow.key());
        Some(flow)
    }

    /// Takes an open conversation out, and remembers it as closed. Returns how many of those had to be forgotten.
    pub(super) fn close(&mut self, slot: u32, remembered: usize) -> (Option<Flow<S>>, u64) {
        let Some(flow) = self.remove(slot) else { return (None, 0) };
        let key = flow.key();
        let ticket = self.forgotten.wrapping_add(u32::try_from(self.closed.len()).unwrap_or(u32::MAX));
        self.places.insert(key, Place::Closed(ticket));
        self.closed.push_back(Closed { key, bases: flow.bases() });
        let mut forgotten = 0;
        while self.closed.len() > remembered
            && let Some(oldest) = self.closed.pop_front()
        {
            // Unless a later conversation has its ports.
            if self.places.get(&oldest.key) == Some(&Place::Closed(self.forgotten)) {
                self.places.remove(&oldest.key);
                forgotten += 1;
            }
            self.forgotten = self.forgotten.wrapping_add(1);
        }
        (Some(flow), forgotten)
    }

    /// An open conversation that was silent while all others were looked at, or any if none was (a clock with one hand).
    pub(super) fn silent(&mut self) -> Option<u32> {
        for _ in 0..=self.slots.len().saturating_mul(2) {
            let slot = self.hand;
            self.hand = if slot.saturating_add(1) < self.slots.len() { slot + 1 } else { 0 };
            match self.slots.get_mut(slot)? {
                Some(flow) if flow.recent => flow.recent = false,
                Some(_) => return u32::try_from(slot).ok(),
                None => {}
            }
        }
        None
    }

    /// All open conversations, in the order of their first segments.
    pub(super) fn in_order(&self) -> Vec<u32> {
        let mut open: Vec<_> =
            self.slots.iter().zip(0..).filter_map(|(flow, slot)| Some((flow.as_ref()?, slot))).collect();
        open.sort_by_key(|(flow, _)| flow.conversation.number);
        open.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Whether a segment on known ports is the first of another conversation.
    ///
    /// A SYN is, unless it repeats the one that is known and nobody has said FIN or RST since (so does tshark, whose count of
    /// conversations this is). The server's answer to a SYN is, if it answers another than is known: that was not captured.
    pub(super) fn begins_anew(&self, place: Place, from_low: bool, segment: &Segment<'_>) -> bool {
        let flags = segment.flags & (SYN | ACK);
        if segment.flags & RST != 0 || flags & SYN == 0 {
            return false;
        }
        let (bases, ended) = match place {
            Place::Open(slot) => self.get(slot).map_or(([None; 2], false), |flow| {
                let from_client = !flow.conversation.midstream && flow.conversation.client == segment.source;
                (if from_client && flags != SYN { [None; 2] } else { flow.bases() }, flow.is_ending())
            }),
            Place::Closed(ticket) => {
                let index = usize::try_from(ticket.wrapping_sub(self.forgotten)).unwrap_or(usize::MAX);
                (self.closed.get(index).map_or([None; 2], |closed| closed.bases), true)
            }
        };
        let [low, high] = bases;
        let (own, other) = if from_low { (low, high) } else { (high, low) };
        if flags == SYN {
            return ended || own.is_some_and(|base| base != segment.sequence);
        }
        // It may acknowledge bytes with the SYN (RFC 7413).
        let answers = |base| (1..=0xffff).contains(&distance(segment.acknowledgement, base));
        own != Some(segment.sequence) && other.is_some_and(|base| !answers(base))
    }
}
