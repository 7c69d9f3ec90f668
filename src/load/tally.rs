//! What the clients of a class see.
//!
//! Owns: every figure. Called by: clients as things happen, the runs at the marks. Never: counts what is not between the marks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::plan::PlanError;
use super::report::{ClassReport, Failure, Latency, Outcome};
use super::watch::Glance;

/// The longest latency that is told apart, in microseconds: longer ones count as an hour.
const LONGEST: u64 = 3_600_000_000;
/// Digits of latencies that are told apart.
const DIGITS: u8 = 3;
/// The same by outcome. There may be 900 statuses: such a histogram has 25 KB, one of three digits 190 KB.
const DIGITS_BY_OUTCOME: u8 = 2;

/// The figures of a class.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Seen>);

/// An attempt that has not ended: its place among those that wait.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt {
    place: usize,
    since: Instant,
}

#[derive(Debug)]
struct Seen {
    /// The first mark, if it has passed and the last has not.
    begun: Option<Instant>,
    /// The last mark.
    ended: Option<Instant>,
    /// Latencies are counted from when attempts were due, so those that still wait have waited.
    open_loop: bool,
    /// Since when each attempt waits for an answer, and which places are free.
    waiting: Vec<Option<Instant>>,
    vacant: Vec<usize>,
    held: u64,
    latency: Histogram<u64>,
    by_outcome: BTreeMap<Outcome, Histogram<u64>>,
    report: ClassReport,
}

impl Tally {
    pub(super) fn new(name: &str, open_loop: bool) -> Result<Self, PlanError> {
        let report = ClassReport { name: name.to_owned(), ..ClassReport::default() };
        let (latency, by_outcome) = (histogram(DIGITS)?, BTreeMap::new());
        let (waiting, vacant) = (Vec::new(), Vec::new());
        let seen = Seen { begun: None, ended: None, open_loop, waiting, vacant, held: 0, latency, by_outcome, report };
        Ok(Self(Mutex::new(seen)))
    }

    /// The first mark.
    pub(super) fn begin(&self, now: Instant) {
        let mut seen = self.0.lock();
        if seen.begun.is_none() {
            seen.begun = Some(now);
            seen.report.open_at_begin = seen.open();
        }
    }

    /// An attempt begins; `since` is when it was due.
    pub(super) fn attempt(&self, since: Instant) -> Attempt {
        let mut seen = self.0.lock();
        let place = seen.vacant.pop().unwrap_or_else(|| {
            seen.waiting.push(None);
            seen.waiting.len().saturating_sub(1)
        });
        if let Some(waiting) = seen.waiting.get_mut(place) {
            *waiting = Some(since);
        }
        if let Some(begun) = seen.begun {
            seen.report.attempts += 1;
            let second = usize::try_from(begun.elapsed().as_secs()).unwrap_or_default();
            let series = &mut seen.report.per_second;
            if series.len() <= second {
                series.resize(second + 1, 0);
            }
            if let Some(count) = series.get_mut(second) {
                *count += 1;
            }
        }
        // On another thread the last mark comes while attempts begin.
        seen.overdue(since, 1);
        Attempt { place, since }
    }

    /// It has ended.
    pub(super) fn outcome(&self, attempt: &Attempt, result: Result<u16, Failure>) {
        let mut seen = self.0.lock();
        let Attempt { place, since } = *attempt;
        if let Some(waiting) = seen.waiting.get_mut(place) {
            *waiting = None;
            seen.vacant.push(place);
        }
        if seen.begun.is_some() {
            let outcome = result.map_or_else(Outcome::Failed, Outcome::Status);
            let took = micros(since.elapsed());
            if matches!(result, Ok(_) | Err(Failure::Timeout)) {
                seen.latency.saturating_record(took);
            }
            if let Some(of_these) = seen.by_outcome.get_mut(&outcome) {
                of_these.saturating_record(took);
            } else if let Ok(mut first) = histogram(DIGITS_BY_OUTCOME) {
                first.saturating_record(took);
                seen.by_outcome.insert(outcome, first);
            }
            seen.report.completed += u64::from(result.is_ok());
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        let mut seen = self.0.lock();
        seen.report.received += if seen.begun.is_some() { bytes as u64 } else { 0 };
    }

    pub(super) fn sent(&self, bytes: usize) {
        let mut seen = self.0.lock();
        seen.report.sent += if seen.begun.is_some() { bytes as u64 } else { 0 };
    }

    /// A connection is held from now on.
    pub(super) fn held(&self) {
        self.0.lock().held += 1;
    }

    /// And is no more, since this side ended it.
    pub(super) fn released(&self) {
        let mut seen = self.0.lock();
        seen.held = seen.held.saturating_sub(1);
    }

    /// And is no more, since the other side ended it.
    pub(super) fn lost(&self) {
        let mut seen = self.0.lock();
        seen.held = seen.held.saturating_sub(1);
        seen.report.lost += u64::from(seen.begun.is_some());
    }

    /// Attempts that began since the first mark.
    pub(super) fn attempts(&self) -> u64 {
        self.0.lock().report.attempts
    }

    /// Everything since the first mark.
    pub(super) fn so_far(&self) -> Glance {
        let seen = self.0.lock();
        Glance {
            attempts: seen.report.attempts,
            outcomes: seen.by_outcome.iter().map(|(outcome, of_these)| (*outcome, of_these.len())).collect(),
            latencies: seen.latency.clone(),
        }
    }

    /// The last mark.
    pub(super) fn end(&self, now: Instant) {
        let mut seen = self.0.lock();
        let seen = &mut *seen;
        (seen.begun, seen.ended) = (None, Some(now));
        seen.report.open_at_end = seen.open();
        seen.report.held = seen.held;
        if seen.open_loop {
            for since in seen.waiting.iter().flatten() {
                seen.latency.saturating_record(micros(now.saturating_duration_since(*since)));
            }
        }
    }

    /// After the last mark: so many attempts of an open loop that were due at this time had not begun.
    pub(super) fn overdue(&self, since: Instant, times: u64) {
        self.0.lock().overdue(since, times);
    }

    /// The figures, after the last mark.
    pub(super) fn report(&self) -> ClassReport {
        let seen = self.0.lock();
        let by_outcome = &seen.by_outcome;
        ClassReport {
            outcomes: by_outcome.iter().map(|(outcome, of_these)| (*outcome, of_these.len())).collect(),
            latency: quantiles(&seen.latency),
            latency_by_outcome: by_outcome.iter().map(|(outcome, of_these)| (*outcome, quantiles(of_these))).collect(),
            ..seen.report.clone()
        }
    }
}

impl Seen {
    fn overdue(&mut self, since: Instant, times: u64) {
        if let Some(waited) = self.ended.and_then(|ended| ended.checked_duration_since(since)) {
            self.latency.saturating_record_n(micros(waited), times);
            self.report.overdue += times;
        }
    }

    fn open(&self) -> u64 {
        self.waiting.iter().flatten().count() as u64
    }
}

fn histogram(digits: u8) -> Result<Histogram<u64>, PlanError> {
    Histogram::new_with_bounds(1, LONGEST, digits).map_err(|error| PlanError(error.to_string()))
}

pub(super) fn quantiles(of: &Histogram<u64>) -> Latency {
    let at = |quantile| of.value_at_quantile(quantile);
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: of.max() }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
