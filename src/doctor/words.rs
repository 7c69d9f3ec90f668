//! Numbers as people read them.

/// For what is shown with few digits, or compared with a threshold.
#[expect(clippy::cast_precision_loss, reason = "shown with few digits, or compared with a threshold")]
pub(super) const fn real(number: u64) -> f64 {
    number as f64
}

/// Which part of `whole` this is; none of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| real(part) / real(whole))
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// `1 socket`, `3 sockets`.
pub(super) fn of(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `512 B`, `80 KiB`, `298 MiB`, `1.9 GiB`.
pub(super) fn bytes(number: u64) -> String {
    let value = real(number);
    match number {
        0..1_024 => format!("{number} B"),
        1_024..1_048_576 => format!("{:.0} KiB", value / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", value / 1_048_576.0),
        _ => format!("{:.1} GiB", value / 1_073_741_824.0),
    }
}

/// `82 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// `3,120 pages/s`, `0.2 connections/s`.
pub(super) fn rate(per_second: f64, what: &str) -> String {
    if per_second < 9.95 {
        return format!("{per_second:.1} {what}/s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
    let whole = per_second.round() as u64;
    format!("{} {what}/s", count(whole))
}

/// A stranger's text on one line, cut, without what could command a terminal.
pub(super) fn harmless(text: &str, longest: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c });
    let mut cut: String = chars.by_ref().take(longest).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

/// What changes the direction of writing, or shows nothing.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1_000, 28_232].map(count), ["0", "999", "1,000", "28,232"]);
        assert_eq!([512, 80 << 10, 298 << 20, 2_014_208 << 10].map(bytes), ["512 B", "80 KiB", "298 MiB", "1.9 GiB"]);
        assert_eq!([0.0, 0.004, 0.82, 1.0].map(percent), ["0 %", "0.4 %", "82 %", "100 %"]);
        assert_eq!(
            [0.0, 0.24, 3_120.2].map(|rate_of| rate(rate_of, "pages")),
            ["0.0 pages/s", "0.2 pages/s", "3,120 pages/s"]
        );
        assert_eq!([of(1, "socket"), of(1_200, "socket")], ["1 socket", "1,200 sockets"]);
    }

    #[test]
    fn a_stranger_commands_no_terminal() {
        assert_eq!(harmless("GET /\u{1b}[2J\u{202e}x", 100), "GET /\u{fffd}[2J\u{fffd}x");
        assert_eq!(harmless("abcdef", 3), "abc…");
        assert_eq!(harmless("abc", 3), "abc");
    }
}
