//! Looking at a run while it goes on.
//!
//! Owns: [`Watch`] and what it sees. Called by: whoever shows a run as it happens. Never: stops a client for longer than it
//! takes to copy its figures.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::report::{Latency, Outcome};
use super::tally::{Tally, quantiles};

/// The classes of one run, looked at from outside, on any thread.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Vec<Watched>>);

#[derive(Debug)]
struct Watched {
    tally: Arc<Tally>,
    /// What the last look saw.
    before: Option<Glance>,
}

impl Watch {
    /// The run begins.
    pub(super) fn begin(&self, tallies: &[Arc<Tally>]) {
        let watched = |tally: &Arc<Tally>| Watched { tally: Arc::clone(tally), before: None };
        *self.0.lock() = tallies.iter().map(watched).collect();
    }

    /// What each class, in the order of the plan, saw since the last look; nothing before the run begins.
    pub fn look(&self) -> Vec<Glance> {
        self.0.lock().iter_mut().map(Watched::look).collect()
    }
}

impl Watched {
    fn look(&mut self) -> Glance {
        let now = self.tally.so_far();
        let seen = match &self.before {
            Some(before) => now.since(before),
            None => now.clone(),
        };
        self.before = Some(now);
        seen
    }
}

/// What the clients of a class saw from one moment to another.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Attempts that began.
    pub attempts: u64,
    /// How attempts ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    pub(super) latencies: Histogram<u64>,
}

impl Glance {
    /// How long those took that ended with an answer, or whose client gave up.
    pub fn latency(&self) -> Latency {
        quantiles(&self.latencies)
    }

    /// This one and another, of other moments or clients.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        for (outcome, n) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += n;
        }
        // All have the same bounds (`Tally`), so it cannot fail.
        self.latencies.add(&other.latencies).unwrap_or_default();
    }

    fn since(&self, before: &Self) -> Self {
        let mut seen = self.clone();
        seen.attempts = seen.attempts.saturating_sub(before.attempts);
        for (outcome, n) in &mut seen.outcomes {
            *n = n.saturating_sub(before.outcomes.get(outcome).copied().unwrap_or(0));
        }
        seen.outcomes.retain(|_, n| *n > 0);
        // What was there before is there still: counts only grow.
        seen.latencies.subtract(&before.latencies).unwrap_or_default();
        seen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::report::{Failure, Outcome};
    use super::{Tally, Watch};

    #[test]
    fn each_look_sees_what_is_new_and_the_sum_of_all_is_the_report() {
        let tally = Arc::new(Tally::new("class", false).unwrap());
        let watch = Watch::default();
        assert!(watch.look().is_empty(), "nothing runs yet");
        watch.begin(&[Arc::clone(&tally)]);
        tally.begin(Instant::now());
        let end = |result| {
            let attempt = tally.attempt(Instant::now());
            tally.outcome(&attempt, result);
        };
        let mut looks = Vec::new();
        for round in [3_u64, 0, 5] {
            (0..round).for_each(|_| end(Ok(200)));
            end(Err(Failure::Timeout));
            let seen = watch.look().pop().unwrap();
            assert_eq!(seen.attempts, round + 1);
            assert_eq!(seen.outcomes.get(&Outcome::Status(200)).copied().unwrap_or(0), round);
            assert_eq!(seen.outcomes[&Outcome::Failed(Failure::Timeout)], 1);
            assert_eq!(seen.latencies.len(), round + 1);
            looks.push(seen);
        }
        let all = looks.into_iter().reduce(|mut all, seen| {
            all.add(&seen);
            all
        });
        tally.end(Instant::now());
        let (all, report) = (all.unwrap(), tally.report());
        assert_eq!((all.attempts, &all.outcomes), (report.attempts, &report.outcomes));
        assert_eq!(all.latency(), report.latency);
    }
}
