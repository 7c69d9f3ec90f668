//! What is known of one destination.

use super::{Attempt, FORGOTTEN, LONGEST, ROW, SILENT, TERM, WAITING, WINDOW};
use crate::guard::Moment;
use crate::outcome::RequestEnd;

/// At most so many doublings of [`TERM`] before [`LONGEST`] is reached.
const DOUBLINGS: u8 = 6;

/// One destination.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Attempts that run.
    waiting: u32,
    /// Failures in a row.
    row: u8,
    /// How often its time has been doubled.
    doublings: u8,
    on_trial: bool,
    /// Its last failure.
    failed: Option<RequestEnd>,
    last: Moment,
    /// Until when it is answered for from memory; `None` before it has failed often enough.
    until: Option<Moment>,
    /// Since when something has been waited for, and nothing was heard.
    since: Moment,
}

impl Entry {
    /// One more attempt. `cut`: whether the way that failed is cut for everybody.
    pub(super) fn begin(
        &mut self,
        now: Moment,
        must: bool,
        cut: impl FnOnce(RequestEnd) -> bool,
    ) -> Result<Attempt, RequestEnd> {
        let remembered = self.until.zip(self.failed).filter(|(_, end)| !must && !cut(*end));
        let trial = remembered.is_some();
        if let Some((until, end)) = remembered {
            if now < until || self.on_trial {
                return Err(from_memory(end));
            }
            self.on_trial = true;
        } else if !must && self.waiting >= WAITING && now.since(self.since) >= SILENT {
            return Err(RequestEnd::DestinationSilent);
        }
        if self.waiting == 0 {
            self.since = now;
        }
        self.waiting = self.waiting.saturating_add(1);
        Ok(Attempt { begun: now, trial, unknown: false })
    }

    /// The end of an attempt: whether it stands, or with what it failed.
    pub(super) fn ended(&mut self, trial: bool, stands: bool, failed: Option<RequestEnd>, now: Moment) {
        self.waiting = self.waiting.saturating_sub(1);
        self.on_trial &= !trial;
        if stands {
            // A trial that still runs stays the only one.
            *self = Self { waiting: self.waiting, on_trial: self.on_trial, since: now, ..Self::default() };
        }
        let Some(end) = failed else { return };
        let (before, last) = (self.until, self.last);
        self.failed = Some(end);
        self.last = now;
        match before {
            Some(_) if trial => {
                self.row = self.row.saturating_add(1);
                self.doublings = self.doublings.saturating_add(1).min(DOUBLINGS);
                self.until = Some(now.after((TERM * (1 << self.doublings)).min(LONGEST)));
            }
            // Begun before it was known: nothing new.
            Some(_) => {}
            None => {
                let in_a_row = self.row > 0 && now.since(last) <= WINDOW;
                self.row = if in_a_row { self.row.saturating_add(1) } else { 1 };
                self.until = (self.row >= ROW).then(|| now.after(TERM));
            }
        }
    }

    pub(super) const fn is_failing(&self) -> bool {
        self.until.is_some()
    }

    /// If it fails: how, and how often in a row.
    pub(super) fn failing(&self) -> Option<(RequestEnd, u8)> {
        self.failed.filter(|_| self.is_failing()).map(|end| (end, self.row))
    }

    /// Nothing runs and nothing has failed.
    pub(super) const fn is_blank(&self) -> bool {
        self.waiting == 0 && self.failed.is_none()
    }

    /// Nobody would miss it. One that is remembered for long was asked for within that time, or its time is over.
    pub(super) fn is_forgotten(&self, now: Moment) -> bool {
        let patience = if self.is_failing() { FORGOTTEN } else { WINDOW };
        self.waiting == 0 && now.since(self.last) > patience
    }
}

/// The answer from memory has the status that the destination's failure had.
const fn from_memory(end: RequestEnd) -> RequestEnd {
    match end.row().status {
        Some(504) => RequestEnd::DestinationSilent,
        _ => RequestEnd::DestinationFailing,
    }
}
