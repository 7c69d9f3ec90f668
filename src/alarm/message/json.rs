//! A message for machines.

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::page::{Page, RFC_3339, time};
use super::style::{Style, VALUE};
use super::{Language, Message, Stage};

/// The form; it changes when a field changes its meaning.
const VERSION: u8 = 1;

/// What a message says in words, in every language: an object of `en` and `zh` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// What is wrong, or that it is over.
    pub title: Value,
    /// What that means; null when it is over.
    pub meaning: Value,
    /// What to do, a list; null when it is over.
    pub steps: Value,
}

pub(super) fn words(message: &Message, zone: &TimeZone) -> Words {
    let in_both = |say: fn(&Page<'_>) -> Value| -> Value {
        let said = Language::ALL
            .map(|language| (language.label().to_owned(), say(&Page::of(message, language, Style::Plain, zone))));
        Map::from_iter(said).into()
    };
    let while_it_stands =
        |say: fn(&Page<'_>) -> Value| if message.stage == Stage::Firing { in_both(say) } else { Value::Null };
    Words {
        title: in_both(|page| page.what().into()),
        meaning: while_it_stands(|page| page.meaning().into()),
        steps: while_it_stands(|page| page.steps().collect()),
    }
}

pub(super) fn json(message: &Message, zone: &TimeZone) -> Value {
    let shown = |text: &str| Style::Plain.shown(text, VALUE);
    let row = message.alarm.row();
    let Words { title, meaning, steps } = words(message, zone);
    let values: Map<String, Value> =
        message.values.iter().map(|(name, value)| ((*name).to_owned(), shown(value).into())).collect();
    let sample = message.sample.as_ref().map(|sample| {
        json!({
            "client": sample.client.map(|client| client.to_string()),
            "upstream": sample.upstream.map(|upstream| upstream.to_string()),
            "request_line": Style::Plain.request(&sample.request_line),
            "answer": Style::Plain.answer(&sample.answer),
        })
    });
    json!({
        "version": VERSION,
        "alarm": message.alarm.label(),
        "severity": message.severity().label(),
        "stage": message.stage.label(),
        "gateway": shown(&message.gateway),
        "subject": shown(&message.subject),
        "first": time(message.first, zone, RFC_3339),
        "last": time(message.last, zone, RFC_3339),
        "count": message.count,
        "window_s": message.window.as_secs(),
        "values": values,
        "sample": sample,
        "title": title,
        "condition": { "en": row.condition(Language::English), "zh": row.condition(Language::Chinese) },
        "meaning": meaning,
        "steps": steps,
    })
}
