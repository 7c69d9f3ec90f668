//! When nobody wants to hear of what: maintenance, and hours in which a backup keeps the disks busy.

use std::time::SystemTime;

use jiff::civil::Time;

use super::Alarm;

/// A time in which some alarms are not told of. They stand all the same, and are told of afterwards if they still do.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// When.
    pub when: When,
    /// Which; all if none is named.
    pub alarms: Vec<Alarm>,
}

/// When it is silent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Once: from the first moment on, until before the last.
    Once(SystemTime, SystemTime),
    /// Every day by the clock of this place; over midnight if the second is not later than the first.
    Daily(Time, Time),
}

impl Silence {
    /// Whether this alarm is silenced, at this moment, which here is so late in the day.
    pub fn covers(&self, alarm: Alarm, date: SystemTime, clock: Time) -> bool {
        let now = match self.when {
            When::Once(from, until) => from <= date && date < until,
            When::Daily(from, until) if from < until => from <= clock && clock < until,
            When::Daily(from, until) => from <= clock || clock < until,
        };
        now && (self.alarms.is_empty() || self.alarms.contains(&alarm))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use jiff::civil::{Time, time};

    use super::{Silence, When};
    use crate::alarm::Alarm;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn once_is_from_one_moment_to_another() {
        let silence = Silence { when: When::Once(at(100), at(200)), alarms: vec![Alarm::Cpu] };
        let covers = |alarm, seconds| silence.covers(alarm, at(seconds), Time::midnight());
        assert_eq!([99, 100, 199, 200].map(|seconds| covers(Alarm::Cpu, seconds)), [false, true, true, false]);
        assert!(!covers(Alarm::DiskFull, 150), "it is not one of them");
    }

    #[test]
    fn daily_goes_by_the_clock_and_over_midnight() {
        let covers = |from, until, clock| {
            Silence { when: When::Daily(from, until), alarms: vec![] }.covers(Alarm::Panic, at(0), clock)
        };
        let clocks = [time(1, 59, 59, 0), time(2, 0, 0, 0), time(3, 59, 59, 999), time(4, 0, 0, 0), time(22, 0, 0, 0)];
        let told = |from, until| clocks.map(|clock| covers(from, until, clock));
        assert_eq!(told(time(2, 0, 0, 0), time(4, 0, 0, 0)), [false, true, true, false, false]);
        assert_eq!(told(time(22, 0, 0, 0), time(2, 0, 0, 0)), [true, false, false, false, true]);
        assert_eq!(told(Time::midnight(), Time::midnight()), [true; 5], "all day");
    }
}
