//! Destinations that keep failing: remembered for seconds, and answered for from memory meanwhile, without a look-up or a
//! connection.
//!
//! Owns: what is known of destinations that fail or have not answered yet. Called by: the journey, around each attempt to
//! open a connection. Never: blames a destination for what is short here, or for a way out that is cut for everybody.
//!
//! A dead destination is dear: a look-up, a socket and up to `connect-timeout` of waiting for each attempt of a client that
//! comes again at once. So three failures in a row make it a failing one, for one second first and for twice as long after
//! each further failure, up to a minute. When the time is over, one request at a time tries (a half-open circuit breaker); the
//! first connection that stands clears everything. A name is one destination, however many addresses it has.

mod entry;
mod way;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dashmap::DashMap;

use super::Moment;
use crate::http1::target::Host;
use crate::outcome::RequestEnd;
use entry::Entry;
use way::Way;

/// Failures in a row, none of them later than [`WINDOW`] after the one before, that make a destination a failing one.
///
/// One is a lost packet or a restart, two are the retry that every browser makes by itself; at the third nothing has
/// answered since before the first, and whoever asks a fourth time learns nothing from it.
pub const ROW: u8 = 3;
/// As long as one attempt takes to fail at most, with the default `connect-timeout`: attempts that follow each other more
/// slowly are nobody's burden.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a destination is remembered at first: about what a person takes to press reload.
pub const TERM: Duration = Duration::from_secs(1);
/// The longest, after many failures: the origin has been gone for a minute by then, and one that comes back is found within
/// another.
pub const LONGEST: Duration = Duration::from_mins(1);
/// What has failed is forgotten when nobody has asked for it for so long: longer than it is remembered, or its row would
/// begin anew with each trial.
const FORGOTTEN: Duration = Duration::from_mins(2);
/// Attempts that may wait for a destination of which nothing has been heard for [`SILENT`]: two page loads of a browser with
/// 32 sockets. Without it, 1,000 requests a second for an address that swallows packets hold 10,000 half-open sockets.
pub const WAITING: u32 = 64;
/// Within this a destination that is there answers somebody, even if the first SYN was lost and the second came after 1 s
/// (RFC 6298 section 2.1).
pub const SILENT: Duration = Duration::from_secs(2);
/// An attempt that its client gave up after this counts as timed out: two SYNs more were unanswered. Impatient clients
/// would otherwise keep us from ever learning that nobody is there.
const GIVEN_UP: Duration = Duration::from_secs(3);
/// Destinations known at once. One costs about 150 bytes with the room that the table keeps free, and its name if that has
/// more than 23: 0.6 MB, 1.6 MB at the worst. What comes when the table is full is dialled as if nothing were known.
pub const CAPACITY: usize = 4096;
/// How often what can be forgotten is looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// Shards of the table: more than the workers, so that two seldom meet at a lock.
const SHARDS: usize = 16;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A connection stands.
    Stands,
    /// It failed, with what the client is told. What is no failing of the destination teaches nothing.
    Failed(RequestEnd),
    /// The client left before; it would have failed with this.
    Left(RequestEnd),
}

/// An attempt that has been let through; every one ends with [`Failing::ended`].
#[must_use]
#[derive(Debug)]
pub struct Attempt {
    begun: Moment,
    /// The one request that may see whether a failing destination is back.
    trial: bool,
    /// The table had no place: nothing is learned.
    unknown: bool,
}

/// The destinations that fail, and those that have not answered yet.
#[derive(Debug)]
pub struct Failing {
    known: DashMap<(Host, u16), Entry, ahash::RandomState>,
    /// Entries in the table, and entries about to be made.
    tracked: AtomicUsize,
    overflowed: AtomicU64,
    /// When it was last looked for what can be forgotten.
    swept: AtomicU64,
    /// Name servers.
    names: Way,
    /// Connections.
    roads: Way,
}

impl Default for Failing {
    fn default() -> Self {
        let hasher = ahash::RandomState::new();
        Self {
            known: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, SHARDS),
            tracked: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            names: Way::default(),
            roads: Way::default(),
        }
    }
}

