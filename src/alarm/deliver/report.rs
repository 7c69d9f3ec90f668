//! How the deliveries go, for whoever asks: metrics, and the alarm that alarms do not arrive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::failure::{Failure, Trouble};
use crate::config::settings::WebhookKind;
use crate::outcome::labelled;
use crate::telemetry::counters::PerVariant;

labelled! {
    /// What became of a message, or of an attempt to deliver it.
    Event {
        /// It arrived.
        Delivered = "delivered",
        /// An attempt failed and is made again.
        Failed = "failed",
        /// An attempt was turned down: it is told once, and the message waits until somebody does something about it.
        Refused = "refused",
        /// It was given up: the queue was full, the other side will never take it, or its file was lost.
        Dropped = "dropped",
    }
}

/// A clock that differs from that of the other side by more than this is wrong: robots take a signature for an hour at most,
/// certificates begin and end by the second.
const SKEW: i64 = 300;
/// No `Date` was seen yet.
const UNKNOWN: i64 = i64::MIN;

/// Shared by all destinations and whoever reads.
#[derive(Debug)]
pub struct Report {
    counts: PerVariant<{ WebhookKind::COUNT * Event::COUNT }>,
    destinations: Mutex<BTreeMap<String, State>>,
    unstored: Mutex<Option<String>>,
    /// Seconds that the clocks of others are ahead of ours.
    skew: AtomicI64,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            counts: PerVariant::default(),
            destinations: Mutex::default(),
            unstored: Mutex::default(),
            skew: AtomicI64::new(UNKNOWN),
        }
    }
}

#[derive(Clone, Debug)]
struct State {
    kind: WebhookKind,
    queued: usize,
    failing: Option<Failing>,
}

/// A destination that messages do not reach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failing {
    /// Its kind, and the file, host or program that tells it from others: no secret.
    pub destination: String,
    /// What is wrong, in one word.
    pub trouble: Trouble,
    /// In a sentence.
    pub why: String,
    /// Since when no attempt succeeded.
    pub since: SystemTime,
    /// Attempts since then.
    pub attempts: u64,
    /// Messages that wait.
    pub queued: usize,
}

impl Report {
    /// How often this happened at destinations of a kind.
    pub fn count(&self, kind: WebhookKind, event: Event) -> u64 {
        self.counts.get(kind.index() * Event::COUNT + event.index())
    }

    /// Messages that wait for destinations of a kind; `None` if there is none of it.
    pub fn queued(&self, kind: WebhookKind) -> Option<u64> {
        let destinations = self.destinations.lock();
        let queued = destinations.values().filter(|state| state.kind == kind).map(|state| state.queued as u64);
        queued.reduce(u64::saturating_add)
    }

    /// The destinations whose last attempt failed.
    pub fn failing(&self) -> Vec<Failing> {
        let destinations = self.destinations.lock();
        let failing = |state: &State| Some(Failing { queued: state.queued, ..state.failing.clone()? });
        destinations.values().filter_map(failing).collect()
    }

    /// Why messages that wait are in memory alone, if they are: they are lost with the process.
    pub fn unstored(&self) -> Option<String> {
        self.unstored.lock().clone()
    }

    /// By how much the clock of this box is wrong, if it is: seconds it is behind the `Date` of the last answer, negative if it
    /// is ahead. Five minutes are taken for right.
    pub fn skew(&self) -> Option<i64> {
        Some(self.skew.load(Relaxed)).filter(|skew| *skew != UNKNOWN && skew.saturating_abs() > SKEW)
    }

    pub(super) fn add(&self, kind: WebhookKind, event: Event, n: u64) {
        self.counts.add(kind.index() * Event::COUNT + event.index(), n);
    }

