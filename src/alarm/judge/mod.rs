//! What of a second is an alarm.
//!
//! Owns: [`Judge`] and the terms of each alarm. Called by: control, once a second, with the facts. Never: reads a clock, a
//! file or a counter, or knows what has been told: that is the book's.

mod failures;
mod gateway;
mod limits;
mod rates;
mod states;
mod storms;
mod terms;
#[cfg(test)]
mod tests;
pub(in crate::alarm) mod words;

use std::collections::BTreeMap;

use failures::Failures;
use gateway::Gateway;
use rates::Rates;
use states::States;
use storms::Offences;
pub(in crate::alarm) use terms::{Nature, nature};
pub use terms::{Terms, Threshold, Thresholds};

use super::facts::Facts;
use super::{Alarm, Sample, Sighting};
use crate::guard::Moment;
use crate::guard::pressure::Trend;

/// Remembers what a condition needs of the seconds before.
#[derive(Debug, Default)]
pub struct Judge {
    states: States,
    rates: Rates,
    /// How fast each limit is approached.
    trends: BTreeMap<usize, Trend>,
    offences: Offences,
    failures: Failures,
    gateway: Gateway,
}

/// One second being judged.
struct Second<'a> {
    facts: &'a Facts,
    thresholds: &'a Thresholds,
    now: Moment,
    states: &'a mut States,
    seen: Vec<Sighting>,
}

impl Judge {
    /// What is seen in this second, in an order that depends on the facts alone. A count of 0 says that something still
    /// stands.
    pub fn judge(&mut self, facts: &Facts, thresholds: &Thresholds, now: Moment) -> Vec<Sighting> {
        let mut second = Second { facts, thresholds, now, states: &mut self.states, seen: Vec::new() };
        storms::refused(&mut second, &mut self.rates);
        self.offences.look(&mut second);
        limits::pressure(&mut second);
        limits::kernel(&mut second, &mut self.trends, &mut self.rates);
        limits::machine(&mut second);
        self.failures.look(&mut second, &mut self.rates);
        self.gateway.look(&mut second);
        self.rates.see(&mut second);
        let seen = second.seen;
        self.states.forget(now);
        seen
    }
}

impl Second<'_> {
    fn terms(&self, alarm: Alarm) -> Terms {
        self.thresholds.terms(alarm)
    }

    /// Whether this stands, with this number in this second; see [`States::stands`].
    fn stands(&mut self, alarm: Alarm, subject: &str, value: f64) -> bool {
        let terms = self.terms(alarm);
        self.states.stands(alarm, subject, value, &terms, self.now)
    }

    fn see(
        &mut self,
        alarm: Alarm,
        subject: impl Into<String>,
        count: u64,
        values: impl Into<Vec<(&'static str, String)>>,
        sample: Option<Sample>,
    ) {
        self.seen.push(Sighting { alarm, subject: subject.into(), count, values: values.into(), sample });
    }
}
