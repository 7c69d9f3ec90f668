//! One side's segments, put in order.
//!
//! In-order bytes go to the listener straight from the segment. Others wait, and the hole in front of them is given up as a gap
//! when nothing can fill it any more: the other side acknowledged it, so that it was sent and received but not captured; or too
//! much waits; or the conversation ends.

use std::net::SocketAddr;

use super::super::Time;
use super::early::Early;
use super::sequence::{Span, WINDOW, distance};
use super::{Conversation, Counters, Interest, Limits, Listener, Side};

/// What all conversations share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    /// Memory of all pieces that wait.
    pub(super) waiting: usize,
}

/// The way to the listener, for one side of one conversation.
pub(super) struct Teller<'a, L: Listener> {
    pub(super) listener: &'a mut L,
    pub(super) conversation: &'a mut Conversation,
    pub(super) state: &'a mut L::State,
    pub(super) shared: &'a mut Shared,
    pub(super) at: Time,
    pub(super) side: Side,
}

impl<L: Listener> Teller<'_, L> {
    fn count(&mut self, bytes: u32) {
        *self.side.of_mut(&mut self.conversation.bytes) += u64::from(bytes);
    }

    fn bytes(&mut self, at: Time, bytes: &[u8]) -> Interest {
        let client = self.conversation.client;
        let interest = self.listener.bytes(self.conversation, self.state, self.side, at, bytes);
        self.heed_swap(client);
        interest
    }

    fn gap(&mut self, at: Time, missing: u32) -> Interest {
        let client = self.conversation.client;
        let interest = self.listener.gap(self.conversation, self.state, self.side, at, u64::from(missing));
        self.heed_swap(client);
        interest
    }

    fn finished(&mut self) {
        self.listener.finished(self.conversation, self.state, self.side, self.at);
    }

    /// The listener may have swapped the sides of a mid-stream conversation.
    fn heed_swap(&mut self, client: SocketAddr) {
        if self.conversation.midstream && self.conversation.client != client {
            self.side = self.side.other();
        }
    }
}

/// One side's place in its bytes.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Its initial sequence number; until its SYN is seen, the number before the first that was.
    pub(super) base: Option<u32>,
    /// Its SYN was seen.
    syn: bool,
    /// The listener wants no more of it.
    ignored: bool,
    /// The listener was told that it is finished.
    finished: bool,
    /// The number that comes next. Not known before a SYN or the first byte: an idle side's empty segments may be probes.
    next: Option<u32>,
    /// What the other side has acknowledged, if that is beyond `next`.
    acknowledged: Option<u32>,
    /// The number of its FIN.
    pub(super) fin: Option<u32>,
    /// Ignored: so many bytes were jumped over, and not seen since.
    holes: u32,
    early: Option<Box<Early>>,
}

impl Direction {
    /// A SYN. False if it contradicts what was seen of this side.
    pub(super) fn begin(&mut self, sequence: u32, counters: &mut Counters) -> bool {
        let next = sequence.wrapping_add(1);
        if self.next.is_some() && self.base != Some(sequence) {
            return false;
        }
        counters.retransmissions += u64::from(self.syn);
        self.syn = true;
        self.base = Some(sequence);
        self.next.get_or_insert(next);
        true
    }

    /// The other side acknowledged everything before `number`.
    pub(super) fn acknowledge<L: Listener>(&mut self, number: u32, to: &mut Teller<'_, L>) {
        self.base.get_or_insert_with(|| number.wrapping_sub(1));
        // The SYN was missed, but what it said is known from its acknowledgement.
        if self.next.is_none() && !to.conversation.midstream {
            self.next = Some(number);
        }
        let Some(next) = self.next else { return };
        let window = 1..=WINDOW.cast_signed();
        if window.contains(&distance(number, next)) && self.acknowledged.is_none_or(|seen| distance(number, seen) > 0) {
            self.acknowledged = Some(number);
            self.confirm(to);
        }
    }

    /// Whether this may be an RST of this side, and not one of an earlier conversation on its ports. Loose, for a capture may
    /// have missed much; RFC 9293 section 3.5.3 has the receiver check its window, which is not known here.
    pub(super) fn may_reset(&self, sequence: u32, acknowledges: bool) -> bool {
        // A refused SYN is answered with sequence number 0 (RFC 9293 section 3.5.2).
        self.next.is_none_or(|next| distance(sequence, next).unsigned_abs() <= WINDOW >> 6)
            || (sequence == 0 && acknowledges)
    }

