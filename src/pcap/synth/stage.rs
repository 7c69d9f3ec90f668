//! Where a scenario is played: the actors in the order of their times, and the packets that wait for theirs.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Debug;
use std::io::{self, Write};
use std::net::IpAddr;

use super::chance::Chance;
use super::file::File;
use super::packet::Packet;

/// Times are nanoseconds since the capture began.
pub(super) const MICROSECOND: u64 = 1_000;
/// See [`MICROSECOND`].
pub(super) const MILLISECOND: u64 = 1_000 * MICROSECOND;
/// See [`MICROSECOND`].
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;

/// The ports that Windows gives to outgoing connections (RFC 6335 section 6).
const FIRST_PORT: u16 = 49_152;

/// Somebody who does something now and then.
pub(super) trait Actor: Debug {
    /// Does what is due at `now`; returns when the next thing is, if ever. Packets may be put from `now` on: whoever acts later
    /// must not put one before.
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64>;
}

/// Everybody who takes part, with the time of their first act.
pub(super) type Cast = Vec<(u64, Box<dyn Actor>)>;

/// What all actors share.
#[derive(Debug)]
pub(super) struct Stage {
    pub chance: Chance,
    /// Nothing new begins after this.
    pub end: u64,
    /// As many packets as the actors have put beyond the present: a flight or a short exchange each.
    packets: BinaryHeap<Reverse<Waiting>>,
    put: u64,
    ports: BTreeMap<IpAddr, u16>,
}

#[derive(Debug)]
struct Waiting {
    at: u64,
    /// Settles ties: first put, first written.
    number: u64,
    packet: Packet,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl Stage {
    pub(super) fn new(chance: Chance, end: u64) -> Self {
        Self { chance, end, packets: BinaryHeap::new(), put: 0, ports: BTreeMap::new() }
    }

    /// Nothing new begins any more.
    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.end
    }

    /// The next port for an outgoing connection of this address.
    pub(super) fn port(&mut self, of: IpAddr) -> u16 {
        let port = self.ports.entry(of).or_insert(FIRST_PORT);
        let next = *port;
        *port = next.checked_add(1).unwrap_or(FIRST_PORT);
        next
    }

    /// This packet is captured at `at`.
    pub(super) fn put(&mut self, at: u64, packet: Packet) {
        self.put += 1;
        self.packets.push(Reverse(Waiting { at, number: self.put, packet }));
    }

    fn next_before(&mut self, time: u64) -> Option<Waiting> {
        let Reverse(first) = self.packets.peek()?;
        if first.at < time { self.packets.pop().map(|Reverse(first)| first) } else { None }
    }

    /// Plays until nobody has anything left to do, or the file is full; true if it is.
    pub(super) fn play<W: Write>(&mut self, actors: Cast, file: &mut File<W>) -> io::Result<bool> {
        let (firsts, mut actors): (Vec<_>, Vec<_>) = actors.into_iter().unzip();
        let mut due: BinaryHeap<_> =
            firsts.into_iter().enumerate().map(|(number, first)| Reverse((first, number))).collect();
        loop {
            let next = due.pop();
            let now = next.map_or(u64::MAX, |Reverse((at, _))| at);
            while let Some(waiting) = self.next_before(now) {
                if !file.record(waiting.at, &waiting.packet)? {
                    return Ok(true);
                }
            }
            let Some(Reverse((_, number))) = next else { return Ok(false) };
            if let Some(next) = actors.get_mut(number).and_then(|actor| actor.act(now, self)) {
                due.push(Reverse((next.max(now), number)));
            }
        }
    }
}
