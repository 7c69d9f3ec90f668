//! Refusals, one entry per client, kind and second: a storm costs a counter, not a line each.
//!
//! Owns: the table of the current second, the board of offenders. Called by: the journey ([`Refusals::note`]), control
//! ([`Refusals::drain`], each second), admin ([`Refusals::board`]). Never: grows beyond its limits, or allocates for a refusal that is already in the table.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;

use super::access_log::escape;
use super::counters::PerVariant;
use crate::net::ClientKey;
use crate::outcome::{Form, Reason, RequestEnd};

mod board;

use board::Board;
pub use board::Offender;

/// Pairs of client and kind in one second; beyond, refusals are counted per reason only.
const TABLE_PAIRS: usize = 4_096;
/// Bytes of a sample, before escapes.
const SAMPLE_BYTES: usize = 256;

/// The refusals of one client, of one kind, since the last drain.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The client.
    pub client: ClientKey,
    /// The address the first of them came from; one of the /64, for IPv6.
    pub address: IpAddr,
    /// What was wrong.
    pub end: RequestEnd,
    /// How many.
    pub count: u32,
    /// Of these, how many took each form, in the order of [`Form::ALL`].
    pub forms: [u32; Form::COUNT],
    /// When the first came.
    pub first: SystemTime,
    /// The request line of the first: raw bytes, credentials masked, at most 256. For people:
    /// [`escape::printable`].
    pub sample: Box<[u8]>,
}

/// Who was refused, why and how often, in the current second and lately.
#[derive(Debug)]
pub struct Refusals {
    table: DashMap<(ClientKey, RequestEnd), Seen, ahash::RandomState>,
    /// Entries in the table, and entries about to be made.
    pairs: AtomicUsize,
    overflow: PerVariant<{ Reason::COUNT }>,
    lately: Mutex<Lately>,
}

#[derive(Debug)]
struct Seen {
    forms: [AtomicU32; Form::COUNT],
    address: IpAddr,
    first: SystemTime,
    sample: Box<[u8]>,
}

impl Seen {
    /// Wraps after 4 billion in a second.
    fn count(&self, form: Form) {
        if let Some(count) = self.forms.get(form.index()) {
            count.fetch_add(1, Relaxed);
        }
    }
}

#[derive(Debug)]
struct Lately {
    board: Board,
    drained_at: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new()
    }
}

impl Refusals {
    /// Nothing refused yet.
    pub fn new() -> Self {
        Self {
            table: DashMap::with_hasher(ahash::RandomState::new()),
            pairs: AtomicUsize::new(0),
            overflow: PerVariant::default(),
            lately: Mutex::new(Lately { board: Board::default(), drained_at: Instant::now() }),
        }
    }

    /// Notes one refusal, and how it is going to be met.
    ///
    /// One look-up under a shared lock and one addition, but for the first of its kind in a second: only then is `sample`
    /// called, which gives the request line as it came. It must not call back into this table.
    pub fn note(
        &self,
        client: ClientKey,
        address: IpAddr,
        end: RequestEnd,
        form: Form,
        sample: impl FnOnce() -> Box<[u8]>,
    ) {
        let key = (client, end);
        if let Some(seen) = self.table.get(&key) {
            return seen.count(form);
        }
        if self.pairs.fetch_add(1, Relaxed) >= TABLE_PAIRS {
            self.pairs.fetch_sub(1, Relaxed);
            if let Some(reason) = end.row().reason {
                self.overflow.add(reason.index(), 1);
            }
            return;
        }
        // Made before the lock is taken; wasted only if another worker was faster.
        let sample = escape::safe_line(&sample(), SAMPLE_BYTES).into_owned().into_boxed_slice();
        match self.table.entry(key) {
            Entry::Occupied(seen) => {
                seen.get().count(form);
                self.pairs.fetch_sub(1, Relaxed);
            }
            Entry::Vacant(place) => {
                let seen = Seen { forms: Default::default(), address, first: SystemTime::now(), sample };
                place.insert(seen).count(form);
            }
        }
    }

    /// Takes the table's entries out, in no order, and updates the board. Control calls it each second.
    pub fn drain(&self) -> Vec<Aggregate> {
        let mut aggregates = Vec::with_capacity(self.pairs.load(Relaxed));
        // `retain` holds one shard at a time: a refusal meanwhile is in this drain or in the next, never in neither.
        self.table.retain(|(client, end), seen| {
            let forms = seen.forms.each_mut().map(|count| *count.get_mut());
            aggregates.push(Aggregate {
                client: *client,
                address: seen.address,
                end: *end,
                count: forms.iter().fold(0, |sum, count| sum.saturating_add(*count)),
                forms,
                first: seen.first,
                sample: std::mem::take(&mut seen.sample),
            });
            false
        });
        self.pairs.fetch_sub(aggregates.len(), Relaxed);
        let mut lately = self.lately.lock();
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(lately.drained_at);
        lately.drained_at = now;
        lately.board.update(&aggregates, elapsed);
        aggregates
    }

    /// Refusals since the start that did not fit in the table: they are in no aggregate and not on the board.
    pub fn overflow(&self, reason: Reason) -> u64 {
        self.overflow.get(reason.index())
    }

