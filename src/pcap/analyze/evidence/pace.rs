//! How fast: attempts per second, the fastest burst, what follows what, and attempts over time.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use super::super::super::Time;
use super::super::findings::Quantiles;
use super::super::limits::{BIN, BINS, BURST, CLOSED_LOOP, ENDS, FOLLOWS};

/// A tenth of a second, in nanoseconds.
const TENTH: u64 = 100_000_000;

/// Events per second, and the fastest burst.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    /// All events.
    pub(crate) count: u64,
    /// The most within a second that slides in steps of a tenth.
    pub(crate) peak: u32,
    /// The shortest time that [`BURST`] events in a row took, in nanoseconds.
    fastest: Option<u64>,
    /// The latest tenth that had an event, counted from the epoch.
    tenth: u64,
    /// Events of the last ten tenths, by the tenth modulo ten; their sum.
    bins: [u32; 10],
    sum: u32,
    /// The last events, the next to be overwritten first.
    recent: [Time; BURST],
    next: usize,
}

impl Rate {
    pub(crate) fn add(&mut self, at: Time) {
        self.count += 1;
        let tenth = at.0 / TENTH;
        if self.count == 1 {
            self.tenth = tenth;
        }
        // What is more than a second late belongs to a window that is gone.
        if tenth.saturating_add(10) <= self.tenth {
            return;
        }
        if tenth > self.tenth {
            if tenth - self.tenth >= 10 {
                self.bins = [0; 10];
                self.sum = 0;
            } else {
                for gone in self.tenth + 1..=tenth {
                    if let Some(bin) = self.bins.get_mut(slot(gone)) {
                        self.sum = self.sum.saturating_sub(std::mem::take(bin));
                    }
                }
            }
            self.tenth = tenth;
        }
        if let Some(bin) = self.bins.get_mut(slot(tenth)) {
            *bin = bin.saturating_add(1);
            self.sum = self.sum.saturating_add(1);
        }
        self.peak = self.peak.max(self.sum);
        let last = self.next.checked_sub(1).unwrap_or(BURST - 1);
        let at = self.recent.get(last).map_or(at, |last| at.max(*last));
        if let Some(place) = self.recent.get_mut(self.next) {
            *place = at;
        }
        self.next = (self.next + 1) % BURST;
        if self.count >= BURST as u64
            && let Some(first) = self.recent.get(self.next)
        {
            let took = at.0.saturating_sub(first.0);
            self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        }
    }

    pub(crate) const fn fastest_ten(&self) -> Option<u64> {
        self.fastest
    }
}

fn slot(tenth: u64) -> usize {
    usize::try_from(tenth % 10).unwrap_or_default()
}

/// Mean square deviation, as values come.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    /// Welford's algorithm.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn deviation(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { (self.squares / (self.count - 1.0)).sqrt() }
    }
}

/// What follows an end: gaps from the end of an attempt to the beginning of the next.
///
/// The ends are tokens. An attempt takes the latest that is not later than its beginning and not more than [`FOLLOWS`] before it, so
/// that a client with several attempts in parallel is followed too: one may take the token of another, but then that other takes
/// one nearby.
#[derive(Debug, Default)]
pub(crate) struct Following {
    ends: VecDeque<Time>,
    gaps: Durations,
    took: Durations,
    gap_spread: Spread,
    interval_spread: Spread,
    attempts: u64,
    last: Option<Time>,
}

/// The longest time that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Where the bars of the histogram of gaps end, in microseconds.
const EDGES: [u64; 12] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, LONGEST];

/// Durations, to a tenth of each.
#[derive(Debug)]
struct Durations(Option<Histogram<u32>>);

impl Default for Durations {
    fn default() -> Self {
        // The bounds are constants in order: there always is one.
        Self(Histogram::new_with_bounds(1, LONGEST, 1).ok())
    }
}