    /// There is such a destination, and so much waits for it.
    pub(crate) fn queue(&self, destination: &str, kind: WebhookKind, queued: usize) {
        let mut destinations = self.destinations.lock();
        match destinations.get_mut(destination) {
            Some(state) => state.queued = queued,
            None => {
                destinations.insert(destination.to_owned(), State { kind, queued, failing: None });
            }
        }
    }

    /// There is no such destination any more.
    pub(super) fn forget(&self, destination: &str) {
        self.destinations.lock().remove(destination);
    }

    pub(super) fn failed(&self, destination: &str, failure: &Failure, now: SystemTime) {
        let mut destinations = self.destinations.lock();
        let Some(state) = destinations.get_mut(destination) else { return };
        let (since, attempts) = state.failing.as_ref().map_or((now, 0), |before| (before.since, before.attempts));
        state.failing = Some(Failing {
            destination: destination.to_owned(),
            trouble: failure.trouble,
            why: failure.why.clone(),
            since,
            attempts: attempts.saturating_add(1),
            queued: state.queued,
        });
    }

    pub(super) fn succeeded(&self, destination: &str) {
        let mut destinations = self.destinations.lock();
        if let Some(state) = destinations.get_mut(destination) {
            state.failing = None;
        }
    }

    /// `None`: the disk takes messages. Whether that is news.
    pub(super) fn disk(&self, why: Option<String>) -> bool {
        let mut unstored = self.unstored.lock();
        let news = unstored.is_some() != why.is_some();
        *unstored = why;
        news
    }

    /// An answer says what time it is.
    pub(super) fn date(&self, theirs: SystemTime, ours: SystemTime) {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let skew = match theirs.duration_since(ours) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        };
        self.skew.store(skew, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Event, Report};
    use crate::alarm::deliver::failure::{Failure, Trouble};
    use crate::config::settings::WebhookKind;

    #[test]
    fn failing_is_what_failed_last() {
        let report = Report::default();
        let now = SystemTime::UNIX_EPOCH;
        let failure = Failure::new(Trouble::Timeout, "nothing came");
        report.failed("json a", &failure, now);
        assert!(report.failing().is_empty(), "there is no such destination");
        report.queue("json a", WebhookKind::Json, 1);
        report.failed("json a", &failure, now);
        report.failed("json a", &Failure::new(Trouble::Rate, "slower"), now + Duration::from_secs(9));
        report.queue("json a", WebhookKind::Json, 7);
        let failing = report.failing();
        let [failing] = &*failing else { panic!("{failing:?}") };
        assert_eq!((failing.trouble, failing.since, failing.attempts, failing.queued), (Trouble::Rate, now, 2, 7));
        report.queue("json b", WebhookKind::Json, 5);
        assert_eq!((report.queued(WebhookKind::Json), report.queued(WebhookKind::Slack)), (Some(12), None));
        report.succeeded("json a");
        assert!(report.failing().is_empty());
        report.forget("json a");
        assert_eq!(report.queued(WebhookKind::Json), Some(5));
    }

    #[test]
    fn counts_do_not_mix() {
        let report = Report::default();
        for (n, kind) in WebhookKind::ALL.iter().enumerate() {
            for (m, event) in Event::ALL.iter().enumerate() {
                report.add(*kind, *event, (n * 10 + m) as u64);
            }
        }
        for (n, kind) in WebhookKind::ALL.iter().enumerate() {
            for (m, event) in Event::ALL.iter().enumerate() {
                assert_eq!(report.count(*kind, *event), (n * 10 + m) as u64);
            }
        }
    }

    #[test]
    fn a_clock_is_wrong_beyond_five_minutes() {
        let report = Report::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(9_999);
        assert_eq!(report.skew(), None);
        for (theirs, told) in [
            (now + Duration::from_secs(299), None),
            (now - Duration::from_secs(299), None),
            (now + Duration::from_hours(1), Some(3_600)),
            (now - Duration::from_hours(1), Some(-3_600)),
        ] {
            report.date(theirs, now);
            assert_eq!(report.skew(), told);
        }
    }
}
