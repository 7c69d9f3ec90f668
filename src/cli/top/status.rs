//! What a gateway said of itself, read without trust: whatever is missing or odd is absent, and text is fit for a terminal.

use serde_json::Value;

/// The answer to `/api/v1/status`.
#[derive(Debug)]
pub(super) struct Status(Value);

/// Characters of a text that are looked at; the screen has no room for more.
const LONGEST: usize = 400;
/// Elements of a list or an object: as many clients as may be fenced.
const MOST: usize = 1_024;

impl Status {
    pub(super) fn new(answer: Value) -> Self {
        Self(answer)
    }

    /// The number at a place such as `/traffic/requests`.
    pub(super) fn number(&self, place: &str) -> Option<f64> {
        number(self.0.pointer(place)?)
    }

    /// The same, if it is a count.
    pub(super) fn count(&self, place: &str) -> Option<u64> {
        self.0.pointer(place)?.as_u64()
    }

    pub(super) fn text(&self, place: &str) -> Option<String> {
        self.0.pointer(place)?.as_str().map(plain)
    }

    pub(super) fn is(&self, place: &str) -> bool {
        self.0.pointer(place).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The elements of a list, not more than [`MOST`]; `None` if there is no list.
    pub(super) fn list(&self, place: &str) -> Option<&[Value]> {
        let all = self.0.pointer(place)?.as_array()?.as_slice();
        all.get(..MOST).or(Some(all))
    }

    /// The numbers of an object by their names.
    pub(super) fn numbers(&self, place: &str) -> impl Iterator<Item = (String, f64)> {
        let object = self.0.pointer(place).and_then(Value::as_object);
        object.into_iter().flatten().take(MOST).filter_map(|(name, value)| Some((plain(name), number(value)?)))
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// Whether something is true of an element of a list.
pub(super) fn is_in(of: &Value, place: &str) -> bool {
    of.pointer(place).and_then(Value::as_bool).unwrap_or(false)
}

/// A number in it.
pub(super) fn number_in(of: &Value, place: &str) -> Option<f64> {
    number(of.pointer(place)?)
}

/// A text in it.
pub(super) fn text_in(of: &Value, place: &str) -> Option<String> {
    of.pointer(place)?.as_str().map(plain)
}

/// Letters and digits of any script, and printable ASCII; a `?` for all the rest: what moves the cursor, turns the direction of
/// writing, has no width, or is a picture.
pub(super) fn plain(text: &str) -> String {
    let fit = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() || is_cjk_punctuation(c);
    text.chars().take(LONGEST).map(|c| if fit(c) { c } else { '?' }).collect()
}

/// As the Chinese texts of alarms have it: CJK Symbols and Punctuation, and the full-width forms of ASCII.
fn is_cjk_punctuation(c: char) -> bool {
    matches!(c, '\u{3001}'..='\u{3011}' | '\u{ff01}'..='\u{ff5e}')
}
