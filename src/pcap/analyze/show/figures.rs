//! Numbers with units, as people read them.

use jiff::Timestamp;

use crate::pcap::Time;

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// `512 B`, `4.0 KiB`, `120 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut value = real(number) / 1_024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1_023.5 {
            break;
        }
        value /= 1_024.0;
        unit = larger;
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Nanoseconds as `480 µs`, `1.2 ms`, `41 s`, `3 h 20 min`.
pub(super) fn duration(nanos: u64) -> String {
    let number = real(nanos);
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..999_500 => format!("{:.0} µs", number / 1e3),
        999_500..9_950_000 => format!("{:.1} ms", number / 1e6),
        9_950_000..999_500_000 => format!("{:.0} ms", number / 1e6),
        999_500_000..99_950_000_000 => format!("{:.1} s", number / 1e9),
        99_950_000_000..600_000_000_000 => format!("{:.0} s", number / 1e9),
        600_000_000_000.. => {
            let minutes = (nanos / 1_000_000_000 + 30) / 60;
            if minutes < 60 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
        }
    }
}

/// `2020-11-23 01:00:00` in UTC.
pub(super) fn date(time: Time) -> String {
    shown(time, "%Y-%m-%d %H:%M:%S")
}

/// `01:00:00.352334` in UTC.
pub(super) fn clock(time: Time) -> String {
    shown(time, "%H:%M:%S%.6f")
}

fn shown(time: Time, format: &str) -> String {
    Timestamp::from_nanosecond(time.0.into()).map_or_else(|_| time.to_string(), |at| at.strftime(format).to_string())
}

/// For what is rounded anyway.
#[expect(clippy::cast_precision_loss, reason = "shown with few digits, or drawn")]
pub(super) fn real(number: u64) -> f64 {
    number as f64
}

/// `1 client`, `3 clients`.
pub(super) fn of(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}
