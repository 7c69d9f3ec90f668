//! One conversation: what a segment means to it.

use std::mem;
use std::net::SocketAddr;

use super::super::Time;
use super::super::decode::{ACK, FIN, RST, SYN, Segment};
use super::assemble::{Direction, Shared, Teller};
use super::sequence::Span;
use super::table::{Bases, Key};
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
    /// Who has reset it, and said nothing else since: the lower address?
    reset: Option<bool>,
    /// When its last segment was captured, or the first RST.
    last: Time,
}

/// What a segment did to its conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// It goes on.
    Open,
    /// It was reset, unless the sender goes on.
    Reset,
    /// Both sides have finished, and know it.
    Over,
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
        Self { conversation, state: S::default(), directions, first_fin: None, recent: false, reset: None, last: at }
    }

    pub(super) fn key(&self) -> Key {
        Key::of(self.conversation.client, self.conversation.server).0
    }

    /// The numbers that its sides began with.
    pub(super) fn bases(&self) -> Bases {
        let [low, high] = &self.directions;
        [low.base, high.base]
    }

    /// Somebody has said FIN or RST.
    pub(super) fn is_ending(&self) -> bool {
        self.first_fin.is_some() || self.reset.is_some()
    }

    /// When it was reset, if that is believed.
    pub(super) fn was_reset(&self) -> Option<Time> {
        self.reset.map(|_| self.last)
    }

    /// Its next segment.
    pub(super) fn hear<L: Listener<State = S>>(
        &mut self,
        listener: &mut L,
        shared: &mut Shared,
        at: Time,
        from_low: bool,
        segment: &Segment<'_>,
    ) -> Heard {
        let has = |flag| segment.flags & flag != 0;
        let Some(span) = Span::new(segment.sequence.wrapping_add(u32::from(has(SYN))), segment.payload, segment.cut)
        else {
            shared.counters.strays += 1;
            return Heard::Open;
        };
        let mut side = self.count(listener, segment, span.length() > 0);
        let [low, high] = &mut self.directions;
        let (own, other) = if from_low { (low, high) } else { (high, low) };
        if has(RST) {
            if !own.may_reset(segment.sequence, has(ACK)) {
                shared.counters.strays += 1;
            } else if self.reset.is_none() {
                (self.reset, self.last) = (Some(from_low), at);
                return Heard::Reset;
            }
            return Heard::Open;
        }
        if self.reset == Some(from_low) {
            // Somebody else sent that RST in its name, or with a number that the receiver did not accept.
            self.reset = None;
        }
        if self.reset.is_none() {
            self.last = at;
        }

        if !has(SYN) {
            own.base.get_or_insert_with(|| segment.sequence.wrapping_sub(1));
        } else if !own.begin(segment.sequence, &mut shared.counters) {
            shared.counters.strays += 1;
            return Heard::Open;
        } else if self.conversation.midstream {
            // Its SYN comes after what it began: the capture's order is not the network's.
            shared.counters.midstream -= 1;
            if opener(segment) != Some(self.conversation.client) {
                self.conversation.swap();
                side = side.other();
            }
            self.conversation.midstream = false;
        }

        let (conversation, state) = (&mut self.conversation, &mut self.state);
        let mut to = Teller { listener, conversation, state, shared, at, side: side.other() };
        // Before its bytes: an answer shows that the question arrived.
        if has(ACK) {
            other.acknowledge(segment.acknowledgement, &mut to);
        }
        to.side = to.side.other();
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
        if own.is_done() && other.is_done() { Heard::Over } else { Heard::Open }
    }

    /// Counts a segment, announces the first, and says whose it is.
    fn count<L: Listener<State = S>>(&mut self, listener: &mut L, segment: &Segment<'_>, carries: bool) -> Side {
        let conversation = &mut self.conversation;
        let first = conversation.packets == [0; 2];
        let side = if conversation.client == segment.source { Side::Client } else { Side::Server };
        *side.of_mut(&mut conversation.packets) += 1;
        conversation.accepted |= side == Side::Server
            && segment.flags & RST == 0
            && (carries || conversation.midstream || segment.flags & (SYN | FIN) != 0);
        if first {
            listener.opened(conversation, &mut self.state);
        } else {
            self.recent = true;
        }
        side
    }

    /// Whether the client is the lower address.
    fn client_is_low(&self) -> bool {
        Key::of(self.conversation.client, self.conversation.server).1
    }

    /// How it ended, if it did.
    fn end(&self) -> Option<End> {
        let side = |low| if low == self.client_is_low() { Side::Client } else { Side::Server };
        if let [Direction { fin: Some(_), .. }, Direction { fin: Some(_), .. }] = self.directions {
            return Some(End::Finished(side(self.first_fin?)));
        }
        self.reset.map(|low| End::Reset(side(low)))
    }

    /// Tells the rest of it. `end` is its end if it has not come to one by itself.
    pub(super) fn close<L: Listener<State = S>>(mut self, listener: &mut L, shared: &mut Shared, at: Time, end: End) {
        let (at, end) = self.end().map_or((at, end), |ended| (self.last, ended));
        let client_is_low = self.client_is_low();
        let [low, high] = &mut self.directions;
        let (client, server) = if client_is_low { (low, high) } else { (high, low) };
        let (conversation, state) = (&mut self.conversation, &mut self.state);
        let mut to = Teller { listener, conversation, state, shared, at, side: Side::Client };
        client.flush(&mut to);
        to.side = to.side.other();
        server.flush(&mut to);
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
