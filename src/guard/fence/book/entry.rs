//! One client's entry in the fence book.

use std::time::Duration;

use super::event::{Event, Judgement, Why};
use crate::guard::Moment;
use crate::guard::fence::{Row, Terms};
use crate::guard::ladder::Class;
use crate::kernel::fence::Change;
use crate::net::ClientKey;

/// Of so many SYNs the socket filter lets one pass in the trickle; it does not count per client.
const TRICKLE: u64 = 16;

#[derive(Debug)]
pub(super) struct Entry {
    /// Its offences.
    pub(super) times: u32,
    pub(super) arrivals: u32,
    pub(super) progress: Option<Moment>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Fenced(Fenced),
    Free { since: Moment, pardoned: Moment },
}

#[derive(Debug)]
pub(super) struct Fenced {
    pub(super) reason: Class,
    /// The first time in a row, and the last.
    pub(super) since: Moment,
    pub(super) shut: Moment,
    pub(super) until: Moment,
    pub(super) trickle: Option<Trickle>,
    pub(super) syns: Syns,
    /// Since when the kernel should keep it out, and its connections per second before; until it has been looked whether
    /// that helped.
    pub(super) unproven: Option<(Moment, u32)>,
    /// The kernel is told, and people.
    pub(super) real: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Trickle {
    pub(super) since: Moment,
    /// From when on it counts, and how many SYNs had been dropped by then.
    pub(super) from: Option<(Moment, u64)>,
    /// Connections since then, in thousandths.
    pub(super) came: u64,
}

/// A counter of the kernel that may begin anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Syns {
    pub(super) total: u64,
    pub(super) last: Option<u64>,
}

impl Entry {
    pub(super) fn fenced(&self) -> Option<&Fenced> {
        match &self.state {
            State::Fenced(fenced) => Some(fenced),
            State::Free { .. } => None,
        }
    }

    pub(super) fn fenced_mut(&mut self) -> Option<&mut Fenced> {
        match &mut self.state {
            State::Fenced(fenced) => Some(fenced),
            State::Free { .. } => None,
        }
    }

    /// Offences that peace has not made forgotten.
    pub(super) fn remembered(&self, now: Moment, peace: Duration) -> u32 {
        let State::Free { since, .. } = self.state else { return self.times };
        let forgotten = now.since(since).as_millis() / peace.as_millis().max(1);
        self.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    pub(super) fn let_in(&mut self, client: ClientKey, now: Moment, pardoned: Moment, why: Why, out: &mut Judgement) {
        if let Some(fenced) = self.fenced().filter(|fenced| fenced.real) {
            out.changes.push(Change::Open(client.network()));
            let (syns, after) = (fenced.syns.known(), now.since(fenced.since));
            out.events.push(Event::Released { client, why, syns, after });
        }
        self.state = State::Free { since: now, pardoned };
    }

    /// Since when it is fenced and how often it came before, if it is time to look whether that helps.
    pub(super) fn to_prove(&self, now: Moment, proof: Duration) -> Option<(Moment, u32)> {
        let fenced = self.fenced()?;
        fenced.unproven.filter(|(from, _)| now.since(*from) >= proof)
    }
}

impl Syns {
    pub(super) fn read(&mut self, counter: u64) {
        let before = self.last.filter(|last| *last <= counter).unwrap_or(0);
        self.total = self.total.saturating_add(counter - before);
        self.last = Some(counter);
    }

    pub(super) fn known(self) -> Option<u64> {
        self.last.map(|_| self.total)
    }
}

impl Fenced {
    pub(super) fn row(&self, client: ClientKey, times: u32) -> Row {
        let &Self { since, until, reason, .. } = self;
        Row { client, since, until, half_open: self.trickle.is_some(), reason, syns: self.syns.known(), times }
    }

    /// What the kernel should have of it.
    pub(super) fn change(&self, client: ClientKey, now: Moment, terms: &Terms) -> Change {
        let timeout = self.until.since(now) + terms.margin;
        let network = client.network();
        if self.trickle.is_some() { Change::HalfOpen(network, timeout) } else { Change::Shut(network, timeout) }
    }

    /// SYNs per second since the trickle has settled.
    pub(super) fn offered(&self, now: Moment) -> u64 {
        let Some((from, syns, came)) = self.trickle.and_then(|trickle| {
            let (from, syns) = trickle.from?;
            Some((from, syns, trickle.came / 1_000))
        }) else {
            return 0;
        };
        let all = match self.syns.known() {
            Some(total) => total.saturating_sub(syns).saturating_add(came),
            None => came.saturating_mul(TRICKLE),
        };
        let took = u64::try_from(now.since(from).as_millis()).unwrap_or(u64::MAX);
        all.saturating_mul(1_000).checked_div(took).unwrap_or(0)
    }
}
