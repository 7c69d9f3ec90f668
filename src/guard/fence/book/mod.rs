//! Who is fenced, for how long, and when that was wrong.
//!
//! Owns: [`FenceBook`]. Called by: control, once a second: first [`FenceBook::see`] for every client, then
//! [`FenceBook::judge`]. Never: reads a clock, talks to the kernel, or fences on less than certain evidence.
//!
//! A client is shut out, then half open, then free:
//!
//! ```text
//!  suspect ──5 s stalled and above the rate, nothing moved for 60 s──▶ shut ──its time is over──▶ half open ──quiet──▶ free
//!                                                                       ▲                             │
//!                                                                       └──── still storms: twice ────┘
//! ```

mod entry;
mod event;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use ipnet::IpNet;

use entry::{Entry, Fenced, State, Syns, Trickle};
pub use event::{Act, Circumstances, Event, Judgement, Offence, Why};

use super::terms::{MOST, Terms};
use super::{Release, Row};
use crate::guard::Moment;
use crate::guard::clients::Rates;
use crate::guard::ladder::Class;
use crate::kernel::fence::Change;
use crate::net::ClientKey;

/// Clients whose offences are remembered; beyond, those that have been free the longest are forgotten.
const MEMORY: usize = 4 * MOST;
/// Clients that are watched to be fenced; beyond, newcomers wait until others leave. At more than 100 connections a second
/// each, it takes 100,000 accepted connections a second to get there.
const SUSPECTS: usize = 1_024;
/// Everybody who is fenced or was.
#[derive(Debug, Default)]
pub struct FenceBook {
    terms: Terms,
    act: Act,
    entries: AHashMap<ClientKey, Entry>,
    suspects: AHashMap<ClientKey, Suspect>,
    /// When bytes last moved for one of the /64s of a /48: the whole of it cannot be fenced then.
    sites: AHashMap<ClientKey, Moment>,
    /// When bytes last moved for anybody.
    moved: Option<Moment>,
    /// Clients seen since the last judgement.
    known: usize,
    judged: Moment,
    told_full: Option<Moment>,
}

#[derive(Debug)]
struct Suspect {
    /// Since when it is stalled and above the rate.
    since: Moment,
    reason: Class,
    stalled: Moment,
    arrivals: u32,
    progress: Option<Moment>,
    seen: bool,
}

impl FenceBook {
    /// An empty one.
    pub fn new(terms: Terms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// A client as of this second.
    pub fn see(&mut self, client: ClientKey, rates: Rates) {
        self.known += 1;
        self.moved = self.moved.max(rates.progress);
        if let Some(site) = client.site()
            && site != client
            && let Some(progress) = rates.progress
        {
            let last = self.sites.entry(site).or_insert(progress);
            *last = progress.max(*last);
        }
        if let Some(entry) = self.entries.get_mut(&client) {
            (entry.arrivals, entry.progress) = (rates.arrivals, rates.progress);
            if entry.fenced().is_some() {
                return;
            }
        }
        let Some((reason, stalled)) = rates.stalled.filter(|_| rates.arrivals > self.terms.rate) else { return };
        let (arrivals, progress) = (rates.arrivals, rates.progress);
        let seen = Suspect { since: self.judged.max(stalled), reason, stalled, arrivals, progress, seen: true };
        let room = self.suspects.len() < SUSPECTS;
        if let Some(suspect) = self.suspects.get_mut(&client) {
            *suspect = Suspect { since: suspect.since.max(stalled), ..seen };
        } else if room {
            self.suspects.insert(client, seen);
        }
    }

    /// What follows from what was seen since the last judgement.
    pub fn judge(&mut self, now: Moment, circumstances: &Circumstances<'_>) -> Judgement {
        let mut out = Judgement::default();
        self.forgive_unbuilt(now, circumstances.unbuilt);
        if circumstances.act != self.act {
            self.act = circumstances.act;
            self.release(now, |_| Some((Why::Off, Duration::ZERO)), &mut out);
        }
        self.count_syns(circumstances.dropped);
        let wanted = |client: ClientKey| {
            circumstances.wishes.iter().any(|wish| match wish {
                Release::All => true,
                Release::One(one) => *one == client || one.site() == Some(client),
            })
        };
        let pardon = self.terms.pardon;
        let excepted = |client: ClientKey| {
            if wanted(client) {
                Some((Why::Operator, pardon))
            } else {
                (circumstances.never)(client.network()).then_some((Why::Never, Duration::ZERO))
            }
        };
        self.release(now, excepted, &mut out);
        if circumstances.behind {
            self.prove_later(now);
        }
        self.prove(now, &mut out);
        self.review(now, &mut out);
        self.suspects.retain(|_, suspect| std::mem::take(&mut suspect.seen));
        if self.act != Act::Nothing {
            self.fence(now, circumstances.never, &mut out);
        }
        self.forget(now);
        for entry in self.entries.values_mut() {
            entry.arrivals = 0;
        }
        self.sites.clear();
        (self.known, self.moved, self.judged) = (0, None, now);
        out
    }

    /// Who is fenced, in the order of the addresses.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.real().map(|(client, times, fenced)| fenced.row(client, times)).collect();
        rows.sort_unstable_by_key(|row| row.client);
        rows
    }

