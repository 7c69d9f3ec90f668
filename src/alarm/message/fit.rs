//! A text that fits.

/// Where a text may be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cut {
    /// After any character.
    Anywhere,
    /// After whole lines only: half a line of markdown may leave something open.
    BetweenLines,
}

/// Title and lines in at most `max` bytes. `mark`, on a line of its own, says that something is cut off; nothing is left
/// where not even it and the first character, or the first line, find room.
pub(super) fn fit(title: &str, lines: &[String], max: usize, mark: &str, cut: Cut) -> String {
    let all = lines.iter().fold(title.to_owned(), |mut all, line| {
        all.push('\n');
        all.push_str(line);
        all
    });
    if all.len() <= max {
        return all;
    }
    let mark = if mark.is_empty() { String::new() } else { format!("\n{mark}") };
    let room = all.floor_char_boundary(max.saturating_sub(mark.len()));
    let (kept, rest) = all.split_at_checked(room).unwrap_or_default();
    let kept = match cut {
        Cut::Anywhere => kept,
        Cut::BetweenLines if rest.starts_with('\n') => kept,
        Cut::BetweenLines => kept.rsplit_once('\n').map_or("", |(whole, _)| whole),
    };
    if kept.is_empty() { String::new() } else { format!("{kept}{mark}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cut, fit};

    #[test]
    fn what_is_cut_is_said() {
        let lines = ["一二".to_owned(), "three".to_owned()];
        let of = |max, cut| fit("title", &lines, max, "...", cut);
        assert_eq!(of(18, Cut::Anywhere), "title\n一二\nthree");
        assert_eq!(of(17, Cut::Anywhere), "title\n一二\n\n...");
        assert_eq!(of(15, Cut::Anywhere), "title\n一\n...");
        assert_eq!(of(16, Cut::BetweenLines), "title\n一二\n...");
        assert_eq!(of(15, Cut::BetweenLines), "title\n...");
        assert_eq!(of(8, Cut::BetweenLines), "");
        assert_eq!(of(5, Cut::Anywhere), "t\n...");
        assert_eq!(of(4, Cut::Anywhere), "");
    }

    proptest! {
        #[test]
        fn it_fits_and_is_a_beginning(
            title in ".{0,9}",
            lines in prop::collection::vec(".{0,9}", 0..5),
            max in 0_usize..60,
        ) {
            for cut in [Cut::Anywhere, Cut::BetweenLines] {
                let text = fit(&title, &lines, max, "…", cut);
                prop_assert!(text.len() <= max);
                let all = fit(&title, &lines, usize::MAX, "…", cut);
                let kept = text.strip_suffix("\n…").filter(|_| text != all).unwrap_or(&text);
                prop_assert!(all.starts_with(kept));
            }
        }
    }
}
