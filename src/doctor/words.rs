//! Numbers and strangers' texts, as only the doctor shows them; [`crate::figures`] has the others.

use crate::figures::{count, is_unseen, real};

/// Which part of `whole` this is; none of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| real(part) / real(whole))
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
    format!("{} {what}/s", whole(per_second))
}

/// `3,120`: without a fraction, and nothing below 0.
pub(super) fn whole(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = number.round() as u64;
    count(whole)
}

/// A stranger's text on one line, cut, without what could command a terminal.
pub(super) fn harmless(text: &str, longest: usize) -> String {
    let mut chars = text.chars().map(|c| if is_unseen(c) { '\u{fffd}' } else { c });
    let mut cut: String = chars.by_ref().take(longest).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.004, 0.82, 1.0].map(percent), ["0 %", "0.4 %", "82 %", "100 %"]);
        assert_eq!(
            [0.0, 0.24, 3_120.2].map(|rate_of| rate(rate_of, "pages")),
            ["0.0 pages/s", "0.2 pages/s", "3,120 pages/s"]
        );
    }

    #[test]
    fn a_stranger_commands_no_terminal() {
        assert_eq!(harmless("GET /\u{1b}[2J\u{202e}x", 100), "GET /\u{fffd}[2J\u{fffd}x");
        assert_eq!(harmless("abcdef", 3), "abc…");
        assert_eq!(harmless("abc", 3), "abc");
    }
}
