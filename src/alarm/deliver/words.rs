//! Cutting what is too long.

/// Cut between two characters, so that at most `most` bytes are left.
pub(super) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}
