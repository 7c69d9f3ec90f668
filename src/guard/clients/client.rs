//! One client: counters that the journey adds to, ladders, and what control makes of them once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::Common;
use super::detail::{Act, Detail, Seen};
use crate::guard::Moment;
use crate::guard::ladder::{Class, FORGIVEN, Ladder, QUIET, Reaction};
use crate::http1::target::Host;
use crate::net::ClientKey;

/// What is known of a client.
#[derive(Debug)]
pub struct Client {
    /// Whose entry it is; `None` for one that strangers share.
    key: Option<ClientKey>,
    /// What all clients share.
    common: Arc<Common>,
    open: AtomicU32,
    /// Of these, how many have not sent their first request yet.
    heads: AtomicU32,
    /// Requests that wait for a connection to their destination.
    opening: AtomicU32,
    /// Of these, how many wait for the name servers.
    asking: AtomicU32,
    /// When its last connection came, in milliseconds.
    seen: AtomicU64,
    /// When it was last refused and has not come back since, in milliseconds and one; 0 if it has.
    sent_away: AtomicU64,
    arrivals: AtomicU64,
    requests: AtomicU64,
    /// Bytes that went to and came from origins for it: its progress.
    moved: AtomicU64,
    refused: [AtomicU32; Class::COUNT],
    stalled: AtomicU32,
    /// Until when it is expected to be refused again, in milliseconds.
    suspect_until: AtomicU64,
    ladders: Mutex<Option<Box<[Ladder; Class::COUNT]>>>,
    detail: Mutex<Option<Box<Detail>>>,
    pace: Mutex<Pace>,
}

/// How a client has fared lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Connections in the last second.
    pub arrivals: u32,
    /// Requests in the last second.
    pub requests: u32,
    /// Refusals in the last second.
    pub refusals: u32,
    /// Bytes moved in the last second.
    pub moved: u64,
    /// Connections open.
    pub open: u32,
    /// Since when it is known.
    pub since: Moment,
    /// When bytes last moved between it and an origin, to the second.
    pub progress: Option<Moment>,
    /// Since when it is stalled for something that it may be fenced for.
    pub stalled: Option<(Class, Moment)>,
}

/// Where a client stands in one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Which.
    pub class: Class,
    /// Its refusals in it since the client is known.
    pub refusals: u32,
    /// The last of them.
    pub last: Option<Moment>,
    /// It is stalled in it.
    pub stalled: Option<Stalled>,
}

/// How long it is not answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalled {
    /// Since when.
    pub since: Moment,
    /// When that is forgotten, if nothing more is refused.
    pub until: Moment,
    /// From when on one of its refusals is answered, to see whether it still storms.
    pub trial: Moment,
}

#[derive(Debug, Default)]
struct Pace {
    at: Moment,
    arrivals: u64,
    requests: u64,
    refusals: u64,
    moved: u64,
    rates: Rates,
}

impl Client {
    pub(super) fn new(key: Option<ClientKey>, common: &Arc<Common>, now: Moment) -> Self {
        let rates = Rates { since: now, ..Rates::default() };
        Self {
            key,
            common: Arc::clone(common),
            open: AtomicU32::new(0),
            heads: AtomicU32::new(0),
            opening: AtomicU32::new(0),
            asking: AtomicU32::new(0),
            seen: AtomicU64::new(now.millis()),
            sent_away: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            refused: [const { AtomicU32::new(0) }; Class::COUNT],
            stalled: AtomicU32::new(0),
            suspect_until: AtomicU64::new(0),
            ladders: Mutex::new(None),
            detail: Mutex::new(None),
            pace: Mutex::new(Pace { at: now, rates, ..Pace::default() }),
        }
    }

    pub(super) fn sit(self: Arc<Self>, now: Moment) -> Seat {
        self.seen.store(now.millis(), Relaxed);
        self.arrivals.fetch_add(1, Relaxed);
        self.came_back(now);
        let place = self.open.fetch_add(1, Relaxed).saturating_add(1);
        self.heads.fetch_add(1, Relaxed);
        self.common.heads.fetch_add(1, Relaxed);
        Seat { client: self, place, silent: true }
    }

