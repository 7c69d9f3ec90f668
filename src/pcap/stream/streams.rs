//! The table at work: each segment to its conversation.

use std::collections::VecDeque;

use super::super::Time;
use super::super::decode::{SYN, Segment};
use super::assemble::Shared;
use super::flow::{Flow, Heard};
use super::table::{Key, Place, Table};
use super::{Counters, End, Limits, Listener};

/// All conversations of a capture.
#[derive(Debug)]
pub struct Streams<L: Listener> {
    table: Table<L::State>,
    shared: Shared,
    /// The conversation of the segment before, which is often that of the next.
    latest: Option<(Key, u32)>,
    /// Conversations that were reset, in the order in which that happened: slot, number, and when.
    reset: VecDeque<(u32, u64, Time)>,
}

impl<L: Listener> Streams<L> {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            table: Table::default(),
            shared: Shared { limits, ..Shared::default() },
            latest: None,
            reset: VecDeque::new(),
        }
    }

    /// What was seen so far.
    pub const fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How many conversations are open.
    pub fn open(&self) -> usize {
        self.table.open()
    }

    /// Memory of all bytes that wait behind a hole.
    pub const fn waiting(&self) -> usize {
        self.shared.waiting
    }

    /// Memory of everything that is kept, in bytes, without what the listener keeps outside of its states.
    pub fn memory(&self) -> usize {
        let reset = self.reset.capacity() * size_of::<(u32, u64, Time)>();
        self.table.memory().saturating_add(reset).saturating_add(self.waiting())
    }

    /// The next segment of the capture.
    pub fn segment(&mut self, listener: &mut L, at: Time, segment: &Segment<'_>) {
        self.shared.counters.segments += 1;
        let (key, from_low) = Key::of(segment.source, segment.destination);
        let Some(slot) = self.slot(listener, at, key, from_low, segment) else {
            self.shared.counters.late += 1;
            return;
        };
        self.latest = Some((key, slot));
        let Some(flow) = self.table.get_mut(slot) else { return };
        match flow.hear(listener, &mut self.shared, at, from_low, segment) {
            Heard::Open => {}
            Heard::Over => self.close(listener, slot, at, End::Open),
            Heard::Reset => {
                listener.reset(&flow.conversation, at);
                self.reset.push_back((slot, flow.conversation.number, at));
                self.settle(listener, self.shared.limits.reset);
            }
        }
    }

    /// Closes the conversations that were reset first, until `remaining` are left to be doubted.
    fn settle(&mut self, listener: &mut L, remaining: usize) {
        while self.reset.len() > remaining
            && let Some((slot, number, at)) = self.reset.pop_front()
        {
            let flow = self.table.get(slot).filter(|flow| flow.conversation.number == number);
            // Unless its sender went on; if that was reset too, its turn comes later.
            if flow.and_then(Flow::was_reset) == Some(at) {
                self.close(listener, slot, at, End::Open);
            }
        }
    }

    /// The end of the capture: closes what is open, in the order of first segments.
    pub fn finish(&mut self, listener: &mut L, at: Time) {
        self.reset.clear();
        for slot in self.table.in_order() {
            self.close(listener, slot, at, End::Open);
        }
    }

    /// The conversation of a segment, which it may begin; none if it is closed.
    fn slot(&mut self, listener: &mut L, at: Time, key: Key, from_low: bool, segment: &Segment<'_>) -> Option<u32> {
        let known = match self.latest {
            Some((latest, slot)) if latest == key => Some(Place::Open(slot)),
            _ => self.table.find(&key),
        };
        if let Some(place) = known {
            let anew = self.table.begins_anew(place, from_low, segment);
            match place {
                Place::Open(slot) if !anew => return Some(slot),
                Place::Open(slot) => self.close(listener, slot, at, End::Open),
                Place::Closed(_) if !anew => return None,
                Place::Closed(_) => {}
            }
            self.shared.counters.reused_ports += 1;
        }
        if self.table.open() >= self.shared.limits.conversations.max(1) {
            // Not remembered as closed: what is still to come of it begins another, mid-stream.
            let silent = self.table.silent().and_then(|slot| self.table.remove(slot));
            if let Some(flow) = silent {
                flow.close(listener, &mut self.shared, at, End::Evicted);
            }
        }
        let counters = &mut self.shared.counters;
        let flow = Flow::new(counters.conversations, at, segment);
        counters.conversations += 1;
        counters.midstream += u64::from(segment.flags & SYN == 0);
        Some(self.table.insert(key, flow))
    }

    fn close(&mut self, listener: &mut L, slot: u32, at: Time, end: End) {
        self.latest = None;
        let (flow, forgotten) = self.table.close(slot, self.shared.limits.closed);
        self.shared.counters.forgotten += forgotten;
        if let Some(flow) = flow {
            flow.close(listener, &mut self.shared, at, end);
        }
    }
}
