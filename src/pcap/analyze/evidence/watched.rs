//! A client of what may be a proxy: its attempts, those in vain, and how it names the proxy itself.

use super::super::super::Time;
use super::super::super::http::Request;
use super::super::findings::SelfKind;
use super::super::limits::{KINDS, SAMPLE, STORM_ATTEMPTS, STORM_WINDOW};
use super::journey::{Live, Vain};
use super::pace::{Bins, Following, Rate};

/// A pair that is watched.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// All attempts.
    pub(crate) attempts: Rate,
    /// Those in vain.
    pub(crate) vain: Rate,
    pub(crate) vain_first: Option<Time>,
    pub(crate) vain_last: Option<Time>,
    /// When the last attempts in vain began, until there was a storm.
    pub(crate) ladder: Vec<Time>,
    pub(crate) next: usize,
    pub(crate) storm: bool,
    pub(crate) following: Option<Box<Following>>,
    /// The last request in vain, and how many were the same as the one before.
    pub(crate) last: u64,
    pub(crate) same: u64,
    pub(crate) asked: u64,
    /// Of those in vain, requests that name the proxy itself.
    pub(crate) vain_self: u64,
    /// The first request in vain: method, target and Host.
    pub(crate) request: Vec<u8>,
    /// A request, and a hash of it, whose end is not known yet.
    pub(crate) seen: u64,
    pub(crate) seen_request: Vec<u8>,
    pub(crate) kinds: Vec<Named>,
    pub(crate) bins: Option<Bins>,
}

/// Requests that name the proxy itself.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) kind: SelfKind,
    pub(crate) count: u64,
    pub(crate) first: Time,
    pub(crate) sample: Vec<u8>,
}

impl Watched {
    pub(super) fn in_vain(&mut self, live: &Live, ended: Time, how: Vain) {
        self.vain.add(live.attempt.began);
        self.vain_first = Some(self.vain_first.map_or(live.attempt.began, |first| first.min(live.attempt.began)));
        self.vain_last = self.vain_last.max(Some(live.attempt.began));
        self.vain_self += u64::from(live.latest.own);
        self.following.get_or_insert_default().add(live.attempt.began, ended);
        let asked = live.requests > 0;
        let same = asked && self.asked > 0 && self.last == live.latest.hash;
        if asked {
            self.asked += 1;
            self.same += u64::from(same);
            self.last = live.latest.hash;
            if self.request.is_empty() && self.seen == live.latest.hash {
                self.request.clone_from(&self.seen_request);
            }
        }
        // What an origin says about one of many different requests is no reason to call them a storm.
        let origins_word =
            matches!(how, Vain::Status(status) if status < 500 && !matches!(status, 400 | 403 | 408 | 429));
        if !self.storm && (live.latest.own || same || !origins_word) {
            self.climb(live.attempt.began);
        }
    }

    /// The gateway's ladder: so many within so long.
    fn climb(&mut self, began: Time) {
        if self.ladder.len() < STORM_ATTEMPTS {
            self.ladder.push(began);
        } else if let Some(oldest) = self.ladder.get_mut(self.next) {
            *oldest = began;
            self.next = (self.next + 1) % STORM_ATTEMPTS;
        }
        if self.ladder.len() == STORM_ATTEMPTS
            && let (Some(first), Some(last)) = (self.ladder.iter().min(), self.ladder.iter().max())
            && last.since(*first) <= STORM_WINDOW
        {
            self.storm = true;
            self.ladder = Vec::new();
        }
    }

    /// A request that names the box it was sent to.
    pub(super) fn named(&mut self, kind: SelfKind, request: &Request<'_>) {
        if let Some(known) = self.kinds.iter_mut().find(|known| known.kind == kind) {
            known.count += 1;
        } else if self.kinds.len() < KINDS {
            let sample = request.head.get(..SAMPLE).unwrap_or(request.head).to_vec();
            self.kinds.push(Named { kind, count: 1, first: request.at, sample });
        }
    }

    /// Remembers a request until its end is known.
    pub(super) fn saw(&mut self, hash: u64, request: &Request<'_>) {
        if self.seen == hash || !self.request.is_empty() {
            return;
        }
        self.seen = hash;
        self.seen_request.clear();
        for (part, most) in [(request.method, 20), (b" ", 1), (request.target, SAMPLE / 4)] {
            self.seen_request.extend_from_slice(part.get(..most).unwrap_or(part));
        }
        if let Some(host) = request.host {
            self.seen_request.extend_from_slice(b" Host: ");
            self.seen_request.extend_from_slice(host.get(..SAMPLE / 4).unwrap_or(host));
        }
    }
}
