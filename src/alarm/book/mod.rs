//! What has been seen, what of it has been told, and what is told next.
//!
//! Owns: [`Book`], the windows, the pace. Called by: control, once a second, with what the judge has seen. Never: reads a
//! clock, judges, or delivers; tells of one thing twice in a window, or more than [`PACE`] messages a minute.
//!
//! One thing is an alarm and its subject; where the subject is a client, all clients together are one. It is told when it is first seen, and while it goes on once in a window; what was
//! counted in between is in the next message. Its end is told once: of a state when it has not been seen for [`CALM`], of
//! an event when it has not come back for a window. What may not be told now, because it is silenced, because too much is
//! told already or because nobody takes it, is counted on and told when it may.

mod clients;
mod entry;
mod pace;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use entry::Entry;
pub use pace::PACE;
use pace::Pace;

use super::facts::Reload;
use super::judge::{Nature, nature};
use super::{Alarm, Message, Sample, Severity, Sighting};
use crate::guard::Moment;
use crate::telemetry::counters::PerVariant;

/// Subjects of one alarm that are told of by name; further ones are one subject, [`OTHERS`], until a place is free. So the
/// book has at most 17 entries for each alarm.
pub const SUBJECTS: usize = 16;
/// The subject of all that found no place.
pub const OTHERS: &str = "…";
/// A state that has not been seen for so long is over. It may come back within seconds, and is one and the same then.
pub const CALM: Duration = Duration::from_secs(10);
/// Characters of what is wrong with a configuration.
const WHY: usize = 300;

/// Everything that was seen and is not forgotten.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<(usize, String), Entry>,
    pace: Pace,
    /// Seen while it was silenced, over before that ended: never told.
    hushed: u64,
}

/// What a second's telling depends on.
#[derive(Clone, Copy)]
pub struct Today<'a> {
    /// By the guard's clock, which all windows go by.
    pub now: Moment,
    /// By the wall clock, for people.
    pub date: SystemTime,
    /// The gateway's name.
    pub gateway: &'a str,
    /// How long a window is.
    pub window: Duration,
    /// Whether an alarm is not to be told of now.
    pub silenced: &'a dyn Fn(Alarm) -> bool,
    /// How many messages somebody will take.
    pub room: usize,
}

impl std::fmt::Debug for Today<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Today").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Something that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What.
    pub alarm: Alarm,
    /// See [`Message::subject`].
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    pub since: SystemTime,
    /// When it was last seen.
    pub last: SystemTime,
    /// How often since it began.
    pub count: u64,
    /// It has been told.
    pub told: bool,
    /// It is not to be told of now.
    pub silenced: bool,
    /// As of when it was last seen.
    pub values: Vec<(&'static str, String)>,
    /// One of them.
    pub sample: Option<Sample>,
}

/// What stands, for everybody who asks; written by control once a second.
#[derive(Debug, Default)]
pub struct Register {
    /// The worst first, then by the order of the catalogue.
    pub standing: ArcSwap<Vec<Standing>>,
    /// How often each alarm has begun, since the start.
    pub begun: PerVariant<{ Alarm::COUNT }>,
    /// Messages made, since the start.
    pub messages: AtomicU64,
    /// Messages that wait, since too many are told already or nobody takes them.
    pub waiting: AtomicU64,
    /// The configuration that was not taken over, until one is.
    pub reload: ArcSwapOption<Reload>,
}

impl Register {
    /// A configuration was not taken over.
    pub fn reload_failed(&self, file: &Path, why: &str) {
        let why = why.lines().next().unwrap_or_default().chars().take(WHY).collect();
        self.reload.store(Some(Arc::new(Reload { file: file.display().to_string(), why })));
    }
}

/// What a second brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What is to be told, the worst first.
    pub messages: Vec<Message>,
    /// Alarms that have begun, once for each subject.
    pub begun: Vec<Alarm>,
    /// Messages that are due and have to wait.
    pub waiting: usize,
}

impl Book {
    /// Takes in what was seen in this second, and gives what is to be told.
    pub fn tell(&mut self, seen: Vec<Sighting>, today: &Today<'_>) -> Told {
        let begun = self.take_in(seen, today);
        let mut due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !(today.silenced)(entry.alarm))
            .filter_map(|(key, entry)| Some((key.clone(), entry.severity(), entry.due(today)?)))
            .collect();
        // The worst first; of equals what has been waiting for longest.
        due.sort_by(|(a, bad, one), (b, worse, other)| (worse, one.since(), a).cmp(&(bad, other.since(), b)));
        let room = self.pace.room(today.now).min(today.room);
        let waiting = due.len().saturating_sub(room);
        let messages: Vec<_> = due
            .into_iter()
            .take(room)
            .filter_map(|(key, _, due)| Some(self.entries.get_mut(&key)?.tell(due, today, waiting)))
            .collect();
        self.pace.told(messages.len(), today.now);
        self.forget(today);
        Told { messages, begun, waiting }
    }

    fn take_in(&mut self, seen: Vec<Sighting>, today: &Today<'_>) -> Vec<Alarm> {
        let mut begun = Vec::new();
        for mut sighting in seen {
            let alarm = sighting.alarm.index();
            let one = clients::are_one(sighting.alarm);
            let mut key = (alarm, if one { String::new() } else { std::mem::take(&mut sighting.subject) });
            let taken = self.entries.range((alarm, String::new())..(alarm + 1, String::new())).count();
            if taken >= SUBJECTS && !self.entries.contains_key(&key) {
                OTHERS.clone_into(&mut key.1);
            }
            // What goes on, and was never begun with.
            if sighting.count == 0 && !self.entries.contains_key(&key) {
                continue;
            }
            let entry = self.entries.entry(key).or_insert_with_key(|(_, subject)| Entry::new(sighting.alarm, subject));
            if entry.see(sighting, today) {
                begun.push(entry.alarm);
            }
        }
        begun
    }

    fn forget(&mut self, today: &Today<'_>) {
        let hushed = &mut self.hushed;
        self.entries.retain(|_, entry| {
            if (today.silenced)(entry.alarm) {
                *hushed = hushed.saturating_add(entry.hush(today));
            }
            !entry.is_forgotten(today)
        });
    }

    /// What stands, the worst first.
    pub fn standing(&self, today: &Today<'_>) -> Vec<Standing> {
        let mut standing: Vec<_> = self.entries.values().filter_map(|entry| entry.standing(today)).collect();
        // The order of the catalogue and of the subjects stays.
        standing.sort_by_key(|standing| Reverse(standing.severity));
        standing
    }
}

/// How long something must not have been seen to be over.
fn patience(alarm: Alarm, window: Duration) -> Duration {
    match nature(alarm) {
        Nature::State => CALM,
        Nature::Event => window,
    }
}
