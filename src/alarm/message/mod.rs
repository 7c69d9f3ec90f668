//! What is sent: one alarm, what was counted in its window, and a sample; as text, as markdown, as JSON.
//!
//! Owns: [`Message`] and its forms. Called by: the deliveries, admin. Never: sends anything, or lets a stranger's bytes
//! through that a terminal, a chat or a browser would understand.

mod fit;
mod json;
mod page;
mod style;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use serde_json::Value;

use self::fit::{Cut, fit};
use self::page::Page;
use self::style::Style;
use super::{Alarm, Sample, Severity};

pub use self::json::Words;
pub use super::catalogue::Language;

/// Where an alarm stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// It has begun, or goes on in another window.
    Firing,
    /// It is over.
    Resolved,
    /// Somebody wants to know whether messages arrive.
    Test,
}

impl Stage {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// What is told of one alarm, once in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What is wrong.
    pub alarm: Alarm,
    /// Whether it still is.
    pub stage: Stage,
    /// The gateway's name.
    pub gateway: String,
    /// What of that kind: see [`Sighting::subject`](super::Sighting::subject); empty where all clients are one thing.
    pub subject: String,
    /// When it was first seen in the window.
    pub first: SystemTime,
    /// When it was last seen.
    pub last: SystemTime,
    /// How often it was seen in the window.
    pub count: u64,
    /// How long the window is.
    pub window: Duration,
    /// What the words of the catalogue leave open, by name. Besides: `total`, how often it was seen from its beginning to
    /// its end; `waiting`, how many other messages are due and wait; of several clients `clients`, how many, `more`, how many
    /// besides `client`, and `heaviest`, the first of them by name.
    pub values: Vec<(&'static str, String)>,
    /// One of them: the first.
    pub sample: Option<Sample>,
}

/// A message as people read it, in one language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendered {
    /// How bad, and what.
    pub title: String,
    /// The most important first.
    pub lines: Vec<String>,
}

impl Message {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.alarm.severity(&self.subject)
    }

    /// In plain text. What strangers sent is escaped as in the access log (`\xHH`), and so are `<`, `>` and backticks.
    pub fn render(&self, language: Language) -> Rendered {
        Page::of(self, language, Style::Plain, &TimeZone::system()).rendered()
    }

    /// The same in one piece of at most `max_bytes`, which says if it was cut.
    pub fn text(&self, language: Language, max_bytes: usize) -> String {
        let Rendered { title, lines } = self.render(language);
        fit(&title, &lines, max_bytes, page::CUT.get(language), Cut::Anywhere)
    }

    /// In the markdown that `WeCom` understands (others understand more), of at most `max_bytes`; cut between lines.
    pub fn markdown(&self, language: Language, max_bytes: usize) -> String {
        let zone = TimeZone::system();
        let page = Page::of(self, language, Style::Markdown, &zone);
        let text = fit(&page.marked_title(), &page.lines(), max_bytes, page::CUT.get(language), Cut::BetweenLines);
        // No room for the title and its colour: its words.
        if text.is_empty() { fit(&page.title(), &[], max_bytes, "", Cut::Anywhere) } else { text }
    }

    /// For machines; docs/ALARMS.md describes it. Fields may be added, none changes its meaning.
    pub fn json(&self) -> Value {
        json::json(self, &TimeZone::system())
    }

    /// Its words alone.
    pub fn words(&self) -> Words {
        json::words(self, &TimeZone::system())
    }
}
