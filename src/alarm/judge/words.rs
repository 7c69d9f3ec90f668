//! Figures as they stand in a message.

/// `1,234,567`.
pub(in crate::alarm) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut told = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// `230.4 MiB`, as the dashboard shows it.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = "KiB";
    for larger in ["MiB", "GiB", "TiB"] {
        if amount >= 1_024.0 {
            (amount, unit) = (amount / 1_024.0, larger);
        }
    }
    format!("{amount:.1} {unit}")
}

/// `74%`: a share; a digit more below ten.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = usize::from(percent < 9.95);
    format!("{percent:.digits$}%")
}

/// `3.42 s`.
pub(super) fn seconds(seconds: f64) -> String {
    let digits = if seconds < 9.995 { 2 } else { usize::from(seconds < 99.95) };
    format!("{seconds:.digits$} s")
}

/// `1,272`, `0.3`: how often in a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        let shown = format!("{per_second:.1}");
        return shown.strip_suffix(".0").unwrap_or(&shown).to_owned();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number above nine")]
    let whole = per_second.round() as u64;
    count(whole)
}

/// `40 s`, `4 min`: a time that is not known to the second anyway.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 119.5 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, percent, rate, seconds, span};

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1_000, 28_232, 1_234_567].map(count), ["0", "999", "1,000", "28,232", "1,234,567"]);
        let sizes = [0, 1_023, 1_024, 241_591_910, 1 << 40, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0 B", "1023 B", "1.0 KiB", "230.4 MiB", "1.0 TiB", "16777216.0 TiB"]);
        assert_eq!([0.0, 0.0512, 0.0996, 0.74, 1.2].map(percent), ["0.0%", "5.1%", "10%", "74%", "120%"]);
        assert_eq!([0.0, 3.421, 9.996, 45.21, 120.0].map(seconds), ["0.00 s", "3.42 s", "10.0 s", "45.2 s", "120 s"]);
        assert_eq!([0.25, 3.0, 9.96, 1_272.4].map(rate), ["0.2", "3", "10", "1,272"]);
        assert_eq!([5.0, 119.0, 119.6, 240.0].map(span), ["5 s", "119 s", "2 min", "4 min"]);
    }
}
