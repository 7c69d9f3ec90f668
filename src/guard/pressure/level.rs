//! From the worst signal to a level that does not flap.

use std::time::Duration;

use crate::guard::Moment;

/// A level is held for so long after a signal last called for it. Long enough for what it does to show in the next two
/// readings, short enough for a storm that is over to be over for the others too.
pub const HOLD: Duration = Duration::from_secs(2);

/// How short the box is of anything.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    /// Of nothing.
    #[default]
    Calm,
    /// Something is half used up.
    Elevated,
    /// Something is short.
    High,
    /// Something is about to run out.
    Critical,
}

impl Level {
    /// From calm to critical.
    pub const ALL: [Self; 4] = [Self::Calm, Self::Elevated, Self::High, Self::Critical];

    /// The signal that calls for it. Half of everything is there to be used; the last tenth belongs to what is served
    /// already; between, those give who have most.
    pub const fn begins_at(self) -> f64 {
        match self {
            Self::Calm => 0.0,
            Self::Elevated => 0.5,
            Self::High => 0.7,
            Self::Critical => 0.9,
        }
    }

    /// What a signal of this strength calls for.
    pub fn of(signal: f64) -> Self {
        Self::ALL.into_iter().rev().find(|level| signal >= level.begins_at()).unwrap_or_default()
    }

    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The level in force: the highest that a signal has called for within [`HOLD`]. Up at once, down after that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    /// When each of [`Level::ALL`], or more, was last called for.
    called: [Option<Moment>; Level::ALL.len()],
    level: Level,
    since: Moment,
}

impl Levels {
    /// The level at this moment, with the worst signal at this strength.
    pub fn judge(&mut self, worst: f64, now: Moment) -> Level {
        let called_for = Level::of(worst);
        for (level, called) in Level::ALL.iter().zip(&mut self.called) {
            if *level <= called_for {
                *called = Some(now);
            }
        }
        let held = |called: &Option<Moment>| called.is_some_and(|called| now.since(called) < HOLD);
        let highest = Level::ALL.iter().zip(&self.called).rev().find(|(_, called)| held(called));
        let level = highest.map_or(Level::Calm, |(level, _)| *level);
        if level != self.level {
            (self.level, self.since) = (level, now);
        }
        level
    }

    /// How long it has been in force.
    pub const fn held(&self, now: Moment) -> Duration {
        now.since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HOLD, Level, Levels};
    use crate::guard::Moment;

    #[test]
    fn up_at_once_and_down_after_two_seconds() {
        let mut levels = Levels::default();
        let mut at = |millis, worst| levels.judge(worst, Moment::from_millis(millis));
        assert_eq!(at(0, 0.49), Level::Calm);
        assert_eq!(at(100, 0.95), Level::Critical);
        assert_eq!(at(1_100, 0.75), Level::Critical);
        assert_eq!(at(2_099, 0.1), Level::Critical);
        assert_eq!(at(2_100, 0.1), Level::High, "0.75 was a second ago");
        assert_eq!(at(3_100, 0.1), Level::Calm);
        assert_eq!(at(3_200, f64::NAN), Level::Calm);
    }

    fn signals() -> impl Strategy<Value = Vec<(u64, f64)>> {
        prop::collection::vec((0_u64..1_500, 0.0..1.2_f64), 1..200)
    }

    proptest! {
        /// No more and no less than what was called for within the last two seconds, at every moment.
        #[test]
        fn the_level_is_what_the_signals_justify(signals in signals()) {
            let (mut levels, mut now, mut history) = (Levels::default(), 0, Vec::new());
            for (later, worst) in signals {
                now += later;
                history.push((now, worst));
                let recent = history.iter().filter(|(at, _)| now - at < 2_000);
                let justified = recent.map(|(_, worst)| Level::of(*worst)).max().unwrap();
                prop_assert_eq!(levels.judge(worst, Moment::from_millis(now)), justified);
            }
        }

        /// However the signal swings: after it has gone up a level stays for two seconds.
        #[test]
        fn it_does_not_flap(signals in signals()) {
            let (mut levels, mut now) = (Levels::default(), 0);
            let (mut before, mut rose) = (Level::Calm, None);
            for (later, worst) in signals {
                now += later;
                let level = levels.judge(worst, Moment::from_millis(now));
                if level < before {
                    prop_assert!(rose.is_none_or(|rose| now - rose >= 2_000), "down {now} after {rose:?}");
                } else if level > before {
                    rose = Some(now);
                }
                before = level;
            }
        }

        /// A worse signal never makes a lower level.
        #[test]
        fn it_is_monotone(signals in signals(), more in 0.0..0.5_f64) {
            let (mut mild, mut worse, mut now) = (Levels::default(), Levels::default(), 0);
            for (later, worst) in signals {
                now += later;
                let now = Moment::from_millis(now);
                prop_assert!(mild.judge(worst, now) <= worse.judge(worst + more, now));
            }
        }
    }

    #[test]
    fn it_is_held_since_it_changed() {
        let mut levels = Levels::default();
        levels.judge(0.8, Moment::from_millis(5_000));
        levels.judge(0.8, Moment::from_millis(9_000));
        assert_eq!(levels.held(Moment::from_millis(9_000)).as_millis(), 4_000);
        assert_eq!(HOLD.as_millis(), 2_000);
    }
}