    /// The clients with the most refusals lately, at most 64, the worst first; as of the last drain.
    pub fn board(&self) -> Vec<Offender> {
        self.lately.lock().board.top()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::{Refusals, SAMPLE_BYTES, TABLE_PAIRS};
    use crate::net::ClientKey;
    use crate::outcome::{Form, Reason, RequestEnd};

    fn address(i: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i))
    }

    fn note(refusals: &Refusals, i: u32, end: RequestEnd) {
        met(refusals, i, end, Form::Answered);
    }

    fn met(refusals: &Refusals, i: u32, end: RequestEnd, form: Form) {
        refusals.note(ClientKey::new(address(i)), address(i), end, form, || Box::from(&b"GET / HTTP/1.1"[..]));
    }

    #[test]
    fn one_aggregate_per_client_and_kind() {
        let refusals = Refusals::new();
        let mut samples = 0;
        for _ in 0..3 {
            refusals.note(ClientKey::new(address(1)), address(1), RequestEnd::SelfTarget, Form::Answered, || {
                samples += 1;
                Box::from(&b"GET http://u:p@10.0.0.1/ HTTP/1.1"[..])
            });
        }
        note(&refusals, 1, RequestEnd::Malformed);
        note(&refusals, 2, RequestEnd::SelfTarget);
        assert_eq!(samples, 1);

        let mut drained = refusals.drain();
        drained.sort_by_key(|a| (a.client, a.end.index()));
        let counts: Vec<_> = drained.iter().map(|a| (a.address, a.end, a.count)).collect();
        assert_eq!(
            counts,
            [
                (address(1), RequestEnd::SelfTarget, 3),
                (address(1), RequestEnd::Malformed, 1),
                (address(2), RequestEnd::SelfTarget, 1),
            ]
        );
        assert_eq!(drained[0].sample.as_ref(), b"GET http://***@10.0.0.1/ HTTP/1.1");
        assert!(refusals.drain().is_empty());
        // The next second begins anew.
        note(&refusals, 1, RequestEnd::SelfTarget);
        assert_eq!(refusals.drain()[0].count, 1);
    }

    #[test]
    fn an_aggregate_tells_its_forms() {
        let refusals = Refusals::new();
        for (form, times) in [(Form::Answered, 1), (Form::Held, 2), (Form::Dropped, 4)] {
            for _ in 0..times {
                met(&refusals, 1, RequestEnd::SelfTarget, form);
            }
        }
        let drained = refusals.drain();
        assert_eq!((drained[0].count, drained[0].forms), (7, [1, 2, 4, 0]));
    }

    #[test]
    fn samples_are_cut() {
        let refusals = Refusals::new();
        let (client, line) = (ClientKey::new(address(1)), [b'a'; 10_000]);
        refusals.note(client, address(1), RequestEnd::TargetTooLong, Form::Answered, || Box::from(line));
        assert_eq!(refusals.drain()[0].sample.len(), SAMPLE_BYTES);
    }

    #[test]
    fn a_full_table_counts_per_reason() {
        let refusals = Refusals::new();
        let more = u32::try_from(TABLE_PAIRS).unwrap() + 10;
        for _ in 0..2 {
            for i in 0..more {
                note(&refusals, i, RequestEnd::SelfTarget);
            }
        }
        note(&refusals, more, RequestEnd::TargetTooLong);
        assert_eq!(refusals.overflow(Reason::SelfTarget), 20);
        assert_eq!(refusals.overflow(Reason::Malformed), 1);
        let drained = refusals.drain();
        assert_eq!(drained.len(), TABLE_PAIRS);
        assert!(drained.iter().all(|a| a.count == 2));
        // There is room again.
        note(&refusals, more, RequestEnd::SelfTarget);
        assert_eq!(refusals.drain().len(), 1);
        assert_eq!(refusals.overflow(Reason::SelfTarget), 20);
    }

    #[test]
    fn nothing_is_lost_between_workers_and_drains() {
        let refusals = Refusals::new();
        let drained = AtomicU64::new(0);
        let take = || {
            let sum: u64 = refusals.drain().iter().map(|a| u64::from(a.count)).sum();
            drained.fetch_add(sum, Relaxed);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..20_000 {
                        note(&refusals, i % 50, RequestEnd::SelfTarget);
                    }
                });
            }
            for _ in 0..20 {
                take();
            }
        });
        take();
        assert_eq!(drained.load(Relaxed), 80_000);
        assert_eq!(refusals.pairs.load(Relaxed), 0);
        assert_eq!(refusals.overflow(Reason::SelfTarget), 0);
    }

    #[test]
    fn the_board_is_fed_by_the_drain() {
        let refusals = Refusals::new();
        for _ in 0..5 {
            note(&refusals, 1, RequestEnd::SelfTarget);
        }
        note(&refusals, 2, RequestEnd::PortDenied);
        assert!(refusals.board().is_empty());
        refusals.drain();
        let board = refusals.board();
        assert_eq!(board.len(), 2);
        assert_eq!((board[0].address, board[0].total), (address(1), 5));
        assert_eq!(board[1].end, RequestEnd::PortDenied);
    }
}
