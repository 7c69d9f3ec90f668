//! The ladder: answer → stall, for one client and one class of refusals. What comes after it, the fence, is for the whole
//! client and decided elsewhere.
//!
//! Owns: when a client climbs, and when it is forgiven. Called by: the client book, once per refusal.
//! Never: knows a socket, reads a clock, or looks at what a client gets that is not refused.
//!
//! A fast refusal feeds a storm: whoever retries at once does so as fast as it is answered. So a client that comes back and
//! back is not answered any more, and its own time-out becomes its rate. It is given a trial now and then: one refusal is
//! answered, and if nothing is heard of the client for a while, it is forgiven.

use std::time::Duration;

use super::Moment;
use crate::outcome::{Reason, RequestEnd};

/// The time that the refusals that make a client climb must fall into: two of these, the present one and the one before.
const WINDOW: Duration = Duration::from_secs(1);
/// Most of them must follow the one before within this: people and polls are slower.
pub const CLOSE: Duration = Duration::from_millis(300);
/// A class without a refusal for so long is forgotten. It is longer than clients wait for an answer (30 s at most), or one
/// that waits for its time-out would look as if it had left.
pub const QUIET: Duration = Duration::from_mins(1);
/// The first trial of a stalled client comes after this; every further one after twice the time.
pub const TRIAL: Duration = Duration::from_mins(1);
/// At most so many doublings: 8 minutes.
const DOUBLINGS: u8 = 3;
/// A client that was answered and is not heard of for so long is forgiven; a storm is back within a millisecond.
pub const FORGIVEN: Duration = Duration::from_secs(2);
/// An offence is forgotten after so much peace, one after the other.
const PEACE: Duration = Duration::from_mins(10);

/// What refusals are counted apart by: a client that storms with one is not slowed in another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Class {
    /// Requests that name this box.
    SelfTarget,
    /// What is no request.
    Malformed,
    /// Beyond the client's limits.
    OverLimit,
    /// Destinations and ports the policy denies.
    Denied,
    /// Destinations that keep failing.
    Failing,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 5] = [Self::SelfTarget, Self::Malformed, Self::OverLimit, Self::Denied, Self::Failing];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The class of a request's end; `None` for what no client is to blame for.
    pub const fn of(end: RequestEnd) -> Option<Self> {
        // Openings run out when destinations are silent: whoever shares the client's address is not to hang for it.
        if matches!(end, RequestEnd::OpeningLimited) {
            return Some(Self::Failing);
        }
        match end.row().reason {
            Some(Reason::SelfTarget) => Some(Self::SelfTarget),
            Some(Reason::Malformed) => Some(Self::Malformed),
            Some(Reason::RateLimited | Reason::ConnectionLimited) => Some(Self::OverLimit),
            Some(Reason::DestinationDenied | Reason::PortDenied) => Some(Self::Denied),
            Some(Reason::DestinationFailing) => Some(Self::Failing),
            Some(Reason::ClientDenied | Reason::HeadTimeout | Reason::Overload) | None => None,
        }
    }

    /// How many refusals within 2 s make a client climb. The incident's clients had asked for the gateway ten times after half
    /// a millisecond, and nobody else has a reason to. Whoever asks once a second never gets there, and a page with some
    /// denied or dead objects does not either.
    pub const fn climbs(self) -> u16 {
        match self {
            Self::SelfTarget => 10,
            Self::Malformed | Self::OverLimit => 20,
            Self::Denied | Self::Failing => 50,
        }
    }

    /// Its position in [`Class::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SelfTarget => "self_target",
            Self::Malformed => "malformed",
            Self::OverLimit => "over_limit",
            Self::Denied => "denied",
            Self::Failing => "failing",
        }
    }

    /// Whether only a broken program asks for it again and again, so that it may be met with silence. Pages do ask for what
    /// is denied or dead, twenty times over (advertisements, a host that is down), and a browser that hears nothing waits for
    /// minutes, with one of its 32 sockets each time, until none is left for good requests: these get their answers late.
    pub const fn is_a_programs(self) -> bool {
        matches!(self, Self::SelfTarget | Self::Malformed | Self::OverLimit)
    }

    /// Whether a storm of it may be kept out in the kernel. Not what the operator's policy denies: that it is asked for
    /// proves nothing. Not failing destinations: when the way to the internet is cut, everybody's fail.
    pub const fn may_be_fenced(self) -> bool {
        self.is_a_programs()
    }
}