    /// A segment without bytes, SYN or FIN, or with one byte: is it a keep-alive probe?
    pub(super) fn is_probe(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| distance(next, sequence) == 1)
    }

    /// It has said everything, and the other side knows.
    pub(super) fn is_done(&self) -> bool {
        self.finished && self.acknowledged.is_some()
    }

    /// Bytes.
    pub(super) fn receive<L: Listener>(&mut self, span: Span<'_>, to: &mut Teller<'_, L>) {
        let next = *self.next.get_or_insert(span.start);
        let ahead = distance(span.start, next);
        let beyond_fin = self.fin.map_or(0, |fin| distance(span.end(), fin).max(0).unsigned_abs());
        let span = span.split(span.length().saturating_sub(beyond_fin)).0;
        if span.length() == 0 || ahead.unsigned_abs() > WINDOW {
            to.shared.counters.strays += 1;
            return;
        }
        if self.ignored {
            return self.count(span, next, to);
        }
        let seen = ahead.min(0).unsigned_abs();
        let new = span.split(seen).1;
        if new.length() == 0 {
            to.shared.counters.retransmissions += 1;
            return;
        }
        if ahead <= 0 && self.early.is_none() {
            to.shared.counters.overlaps += u64::from(seen > 0);
            self.tell(new, to.at, to);
        } else {
            let kept = self.keep(new, to);
            let counters = &mut to.shared.counters;
            counters.retransmissions += u64::from(kept == 0);
            counters.overlaps += u64::from((1..span.length()).contains(&kept));
            counters.out_of_order += u64::from(kept > 0 && ahead > 0);
            self.drain(to.at, to);
            self.confirm(to);
            self.bound(to);
        }
        self.finish_if_due(to);
    }

    /// A FIN, whose number is the one after the last byte.
    pub(super) fn end<L: Listener>(&mut self, number: u32, to: &mut Teller<'_, L>) {
        // Nothing was ever acknowledged of a side that begins with its FIN, not even its SYN: it has no connection.
        if self.next.is_none() && !to.conversation.midstream {
            to.shared.counters.strays += 1;
            return;
        }
        let next = *self.next.get_or_insert(number);
        if self.fin == Some(number) {
            to.shared.counters.retransmissions += 1;
        } else if self.fin.is_some() || !(0..=WINDOW.cast_signed()).contains(&distance(number, next)) {
            to.shared.counters.strays += 1;
        } else {
            self.fin = Some(number);
            self.change(to.shared, |early| early.truncate(number));
            if self.ignored {
                self.jump(number);
            }
            self.finish_if_due(to);
            self.confirm(to);
        }
    }

    /// The conversation is over: nothing will fill a hole.
    pub(super) fn flush<L: Listener>(&mut self, to: &mut Teller<'_, L>) {
        while self.waits_at().is_some() {
            self.give_up(to);
        }
        if self.holes > 0 {
            to.shared.counters.gaps += 1;
            to.shared.counters.missing += u64::from(self.holes);
            self.holes = 0;
        }
    }

    /// Where the first of what waits behind a hole begins: bytes or the FIN.
    fn waits_at(&self) -> Option<u32> {
        let bytes = self.early.as_ref().and_then(|early| early.first()).map(|(start, _)| start);
        bytes.or_else(|| self.fin.filter(|_| !self.finished))
    }

    /// Gives up the holes whose bytes the other side has received.
    fn confirm<L: Listener>(&mut self, to: &mut Teller<'_, L>) {
        while let (Some(received), Some(start)) = (self.acknowledged, self.waits_at())
            && distance(received, start) >= 0
        {
            self.give_up(to);
        }
    }

    /// Gives up holes until what waits is within the limits.
    fn bound<L: Listener>(&mut self, to: &mut Teller<'_, L>) {
        while let Some(early) = &self.early {
            let Shared { limits, waiting, counters } = &mut *to.shared;
            if early.len() <= limits.pieces && early.cost() <= limits.side_bytes && *waiting <= limits.bytes {
                break;
            }
            counters.overruns += 1;
            self.give_up(to);
        }
    }

    /// Gives up the hole in front of the first of what waits, and tells that, and what follows it.
    fn give_up<L: Listener>(&mut self, to: &mut Teller<'_, L>) {
        let first = self.early.as_ref().and_then(|early| early.first());
        let Some((start, at)) = first.or_else(|| Some((self.fin?, to.at))) else { return };
        let missing = self.next.map_or(0, |next| distance(start, next)).max(0).unsigned_abs();
        self.advance(start);
        if missing > 0 {
            to.shared.counters.gaps += 1;
            to.shared.counters.missing += u64::from(missing);
            let interest = to.gap(at, missing);
            self.heed(interest, to);
        }
        // Each as of when it was captured: nothing happened now that completed them.
        self.drain(Time::default(), to);
        self.finish_if_due(to);
    }

    /// Tells what waits no longer, as of when it was captured, but not before `earliest`.
    fn drain<L: Listener>(&mut self, earliest: Time, to: &mut Teller<'_, L>) {
        while let Some(next) = self.next
            && let Some(piece) = self.change(to.shared, |early| early.pop(next)).flatten()
        {
            self.tell(piece.span(), piece.at.max(earliest), to);
        }
    }

    /// Tells the bytes that are next.
    fn tell<L: Listener>(&mut self, span: Span<'_>, at: Time, to: &mut Teller<'_, L>) {
        self.advance(span.end());
        to.count(span.length());
        to.shared.counters.cut += u64::from(span.cut);
        if !span.data.is_empty() {
            let interest = to.bytes(at, span.data);
            self.heed(interest, to);
        }
        if span.cut > 0 && !self.ignored {
            let interest = to.gap(at, span.cut);
            self.heed(interest, to);
        }
    }

    fn finish_if_due<L: Listener>(&mut self, to: &mut Teller<'_, L>) {
        if self.fin.is_some() && self.fin == self.next && !self.finished {
            self.finished = true;
            to.finished();
        }
    }

    /// Stops to tell, if that is the wish.
    fn heed<L: Listener>(&mut self, interest: Interest, to: &mut Teller<'_, L>) {
        if interest == Interest::Ignore && !self.ignored {
            self.ignored = true;
            if let Some(early) = self.early.take() {
                to.shared.waiting = to.shared.waiting.saturating_sub(early.cost());
                for piece in early.into_pieces() {
                    self.pass(piece.span(), to);
                }
            }
            if let Some(fin) = self.fin {
                self.jump(fin);
            }
        }
    }

    /// Counts bytes that nobody wants, without keeping any: what lies before `next` fills holes, as far as there are any.
    fn count<L: Listener>(&mut self, span: Span<'_>, next: u32, to: &mut Teller<'_, L>) {
        let counters = &mut to.shared.counters;
        let seen = span.length().min(distance(next, span.start).max(0).unsigned_abs());
        let filled = seen.min(self.holes);
        let new = span.length() - seen;
        counters.retransmissions += u64::from(filled == 0 && new == 0);
        counters.overlaps += u64::from(seen > filled && filled.max(new) > 0);
        counters.out_of_order += u64::from(distance(span.start, next) > 0);
        counters.cut += u64::from(span.cut.min(filled));
        to.count(filled);
        self.holes -= filled;
        if new > 0 {
            self.pass(span.split(seen).1, to);
        }
    }

    /// Ignored: counts bytes that are new, and goes on behind them.
    fn pass<L: Listener>(&mut self, span: Span<'_>, to: &mut Teller<'_, L>) {
        self.jump(span.start);
        self.advance(span.end());
        to.count(span.length());
        to.shared.counters.cut += u64::from(span.cut);
    }

    /// Ignored: goes on at `number`, and remembers the hole.
    fn jump(&mut self, number: u32) {
        let hole = self.next.map_or(0, |next| distance(number, next)).max(0).unsigned_abs();
        self.holes = self.holes.saturating_add(hole);
        self.advance(number);
    }

    fn advance(&mut self, next: u32) {
        self.next = Some(next);
        // It is kept only while it is ahead: a stale one would seem to be, when the numbers have wrapped.
        if self.acknowledged.is_some_and(|number| distance(number, next) <= 0) {
            self.acknowledged = None;
        }
    }

    /// Keeps bytes until their turn; returns how many are new.
    fn keep<L: Listener>(&mut self, span: Span<'_>, to: &mut Teller<'_, L>) -> u32 {
        self.early.get_or_insert_default();
        let at = to.at;
        self.change(to.shared, |early| early.insert(span, at)).unwrap_or(0)
    }

    /// Changes what waits, if anything does, and keeps the account.
    fn change<R>(&mut self, shared: &mut Shared, change: impl FnOnce(&mut Early) -> R) -> Option<R> {
        let early = self.early.as_mut()?;
        let before = early.cost();
        let result = change(early);
        shared.waiting = shared.waiting.saturating_sub(before).saturating_add(early.cost());
        if early.is_empty() {
            self.early = None;
        }
        Some(result)
    }
}