    /// All that the kernel should have, to build it anew.
    pub fn members(&self, now: Moment) -> Vec<Change> {
        self.real().map(|(client, _, fenced)| fenced.change(client, now, &self.terms)).collect()
    }

    fn real(&self) -> impl Iterator<Item = (ClientKey, u32, &Fenced)> {
        let fenced = self.entries.iter().filter_map(|(client, entry)| Some((*client, entry.times, entry.fenced()?)));
        fenced.filter(|(_, _, fenced)| fenced.real)
    }

    /// Lets those in for whom there is a reason, and pardons them for so long.
    fn release(&mut self, now: Moment, reason: impl Fn(ClientKey) -> Option<(Why, Duration)>, out: &mut Judgement) {
        for (client, entry) in &mut self.entries {
            if entry.fenced().is_some()
                && let Some((why, pardon)) = reason(*client)
            {
                entry.let_in(*client, now, now.after(pardon), why, out);
            }
        }
    }

    /// What could not be built is not fenced, and it was no offence.
    fn forgive_unbuilt(&mut self, now: Moment, unbuilt: &[IpNet]) {
        if unbuilt.is_empty() {
            return;
        }
        let unbuilt: AHashSet<_> = unbuilt.iter().collect();
        for (client, entry) in &mut self.entries {
            if entry.fenced().is_some() && unbuilt.contains(&client.network()) {
                entry.times = entry.times.saturating_sub(1);
                entry.state = State::Free { since: now, pardoned: now.after(self.terms.retry) };
            }
        }
    }

    fn count_syns(&mut self, dropped: &AHashMap<IpNet, u64>) {
        if dropped.is_empty() {
            return;
        }
        for (client, entry) in &mut self.entries {
            if let Some(fenced) = entry.fenced_mut()
                && let Some(counter) = dropped.get(&client.network())
            {
                fenced.syns.read(*counter);
            }
        }
    }

    /// What the kernel does not have cannot help.
    fn prove_later(&mut self, now: Moment) {
        for (from, _) in self.entries.values_mut().filter_map(|entry| entry.fenced_mut()?.unproven.as_mut()) {
            *from = now;
        }
    }

    /// Looks whether those who were fenced together come less often than before. What others do meanwhile says nothing:
    /// when the accept loop is saturated, they take what these leave.
    fn prove(&mut self, now: Moment, out: &mut Judgement) {
        let mut together: BTreeMap<Moment, (u64, u64)> = BTreeMap::new();
        for entry in self.entries.values() {
            if let Some((from, before)) = entry.to_prove(now, self.terms.proof) {
                let (all_before, after) = together.entry(from).or_default();
                *all_before += u64::from(before);
                *after += u64::from(entry.arrivals);
            }
        }
        for (moment, (before, after)) in together {
            let mut clients = Vec::new();
            for (client, entry) in &mut self.entries {
                if entry.to_prove(now, self.terms.proof).is_none_or(|(from, _)| from != moment) {
                    continue;
                }
                if after <= before / 2 {
                    entry.fenced_mut().into_iter().for_each(|fenced| fenced.unproven = None);
                } else {
                    clients.push(*client);
                    out.changes.push(Change::Open(client.network()));
                    entry.times = entry.times.saturating_sub(1);
                    entry.state = State::Free { since: now, pardoned: now.after(self.terms.pardon) };
                }
            }
            if !clients.is_empty() {
                clients.sort_unstable();
                out.events.push(Event::InVain { clients, before, after });
            }
        }
    }

    /// Half-opens those whose time is over, and decides about those who are half open.
    fn review(&mut self, now: Moment, out: &mut Judgement) {
        let passed = u64::try_from(now.since(self.judged).as_millis()).unwrap_or(u64::MAX);
        let cap = self.terms.cap(self.known);
        let mut places = cap.saturating_sub(self.shut());
        for (client, entry) in &mut self.entries {
            let came = u64::from(entry.arrivals).saturating_mul(passed);
            let (progress, times) = (entry.progress, entry.times);
            let Some(fenced) = entry.fenced_mut() else { continue };
            let moves = |since: Moment| progress.is_some_and(|progress| progress > since);
            let Some(trickle) = &mut fenced.trickle else {
                let early = moves(fenced.shut);
                if !early && now < fenced.until {
                    continue;
                }
                if !fenced.real {
                    entry.state = State::Free { since: now, pardoned: now };
                    continue;
                }
                fenced.trickle = Some(Trickle { since: now, from: None, came: 0 });
                fenced.until = now.after(self.terms.trickle);
                out.changes.push(fenced.change(*client, now, &self.terms));
                out.events.push(Event::HalfOpened { client: *client, early });
                continue;
            };
            match trickle.from {
                Some(_) => trickle.came = trickle.came.saturating_add(came),
                None if now.since(trickle.since) >= self.terms.settling => {
                    trickle.from = Some((now, fenced.syns.total));
                }
                None => {}
            }
            if moves(trickle.since) {
                entry.let_in(*client, now, now, Why::Progress, out);
            } else if now >= fenced.until {
                let offered = fenced.offered(now);
                // Who slept through the trickle has let everybody in: it is over.
                let slept = now.since(fenced.until) >= self.terms.margin;
                if slept || offered <= u64::from(self.terms.rate / 2) {
                    entry.let_in(*client, now, now, Why::Quiet, out);
                    continue;
                }
                if places == 0 {
                    entry.let_in(*client, now, now, Why::Crowded, out);
                    continue;
                }
                places -= 1;
                let times = times.saturating_add(1);
                let lasts = self.terms.lasts(times);
                (fenced.shut, fenced.until, fenced.trickle) = (now, now.after(lasts), None);
                out.changes.push(fenced.change(*client, now, &self.terms));
                out.events.push(Event::ShutAgain { client: *client, offered, lasts, times });
                entry.times = times;
            }
        }
    }

