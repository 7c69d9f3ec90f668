//! Lines of at most eighty columns, in which nothing but a line's end is a command to the terminal.

use std::iter;

use crate::figures::is_unseen;

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// Text under way.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// How a column of a table is aligned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Align {
    Left,
    Right,
}

impl Page {
    /// One line as it is, with what could command a terminal escaped.
    pub(super) fn line(&mut self, text: &str) {
        self.0.extend(harmless(text.trim_end()));
        self.0.push('\n');
    }

    /// An empty line, unless nothing or an empty line is before it.
    pub(super) fn gap(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    /// As many lines as it takes; the first begins with `lead`, the others with as many blanks. None ends at a no-break space.
    pub(super) fn paragraph(&mut self, lead: &str, text: &str) {
        let indent = " ".repeat(width(lead));
        let mut line = lead.to_owned();
        let mut empty = true;
        let text: String = harmless(text).collect();
        for word in text.split_ascii_whitespace() {
            if !empty && width(&line) + 1 + width(word) > COLUMNS {
                self.line(&line);
                line.clone_from(&indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(&word.replace('\u{a0}', " "));
            empty = false;
        }
        self.line(&line);
    }

    /// These rows in columns, and how many of `all` are left out. Long addresses may make it wider than the page.
    pub(super) fn table<const N: usize>(&mut self, head: [(&str, Align); N], rows: &[[String; N]], all: usize) {
        let rows: Vec<[String; N]> =
            rows.iter().map(|row| row.each_ref().map(|cell| harmless(cell).collect::<String>())).collect();
        let names = head.map(|(name, _)| name.to_owned());
        let widths: Vec<usize> = (0..N)
            .map(|column| {
                let cells = iter::once(&names).chain(&rows).filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        for row in iter::once(&names).chain(&rows) {
            let mut line = String::from(" ");
            for ((cell, (_, align)), column) in row.iter().zip(head).zip(&widths) {
                let blanks = " ".repeat(column.saturating_sub(width(cell)));
                line.push(' ');
                line.extend(match align {
                    Align::Left => [cell.as_str(), &blanks],
                    Align::Right => [blanks.as_str(), cell],
                });
                line.push(' ');
            }
            self.line(&line);
        }
        self.more(all.saturating_sub(rows.len()));
    }

    /// That so many are left out, if any are.
    pub(super) fn more(&mut self, left_out: usize) {
        if left_out > 0 {
            self.line(&format!("  and {left_out} more: --json has all"));
        }
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text, or the beginning of it and `…`, in so many columns.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(iter::once('…')).collect()
}

/// The text with everything escaped that nobody sees.
fn harmless(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|char| {
        let hidden = is_unseen(char);
        // Exactly one of the two has anything to say.
        let escaped = hidden.then(|| char.escape_default());
        escaped.into_iter().flatten().chain((!hidden).then_some(char))
    })
}

/// Bytes of a stranger as a text of one line.
pub(super) fn one_line(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}