    /// Ends the wait that its last refusal began.
    fn came_back(&self, now: Moment) {
        // Most are never refused: a read, and no lock.
        if self.sent_away.load(Relaxed) == 0 {
            return;
        }
        let Some(refused) = self.sent_away.swap(0, Relaxed).checked_sub(1) else { return };
        if let Some(detail) = &mut *self.detail.lock() {
            detail.seen.came_back(now.since(Moment::from_millis(refused)));
        }
    }

    /// Whose entry it is; `None` for one that strangers share.
    pub fn key(&self) -> Option<ClientKey> {
        self.key
    }

    /// Connections it has open.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Its connections whose first request is not complete.
    pub fn heads(&self) -> u32 {
        self.heads.load(Relaxed)
    }

    /// Its requests that wait for a connection to their destination.
    pub fn opening(&self) -> u32 {
        self.opening.load(Relaxed)
    }

    /// Its requests that wait for the name servers.
    pub fn asking(&self) -> u32 {
        self.asking.load(Relaxed)
    }

    /// One more request waits for a connection, unless `limit` do already.
    pub fn opens(&self, limit: u32) -> Option<Place<'_>> {
        Place::take(&self.opening, limit)
    }

    /// One more request waits for the name servers, unless `limit` do already.
    pub fn asks(&self, limit: u32) -> Option<Place<'_>> {
        Place::take(&self.asking, limit)
    }

    /// One more request.
    pub fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Bytes went to or came from an origin for it.
    pub fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Relaxed);
    }

    /// One more refusal of this class: how the ladder wants it met.
    pub fn refused(&self, class: Class, now: Moment) -> Reaction {
        if let Some(refused) = self.refused.get(class.index()) {
            refused.fetch_add(1, Relaxed);
        }
        let mut ladders = self.ladders.lock();
        let ladders = ladders.get_or_insert_default();
        let reaction =
            ladders.get_mut(class.index()).map_or(Reaction::Answer, |ladder| ladder.refused(now, class.climbs()));
        self.sent_away.store(now.millis().saturating_add(1), Relaxed);
        let lasts = if let Reaction::Stall(row) = reaction {
            self.stalled.fetch_add(1, Relaxed);
            let mut detail = self.detail.lock();
            if detail.is_none() {
                *detail = self.common.details.begin();
            }
            if let Some(detail) = detail.as_mut().filter(|_| row == 0) {
                detail.seen.acted(Act::Stalled(class), now);
            }
            QUIET
        } else {
            FORGIVEN
        };
        self.suspect_until.fetch_max(now.after(lasts).millis(), Relaxed);
        reaction
    }

    /// Whether its next request will probably be refused: it was a moment ago, or is stalled.
    pub fn is_suspect(&self, now: Moment) -> bool {
        self.suspect_until.load(Relaxed) > now.millis()
    }

    /// It could not be brought to this destination. Kept for clients with detail.
    pub fn failed_on(&self, host: &Host, port: u16) {
        if let Some(detail) = &mut *self.detail.lock() {
            detail.seen.failed_on(host, port);
        }
    }

    /// A request line of a refusal, credentials masked. The first is kept, for clients with detail.
    pub fn sample(&self, line: &[u8]) {
        if let Some(detail) = &mut *self.detail.lock() {
            detail.seen.sample.get_or_insert_with(|| Box::from(line));
        }
    }

    /// Something was done with it. Kept for clients with detail.
    pub fn acted(&self, act: Act, now: Moment) {
        if let Some(detail) = &mut *self.detail.lock() {
            detail.seen.acted(act, now);
        }
    }

    /// What is known of it in detail, if it has climbed a ladder.
    pub fn detail(&self) -> Option<Seen> {
        self.detail.lock().as_ref().map(|detail| detail.seen.clone())
    }

    /// Refusals of this class since the client is known; they wrap after four billion.
    pub fn refusals(&self, class: Class) -> u32 {
        self.refused.get(class.index()).map_or(0, |refused| refused.load(Relaxed))
    }

    /// Refusals that its ladders wanted stalled.
    pub fn stalled(&self) -> u32 {
        self.stalled.load(Relaxed)
    }

    /// Where it stands in each class.
    pub fn rungs(&self, now: Moment) -> [Rung; Class::COUNT] {
        let ladders = self.ladders.lock();
        Class::ALL.map(|class| {
            let ladder = ladders.as_ref().and_then(|ladders| ladders.get(class.index()));
            let stalled = ladder.and_then(|ladder| {
                let (since, until, trial) = (ladder.stalled_since(now)?, ladder.until()?, ladder.next_trial()?);
                Some(Stalled { since, until, trial })
            });
            Rung { class, refusals: self.refusals(class), last: ladder.and_then(Ladder::last), stalled }
        })
    }

    /// The classes it is stalled in, and since when.
    pub fn stalled_in(&self, now: Moment) -> Vec<(Class, Moment)> {
        let ladders = self.ladders.lock();
        let classes = Class::ALL.into_iter().zip(ladders.iter().flat_map(|ladders| ladders.iter()));
        classes.filter_map(|(class, ladder)| Some((class, ladder.stalled_since(now)?))).collect()
    }

    /// As of the last tick.
    pub fn rates(&self) -> Rates {
        self.pace.lock().rates
    }

    pub(super) fn tick(&self, now: Moment) -> Rates {
        let stalled = self.stalled_in(now).into_iter().filter(|(class, _)| class.may_be_fenced());
        let stalled = stalled.min_by_key(|(_, since)| *since);
        let mut pace = self.pace.lock();
        // A tick that comes late counts for as long as it took.
        let passed = now.since(pace.at).as_millis().max(1);
        let rate = |count: u64, before: u64| {
            let per_second = u128::from(count.wrapping_sub(before)) * 1_000 / passed;
            u32::try_from(per_second).unwrap_or(u32::MAX)
        };
        let arrivals = self.arrivals.load(Relaxed);
        let requests = self.requests.load(Relaxed);
        let moved = self.moved.load(Relaxed);
        let refusals = self.refused.iter().map(|refused| u64::from(refused.load(Relaxed))).sum();
        let progress = if moved == pace.moved { pace.rates.progress } else { Some(now) };
        pace.rates = Rates {
            arrivals: rate(arrivals, pace.arrivals),
            requests: rate(requests, pace.requests),
            refusals: rate(refusals, pace.refusals),
            moved: moved.wrapping_sub(pace.moved),
            open: self.open(),
            since: pace.rates.since,
            progress,
            stalled,
        };
        (pace.at, pace.arrivals, pace.requests) = (now, arrivals, requests);
        (pace.refusals, pace.moved) = (refusals, moved);
        pace.rates
    }

    pub(super) fn is_forgotten(&self, now: Moment, patience: Duration) -> bool {
        let idle = now.since(Moment::from_millis(self.seen.load(Relaxed))) >= patience;
        idle && self.ladders.lock().iter().flat_map(|ladders| ladders.iter()).all(|ladder| ladder.is_forgotten(now))
    }
}

/// One connection's place in the book.
#[must_use]
#[derive(Debug)]
pub struct Seat {
    /// Whose it is.
    pub client: Arc<Client>,
    /// The client's open connections when it sat down, this one included.
    pub place: u32,
    /// Its first request is not complete.
    silent: bool,
}

impl Seat {
    /// Its first request is complete, or never will be.
    pub fn heard(&mut self) {
        if std::mem::take(&mut self.silent) {
            self.client.heads.fetch_sub(1, Relaxed);
            self.client.common.heads.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.heard();
        self.client.open.fetch_sub(1, Relaxed);
    }
}

/// One of the few that may wait at once; given back when dropped.
#[must_use]
#[derive(Debug)]
pub struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicU32, limit: u32) -> Option<Self> {
        let place = Self(taken);
        // Given back with the place if it is one too many.
        (taken.fetch_add(1, Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
