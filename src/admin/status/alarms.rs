//! The alarms that stand.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Board;
use super::unix_seconds;
use crate::alarm::book::Standing;
use crate::alarm::message::Words;
use crate::alarm::{Message, Stage};
use crate::telemetry::access_log::escape::printable;

/// The worst first.
pub(super) fn rows(board: &Board) -> Vec<Value> {
    board.alarms.standing.load().iter().map(row).collect()
}

fn row(standing: &Standing) -> Value {
    let values: Map<String, Value> =
        standing.values.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    let sample = standing.sample.as_ref().map(|sample| {
        json!({
            "client": sample.client,
            "upstream": sample.upstream,
            "request_line": printable(&sample.request_line),
            "answer": printable(&sample.answer),
        })
    });
    let Words { title, meaning, steps } = words(standing);
    json!({
        "id": standing.alarm.label(),
        "severity": standing.severity.label(),
        "subject": standing.subject,
        "since": unix_seconds(standing.since),
        "last": unix_seconds(standing.last),
        "count": standing.count,
        "told": standing.told,
        "silenced": standing.silenced,
        "values": values,
        "sample": sample,
        "title": title,
        "meaning": meaning,
        "steps": steps,
    })
}

/// What a message says of it, in every language.
fn words(standing: &Standing) -> Words {
    let message = Message {
        alarm: standing.alarm,
        stage: Stage::Firing,
        gateway: String::new(),
        subject: standing.subject.clone(),
        first: standing.since,
        last: standing.last,
        count: standing.count,
        window: Duration::ZERO,
        values: standing.values.clone(),
        sample: standing.sample.clone(),
    };
    message.words()
}
