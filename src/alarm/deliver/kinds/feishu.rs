//! Group robots of Feishu and Lark: <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::super::failure::Trouble;
use super::super::item::Item;
use super::{Post, TEXT_BYTES, called, hmac_sha256, plain};
use crate::alarm::Language;
use crate::alarm::Message;
use crate::config::settings::Webhook;

pub(super) fn pack(webhook: &Webhook, message: &Message, language: Language) -> Value {
    let text = plain(&message.text(language, TEXT_BYTES));
    let tags = called(webhook, message.stage).iter().fold(String::new(), |tags, name| {
        let user = if name == "@all" { "all" } else { name };
        tags + &format!("<at user_id=\"{user}\"></at>")
    });
    let text = if tags.is_empty() { text } else { format!("{text}\n{tags}") };
    json!({ "msg_type": "text", "content": { "text": text } })
}

/// Signed, where the robot asks for it: nothing, under the time in seconds, a line feed and the secret.
pub(super) fn post(url: &Url, secret: Option<&str>, item: &Item, since: Duration) -> Post {
    let mut load = item.load.clone();
    if let (Some(secret), Some(load)) = (secret, load.as_object_mut()) {
        let time = since.as_secs();
        let sign = STANDARD.encode(hmac_sha256(format!("{time}\n{secret}").as_bytes(), b""));
        load.insert("timestamp".to_owned(), json!(time.to_string()));
        load.insert("sign".to_owned(), json!(sign));
    }
    Post::json(url.clone(), &load)
}

/// `None` is success.
pub(super) fn trouble(code: i64) -> Option<Trouble> {
    Some(match code {
        0 => return None,
        // More than 100 a minute or 5 a second.
        11_232 | 99_991_400 => Trouble::Rate,
        // A message it does not read, or without the keyword that the robot asks for.
        9_499 | 19_024 => Trouble::Message,
        // 19001 is an unknown address, 19021 a wrong signature or time, 19022 an address that is not on its list.
        _ => Trouble::Refused,
    })
}
