//! The conversations that are known: the open ones, and of those that closed last, their addresses.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;

use super::super::decode::{ACK, RST, SYN, Segment};
use super::flow::Flow;

/// The initial sequence numbers of the lower and of the higher address, as far as they are known.
pub(super) type Bases = [Option<u32>; 2];

/// Two addresses with ports, whoever is the sender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    V4 { addresses: u64, ports: u32 },
    V6 { low: [u64; 2], high: [u64; 2], ports: u32 },
}

impl Key {
    pub(super) fn of(one: SocketAddr, other: SocketAddr) -> Self {
        let (low, high) = if is_lower(one, other) { (one, other) } else { (other, one) };
        let ports = u32::from(low.port()) << 16 | u32::from(high.port());
        match (low.ip(), high.ip()) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                Self::V4 { addresses: u64::from(low.to_bits()) << 32 | u64::from(high.to_bits()), ports }
            }
            (low, high) => Self::V6 { low: halves(low), high: halves(high), ports },
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
fn halves(ip: IpAddr) -> [u64; 2] {
    let bits = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    [(bits.to_bits() >> 64) as u64, bits.to_bits() as u64]
}

/// Whether `one` is the lower of two addresses; also if they are the same.
pub(super) fn is_lower(one: SocketAddr, other: SocketAddr) -> bool {
    one <= other
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
        self.places.remove(&Key::of(flow.conversation.client, flow.conversation.server));
        Some(flow)
    }

    /// Takes an open conversation out, and remembers it as closed. Returns how many of those had to be forgotten.
    pub(super) fn close(&mut self, slot: u32, remembered: usize) -> (Option<Flow<S>>, u64) {
        let Some(flow) = self.remove(slot) else { return (None, 0) };
        let key = Key::of(flow.conversation.client, flow.conversation.server);
        let ticket = self.forgotten.wrapping_add(u32::try_from(self.closed.len()).unwrap_or(u32::MAX));
        self.places.insert(key, Place::Closed(ticket));
        self.closed.push_back(Closed { key, bases: flow.bases().0 });
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
    /// A SYN is, unless it repeats the one that is known and nobody has said FIN since (so does tshark, whose count of
    /// conversations this is). The answer to a SYN is, if both of its numbers are new: the SYN itself was not captured; and if it
    /// comes after the end of a conversation in which that side had sent none: whatever ended it, the client did not believe it.
    pub(super) fn begins_anew(&self, place: Place, segment: &Segment<'_>) -> bool {
        let flags = segment.flags & (SYN | ACK);
        if segment.flags & RST != 0 || flags & SYN == 0 {
            return false;
        }
        let (bases, ended) = match place {
            Place::Open(slot) => self.get(slot).map_or(([None; 2], false), Flow::bases),
            Place::Closed(ticket) => {
                let index = usize::try_from(ticket.wrapping_sub(self.forgotten)).unwrap_or(usize::MAX);
                (self.closed.get(index).map_or([None; 2], |closed| closed.bases), true)
            }
        };
        let [low, high] = bases;
        let (own, other) = if is_lower(segment.source, segment.destination) { (low, high) } else { (high, low) };
        let differs = |base: Option<u32>, number| base.is_some_and(|base| base != number);
        if flags == SYN {
            ended || differs(own, segment.sequence)
        } else {
            let unbelieved = own.is_none() && matches!(place, Place::Closed(_));
            unbelieved || own != Some(segment.sequence) && differs(other, segment.acknowledgement.wrapping_sub(1))
        }
    }
}
