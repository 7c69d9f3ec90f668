//! Words in two languages, and what they leave open.

use std::time::Duration;

/// What an operator reads.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese, simplified.
    Chinese,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The language of a label: `en` or `zh`.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.label() == label)
    }

    /// The stable word for it (ISO 639-1).
    pub const fn label(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// The same in both languages.
///
/// `{name}` is a placeholder (see [`super::PLACEHOLDERS`]), `` `…` `` a command, a key or a file. Apart from that it is
/// plain text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

/// A text: English, Chinese.
pub(in crate::alarm) const fn both(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

impl Text {
    /// The text in a language, placeholders unfilled.
    pub const fn get(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Chinese => self.zh,
        }
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// Words as they are.
    Words(&'a str),
    /// A placeholder.
    Open {
        /// Its name.
        name: &'a str,
        /// Whether it stands between backticks: what is filled in there may be handed to a shell.
        in_command: bool,
    },
}

/// The parts of a text, in order. Braces that hold no name (`awk '{print $4}'`) are words.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut in_command = false;
    for part in text.split_inclusive('`') {
        let mut rest = part;
        while let Some((before, name, after)) = next_open(rest) {
            pieces.extend([Piece::Words(before), Piece::Open { name, in_command }]);
            rest = after;
        }
        pieces.push(Piece::Words(rest));
        in_command ^= part.ends_with('`');
    }
    pieces
}

/// The first placeholder, with what is before and after it.
fn next_open(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        let (name, after) = rest.strip_prefix('{')?.split_once('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_name.then_some((before, name, after))
    })
}

/// A time in words: `5 minutes`, `5 分钟`.
pub fn span(time: Duration, language: Language) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        0 => (0, both("second", "秒")),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, both("hour", "小时")),
        _ if seconds.is_multiple_of(60) => (seconds / 60, both("minute", "分钟")),
        _ => (seconds, both("second", "秒")),
    };
    let plural = if number == 1 || language == Language::Chinese { "" } else { "s" };
    format!("{number} {}{plural}", unit.get(language))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Language, Piece, pieces, span};

    #[test]
    fn placeholders_are_told_from_other_braces_and_commands_from_words() {
        let open = |name, in_command| Piece::Open { name, in_command };
        let of = |text| pieces(text).into_iter().filter(|piece| *piece != Piece::Words("")).collect::<Vec<_>>();
        assert_eq!(
            of("{a} and `b {c_d} {print $4}`{e}"),
            [
                open("a", false),
                Piece::Words(" and `"),
                Piece::Words("b "),
                open("c_d", true),
                Piece::Words(" {print $4}`"),
                open("e", false),
            ]
        );
        for plain in ["{", "}", "{}", "{{a", "{A}", "{a", "words", ""] {
            let words: String =
                pieces(plain).iter().map(|piece| if let Piece::Words(w) = piece { w } else { "!" }).collect();
            assert_eq!(words, plain);
        }
        assert_eq!(of("{{a}}"), [Piece::Words("{"), open("a", false), Piece::Words("}")]);
    }

    #[test]
    fn times_have_the_largest_unit_that_is_exact() {
        let words = |seconds| Language::ALL.map(|language| span(Duration::from_secs(seconds), language));
        assert_eq!(words(300), ["5 minutes", "5 分钟"]);
        assert_eq!(words(60), ["1 minute", "1 分钟"]);
        assert_eq!(words(90), ["90 seconds", "90 秒"]);
        assert_eq!(words(7_200), ["2 hours", "2 小时"]);
        assert_eq!(words(0), ["0 seconds", "0 秒"]);
    }

    #[test]
    fn languages_have_labels() {
        assert_eq!(Language::parse("zh"), Some(Language::Chinese));
        assert_eq!(Language::parse("en"), Some(Language::English));
        assert_eq!(Language::parse("EN"), None);
    }
}
