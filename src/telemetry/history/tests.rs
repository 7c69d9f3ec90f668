use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::telemetry::counters::{BUCKETS, Histogram};

const COLUMN: Column = Column::Requests;

fn second(value: f64) -> Second {
    let mut second = Second::default();
    second.set(COLUMN, Some(value));
    second
}

/// When the wall clock is `unix` at the beginning.
fn when(uptime: u64) -> When {
    When { uptime, unix: 1_000_000 + uptime }
}

fn values(history: &History, since: Option<u64>) -> Vec<Option<f32>> {
    history.since(since).map(|second| second.get(COLUMN)).collect()
}

#[test]
fn columns_are_told_with_their_end() {
    let mut history = History::default();
    let empty = history.to_json(None);
    assert_eq!((&empty["end"], &empty["step_s"]), (&Value::Null, &json!(1)));
    assert_eq!(empty["columns"]["requests_per_s"], json!([]));

    history.push(when(10), second(12.0));
    history.push(when(11), second(0.1));
    history.push(when(14), second(1_234_567.8));
    let told = history.to_json(None);
    assert_eq!(told["end"], 1_000_014);
    assert_eq!(told["columns"]["requests_per_s"], json!([12, 0.1, null, null, 1_234_567.75]));
    assert_eq!(told["columns"].as_object().unwrap().len(), Column::COUNT);
    for (name, column) in told["columns"].as_object().unwrap() {
        let known = name == "requests_per_s";
        assert!(known || column.as_array().unwrap().iter().all(Value::is_null), "{name}");
        assert_eq!(column.as_array().unwrap().len(), 5, "{name}");
    }
    let newer = |since| history.to_json(Some(since))["columns"]["requests_per_s"].clone();
    assert_eq!(newer(1_000_013), json!([1_234_567.75]));
    assert_eq!(newer(1_000_010), json!([0.1, null, null, 1_234_567.75]));
    assert_eq!(newer(1_000_014), json!([]));
    assert_eq!(newer(5).as_array().unwrap().len(), 5, "older than anything that is known");
    assert_eq!(newer(1_000_015).as_array().unwrap().len(), 5, "the clock was set back");
}

#[test]
fn what_is_no_number_is_not_known() {
    let mut second = Second::default();
    for (value, kept) in [(None, None), (Some(f64::NAN), None), (Some(f64::INFINITY), None), (Some(0.0), Some(0.0))] {
        second.set(Column::CpuBusy, value);
        assert_eq!(second.get(Column::CpuBusy), kept, "{value:?}");
    }
}

#[test]
fn a_tick_that_comes_late_leaves_no_hole_and_a_sleep_does() {
    let mut history = History::default();
    history.push(when(1), second(1.0));
    history.push(when(1), second(2.0));
    history.push(when(3), second(3.0));
    assert_eq!(values(&history, None), [Some(2.0), Some(3.0), Some(3.0)]);
    history.push(when(6), second(4.0));
    assert_eq!(values(&history, None), [Some(2.0), Some(3.0), Some(3.0), None, None, Some(4.0)]);
    // Longer than all that is remembered: nothing older is left, and it takes no longer than that.
    history.push(when(1 << 60), second(5.0));
    let told = values(&history, None);
    assert_eq!((told.len(), told[SECONDS - 1]), (SECONDS, Some(5.0)));
    assert!(told[..SECONDS - 1].iter().all(Option::is_none));
    assert_eq!(history.rows.capacity(), History::default().rows.capacity(), "it never grows");
}

proptest! {
    /// Whatever the steps are: what was pushed last for a second stands where it belongs, and all else is unknown.
    #[test]
    fn every_second_has_its_place(
        steps in proptest::collection::vec(prop_oneof![6 => Just(1_u64), 2 => 0_u64..5, 1 => 0_u64..2_000], 1..1_200),
        since in 0_u64..3_000,
    ) {
        let (mut history, mut at) = (History::default(), 100);
        let mut known = std::collections::BTreeMap::new();
        for (n, step) in steps.iter().enumerate() {
            at += if n == 0 { 0 } else { *step };
            #[expect(clippy::cast_precision_loss, reason = "at most 1,200")]
            let value = n as f32;
            history.push(when(at), second(value.into()));
            known.insert(at, value);
            if n > 0 && *step == 2 {
                known.insert(at - 1, value);
            }
            prop_assert!(history.rows.len() <= SECONDS);
        }
        let oldest = (at + 1).saturating_sub(SECONDS as u64).max(100);
        let expected: Vec<_> = (oldest..=at).map(|second| known.get(&second).copied()).collect();
        prop_assert_eq!(values(&history, None), expected.clone());
        prop_assert_eq!(history.rows.capacity(), History::default().rows.capacity());
        // And what is newer than a moment is the end of it.
        let newer = values(&history, Some(when(since).unix));
        let wanted = if since > at { expected.len() } else { expected.len().min(usize::try_from(at - since).unwrap()) };
        prop_assert_eq!(&newer[..], &expected[expected.len() - wanted..]);
    }

    /// Against the sorted durations: the quantile of a difference lies in the bucket of the true one.
    #[test]
    fn a_quantile_is_right_to_the_bucket(
        before in proptest::collection::vec(micros(), 0..50),
        within in proptest::collection::vec(micros(), 1..200),
        part in 0.0..=1.0_f64,
    ) {
        let histogram = Histogram::default();
        let record = |micros: &u64| histogram.record(Duration::from_micros(*micros));
        before.iter().for_each(record);
        let earlier = Distribution::of(&histogram);
        prop_assert_eq!(Distribution::of(&histogram).since(&earlier).quantile(part), None);
        within.iter().for_each(record);
        let found = Distribution::of(&histogram).since(&earlier).quantile(part).unwrap();

        let mut sorted = within.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 200"
        )]
        let rank = ((part * sorted.len() as f64).ceil() as usize).max(1);
        let truth = Duration::from_micros(sorted[rank - 1]).as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| truth <= *bound);
        let (from, to) = match bucket {
            Some(0) => (0.0, BUCKETS[0]),
            Some(n) => (BUCKETS[n - 1], BUCKETS[n]),
            None => (60.0, 60.0),
        };
        prop_assert!((from..=to).contains(&found), "{} for {} in {}..={}", found, truth, from, to);
    }
}

/// From a microsecond to two minutes, as often small as large.
fn micros() -> impl Strategy<Value = u64> {
    (0_u32..27).prop_flat_map(|bits| (1_u64 << bits)..(2_u64 << bits))
}

#[test]
fn quantiles_lie_between_the_bounds_of_their_bucket() {
    let histogram = Histogram::default();
    assert_eq!(Distribution::of(&histogram).quantile(0.5), None);
    for _ in 0..99 {
        histogram.record(Duration::from_millis(20));
    }
    histogram.record(Duration::from_secs(90));
    let told = Distribution::of(&histogram);
    let p50 = told.quantile(0.5).unwrap();
    assert!((p50 - (0.01 + 0.015 * 50.0 / 99.0)).abs() < 1e-9, "{p50}");
    assert!((told.quantile(0.99).unwrap() - 0.025).abs() < 1e-9);
    assert_eq!(told.quantile(1.0), Some(60.0), "as far as can be told");
}
