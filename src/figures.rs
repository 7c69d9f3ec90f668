//! Figures and strangers' characters, as people may see them: what more than one room shows.

/// For what is shown with few digits, drawn, or compared with a threshold.
#[expect(clippy::cast_precision_loss, reason = "shown with few digits, drawn, or compared with a threshold")]
pub(crate) const fn real(number: u64) -> f64 {
    number as f64
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// `1 client`, `3 clients`.
pub(crate) fn of(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
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

/// Whether nobody sees it, or it turns or hides the text around it (Unicode Technical Report 36, section 2.10): it could
/// command a terminal, or let a text look like another one.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, is_unseen, of};

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1_000, 28_232, 1_234_567].map(count), ["0", "999", "1,000", "28,232", "1,234,567"]);
        assert_eq!([of(0, "socket"), of(1, "socket"), of(1_200, "socket")], ["0 sockets", "1 socket", "1,200 sockets"]);
        let sizes = [512, 4_096, 80 << 10, 298 << 20, 2_014_208 << 10, 1 << 40];
        assert_eq!(sizes.map(bytes), ["512 B", "4.0 KiB", "80 KiB", "298 MiB", "1.9 GiB", "1.0 TiB"]);
        assert_eq!([1_023, (1 << 20) - 1, u64::MAX].map(bytes), ["1023 B", "1.0 MiB", "16777216 TiB"]);
    }

    #[test]
    fn what_turns_or_hides_a_text_is_not_seen() {
        assert!("\0\n\u{1b}\u{7f}\u{9b}\u{ad}\u{61c}\u{202e}\u{2066}\u{feff}\u{e0041}".chars().all(is_unseen));
        assert!(!"aZ ~é中文،→\u{fffd}".chars().any(is_unseen));
    }
}
