//! Times, as people read them.

use jiff::Timestamp;

use crate::figures::real;
use crate::pcap::Time;

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
