//! Group robots of `DingTalk`: <https://open.dingtalk.com/document/robots/custom-robot-access>.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::super::failure::Trouble;
use super::super::item::Item;
use super::{Post, TEXT_BYTES, called, hmac_sha256};
use crate::alarm::Language;
use crate::alarm::Message;
use crate::config::settings::{MessageFormat, Webhook};

pub(super) fn pack(webhook: &Webhook, message: &Message, language: Language) -> Value {
    let called = called(webhook, message.stage);
    let everybody = called.iter().any(|name| name == "@all");
    let phones: Vec<&str> = called.iter().filter(|name| *name != "@all").map(String::as_str).collect();
    // A number that is called must stand in the text, too.
    let tags = phones.iter().fold(String::new(), |tags, phone| tags + " @" + phone);
    let markdown = webhook.format == MessageFormat::Markdown;
    let room = TEXT_BYTES.saturating_sub(tags.len() + 1);
    let text = if markdown { message.markdown(language, room) } else { message.text(language, room) };
    let text = if tags.is_empty() { text } else { format!("{text}\n{tags}") };
    let at = json!({ "atMobiles": phones, "isAtAll": everybody });
    if markdown {
        let title = message.text(language, 128);
        let title = title.lines().next().unwrap_or("floodgate");
        json!({ "msgtype": "markdown", "markdown": { "title": title, "text": text }, "at": at })
    } else {
        json!({ "msgtype": "text", "text": { "content": text }, "at": at })
    }
}

/// Signed, where the robot asks for it: the time in milliseconds, a line feed and the secret, under the secret.
pub(super) fn post(url: &Url, secret: Option<&str>, item: &Item, since: Duration) -> Post {
    let mut url = url.clone();
    if let Some(secret) = secret {
        let time = since.as_millis();
        let sign = STANDARD.encode(hmac_sha256(secret.as_bytes(), format!("{time}\n{secret}").as_bytes()));
        url.query_pairs_mut().append_pair("timestamp", &time.to_string()).append_pair("sign", &sign);
    }
    Post::json(url, &item.load)
}

/// `None` is success.
pub(super) fn trouble(code: i64) -> Option<Trouble> {
    Some(match code {
        0 => return None,
        // Sent too fast: more than 20 a minute, or the flow control of its gateway.
        130_101 | 410_100 | 90_018 | 90_030 => Trouble::Rate,
        // "system busy".
        -1 => Trouble::Server,
        // A JSON it does not read, a type it does not know.
        40_035 | 43_004 | 400_105 => Trouble::Message,
        // 310000 is a wrong signature, address or keyword, 300001 and 400101 an unknown token.
        _ => Trouble::Refused,
    })
}
