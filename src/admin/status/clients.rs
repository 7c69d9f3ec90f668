//! The clients worth a look: first those who offend, then those with the most connections.

use ahash::{AHashMap, AHashSet};
use serde_json::{Map, Value, json};

use super::super::Board;
use super::super::words::{deed, span};
use super::unix_seconds;
use crate::config::settings::GuardMode;
use crate::guard::fence::Row;
use crate::guard::ladder::Class;
use crate::guard::{Client, Moment};
use crate::net::ClientKey;
use crate::telemetry::access_log::escape::printable;
use crate::telemetry::refusals::Offender;

/// Clients listed for what they do, and as many again for their open connections.
const EACH: usize = 64;

/// One walk through the client book: who stands out, and how far.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// By what was refused.
    offending: Best<(bool, u32)>,
    /// By open connections.
    open: Best<u32>,
    /// The most connections one client has open.
    pub(super) most_open: u32,
    /// The most first requests that one client owes.
    pub(super) most_heads: u32,
    /// The most connections one client opened in the last second.
    pub(super) most_arrivals: u32,
    /// The most requests one client made in it.
    pub(super) most_requests: u32,
}

impl Census {
    pub(super) fn of(board: &Board) -> Self {
        let mut census = Self::default();
        board.guard.book.each(|key, client| {
            let (rates, open) = (client.rates(), client.open());
            census.most_open = census.most_open.max(open);
            census.most_heads = census.most_heads.max(client.heads());
            census.most_arrivals = census.most_arrivals.max(rates.arrivals);
            census.most_requests = census.most_requests.max(rates.requests);
            if rates.refusals > 0 || rates.stalled.is_some() {
                census.offending.add((rates.stalled.is_some(), rates.refusals), key);
            }
            if open > 0 {
                census.open.add(open, key);
            }
        });
        census
    }
}

/// The [`EACH`] with the highest ranks, in memory that does not grow with their number.
#[derive(Debug)]
struct Best<R>(Vec<(R, ClientKey)>);

impl<R> Default for Best<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R: Copy + Ord> Best<R> {
    fn add(&mut self, rank: R, key: ClientKey) {
        if self.0.len() >= 4 * EACH {
            self.0.select_nth_unstable_by(EACH, |a, b| b.cmp(a));
            self.0.truncate(EACH);
        }
        self.0.push((rank, key));
    }

    /// The highest first.
    fn keys(&self) -> Vec<ClientKey> {
        let mut all = self.0.clone();
        all.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(EACH).map(|(_, key)| key).collect()
    }
}

/// Each client once: those who are fenced, stalled or refused, the worst first; then those with the most open connections.
pub(super) fn rows(board: &Board, census: &Census) -> Vec<Value> {
    let now = board.guard.clock.now();
    let offenders: AHashMap<ClientKey, Offender> =
        board.refusals.board().into_iter().map(|offender| (offender.client, offender)).collect();
    let fences = board.guard.fences.list();
    let fenced: AHashMap<ClientKey, &Row> = fences.iter().map(|row| (row.client, row)).collect();
    let observing = board.settings.load().guard.mode == GuardMode::Observe;

    let suspects: AHashSet<ClientKey> =
        fenced.keys().copied().chain(offenders.keys().copied()).chain(census.offending.keys()).collect();
    let mut worst: Vec<_> = suspects
        .into_iter()
        .map(|key| {
            let client = board.guard.book.known(key);
            let stalled = client.as_ref().is_some_and(|client| !client.stalled_in(now).is_empty());
            let recent = offenders.get(&key).map_or(0.0, |offender| offender.recent);
            ((fenced.contains_key(&key), stalled, recent), key)
        })
        .collect();
    worst.sort_unstable_by(|((a_fenced, a_stalled, a_recent), a), ((b_fenced, b_stalled, b_recent), b)| {
        (b_fenced, b_stalled).cmp(&(a_fenced, a_stalled)).then(b_recent.total_cmp(a_recent)).then(a.cmp(b))
    });
    worst.truncate(EACH);

    let worst: Vec<ClientKey> = worst.into_iter().map(|(_, key)| key).collect();
    let listed: AHashSet<ClientKey> = worst.iter().copied().collect();
    let busy = census.open.keys().into_iter().filter(|key| !listed.contains(key));
    let all = worst.iter().copied().chain(busy);
    all.map(|key| {
        let client = board.guard.book.known(key);
        let client = client.as_deref();
        let kernel_bytes = (board.kernel_bytes)(key);
        Subject {
            key,
            client,
            fence: fenced.get(&key).copied(),
            offender: offenders.get(&key),
            kernel_bytes,
            observing,
        }
        .row(now)
    })
    .collect()
}

/// One client, and what is known of it.
pub(super) struct Subject<'a> {
    pub(super) key: ClientKey,
    /// Its entry in the book: none if it has left, or shares one.
    pub(super) client: Option<&'a Client>,
    pub(super) fence: Option<&'a Row>,
    pub(super) offender: Option<&'a Offender>,
    pub(super) kernel_bytes: Option<u64>,
    /// Nobody is stalled, but it is told who would be.
    pub(super) observing: bool,
}

impl Subject<'_> {
    /// It in one row of the list.
    pub(super) fn row(&self, now: Moment) -> Value {
        let stalled = self.client.map(|client| client.stalled_in(now)).unwrap_or_default();
        let step = match self.fence {
            Some(_) => "fence",
            None if stalled.is_empty() || self.observing => "answer",
            None => "stall",
        };
        let rates = self.client.map(|client| {
            let rates = client.rates();
            json!({
                "arrivals": rates.arrivals,
                "requests": rates.requests,
                "refusals": rates.refusals,
                "bytes": rates.moved,
            })
        });
        let refusals = self.client.map(|client| {
            let count = |class: &Class| (class.label().to_owned(), Value::from(client.refusals(*class)));
            Class::ALL.iter().map(count).collect::<Map<_, _>>()
        });
        json!({
            "address": self.key.to_string(),
            "kernel_bytes": self.kernel_bytes,
            "sockets": self.client.map(Client::open),
            "rates": rates,
            "refusals": refusals,
            "refusals_per_minute": self.offender.map_or(0.0, |offender| offender.recent.round()),
            "stalled": self.client.map(Client::stalled),
            "step": step,
            "why": self.why(&stalled, now),
            "outcome": self.offender.map(|offender| offender.end.label()),
            "text": self.offender.map(|offender| offender.end.row().text),
            "sample": self.offender.map(|offender| printable(&offender.sample)),
            "from": self.offender.map(|offender| offender.address),
            "last_refused": self.offender.map(|offender| unix_seconds(offender.last)),
        })
    }

    /// Why it is on its step, and since when, in words.
    fn why(&self, stalled: &[(Class, Moment)], now: Moment) -> Option<String> {
        if let Some(fence) = self.fence {
            let trickle = if fence.half_open { "; on trial: some of its connections are let in" } else { "" };
            return Some(format!("fenced for {}: {}{trickle}", span(now.since(fence.since)), deed(fence.reason)));
        }
        if !stalled.is_empty() {
            let verb = if self.observing { "would be stalled" } else { "stalled" };
            let each = |(class, since): &(Class, Moment)| format!("{} for {}", deed(*class), span(now.since(*since)));
            return Some(format!("{verb}: {}", stalled.iter().map(each).collect::<Vec<_>>().join(", ")));
        }
        let offender = self.offender?;
        let ago = span(offender.last.elapsed().unwrap_or_default());
        let what = Class::of(offender.end).map_or_else(|| offender.end.label(), deed);
        Some(format!("refused {ago} ago: {what}"))
    }
}
