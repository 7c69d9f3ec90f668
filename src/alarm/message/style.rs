//! Strangers' bytes made fit for a chat, and for a shell.

use crate::telemetry::access_log::escape::printable;

/// Bytes of one value, escaped; more are cut.
pub(super) const VALUE: usize = 160;
/// Bytes of the request line of a sample, escaped. Samples have 256 at most; the steps are to find room, too.
const REQUEST: usize = 256;
/// Bytes of the first bytes of an answer, escaped.
const ANSWER: usize = 128;

/// For whom a text is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// Whatever shows text. Chats find mentions and markup in it nevertheless.
    Plain,
    /// Whoever makes markdown and some HTML of it.
    Markdown,
}

impl Style {
    /// Whether a character means something there. `<`: `<script>`, `<!channel>`, `<@everyone>`, `<at user_id="all">`.
    const fn takes_for_markup(self, character: char) -> bool {
        match self {
            Self::Plain => matches!(character, '<' | '>' | '`'),
            Self::Markdown => matches!(character, '<' | '>' | '`' | '*' | '[' | ']' | '#' | '|' | '~'),
        }
    }

    /// A text from outside, of at most `max` bytes: what could be markup is escaped, what cannot be seen is replaced.
    pub(super) fn shown(self, text: &str, max: usize) -> String {
        let mut out = String::new();
        for character in text.chars() {
            let before = out.len();
            match character {
                ' '..='~' if !self.takes_for_markup(character) => out.push(character),
                '\0'..='\x7f' => out.extend(['\\', 'x', hex(u32::from(character) >> 4), hex(u32::from(character))]),
                _ if is_unseen(character) => out.push(char::REPLACEMENT_CHARACTER),
                _ => out.push(character),
            }
            if out.len() > max {
                out.truncate(before);
                out.push('…');
                break;
            }
        }
        out
    }

    /// A text from outside as a piece of code.
    fn code(self, text: &str, max: usize) -> String {
        match self {
            Self::Plain => self.shown(text, max),
            Self::Markdown => format!("`{}`", self.shown(text, max)),
        }
    }

    /// A sample's request line.
    pub(super) fn request(self, line: &[u8]) -> String {
        self.code(&printable(line), REQUEST)
    }

    /// A sample's answer.
    pub(super) fn answer(self, bytes: &[u8]) -> String {
        self.code(&printable(bytes), ANSWER)
    }
}

/// The last four bits.
fn hex(bits: u32) -> char {
    char::from_digit(bits & 15, 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// Controls, and what changes the direction of a text or takes no place in it: it would let a text look like another one.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// A value where it may be handed to a shell: only if the shell takes it for one word without a meaning, and the command not
/// for an option. Names come from strangers, and steps are copied as they stand.
pub(super) fn in_command(text: &str) -> Option<&str> {
    let is_plain =
        |character: char| character.is_alphanumeric() && !is_unseen(character) || "._:/%+,@=-[]".contains(character);
    (text.len() <= VALUE && !text.starts_with('-') && !text.is_empty() && text.chars().all(is_plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{Style, in_command};

    #[test]
    fn markup_and_what_cannot_be_seen_do_not_pass() {
        assert_eq!(Style::Plain.shown("a<b>`*\n\x1b[0m", 99), r"a\x3Cb\x3E\x60*\x0A\x1B[0m");
        assert_eq!(Style::Markdown.shown("[x](y) *#|~", 99), r"\x5Bx\x5D(y) \x2A\x23\x7C\x7E");
        assert_eq!(Style::Plain.shown("网关\u{202E}1\u{85}\u{200B}", 99), "网关\u{FFFD}1\u{FFFD}\u{FFFD}");
        assert_eq!(Style::Plain.shown("abcdef", 3), "abc…");
        assert_eq!(Style::Plain.shown("ab<", 5), "ab…", "no half escapes");
        assert_eq!(Style::Markdown.request(b"GET /`\xff HTTP/1.1"), r"`GET /\x60\xFF HTTP/1.1`");
        assert_eq!(Style::Plain.answer(b"\x15\x03\x01<"), r"\x15\x03\x01\x3C");
    }

    #[test]
    fn a_shell_gets_plain_words_only() {
        for plain in ["10.0.0.1", "2001:db8::/64", "[2001:db8::1]:443", "a-b.example:80", "/var/log/日志/access.log"]
        {
            assert_eq!(in_command(plain), Some(plain));
        }
        for odd in [
            "", "-rf", "a b", "a;b", "$(a)", "a|b", "a&b", "a'b", "a\"b", "a\nb", "a`b", "a\\b", "~a", "a*", "a?",
            "a>b", "{a}", "a!",
        ] {
            assert_eq!(in_command(odd), None, "{odd:?}");
        }
        assert_eq!(in_command(&"a".repeat(1_000)), None);
    }
}