    /// Fences the worst of those for whom everything speaks, as far as there are places.
    fn fence(&mut self, now: Moment, never: &dyn Fn(IpNet) -> bool, out: &mut Judgement) {
        let eligible = self.suspects.iter().filter(|(client, suspect)| self.deserves(**client, suspect, now));
        let mut worst: Vec<_> = eligible.filter(|(client, _)| !never(client.network())).collect();
        worst.sort_unstable_by_key(|(client, suspect)| (Reverse(suspect.arrivals), **client));
        let cap = self.terms.cap(self.known);
        let fenced = self.entries.values().filter(|entry| entry.fenced().is_some()).count();
        let places = cap.saturating_sub(fenced);
        let waiting = worst.len().saturating_sub(places);
        let offences: Vec<_> =
            worst.into_iter().take(places).map(|(client, suspect)| self.offence(*client, suspect, now)).collect();
        for offence in offences {
            self.suspects.remove(&offence.client);
            let real = self.act == Act::Enforce;
            let fenced = Fenced {
                reason: offence.reason,
                since: now,
                shut: now,
                until: now.after(offence.lasts),
                trickle: None,
                syns: Syns::default(),
                unproven: real.then_some((now, offence.arrivals)),
                real,
            };
            if real {
                out.changes.push(fenced.change(offence.client, now, &self.terms));
            }
            out.events.push(if real { Event::Fenced(offence) } else { Event::WouldFence(offence) });
            let state = State::Fenced(fenced);
            let entry = Entry { times: offence.times, arrivals: offence.arrivals, progress: None, state };
            self.entries.insert(offence.client, entry);
        }
        if waiting > 0 && self.told_full.is_none_or(|told| now.since(told) >= self.terms.telling) {
            self.told_full = Some(now);
            out.events.push(Event::Full { waiting, places: cap });
        }
    }

    fn deserves(&self, client: ClientKey, suspect: &Suspect, now: Moment) -> bool {
        let recently = |moment: Option<Moment>| moment.is_some_and(|moment| now.since(moment) < self.terms.silence);
        let pardoned = self.entries.get(&client).is_some_and(|entry| match entry.state {
            State::Free { pardoned, .. } => now < pardoned,
            State::Fenced(_) => true,
        });
        // When the way to the internet is cut, everybody tries again and nobody gets anywhere: only what is wrong by itself
        // is certain then.
        let certain = suspect.reason != Class::OverLimit || recently(self.moved);
        now.since(suspect.since) >= self.terms.stalled
            && !recently(suspect.progress)
            && !recently(self.sites.get(&client).copied())
            && certain
            && !pardoned
    }

    fn offence(&self, client: ClientKey, suspect: &Suspect, now: Moment) -> Offence {
        let before = self.entries.get(&client).map_or(0, |entry| entry.remembered(now, self.terms.peace));
        let times = before.saturating_add(1);
        let &Suspect { reason, arrivals, stalled, .. } = suspect;
        Offence { client, reason, arrivals, stalled: now.since(stalled), lasts: self.terms.lasts(times), times }
    }

    /// Clients that are shut out, those half open not among them.
    fn shut(&self) -> usize {
        let fenced = self.entries.values().filter_map(Entry::fenced);
        fenced.filter(|fenced| fenced.trickle.is_none()).count()
    }

    fn forget(&mut self, now: Moment) {
        let peace = self.terms.peace;
        self.entries.retain(|_, entry| match entry.state {
            State::Fenced(_) => true,
            State::Free { pardoned, .. } => now < pardoned || entry.remembered(now, peace) > 0,
        });
        let surplus = self.entries.len().saturating_sub(MEMORY);
        if surplus > 0 {
            let free = self.entries.iter().filter_map(|(client, entry)| match entry.state {
                State::Free { since, .. } => Some((since, *client)),
                State::Fenced(_) => None,
            });
            let mut free: Vec<_> = free.collect();
            free.sort_unstable();
            for (_, client) in free.into_iter().take(surplus) {
                self.entries.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
