//! The requests of a conversation that wait for their answers.
//!
//! Owns: which answer belongs to which request. Called by: [`super::interpreter`]. Never: holds more than [`MOST`], however many
//! a client sends: what is beyond is counted, and keeps its number.

use std::collections::VecDeque;

use super::Time;

/// So many are remembered with their times; no client pipelines more on purpose.
const MOST: usize = 16;

/// What decides about the body of an answer, and about what follows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Its answer has no body.
    Head,
    /// A success turns the conversation into a tunnel.
    Connect,
    /// Any other.
    Other,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    /// When its head was complete.
    pub(super) at: Time,
    pub(super) kind: Kind,
    pub(super) tunnelled: bool,
}

/// Requests in the order in which they were sent, which is that of their answers (RFC 9112 section 9.3.2).
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The number of the oldest that waits, or of the next that is sent.
    first: u32,
    waiting: u32,
    /// So many of the oldest may have been answered by bytes that were not captured.
    doubtful: u32,
    oldest: Option<Asked>,
    /// Those after `oldest`: most clients never need it.
    others: VecDeque<Asked>,
}

impl Queue {
    /// Adds a request; its number.
    pub(super) fn push(&mut self, asked: Asked) -> u32 {
        let known = usize::from(self.oldest.is_some()) + self.others.len();
        if self.waiting == 0 {
            self.oldest = Some(asked);
        } else if known < MOST && u32::try_from(known) == Ok(self.waiting) {
            self.others.push_back(asked);
        }
        let number = self.first.saturating_add(self.waiting);
        self.waiting = self.waiting.saturating_add(1);
        number
    }

    /// Takes the oldest: its number, and what is known of it.
    pub(super) fn pop(&mut self) -> Option<(u32, Option<Asked>)> {
        self.waiting = self.waiting.checked_sub(1)?;
        self.doubtful = self.doubtful.saturating_sub(1);
        let number = self.first;
        self.first = self.first.saturating_add(1);
        let asked = self.oldest.take();
        self.oldest = self.others.pop_front();
        Some((number, asked))
    }

    /// The oldest: its number, and what is known of it.
    pub(super) fn oldest(&self) -> Option<(u32, Option<Asked>)> {
        (self.waiting > 0).then_some((self.first, self.oldest))
    }

    /// The youngest, as far as it is known.
    pub(super) fn youngest(&self) -> Option<&Asked> {
        self.others.back().or(self.oldest.as_ref()).filter(|_| self.waiting as usize <= MOST)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Answers may have been missed: all that wait now are in doubt.
    pub(super) fn doubt(&mut self) {
        self.doubtful = self.waiting;
    }

    /// Gives up those in doubt: a client that asks again, or leaves, had its answers, mostly. How many.
    pub(super) fn give_up(&mut self) -> u32 {
        let lost = self.doubtful;
        for _ in 0..lost {
            if self.pop().is_none() {
                break;
            }
        }
        lost
    }
}
