//! What `[alarm]` holds: names, times of silence, thresholds.
//!
//! Owns: how these are read. Called by: the table of keys, the file. Never: decides whether it is silent.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Time;

use super::problem::Fault;
use crate::alarm::Alarm;
use crate::alarm::judge::Threshold;
use crate::alarm::silence::{Silence, When};

/// Bytes of a name: as long as that of a host may be (hostname(7)).
const NAME_BYTES: usize = 64;

/// Reads the name of a gateway; empty for that of the host.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    if text.len() > NAME_BYTES || text.chars().any(char::is_control) {
        return Err(Fault::new(
            format!("is longer than {NAME_BYTES} bytes, or has control characters"),
            "write a short name such as \"gate-1\"",
        ));
    }
    Ok(text.trim().to_owned())
}

/// The name of the host (uname(2)).
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads `02:00-04:30 io_wait cpu`, or `2027-01-01T22:00:00Z/2027-01-02T04:00:00Z`.
pub(super) fn silence(text: &str) -> Result<Silence, Fault> {
    let mut words = text.split_ascii_whitespace();
    let time = words.next().unwrap_or_default();
    let when = match time.split_once('/') {
        Some((from, until)) => once(from, until)?,
        None => daily(time)?,
    };
    Ok(Silence { when, alarms: words.map(alarm).collect::<Result<_, _>>()? })
}

fn once(from: &str, until: &str) -> Result<When, Fault> {
    const REMEDY: &str = "write two moments such as \"2027-01-01T22:00:00Z/2027-01-02T04:00:00+01:00\"";
    let moment = |text: &str| {
        let parsed: Result<Timestamp, _> = text.parse();
        parsed.map(SystemTime::from).map_err(|_| Fault::new("is not a moment of RFC 3339, with its offset", REMEDY))
    };
    let (from, until) = (moment(from)?, moment(until)?);
    if from >= until {
        return Err(Fault::new("ends before it begins", REMEDY));
    }
    Ok(When::Once(from, until))
}

fn daily(text: &str) -> Result<When, Fault> {
    let clock = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
            two.then_some(digits)?.parse().ok()
        };
        Time::new(number(hour)?, number(minute)?, 0, 0).ok()
    };
    let times = text.split_once('-').and_then(|(from, until)| Some((clock(from)?, clock(until)?)));
    let Some((from, until)) = times else {
        return Err(Fault::new(
            "begins with no time",
            "write \"02:00-04:30\", or two moments such as \"2027-01-01T22:00:00Z/2027-01-02T04:00:00Z\"",
        ));
    };
    Ok(When::Daily(from, until))
}

/// Reads `error_ratio 10%`.
pub(super) fn threshold(text: &str) -> Result<Threshold, Fault> {
    const REMEDY: &str = "write an alarm and a number, such as \"error_ratio 10%\" or \"latency 5\"";
    let mut words = text.split_ascii_whitespace();
    let (Some(id), Some(number), None) = (words.next(), words.next(), words.next()) else {
        return Err(Fault::new("cannot be read as a threshold", REMEDY));
    };
    let alarm = alarm(id)?;
    let (digits, unit) = number.strip_suffix('%').map_or((number, 1.0), |digits| (digits, 0.01));
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let line = digits.parse().ok().map(|line: f64| line * unit).filter(|line| plain && line.is_finite() && *line > 0.0);
    let Some(line) = line else {
        return Err(Fault::new("has no number above 0", REMEDY));
    };
    Threshold::new(alarm, line)
        .ok_or_else(|| Fault::new(format!("{id} is the case or not: it has no number"), "remove it"))
}

fn alarm(id: &str) -> Result<Alarm, Fault> {
    if let Some(alarm) = Alarm::ALL.iter().find(|alarm| alarm.label() == id) {
        return Ok(*alarm);
    }
    let near = Alarm::ALL.iter().map(|alarm| alarm.label()).min_by_key(|label| strsim::osa_distance(label, id));
    let remedy = match near.filter(|label| strsim::osa_distance(label, id) <= (id.len() / 3).max(1)) {
        Some(label) => format!("did you mean {label}?"),
        None => "see the catalogue in docs/ALARMS.md".to_owned(),
    };
    Err(Fault::new(format!("names no alarm: {}", super::problem::shown(id)), remedy))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use jiff::civil::{Time, time};

    use super::{name, silence, threshold};
    use crate::alarm::Alarm;
    use crate::alarm::silence::When;

    #[test]
    fn silences() {
        let night = silence("22:30-04:00 io_wait  cpu").unwrap();
        assert_eq!(night.when, When::Daily(time(22, 30, 0, 0), time(4, 0, 0, 0)));
        assert_eq!(night.alarms, [Alarm::IoWait, Alarm::Cpu]);
        let always = silence("00:00-00:00 latency").unwrap();
        assert_eq!(always.when, When::Daily(Time::midnight(), Time::midnight()));
        let once = silence("1970-01-01T01:00:00+01:00/1970-01-02T00:00:00Z").unwrap();
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(once.when, When::Once(epoch, epoch + Duration::from_hours(24)));
        assert!(once.alarms.is_empty());
        for (text, reason) in [
            ("", "begins with no time"),
            ("cpu", "begins with no time"),
            ("2:00-04:00", "begins with no time"),
            ("02:00-24:00", "begins with no time"),
            ("02:60-04:00", "begins with no time"),
            ("+2:00-04:00", "begins with no time"),
            ("02:00-04:00 cpus", "names no alarm: cpus"),
            ("2027-01-01T22:00:00/2027-01-02T04:00:00", "is not a moment of RFC 3339, with its offset"),
            ("2027-01-02T22:00:00Z/2027-01-02T04:00:00Z", "ends before it begins"),
            ("2027-01-01/2027-01-02", "is not a moment of RFC 3339, with its offset"),
        ] {
            assert_eq!(silence(text).unwrap_err().reason, reason, "{text}");
        }
        assert_eq!(silence("02:00-04:00 io-wait").unwrap_err().remedy, "did you mean io_wait?");
    }

    #[test]
    fn thresholds() {
        let drawn = |text| threshold(text).map(|threshold| (threshold.alarm, threshold.fire));
        assert_eq!(drawn("latency 5"), Ok((Alarm::Latency, 5.0)));
        assert_eq!(drawn("error_ratio 10%"), Ok((Alarm::ErrorRatio, 0.1)));
        assert_eq!(drawn("self_target_storm 0.5"), Ok((Alarm::SelfTargetStorm, 0.5)));
        for (text, reason) in [
            ("latency", "cannot be read as a threshold"),
            ("latency 5 s", "cannot be read as a threshold"),
            ("latency -5", "has no number above 0"),
            ("latency 0", "has no number above 0"),
            ("latency inf", "has no number above 0"),
            ("latency 1e3", "has no number above 0"),
            ("latency %", "has no number above 0"),
            ("panic 5", "panic is the case or not: it has no number"),
            ("tea 5", "names no alarm: tea"),
        ] {
            assert_eq!(drawn(text).unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(name(" gate-1 "), Ok("gate-1".to_owned()));
        assert_eq!(name("网关一"), Ok("网关一".to_owned()));
        assert!(name("a\nb").is_err() && name(&"x".repeat(65)).is_err());
    }
}
