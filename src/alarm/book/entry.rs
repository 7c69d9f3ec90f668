//! One thing: an alarm and its subject.

use std::time::{Duration, SystemTime};

use super::clients::Clients;
use super::{Standing, Today, patience};
use crate::alarm::{Alarm, Message, Sample, Severity, Sighting, Stage};
use crate::guard::Moment;

/// The least that a count can be about.
const SECOND: Duration = Duration::from_secs(1);

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug)]
struct At {
    moment: Moment,
    date: SystemTime,
}

impl At {
    const fn of(today: &Today<'_>) -> Self {
        Self { moment: today.now, date: today.date }
    }
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) alarm: Alarm,
    subject: String,
    /// The episode: since when it has stood, when it was last seen, how often. None before it was first seen.
    episode: Option<Episode>,
    /// When its last message about going on was made; a window runs from there.
    fired: Option<Moment>,
    /// It has been told that it has begun, and not that it is over.
    open: bool,
    /// Since when counts are for the next message, the first of them, and how many.
    counted: Option<Moment>,
    first: Option<At>,
    pending: u64,
    values: Vec<(&'static str, String)>,
    /// Those that it is about, where they are one thing.
    clients: Clients,
    sample: Option<Sample>,
    /// The sample has been told.
    stale: bool,
}

#[derive(Clone, Copy, Debug)]
struct Episode {
    since: At,
    last: At,
    count: u64,
}

/// What is to be told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// It has begun, or goes on; since when that might have been told.
    Firing(Moment),
    /// It is over; since when.
    Resolved(Moment),
}

impl Due {
    pub(super) const fn since(self) -> Moment {
        match self {
            Self::Firing(since) | Self::Resolved(since) => since,
        }
    }
}

impl Entry {
    pub(super) fn new(alarm: Alarm, subject: &str) -> Self {
        Self {
            alarm,
            subject: subject.to_owned(),
            episode: None,
            fired: None,
            open: false,
            counted: None,
            first: None,
            pending: 0,
            values: Vec::new(),
            clients: Clients::default(),
            sample: None,
            stale: true,
        }
    }

    pub(super) fn severity(&self) -> Severity {
        self.alarm.severity(&self.subject)
    }

    /// Once more. Whether that is a beginning.
    pub(super) fn see(&mut self, sighting: Sighting, today: &Today<'_>) -> bool {
        let at = At::of(today);
        // What has not been told is not over: it is one and the same.
        let begins = !self.stands(today) && !self.open && self.pending == 0;
        let Sighting { subject: client, count, values, sample, .. } = sighting;
        if begins && count == 0 {
            return false;
        }
        match &mut self.episode {
            Some(episode) if !begins => {
                episode.last = at;
                episode.count = episode.count.saturating_add(count);
            }
            episode => *episode = Some(Episode { since: at, last: at, count }),
        }
        if self.pending == 0 && count > 0 {
            self.clients.clear();
        }
        self.pending = self.pending.saturating_add(count);
        if begins {
            self.counted = Some(at.moment);
        }
        if count > 0 {
            self.first.get_or_insert(at);
        }
        if client.is_empty() || self.clients.see(client, count, at.moment) {
            self.values = values;
        }
        if self.stale && sample.is_some() {
            (self.sample, self.stale) = (sample, false);
        }
        begins
    }

    /// Whether it goes on, as far as is known.
    fn stands(&self, today: &Today<'_>) -> bool {
        self.episode.is_some_and(|episode| today.now.since(episode.last.moment) < patience(self.alarm, today.window))
    }

    /// What is to be told of it now, were nothing in the way.
    pub(super) fn due(&self, today: &Today<'_>) -> Option<Due> {
        let episode = self.episode?;
        if self.open && !self.stands(today) {
            return Some(Due::Resolved(episode.last.moment.after(patience(self.alarm, today.window))));
        }
        let first = self.first.filter(|_| self.pending > 0)?;
        let again = self.fired.map(|fired| fired.after(today.window));
        let since = again.map_or(first.moment, |again| again.max(first.moment));
        (since <= today.now).then_some(Due::Firing(since))
    }

    /// Makes the message, after which what it told is not to be told any more.
    pub(super) fn tell(&mut self, due: Due, today: &Today<'_>, waiting: usize) -> Message {
        let at = At::of(today);
        let episode = self.episode.unwrap_or(Episode { since: at, last: at, count: 0 });
        let mut values = self.all_values();
        let (stage, first) = match due {
            Due::Firing(_) => (Stage::Firing, self.first.unwrap_or(at)),
            Due::Resolved(_) => {
                let lasted = episode.last.moment.since(episode.since.moment);
                values.extend([("total", episode.count.to_string()), ("lasted", lasted.as_secs().to_string())]);
                (Stage::Resolved, episode.since)
            }
        };
        if waiting > 0 {
            values.push(("waiting", waiting.to_string()));
        }
        // A beginning is told at once: the second that it was seen in is all there is to count.
        let counted = self.counted.map_or(today.window, |since| today.now.since(since));
        let message = Message {
            alarm: self.alarm,
            stage,
            gateway: today.gateway.to_owned(),
            subject: self.subject.clone(),
            first: first.date,
            last: episode.last.date,
            count: self.pending,
            window: counted.max(SECOND),
            values,
            sample: self.sample.clone(),
        };
        self.open = stage == Stage::Firing;
        if self.open {
            self.fired = Some(today.now);
        }
        (self.counted, self.first, self.pending, self.stale) = (Some(today.now), None, 0, true);
        message
    }

    /// Those of the catalogue's words, and of the clients.
    fn all_values(&self) -> Vec<(&'static str, String)> {
        self.values.iter().cloned().chain(self.clients.values()).collect()
    }

    /// Silenced: what was never told and is over is not told any more. Returns how much that was.
    pub(super) fn hush(&mut self, today: &Today<'_>) -> u64 {
        if self.open || self.stands(today) {
            return 0;
        }
        (self.first, self.counted) = (None, None);
        std::mem::take(&mut self.pending)
    }

    #[cfg(test)]
    pub(super) const fn pending(&self) -> u64 {
        self.pending
    }

    /// Nothing is to be told of it, and its window is over.
    pub(super) fn is_forgotten(&self, today: &Today<'_>) -> bool {
        let in_window = self.fired.is_some_and(|fired| today.now.since(fired) < today.window);
        !self.open && self.pending == 0 && !in_window && !self.stands(today)
    }

    pub(super) fn standing(&self, today: &Today<'_>) -> Option<Standing> {
        let Episode { since, last, count } = self.episode.filter(|_| self.open || self.stands(today))?;
        Some(Standing {
            alarm: self.alarm,
            subject: self.subject.clone(),
            severity: self.severity(),
            since: since.date,
            last: last.date,
            count,
            told: self.open,
            silenced: (today.silenced)(self.alarm),
            values: self.all_values(),
            sample: self.sample.clone(),
        })
    }
}