/// What is to be done with a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reaction {
    /// Answer it.
    Answer,
    /// Do not: this is the n-th in a row (from 0) that is stalled.
    Stall(u32),
}

/// One client's way through one class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ladder {
    /// Since when it is stalled.
    stalled: Option<Moment>,
    /// When its last trial began; the trial is open until the next refusal is judged.
    trial: Moment,
    on_trial: bool,
    /// Its last refusal.
    last: Option<Moment>,
    /// The window that runs, and the one before.
    window: Moment,
    counts: [Count; 2],
    /// How often it has climbed.
    offences: u8,
    /// Refusals in a row that were stalled.
    row: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    refusals: u16,
    /// Of these, how many followed the one before closely.
    close: u16,
}

impl Ladder {
    /// Judges one more refusal; so many make it climb.
    pub fn refused(&mut self, now: Moment, climbs: u16) -> Reaction {
        if self.last.is_none_or(|last| now.since(last) >= QUIET) {
            self.forgive(now);
        }
        let gap = self.last.map(|last| now.since(last));
        self.last = Some(now);
        self.count(now, gap);
        if self.on_trial {
            self.on_trial = false;
            if gap.is_some_and(|gap| gap >= FORGIVEN) {
                self.stalled = None;
            }
        }
        match self.stalled {
            None if self.storms(climbs) => {
                self.stalled = Some(now);
                self.trial = now;
                self.offences = self.offences.saturating_add(1);
                self.row = 0;
            }
            None => return Reaction::Answer,
            Some(_) if now.since(self.trial) >= self.patience() => {
                self.trial = now;
                self.on_trial = true;
                self.offences = self.offences.saturating_add(1);
                return Reaction::Answer;
            }
            Some(_) => self.row = self.row.saturating_add(1),
        }
        Reaction::Stall(self.row)
    }

    /// Since when the client is stalled, if it is.
    pub fn stalled_since(&self, now: Moment) -> Option<Moment> {
        let heard = self.last.is_some_and(|last| now.since(last) < QUIET);
        self.stalled.filter(|_| heard)
    }

    /// When that is forgotten, if nothing more is refused.
    pub fn until(&self) -> Option<Moment> {
        self.last.map(|last| last.after(QUIET))
    }

    /// From when on one of its refusals is answered, to see whether it still storms, if it is stalled.
    pub fn next_trial(&self) -> Option<Moment> {
        self.stalled.map(|_| self.trial.after(self.patience()))
    }

    /// When it was last refused.
    pub fn last(&self) -> Option<Moment> {
        self.last
    }

    /// Whether there is nothing left to remember.
    pub fn is_forgotten(&self, now: Moment) -> bool {
        let remembered = if self.offences > 0 { PEACE } else { QUIET };
        self.last.is_none_or(|last| now.since(last) >= remembered)
    }

    /// A long silence: what it did is past, how often it did it is not yet.
    fn forgive(&mut self, now: Moment) {
        let peace = self.last.map_or(Duration::MAX, |last| now.since(last));
        let forgotten = peace.as_millis() / PEACE.as_millis();
        let offences = self.offences.saturating_sub(u8::try_from(forgotten).unwrap_or(u8::MAX));
        *self = Self { offences, window: now, ..Self::default() };
    }

    fn count(&mut self, now: Moment, gap: Option<Duration>) {
        let passed = now.since(self.window);
        if passed >= WINDOW {
            let [present, _] = self.counts;
            self.counts = [Count::default(), if passed < WINDOW * 2 { present } else { Count::default() }];
            self.window = now;
        }
        let [present, _] = &mut self.counts;
        present.refusals = present.refusals.saturating_add(1);
        if gap.is_some_and(|gap| gap < CLOSE) {
            present.close = present.close.saturating_add(1);
        }
    }

    /// Whether so many have come that most of them must have been answers to our refusals: the median gap is a close one
    /// when more than half of them are.
    fn storms(&self, climbs: u16) -> bool {
        let [present, before] = self.counts;
        let refusals = present.refusals.saturating_add(before.refusals);
        let close = present.close.saturating_add(before.close);
        refusals >= climbs && close > refusals / 2
    }

    /// From one trial to the next.
    fn patience(&self) -> Duration {
        TRIAL * (1 << self.offences.saturating_sub(1).min(DOUBLINGS))
    }
}

#[cfg(test)]
mod tests;
