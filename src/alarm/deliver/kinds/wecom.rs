//! Group robots of `WeCom`: <https://developer.work.weixin.qq.com/document/path/91770>.

use serde_json::{Value, json};

use super::super::failure::Trouble;
use super::called;
use crate::alarm::Language;
use crate::alarm::Message;
use crate::config::settings::{MessageFormat, Webhook};

/// Bytes of a text, in UTF-8.
pub(super) const TEXT_BYTES: usize = 2_048;
/// Bytes of a Markdown text.
pub(super) const MARKDOWN_BYTES: usize = 4_096;

pub(super) fn pack(webhook: &Webhook, message: &Message, language: Language) -> Value {
    let called = called(webhook, message.stage);
    match webhook.format {
        MessageFormat::Text => {
            let text = message.text(language, TEXT_BYTES);
            let (phones, users): (Vec<&String>, Vec<&String>) = called.iter().partition(|name| is_phone(name));
            json!({
                "msgtype": "text",
                "text": { "content": text, "mentioned_list": users, "mentioned_mobile_list": phones },
            })
        }
        MessageFormat::Markdown => {
            // There it is a tag in the text that calls somebody, by user id alone.
            let tags = called.iter().fold(String::new(), |tags, name| tags + "<@" + name.trim_start_matches('@') + ">");
            let room = MARKDOWN_BYTES.saturating_sub(tags.len() + 1);
            // A stranger's `<` is escaped by then.
            let text = message.markdown(language, room);
            let text = if tags.is_empty() { text } else { format!("{text}\n{tags}") };
            json!({ "msgtype": "markdown", "markdown": { "content": text } })
        }
    }
}

/// A mobile number of China, or one with its country; other digits are a user id.
fn is_phone(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix('+').is_some_and(digits) || (name.len() == 11 && name.starts_with('1') && digits(name))
}

/// `None` is success. <https://developer.work.weixin.qq.com/document/path/90313>
pub(super) fn trouble(code: i64) -> Option<Trouble> {
    Some(match code {
        0 => return None,
        // "api freq out of limit".
        45_009 | 45_033 => Trouble::Rate,
        // "system busy".
        -1 => Trouble::Server,
        // An invalid parameter, no content, content that is too long, an unknown type.
        40_058 | 44_004 | 45_002 | 40_008 => Trouble::Message,
        // 93000 is an unknown key; and whatever else it may be, it is no outage.
        _ => Trouble::Refused,
    })
}
