//! Fragments of IP datagrams, until all are there (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Where two overlap, what came first stays. A table that is full forgets the oldest datagram.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Counters, Ends, Stop};
use crate::pcap::Time;

/// How long the fragments of a datagram are waited for after the first: as Linux does (`net.ipv4.ipfrag_time`).
const PATIENCE: Duration = Duration::from_secs(30);
/// Datagrams that wait for fragments.
const MAX_WAITING: usize = 1024;
/// Bytes of all of these, holes included.
const MAX_BYTES: usize = 4 << 20;
/// What the lengths of both versions of IP can say.
const MAX_DATAGRAM: usize = 65_535;
/// Offsets count in these.
const UNIT: usize = 8;

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key {
    pub(super) identification: u32,
    /// IPv4 only: RFC 8200 leaves it to the first fragment.
    pub(super) protocol: Option<u8>,
    pub(super) ends: Ends,
}

/// A fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'b> {
    /// Where it belongs, in bytes.
    pub(super) offset: usize,
    /// It is not the last.
    pub(super) more: bool,
    /// What the datagram carries, if this is the first.
    pub(super) protocol: u8,
    pub(super) bytes: &'b [u8],
}

/// A datagram with holes.
#[derive(Debug)]
struct Datagram {
    key: Key,
    began: Time,
    protocol: u8,
    bytes: Vec<u8>,
    /// A bit for each unit that is there.
    there: Vec<u64>,
    /// How many these are.
    units: usize,
    /// Known from the last fragment on.
    length: Option<usize>,
}

/// The datagrams that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: VecDeque<Datagram>,
    /// Of all that wait.
    bytes: usize,
    complete: Vec<u8>,
}

impl Fragments {
    /// Keeps a fragment. If it was the last missing one: the protocol of the datagram, which [`Self::take`] gives.
    pub(super) fn add(
        &mut self,
        counters: &mut Counters,
        time: Time,
        key: Key,
        fragment: Fragment<'_>,
    ) -> Result<u8, Stop> {
        let fragment = fragment.checked().ok_or(Stop::Malformed)?;
        while self.waiting.front().is_some_and(|oldest| time.since(oldest.began) > PATIENCE) {
            self.forget_oldest();
        }
        // Fragments come together: the one looked for is most likely the newest.
        let known = self.waiting.iter().rposition(|datagram| datagram.key == key);
        if known.is_none() {
            if self.waiting.len() >= MAX_WAITING {
                self.forget_oldest();
            }
            counters.datagrams += 1;
            self.waiting.push_back(Datagram::new(key, time));
        }
        let index = known.unwrap_or_else(|| self.waiting.len().saturating_sub(1));
        let datagram = self.waiting.get_mut(index).ok_or(Stop::Malformed)?;
        self.bytes += datagram.add(&fragment).ok_or(Stop::Malformed)?;
        counters.fragments += 1;
        if datagram.is_complete() {
            counters.reassembled += 1;
            let datagram = self.waiting.remove(index).ok_or(Stop::Malformed)?;
            self.bytes = self.bytes.saturating_sub(datagram.bytes.len());
            self.complete = datagram.bytes;
            return Ok(datagram.protocol);
        }
        while self.bytes > MAX_BYTES {
            self.forget_oldest();
        }
        Err(Stop::Fragment)
    }

    /// The datagram completed last, for what `place` holds.
    pub(super) const fn take(&mut self, place: &mut Vec<u8>) {
        std::mem::swap(&mut self.complete, place);
    }

    /// Datagrams that wait, and what their buffers take.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let bytes = self.waiting.iter().map(|datagram| datagram.bytes.capacity()).sum();
        assert_eq!(self.bytes, bytes);
        (self.waiting.len(), bytes)
    }

    fn forget_oldest(&mut self) {
        let forgotten = self.waiting.pop_front().map_or(0, |datagram| datagram.bytes.len());
        self.bytes = self.bytes.saturating_sub(forgotten);
    }
}

impl Fragment<'_> {
    /// None if it cannot be part of a datagram. All but the last end at a unit; Linux too ignores what is beyond it.
    fn checked(mut self) -> Option<Self> {
        if self.more {
            self.bytes = self.bytes.get(..self.bytes.len() / UNIT * UNIT)?;
        }
        (!self.bytes.is_empty() && self.end() <= MAX_DATAGRAM).then_some(self)
    }

    const fn end(&self) -> usize {
        self.offset.saturating_add(self.bytes.len())
    }
}

impl Datagram {
    const fn new(key: Key, began: Time) -> Self {
        Self { key, began, protocol: 0, bytes: Vec::new(), there: Vec::new(), units: 0, length: None }
    }

    /// How many bytes it has grown by; none if the fragment contradicts the others.
    fn add(&mut self, fragment: &Fragment<'_>) -> Option<usize> {
        let end = fragment.end();
        let length = if fragment.more { self.length } else { Some(end) };
        if length.is_some_and(|length| {
            end.max(self.bytes.len()) > length || self.length.is_some_and(|known| known != length)
        }) {
            return None;
        }
        self.length = length;
        if fragment.offset == 0 {
            self.protocol = fragment.protocol;
        }
        let growth = end.saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(growth);
        self.bytes.resize(self.bytes.len() + growth, 0);
        self.there.resize(self.bytes.len().div_ceil(UNIT * 64), 0);
        let units = (fragment.offset / UNIT..).zip(fragment.bytes.chunks(UNIT));
        for ((unit, from), to) in units.zip(self.bytes.get_mut(fragment.offset..end)?.chunks_mut(UNIT)) {
            let word = self.there.get_mut(unit / 64)?;
            let bit = 1 << (unit % 64);
            if *word & bit == 0 {
                *word |= bit;
                self.units += 1;
                to.copy_from_slice(from);
            }
        }
        Some(growth)
    }

    fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| self.units == length.div_ceil(UNIT))
    }
}
