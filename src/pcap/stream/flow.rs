//! One conversation: what a segment means to it.

use std::mem;
use std::net::SocketAddr;

use super::super::Time;
use super::super::decode::{ACK, FIN, RST, SYN, Segment};
use super::assemble::{Direction, Shared, Teller};
use super::sequence::Span;
use super::table::{Bases, is_lower};
use super::{Conversation, End, Listener, Side};

/// A conversation that is open: 240 bytes, and what the listener keeps.
#[derive(Debug)]
pub(super) struct Flow<S> {
    pub(super) conversation: Conversation,
    state: S,
    /// Of the lower and of the higher address: they keep their places if the sides are swapped.
    directions: [Direction; 2],
    /// Who was the first to say FIN: the lower address?
    first_fin: Option<bool>,
    /// Something was heard of it since the table last looked. Not its first segment: a flood of them shall not drive out those
    /// that speak.
    pub(super) recent: bool,
    /// When its last segment was captured.
    last: Time,
}

const _: () = assert!(size_of::<Flow<()>>() <= 240, "the table's size is stated");

impl<S: Default> Flow<S> {
    /// As its first segment shows it.
    pub(super) fn new(number: u64, at: Time, segment: &Segment<'_>) -> Self {
        let Segment { source, destination, flags, .. } = *segment;
        let client =
            opener(segment).unwrap_or_else(|| if destination.port() > source.port() { destination } else { source });
        let conversation = Conversation {
            number,
            client,
            server: if client == source { destination } else { source },
            opened: at,
            midstream: flags & SYN == 0,
            accepted: false,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let directions = Default::default();
        Self { conversation, state: S::default(), directions, first_fin: None, recent: false, last: at }
    }

    /// The numbers that its sides began with, and whether either has said FIN.
    pub(super) fn bases(&self) -> (Bases, bool) {
        let [low, high] = &self.directions;
        ([low.base, high.base], self.first_fin.is_some())
    }

    /// Its next segment. Returns how it ended, if it did.
    pub(super) fn hear<L: Listener<State = S>>(
        &mut self,
        listener: &mut L,
        shared: &mut Shared,
        at: Time,
        segment: &Segment<'_>,
    ) -> Option<End> {
        let has = |flag| segment.flags & flag != 0;
        let Some(span) = Span::new(segment.sequence.wrapping_add(u32::from(has(SYN))), segment.payload, segment.cut)
        else {
            shared.counters.strays += 1;
            return None;
        };
        self.last = at;
        self.count(listener, segment, span.length() > 0);

        let from_low = is_lower(segment.source, segment.destination);
        let [low, high] = &mut self.directions;
        let (own, other) = if from_low { (low, high) } else { (high, low) };
        if has(RST) {
            if own.may_reset(segment.sequence, has(ACK)) {
                return Some(End::Reset(self.conversation.side(&segment.source)));
            }
            shared.counters.strays += 1;
            return None;
        }
        if !has(SYN) {
            own.base.get_or_insert_with(|| segment.sequence.wrapping_sub(1));
        } else if !own.begin(segment.sequence, &mut shared.counters) {
            shared.counters.strays += 1;
            return None;
        } else if self.conversation.midstream {
            // Its SYN comes after what it began: the capture's order is not the network's.
            shared.counters.midstream -= 1;
            if opener(segment) != Some(self.conversation.client) {
                self.conversation.swap();
            }
            self.conversation.midstream = false;
        }

        let (conversation, state) = (&mut self.conversation, &mut self.state);
        let mut to = Teller { listener, conversation, state, shared, at, sender: segment.destination };
        // Before its bytes: an answer shows that the question arrived.
        if has(ACK) {
            other.acknowledge(segment.acknowledgement, &mut to);
        }
        to.sender = segment.source;
        if span.length() <= 1 && !has(SYN | FIN) && own.is_probe(segment.sequence) {
            to.shared.counters.keep_alives += 1;
        } else if span.length() > 0 {
            own.receive(span, &mut to);
        }
        if has(FIN) {
            own.end(span.end(), &mut to);
            if own.fin.is_some() {
                self.first_fin.get_or_insert(from_low);
            }
        }
        self.end().filter(|_| self.directions.iter().all(Direction::is_done))
    }

    /// Counts a segment, and announces the first.
    fn count<L: Listener<State = S>>(&mut self, listener: &mut L, segment: &Segment<'_>, carries: bool) {
        let conversation = &mut self.conversation;
        let first = conversation.packets == [0; 2];
        let side = conversation.side(&segment.source);
        *side.of_mut(&mut conversation.packets) += 1;
        conversation.accepted |= side == Side::Server
            && segment.flags & RST == 0
            && (carries || conversation.midstream || segment.flags & (SYN | FIN) != 0);
        if first {
            listener.opened(conversation, &mut self.state);
        } else {
            self.recent = true;
        }
    }

    /// How it ended, if both sides said FIN.
    fn end(&self) -> Option<End> {
        let [Direction { fin: Some(_), .. }, Direction { fin: Some(_), .. }] = self.directions else { return None };
        let Conversation { client, server, .. } = self.conversation;
        let client_first = self.first_fin? == is_lower(client, server);
        Some(End::Finished(if client_first { Side::Client } else { Side::Server }))
    }

    /// Tells the rest of it. What is told to have ended otherwise may have finished before, unacknowledged.
    pub(super) fn close<L: Listener<State = S>>(mut self, listener: &mut L, shared: &mut Shared, at: Time, end: End) {
        let (at, end) = self.end().map_or((at, end), |finished| (self.last, finished));
        let Conversation { client, server, .. } = self.conversation;
        let [low, high] = &mut self.directions;
        let mut sides = [(low, client.min(server)), (high, client.max(server))];
        if !is_lower(client, server) {
            sides.reverse();
        }
        for (direction, sender) in sides {
            let (conversation, state) = (&mut self.conversation, &mut self.state);
            direction.flush(&mut Teller { listener, conversation, state, shared, at, sender });
        }
        let counters = &mut shared.counters;
        match end {
            End::Finished(_) => counters.finished += 1,
            End::Reset(_) => counters.resets += 1,
            End::Evicted => counters.evicted += 1,
            End::Open => {}
        }
        listener.closed(&self.conversation, mem::take(&mut self.state), at, end);
    }
}

/// Who opened the conversation, if this is a SYN or the answer to one.
fn opener(segment: &Segment<'_>) -> Option<SocketAddr> {
    match segment.flags & (SYN | ACK) {
        SYN => Some(segment.source),
        0 | ACK => None,
        _ => Some(segment.destination),
    }
}
