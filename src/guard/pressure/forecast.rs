//! When something will run out, if it goes on as in the last half minute.

use std::collections::VecDeque;
use std::time::Duration;

use crate::guard::Moment;

/// What is looked back at.
const WINDOW: Duration = Duration::from_secs(30);
/// Readings kept at most: one a second, and some to spare.
const READINGS: usize = 64;
/// A slope needs this much time behind it.
const LEAST: Duration = Duration::from_secs(10);
/// Half a minute says nothing about what lies further ahead, in seconds.
const HORIZON: f64 = 3_600.0;
/// The share of the changes that the slope explains (r²): below, it is noise.
const EXPLAINED: f64 = 0.5;

/// When something will run out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The signal.
    pub signal: &'static str,
    /// In how many seconds it reaches its limit.
    pub seconds: f64,
}

/// How much of something was used lately, as a share of its limit.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    readings: VecDeque<(Moment, f64)>,
}

impl Trend {
    /// One more reading; without one, what was known is of no use any more.
    pub fn read(&mut self, now: Moment, used: Option<f64>) {
        let Some(used) = used.filter(|used| used.is_finite()) else {
            return self.readings.clear();
        };
        while self.readings.len() >= READINGS || self.readings.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.readings.pop_front();
        }
        self.readings.push_back((now, used));
    }

    /// In how many seconds the limit is reached along the least-squares line, from the last reading. `None` when it is flat
    /// or falling, when there is more noise than slope, and beyond an hour. 0 when the limit has been reached.
    pub fn seconds(&self) -> Option<f64> {
        let ((first, _), (last, used)) = (*self.readings.front()?, *self.readings.back()?);
        if used >= 1.0 {
            return Some(0.0);
        }
        if last.since(first) < LEAST {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few dozen readings")]
        let n = self.readings.len() as f64;
        let points = || self.readings.iter().map(|(at, used)| (at.since(first).as_secs_f64(), *used));
        let mean_time = points().map(|(time, _)| time).sum::<f64>() / n;
        let mean_used = points().map(|(_, used)| used).sum::<f64>() / n;
        let [mut times, mut useds, mut both] = [0.0; 3];
        for (time, used) in points() {
            times += (time - mean_time).powi(2);
            useds += (used - mean_used).powi(2);
            both += (time - mean_time) * (used - mean_used);
        }
        if both <= 0.0 || both * both < EXPLAINED * times * useds {
            return None;
        }
        let seconds = (1.0 - used) * times / both;
        (seconds <= HORIZON).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Trend;
    use crate::guard::Moment;

    fn trend(used: impl IntoIterator<Item = f64>) -> Trend {
        let mut trend = Trend::default();
        for (second, used) in (0..).zip(used) {
            trend.read(Moment::from_millis(second * 1_000), Some(used));
        }
        trend
    }

    #[test]
    fn a_straight_line_is_continued() {
        let seconds = trend((0..20).map(|n| f64::from(n) * 0.01)).seconds().unwrap();
        assert!((seconds - 81.0).abs() < 1e-6, "{seconds}: from 0.19 at 0.01 a second");
        // What lies longer ago than half a minute plays no part.
        let turned = (0..100).map(|_| 0.9).chain((0..40).map(|n| f64::from(n) * 0.01));
        let seconds = trend(turned).seconds().unwrap();
        assert!((seconds - 61.0).abs() < 1e-6, "{seconds}");
    }

    #[test]
    fn nothing_is_said_of_what_is_flat_falling_unsteady_or_far() {
        assert_eq!(trend([0.5; 30]).seconds(), None);
        assert_eq!(trend((0..30).map(|n| 0.9 - f64::from(n) * 0.01)).seconds(), None);
        assert_eq!(trend((0..30).map(|n| if n % 2 == 0 { 0.1 } else { 0.2 + f64::from(n) * 0.0001 })).seconds(), None);
        assert_eq!(trend((0..30).map(|n| f64::from(n) * 0.0001)).seconds(), None, "in almost three hours");
        assert_eq!(trend((0..9).map(|n| f64::from(n) * 0.1)).seconds(), None, "too short a time");
        assert_eq!(trend([0.2, 1.0]).seconds(), Some(0.0), "it is there");
    }

    #[test]
    fn a_gap_begins_anew() {
        let mut trend = trend((0..20).map(|n| f64::from(n) * 0.01));
        trend.read(Moment::from_millis(20_000), None);
        trend.read(Moment::from_millis(21_000), Some(0.5));
        assert_eq!(trend.seconds(), None);
        trend.read(Moment::from_millis(22_000), Some(f64::NAN));
        assert_eq!(trend.seconds(), None);
    }

    proptest! {
        #[test]
        fn any_readings_make_a_time_or_none(used in prop::collection::vec((0_u64..5_000, -1.0..2.0_f64), 0..200)) {
            let (mut trend, mut now) = (Trend::default(), 0);
            for (later, used) in used {
                now += later;
                trend.read(Moment::from_millis(now), Some(used));
                prop_assert!(trend.seconds().is_none_or(|seconds| (0.0..=3_600.0).contains(&seconds)));
                prop_assert!(trend.readings.len() <= super::READINGS);
            }
        }
    }
}
