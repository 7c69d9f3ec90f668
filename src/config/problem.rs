//! What is wrong with a configuration, in words the operator can act on.
//!
//! Owns: [`Problem`], [`Problems`]. Called by: everything that reads a value or checks the whole. Never: decides.

use std::fmt;
use std::ops::Range;

/// At most so many problems are reported; one more says that there are others.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Longer keys and values are cut to so many characters in a message.
const MAX_SHOWN: usize = 80;

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The key, as in `limits.connections` or `listener[1].address` (counted from 0); empty for errors of TOML itself.
    pub key: String,
    /// The value as it was written; empty if the key itself is wrong or missing.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
    /// The line in the file, counted from 1; `None` for what no line sets (a default, a flag).
    pub line: Option<usize>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match (self.key.as_str(), self.value.as_str()) {
            ("", _) => {}
            (key, "") => write!(f, "{key}: ")?,
            (key, value) => write!(f, "{key} = {value}: ")?,
        }
        f.write_str(&self.reason)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts by line (what has none comes last) and cuts to [`MAX_PROBLEMS`].
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem {
                key: String::new(),
                value: String::new(),
                reason: "more is wrong than is told here".to_owned(),
                remedy: "correct this and check again".to_owned(),
                line: None,
            });
        }
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why a text is not a value. An empty remedy is filled in with the key's default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// What is wrong.
    pub(super) reason: String,
    /// What to write instead.
    pub(super) remedy: String,
}

impl Fault {
    /// Both parts.
    pub(super) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

/// A fault and where in the file it is.
#[derive(Clone, Debug)]
pub(super) struct Flaw {
    /// The entry's position, if the value is a list.
    pub(super) index: Option<usize>,
    /// The bytes of the file that hold the value.
    pub(super) span: Range<usize>,
    /// What is wrong with them.
    pub(super) fault: Fault,
}

/// The text on one line, without control characters, and cut: a message is never longer than a screen.
pub(super) fn shown(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        line.push('…');
    }
    line
}