impl Failing {
    /// An attempt to reach `host`, the name or address as it was asked for. `must`: it is made whatever is known.
    ///
    /// # Errors
    /// [`RequestEnd::DestinationFailing`] or [`RequestEnd::DestinationSilent`] when it is answered from memory.
    pub fn begin(&self, host: &Host, port: u16, now: Moment, must: bool) -> Result<Attempt, RequestEnd> {
        self.sweep(now);
        let key = (host.clone(), port);
        let ask = |entry: &mut Entry| entry.begin(now, must, |end| self.way(end).is_some_and(|way| way.is_cut(now)));
        if let Some(mut known) = self.known.get_mut(&key) {
            return ask(&mut known);
        }
        if self.tracked.fetch_add(1, Relaxed) >= CAPACITY {
            self.tracked.fetch_sub(1, Relaxed);
            self.overflowed.fetch_add(1, Relaxed);
            return Ok(Attempt { begun: now, trial: false, unknown: true });
        }
        match self.known.entry(key) {
            dashmap::Entry::Occupied(mut known) => {
                self.tracked.fetch_sub(1, Relaxed);
                ask(known.get_mut())
            }
            dashmap::Entry::Vacant(place) => ask(&mut place.insert(Entry::default())),
        }
    }

    /// What came of it.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt ends once")]
    pub fn ended(&self, host: &Host, port: u16, attempt: Attempt, outcome: Outcome, now: Moment) {
        let Attempt { begun, trial, unknown } = attempt;
        let failed = match outcome {
            Outcome::Left(_) if now.since(begun) < GIVEN_UP => None,
            Outcome::Left(end) | Outcome::Failed(end) => is_failure(end).then_some(end),
            Outcome::Stands => None,
        };
        let key = (host.clone(), port);
        if outcome == Outcome::Stands {
            self.roads.stands(now);
        }
        let way = failed.and_then(|end| self.way(end));
        if let Some(way) = way {
            way.failed(self.known.hasher().hash_one(&key), now);
        }
        if unknown {
            return;
        }
        if let dashmap::Entry::Occupied(mut known) = self.known.entry(key) {
            let entry = known.get_mut();
            // What fails because the way is cut says nothing about where it leads.
            let learned = failed.filter(|_| way.is_none_or(|way| !way.is_cut(now)));
            entry.ended(trial, outcome == Outcome::Stands, learned, now);
            if entry.is_blank() {
                known.remove();
                self.tracked.fetch_sub(1, Relaxed);
            }
        }
    }

    /// The name servers have answered somebody, and not from a cache: the way to them is not cut.
    pub fn name_resolved(&self, now: Moment) {
        self.names.stands(now);
    }

    /// The way that a failure puts in doubt; `None` for a refusal: whoever is refused has reached somebody.
    fn way(&self, end: RequestEnd) -> Option<&Way> {
        if matches!(end, RequestEnd::DnsTimeout | RequestEnd::DnsFailure) {
            return Some(&self.names);
        }
        matches!(end, RequestEnd::ConnectTimeout | RequestEnd::ConnectUnreachable).then_some(&self.roads)
    }

    /// Destinations that are answered for from memory now, those on trial included.
    pub fn remembered(&self) -> usize {
        self.known.iter().filter(|entry| entry.is_failing()).count()
    }

    /// At most so many of them: each with the last way it failed and how often it has in a row.
    pub fn each(&self, most: usize) -> Vec<(Host, u16, RequestEnd, u8)> {
        let failing = self.known.iter().filter_map(|entry| {
            let (end, row) = entry.failing()?;
            let (host, port) = entry.key();
            Some((host.clone(), *port, end, row))
        });
        failing.take(most).collect()
    }

    /// Destinations of which something is known: that they failed, or that an attempt runs.
    pub fn tracked(&self) -> usize {
        self.tracked.load(Relaxed)
    }

    /// Attempts that found the table full, since the start.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Forgets what nobody asks for any more; now and then, by whoever comes.
    fn sweep(&self, now: Moment) {
        let swept = Moment::from_millis(self.swept.load(Relaxed));
        let due = now.since(swept) >= SWEEP;
        if !due || self.swept.compare_exchange(swept.millis(), now.millis(), Relaxed, Relaxed).is_err() {
            return;
        }
        let mut forgotten = 0;
        self.known.retain(|_, entry| {
            let stays = !entry.is_forgotten(now);
            forgotten += usize::from(!stays);
            stays
        });
        self.tracked.fetch_sub(forgotten, Relaxed);
    }
}

/// Whether it is the destination that failed: not a lack of ours, and not what the policy says of its address. What breaks
/// after the connection stood (a reset, a bad answer) is the business of one request.
const fn is_failure(end: RequestEnd) -> bool {
    matches!(
        end,
        RequestEnd::ConnectRefused
            | RequestEnd::ConnectUnreachable
            | RequestEnd::ConnectTimeout
            | RequestEnd::DnsFailure
            | RequestEnd::DnsTimeout
    )
}

#[cfg(test)]
mod tests;
