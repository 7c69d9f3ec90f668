use std::time::Duration;

use super::{Class, Ladder, QUIET, Reaction, TRIAL};
use crate::guard::Moment;
use crate::outcome::RequestEnd;

const SECOND: u64 = 1_000;
const CLIMBS: u16 = 20;

/// Refusals at these times, in milliseconds; which of them were answered.
fn answered(ladder: &mut Ladder, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
    times.into_iter().filter(|ms| ladder.refused(Moment::from_millis(*ms), CLIMBS) == Reaction::Answer).collect()
}

#[test]
fn who_retries_at_once_is_stalled_after_nineteen_answers() {
    let mut ladder = Ladder::default();
    let times = (0..1_000).map(|i| i / 20);
    assert_eq!(answered(&mut ladder, times).len(), usize::from(CLIMBS) - 1);
    assert_eq!(ladder.stalled_since(Moment::from_millis(60)), Some(Moment::from_millis(0)));
}

#[test]
fn a_poll_is_answered_for_ever() {
    // Every minute, every second, and three times a second.
    for pause in [60 * SECOND, SECOND, 334] {
        let mut ladder = Ladder::default();
        let times: Vec<_> = (0..10_000).map(|i| i * pause).collect();
        assert_eq!(answered(&mut ladder, times.clone()), times);
    }
}

#[test]
fn bursts_below_the_limit_are_answered() {
    let mut ladder = Ladder::default();
    let times: Vec<_> = (0..1_000).flat_map(|page| (0..19).map(move |object| page * 5 * SECOND + object)).collect();
    assert_eq!(answered(&mut ladder, times.clone()), times);
}

#[test]
fn a_storm_that_waits_for_its_time_out_stays_stalled_but_for_its_trials() {
    let mut ladder = Ladder::default();
    answered(&mut ladder, (0..20).map(|i| i * 10));
    // Sixteen connections with a time-out of 5 s, for an hour.
    let times = (1..3600 * 16 / 5).map(|i| i * 5 * SECOND / 16);
    let trials = answered(&mut ladder, times);
    assert!((3600 / (8 * 60)..=12).contains(&trials.len()), "{trials:?}");
}

#[test]
fn who_answers_a_trial_with_silence_is_forgiven() {
    let mut ladder = Ladder::default();
    answered(&mut ladder, (0..30).map(|i| i * 10));
    // It was repaired, and polls every ten seconds from now on.
    let times: Vec<_> = (1..60).map(|i| i * 10 * SECOND).collect();
    let first = TRIAL.as_secs() / 10;
    let expected: Vec<_> = times.iter().copied().filter(|ms| *ms > (first - 1) * 10 * SECOND).collect();
    let got = answered(&mut ladder, times);
    assert_eq!(got.last(), expected.last());
    assert!(got.len() + 2 >= expected.len(), "{got:?}");
}

#[test]
fn a_quiet_minute_forgives_and_an_offence_is_remembered_longer() {
    let mut ladder = Ladder::default();
    answered(&mut ladder, 0..30);
    let quiet = u64::try_from(QUIET.as_millis()).unwrap();
    assert_eq!(ladder.refused(Moment::from_millis(29 + quiet), CLIMBS), Reaction::Answer);
    assert!(!ladder.is_forgotten(Moment::from_millis(29 + 2 * quiet)));
    assert!(ladder.is_forgotten(Moment::from_millis(29 + quiet).after(Duration::from_mins(10))));
}

#[test]
fn a_clock_that_stands_or_goes_back_harms_nothing() {
    let mut ladder = Ladder::default();
    answered(&mut ladder, [5_000, 4_000, 4_000, 0, 10_000]);
    assert_eq!(ladder.stalled_since(Moment::from_millis(0)), None);
}

#[test]
fn every_refusal_a_client_is_to_blame_for_has_a_class() {
    assert_eq!(Class::of(RequestEnd::SelfTarget), Some(Class::SelfTarget));
    assert_eq!(Class::of(RequestEnd::Overload), None);
    assert_eq!(Class::of(RequestEnd::Forwarded), None);
    for (index, class) in Class::ALL.iter().enumerate() {
        assert_eq!(class.index(), index);
    }
}
