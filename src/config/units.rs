//! Numbers with units: `10s`, `16KiB`, `200/s, burst 1000`, `1024-65535`.
//!
//! Owns: how such a text is read and shown. Called by: the kinds of values. Never: knows a key or its range.

use std::num::NonZeroU32;
use std::time::Duration;

use super::problem::Fault;
use super::settings::Rate;

/// The largest rate and burst: the interval between two permits stays at 1 µs or more.
pub(super) const RATE_MAX: u32 = 1_000_000;

/// Milliseconds of each unit, the largest first.
const DURATION_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of each unit, the largest first.
const SIZE_UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `10s`: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    with_unit(text, DURATION_UNITS).map(Duration::from_millis).map_err(|reason| {
        Fault::new(format!("{reason} as a duration"), "write a whole number and ms, s, m, h or d, such as \"10s\"")
    })
}

/// Reads `16KiB`: a whole number and one of `B`, `KiB`, `MiB`, `GiB`; bytes.
pub(super) fn size(text: &str) -> Result<usize, Fault> {
    with_unit(text, SIZE_UNITS).and_then(|bytes| usize::try_from(bytes).map_err(|_| TOO_LARGE)).map_err(|reason| {
        Fault::new(format!("{reason} as a size"), "write a whole number and B, KiB, MiB or GiB, such as \"16KiB\"")
    })
}

/// Reads `200/s, burst 1000`: both from 1 to [`RATE_MAX`].
pub(super) fn rate(text: &str) -> Result<Rate, Fault> {
    const REMEDY: &str = "write the permits per second and those at once, such as \"200/s, burst 1000\"";
    let parts = || {
        let (rate, burst) = text.split_once(',')?;
        let per_second = rate.trim().strip_suffix("/s")?;
        let burst = burst.trim().strip_prefix("burst ")?;
        Some((per_second.trim(), burst.trim()))
    };
    let (per_second, burst) = parts().ok_or_else(|| Fault::new("cannot be read as a rate", REMEDY))?;
    let permits = |text: &str, what: &str| {
        number(text)
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number <= RATE_MAX)
            .and_then(NonZeroU32::new)
            .ok_or_else(|| Fault::new(format!("{what} must be 1 to {RATE_MAX}"), REMEDY))
    };
    Ok(Rate { per_second: permits(per_second, "the rate")?, burst: permits(burst, "the burst")? })
}

/// Reads a port from 1 to 65535.
pub(super) fn port(text: &str) -> Result<u16, Fault> {
    number(text)
        .ok()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| Fault::new("must be a port, 1 to 65535", ""))
}

/// Reads `1024-65535`, or one port.
pub(super) fn port_range(text: &str) -> Result<(u16, u16), Fault> {
    const REMEDY: &str = "write a port such as 443 or a range such as \"1024-65535\"";
    let end = |text| port(text).map_err(|fault| Fault::new(fault.reason, REMEDY));
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (end(low)?, end(high)?);
    if low > high {
        return Err(Fault::new("the range ends before it begins", format!("write \"{high}-{low}\"")));
    }
    Ok((low, high))
}

/// The shortest way to write this duration; what is below a millisecond is not shown.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATION_UNITS, "s")
}

/// The shortest way to write this size.
pub(super) fn show_size(bytes: usize) -> String {
    show(bytes as u64, SIZE_UNITS, "B")
}

/// Why a number could not be read; the caller adds what was expected.
const UNREADABLE: &str = "cannot be read";
const TOO_LARGE: &str = "is too large";

/// Digits only: `u64::from_str` would also take a sign.
fn number(text: &str) -> Result<u64, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UNREADABLE);
    }
    text.parse().map_err(|_| TOO_LARGE)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, &'static str> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(unit).unwrap_or_default();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(UNREADABLE)?;
    number(digits)?.checked_mul(*factor).ok_or(TOO_LARGE)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    units
        .iter()
        .find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor))
        .map_or_else(|| format!("{amount}{zero}"), |(unit, factor)| format!("{}{unit}", amount / factor))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, port_range, rate, show_duration, show_size, size};

    const NONSENSE: &[&str] = &[
        "", " ", "s", "10", "-10s", "+10s", "10 s", " 10s", "10s ", "1.5s", "1e3s", "10S", "10sec", "10s10s", "٣s",
        "0x10s", "10µs", "KiB", "-1KiB", "16KB", "16kib", "16K", "1.5MiB", "inf", "10\0s",
    ];

    #[test]
    fn durations() {
        let table = [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("15m", 900_000),
            ("007s", 7_000),
            ("24h", 86_400_000),
            ("2d", 172_800_000),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in NONSENSE {
            let fault = duration(text).unwrap_err();
            assert_eq!(fault.reason, "cannot be read as a duration", "{text:?}");
        }
        for text in ["18446744073709551615s", "99999999999999999999ms"] {
            let fault = duration(text).unwrap_err();
            assert_eq!(fault.reason, "is too large as a duration", "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let table = [("0B", 0), ("8000B", 8_000), ("16KiB", 16_384), ("4MiB", 4 << 20), ("1GiB", 1 << 30)];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in NONSENSE {
            let fault = size(text).unwrap_err();
            assert_eq!(fault.reason, "cannot be read as a size", "{text:?}");
        }
        for text in ["18446744073709551615KiB", "99999999999999999999B"] {
            let fault = size(text).unwrap_err();
            assert_eq!(fault.reason, "is too large as a size", "{text:?}");
        }
    }

    #[test]
    fn rates() {
        for text in ["200/s, burst 1000", "200/s,burst 1000", " 200 /s ,  burst  1000 "] {
            let rate = rate(text).unwrap();
            assert_eq!((rate.per_second.get(), rate.burst.get()), (200, 1000));
        }
        for text in ["200", "200/s", "200/m, burst 5", "200/s burst 5", "200/s, 5", ", burst 5"] {
            let fault = rate(text).unwrap_err();
            assert!(fault.remedy.contains("\"200/s, burst 1000\""), "{text}");
        }
        for (text, reason) in [
            ("0/s, burst 5", "the rate must be 1 to 1000000"),
            ("-1/s, burst 5", "the rate must be 1 to 1000000"),
            ("5/s, burst 0", "the burst must be 1 to 1000000"),
            ("5/s, burst 1000001", "the burst must be 1 to 1000000"),
            ("5/s, burst 4294967297", "the burst must be 1 to 1000000"),
            ("5/s, burst 1.5", "the burst must be 1 to 1000000"),
        ] {
            assert_eq!(rate(text).unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        for (text, range) in [("443", (443, 443)), ("1-1", (1, 1)), ("1024-65535", (1024, 65535))] {
            assert_eq!(port_range(text), Ok(range), "{text}");
        }
        for text in ["", "-", "0", "0-5", "1-", "-1", "1-65536", "1 - 2", "1-2-3", "http", "+80"] {
            let fault = port_range(text).unwrap_err();
            assert_eq!(fault.reason, "must be a port, 1 to 65535", "{text}");
        }
        assert_eq!(port_range("9-7").unwrap_err().remedy, "write \"7-9\"");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 999, 1_000, 90_000, 60_000, 3_600_000, 86_400_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for bytes in [0, 1, 8_000, 1_024, 1 << 20, 3 << 30] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_mins(15)), "15m");
        assert_eq!(show_size(8_000), "8000B");
    }
}