impl Durations {
    fn add(&mut self, nanos: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(nanos / 1_000);
        }
    }

    fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// In microseconds.
    fn at(&self, quantile: f64) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// How many lie from `low` up to below `high`, in microseconds.
    fn between(&self, low: u64, high: u64) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.count_between(low, high.saturating_sub(1)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

impl Following {
    /// An attempt that began and ended.
    pub(crate) fn add(&mut self, began: Time, ended: Time) {
        let longest = u64::try_from(FOLLOWS.as_nanos()).unwrap_or(u64::MAX);
        self.attempts += 1;
        let oldest = Time(began.0.saturating_sub(longest));
        while self.ends.front().is_some_and(|&end| end < oldest) {
            self.ends.pop_front();
        }
        let before = self.ends.iter().rposition(|&end| end <= began);
        if let Some(end) = before.and_then(|place| self.ends.remove(place)) {
            let gap = began.0.saturating_sub(end.0);
            self.gaps.add(gap);
            self.gap_spread.add(micros(gap));
        }
        self.took.add(ended.0.saturating_sub(began.0));
        if let Some(interval) = self.last.and_then(|last| began.0.checked_sub(last.0)).filter(|&one| one <= longest) {
            self.interval_spread.add(micros(interval));
        }
        self.last = self.last.max(Some(began));
        if self.ends.len() >= ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(ended);
    }

    /// Whether the client waits for the end of one attempt before it begins the next.
    ///
    /// It does if [`CLOSED_LOOP`] percent of its attempts follow an end (but for the first of each of its `concurrency`
    /// connections), and it is the end that they follow: then the gap varies less
    /// than the distance between beginnings, which holds the answer's own variation too. A schedule that takes no notice of answers
    /// has it the other way round. Where both vary alike, a gap of at most twice the attempt itself means waiting, and of a
    /// longer one nothing is said.
    pub(crate) fn closed_loop(&self, concurrency: u64) -> Option<bool> {
        let attempts = self.attempts.checked_sub(1).filter(|&attempts| attempts >= BURST as u64)?;
        let following = attempts.saturating_sub(concurrency).max(attempts / 2);
        if self.gaps.count() * 100 < following * CLOSED_LOOP {
            return Some(false);
        }
        let (gap, interval) = (self.gap_spread.deviation(), self.interval_spread.deviation());
        if gap > interval * 1.1 {
            Some(false)
        } else {
            (gap < interval * 0.9 || self.gaps.at(0.5) <= self.took.at(0.5) * 2).then_some(true)
        }
    }

    pub(crate) fn gaps(&self) -> Option<Quantiles> {
        if self.gaps.count() == 0 {
            return None;
        }
        let mut below = 0;
        let edges =
            EDGES.iter().map(|&edge| (edge * 1_000, self.gaps.between(std::mem::replace(&mut below, edge), edge)));
        let mut histogram: Vec<(u64, u64)> = edges.skip_while(|(_, count)| *count == 0).collect();
        while histogram.pop_if(|(_, count)| *count == 0).is_some() {}
        let at = |quantile| self.gaps.at(quantile) * 1_000;
        Some(Quantiles { count: self.gaps.count(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0), histogram })
    }
}

/// The common bins of all [`Bins`]: where they begin, and how wide they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    origin: Option<Time>,
    pub(crate) width: u64,
}

impl Default for Grid {
    fn default() -> Self {
        Self { origin: None, width: BIN }
    }
}

impl Grid {
    pub(crate) fn origin(&self) -> Time {
        self.origin.unwrap_or_default()
    }

    /// The number of the bin of a time, with bins as wide as that takes. What is before the first time belongs to the first bin.
    fn bin(&mut self, at: Time) -> usize {
        let after = at.0.saturating_sub(self.origin.get_or_insert(at).0);
        while after / self.width >= BINS as u64 {
            self.width = self.width.saturating_mul(2);
        }
        usize::try_from(after / self.width).unwrap_or_default()
    }
}

/// Events over time.
#[derive(Clone, Debug)]
pub(crate) struct Bins {
    width: u64,
    bins: Box<[u32]>,
}

impl Bins {
    pub(crate) fn new(grid: &Grid) -> Self {
        Self { width: grid.width, bins: vec![0; BINS].into_boxed_slice() }
    }

    pub(crate) fn add(&mut self, grid: &mut Grid, at: Time) {
        let bin = grid.bin(at);
        self.widen(grid.width);
        if let Some(count) = self.bins.get_mut(bin) {
            *count = count.saturating_add(1);
        }
    }

    fn widen(&mut self, width: u64) {
        while self.width < width {
            for bin in 0..BINS {
                let pair = self.bins.get(bin * 2..).unwrap_or_default();
                let joined = pair.iter().take(2).fold(0, |sum: u32, &count| sum.saturating_add(count));
                if let Some(count) = self.bins.get_mut(bin) {
                    *count = joined;
                }
            }
            self.width = self.width.saturating_mul(2);
        }
    }

    /// The bins up to the last that has any.
    pub(crate) fn told(mut self, grid: &Grid) -> Vec<u32> {
        self.widen(grid.width);
        let mut bins = self.bins.into_vec();
        while bins.pop_if(|count| *count == 0).is_some() {}
        bins
    }
}
