//! What each kind of destination wants to hear, and what its answers mean.
//!
//! Owns: the form of a message, its signature, the meaning of an answer. Called by: the deliveries (to pack a message), the
//! transport (to post it and to judge the answer). Never: opens a file or a connection, or reads a clock.

mod alertmanager;
mod dingtalk;
mod feishu;
mod json;
mod slack;
mod wecom;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde_json::Value;
use url::Url;

pub(super) use self::alertmanager::{REPEAT, Standing};
use super::failure::{Failure, Trouble, line};
use super::item::Item;
use crate::alarm::Language;
use crate::alarm::{Message, Stage};
use crate::config::settings::{Webhook, WebhookKind};

/// Bytes of a text for those that name no limit: more than anybody reads in a chat.
const TEXT_BYTES: usize = 4_096;

/// One request, complete.
pub(super) struct Post {
    pub(super) url: Url,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Post {
    fn json(url: Url, body: &Value) -> Self {
        Self { url, fields: Vec::new(), body: body.to_string().into_bytes() }
    }
}

/// An answer, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// What `Retry-After` says.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: &'a [u8],
}

/// What is kept of a message until it is delivered: all of it but time and signature.
pub(super) fn pack(webhook: &Webhook, message: &Message, language: Language) -> Value {
    match webhook.kind {
        WebhookKind::Wecom => wecom::pack(webhook, message, language),
        WebhookKind::Dingtalk => dingtalk::pack(webhook, message, language),
        WebhookKind::Feishu => feishu::pack(webhook, message, language),
        WebhookKind::Slack => slack::pack(webhook, message, language),
        WebhookKind::Alertmanager => alertmanager::pack(message, language),
        WebhookKind::Json | WebhookKind::Command => message.json(),
    }
}

/// The request for it. Those of Alertmanager are made by [`Standing`], those of a program are none.
pub(super) fn post(webhook: &Webhook, url: &Url, secret: Option<&str>, item: &Item, now: SystemTime) -> Post {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match webhook.kind {
        WebhookKind::Dingtalk => dingtalk::post(url, secret, item, since),
        WebhookKind::Feishu => feishu::post(url, secret, item, since),
        WebhookKind::Json => json::post(url, secret, item, since),
        WebhookKind::Wecom | WebhookKind::Slack | WebhookKind::Alertmanager | WebhookKind::Command => {
            Post::json(url.clone(), &item.load)
        }
    }
}

/// Whether an answer with this status is read to its end, or only for what it says about a failure.
pub(super) const fn needs_body(kind: WebhookKind) -> bool {
    matches!(kind, WebhookKind::Wecom | WebhookKind::Dingtalk | WebhookKind::Feishu)
}

/// Whether the other side took it.
pub(super) fn judge(kind: WebhookKind, answer: &Answer<'_>) -> Result<(), Failure> {
    let robot: fn(i64) -> Option<Trouble> = match kind {
        WebhookKind::Wecom => wecom::trouble,
        WebhookKind::Dingtalk => dingtalk::trouble,
        WebhookKind::Feishu => feishu::trouble,
        WebhookKind::Slack | WebhookKind::Alertmanager | WebhookKind::Json | WebhookKind::Command => {
            return by_status(answer);
        }
    };
    // A robot that has a word for it says more than its status, which is often 200.
    match code(answer.body) {
        Some((code, told)) if answer.status < 500 => match robot(code) {
            None => Ok(()),
            Some(trouble) => {
                let why = format!("code {code}: {told}");
                Err(Failure { wait: wish(trouble, answer), ..Failure::new(trouble, why) })
            }
        },
        None if (200..300).contains(&answer.status) => {
            let begin = String::from_utf8_lossy(answer.body.get(..80).unwrap_or(answer.body));
            Err(Failure::new(Trouble::Server, format!("status {}, but no code in: {begin}", answer.status)))
        }
        _ => by_status(answer),
    }
}

/// The pause a robot needs that says it has had too much: its minute.
fn wish(trouble: Trouble, answer: &Answer<'_>) -> Option<Duration> {
    let minute = (trouble == Trouble::Rate).then_some(Duration::from_mins(1));
    answer.retry_after.or(minute)
}

/// The code of a robot and what it says about it: `errcode` and `errmsg`, or `code` and `msg`.
fn code(body: &[u8]) -> Option<(i64, String)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let number = |name: &str| answer.get(name).and_then(Value::as_i64);
    let code = number("errcode").or_else(|| number("code")).or_else(|| number("StatusCode"))?;
    let told = ["errmsg", "msg", "StatusMessage"].iter().find_map(|name| answer.get(name)?.as_str());
    Some((code, line(told.unwrap_or_default())))
}

/// The meaning of a status (RFC 9110 section 15).
fn by_status(answer: &Answer<'_>) -> Result<(), Failure> {
    let trouble = match answer.status {
        200..=299 => return Ok(()),
        300..=399 => {
            let why = format!("status {}: a redirect, which is not followed; name the final address", answer.status);
            return Err(Failure::new(Trouble::Refused, why));
        }
        408 => Trouble::Timeout,
        429 => Trouble::Rate,
        // Too large, or not understood: the next message may be.
        400 | 413 | 422 => Trouble::Message,
        401..=499 => Trouble::Refused,
        _ => Trouble::Server,
    };
    let told = String::from_utf8_lossy(answer.body);
    let why = match told.trim() {
        "" => format!("status {}", answer.status),
        told => format!("status {}: {told}", answer.status),
    };
    Err(Failure { wait: answer.retry_after, ..Failure::new(trouble, why) })
}

/// Who is called by name: everybody who is listed, while the alarm stands; nobody is woken up for its end.
fn called(webhook: &Webhook, stage: Stage) -> &[String] {
    if stage == Stage::Firing { &webhook.mention } else { &[] }
}

/// Breaks a marker of a chat's markup that strangers' bytes may hold, such as one that calls everybody: with a space of no
/// width behind its first character.
fn defuse(text: &str, marker: &str) -> String {
    let Some(first) = marker.chars().next() else { return text.to_owned() };
    let (_, rest) = marker.split_at(first.len_utf8());
    text.replace(marker, &format!("{first}\u{200b}{rest}"))
}

/// Without mentions, links and pictures, for chats that find them in plain text. A `<` of strangers is escaped by then.
fn plain(text: &str) -> String {
    ["@", "]("].iter().fold(text.to_owned(), |text, marker| defuse(&text, marker))
}

/// HMAC-SHA256 (RFC 2104) as bytes.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}
