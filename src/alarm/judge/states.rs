//! Conditions that last: they must hold for a time before they are an alarm, and end further back than they began.

use std::collections::BTreeMap;

use super::Terms;
use crate::alarm::Alarm;
use crate::guard::Moment;

/// The conditions that hold, or have begun to. There are no more than the judge asks for in a second.
#[derive(Debug, Default)]
pub(super) struct States(BTreeMap<(usize, String), State>);

#[derive(Clone, Copy, Debug)]
struct State {
    since: Moment,
    /// It has held for long enough.
    stands: bool,
    /// When it was last asked for.
    asked: Moment,
}

impl States {
    /// Whether it stands, with this number now. What has nothing to measure holds at 1 and is over at 0.
    pub(super) fn stands(&mut self, alarm: Alarm, subject: &str, value: f64, terms: &Terms, now: Moment) -> bool {
        let key = (alarm.index(), subject.to_owned());
        let known = self.0.get(&key).copied();
        let stood = known.is_some_and(|state| state.stands);
        let (fire, clear) = (terms.fire.unwrap_or(1.0), terms.clear.unwrap_or(0.0));
        // Not a number is neither.
        let holds = if stood { value > clear } else { value >= fire };
        if !holds {
            self.0.remove(&key);
            return false;
        }
        let since = known.map_or(now, |state| state.since);
        let stands = stood || now.since(since) >= terms.hold;
        self.0.insert(key, State { since, stands, asked: now });
        stands
    }

    /// Ends what nothing was known of in this second.
    pub(super) fn forget(&mut self, now: Moment) {
        self.0.retain(|_, state| state.asked == now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{States, Terms};
    use crate::alarm::Alarm;
    use crate::guard::Moment;

    const TERMS: Terms = Terms { hold: Duration::from_secs(3), fire: Some(0.8), clear: Some(0.6) };

    fn play(values: &[Option<f64>]) -> Vec<bool> {
        let mut states = States::default();
        let seconds = (0..).map(|second| Moment::from_millis(second * 1_000)).zip(values);
        seconds
            .map(|(now, value)| {
                let stands = value.is_some_and(|value| states.stands(Alarm::Slab, "", value, &TERMS, now));
                states.forget(now);
                stands
            })
            .collect()
    }

    #[test]
    fn it_must_hold_and_ends_further_back() {
        let told = play(&[0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.8, 0.7, 0.61, 0.6, 0.7].map(Some));
        assert_eq!(told, [false, false, false, false, false, false, true, true, true, false, false]);
    }

    #[test]
    fn what_is_not_known_does_not_stand_and_begins_anew() {
        let told = play(&[Some(0.9), Some(0.9), None, Some(0.9), Some(0.9), Some(f64::NAN), Some(0.9)]);
        assert_eq!(told, [false; 7]);
    }

    proptest! {
        /// It stands only when it was above the first line for the hold, and not below the second since.
        #[test]
        fn it_stands_for_a_reason(values in prop::collection::vec(0.0..1.0_f64, 1..100)) {
            let told = play(&values.iter().copied().map(Some).collect::<Vec<_>>());
            for (at, stands) in told.iter().enumerate() {
                let stood = at > 0 && told[at - 1];
                let held = at >= 3 && values[at - 3..=at].iter().all(|value| *value >= 0.8);
                prop_assert_eq!(*stands, (stood && values[at] > 0.6) || held, "second {}", at);
            }
        }
    }
}
