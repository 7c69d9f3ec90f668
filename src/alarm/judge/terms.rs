//! From when on something is an alarm, for how long it must hold, and when it is over.

use std::time::Duration;

use crate::alarm::Alarm;
use crate::alarm::catalogue::Row;

/// The terms of one alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// It must have held for so long.
    pub hold: Duration,
    /// From this number on it is one; `None` where there is nothing to measure.
    pub fire: Option<f64>,
    /// It is over when the number has fallen to this.
    pub clear: Option<f64>,
}

/// How the end of an alarm is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::alarm) enum Nature {
    /// It lasts until its condition has cleared.
    State,
    /// It happens; it is over when it has not happened for a window.
    Event,
}

/// Whether it lasts or happens.
pub(in crate::alarm) const fn nature(alarm: Alarm) -> Nature {
    if matches!(alarm, Alarm::FenceUseless | Alarm::AccessLogDrops | Alarm::Panic) {
        Nature::Event
    } else {
        Nature::State
    }
}

/// The terms as they are without a word in the configuration: those of the catalogue.
pub(in crate::alarm) fn terms(alarm: Alarm) -> Terms {
    let &Row { hold, fire, clear, .. } = alarm.row();
    Terms { hold, fire, clear }
}

/// Where the operator draws another line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds(pub Vec<Threshold>);

/// Another line for one alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Which.
    pub alarm: Alarm,
    /// See [`Terms::fire`].
    pub fire: f64,
    /// See [`Terms::clear`].
    pub clear: f64,
}

impl Threshold {
    /// Begins here; ends as far below as it does by default, in proportion. `None` if nothing of this alarm is measured.
    pub fn new(alarm: Alarm, fire: f64) -> Option<Self> {
        let Terms { fire: usual, clear, .. } = terms(alarm);
        Some(Self { alarm, fire, clear: fire * clear? / usual? })
    }
}

impl Thresholds {
    /// The terms in force; the last word counts.
    pub fn terms(&self, alarm: Alarm) -> Terms {
        let usual = terms(alarm);
        match self.0.iter().rev().find(|threshold| threshold.alarm == alarm) {
            Some(Threshold { fire, clear, .. }) => Terms { fire: Some(*fire), clear: Some(*clear), ..usual },
            None => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Threshold, Thresholds, terms};
    use crate::alarm::Alarm;

    #[test]
    fn the_way_back_is_never_shorter_than_the_way_there() {
        for alarm in Alarm::ALL {
            let terms = terms(*alarm);
            assert_eq!(terms.fire.is_some(), terms.clear.is_some(), "{alarm:?}");
            assert!(terms.clear < terms.fire || terms.fire.is_none(), "{alarm:?}");
        }
    }

    #[test]
    fn the_operators_line_goes_before_the_usual_one() {
        let drawn = |fire| Threshold::new(Alarm::ErrorRatio, fire).unwrap();
        let thresholds = Thresholds(vec![drawn(0.5), drawn(0.1)]);
        let terms = thresholds.terms(Alarm::ErrorRatio);
        assert_eq!(terms.fire, Some(0.1));
        assert!((terms.clear.unwrap() - 0.06).abs() < 1e-9, "{terms:?}");
        assert_eq!(terms.hold, super::terms(Alarm::ErrorRatio).hold);
        assert_eq!(thresholds.terms(Alarm::Latency), super::terms(Alarm::Latency));
        assert_eq!(Threshold::new(Alarm::Panic, 1.0), None);
    }
}
