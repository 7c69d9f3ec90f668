//! Incoming hooks of Slack and of what imitates it: <https://api.slack.com/messaging/webhooks>.

use serde_json::{Value, json};

use super::{TEXT_BYTES, called, plain};
use crate::alarm::Language;
use crate::alarm::Message;
use crate::config::settings::Webhook;

pub(super) fn pack(webhook: &Webhook, message: &Message, language: Language) -> Value {
    // The three characters its markup gives a meaning to, and what others that take the same give one: `@all`, `[…](…)`.
    let text = plain(&message.text(language, TEXT_BYTES));
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let tags = called(webhook, message.stage).iter().fold(String::new(), |tags, name| match name.as_str() {
        "@all" => tags + "<!channel>",
        user => tags + &format!("<@{}>", user.trim_start_matches('@')),
    });
    json!({ "text": if tags.is_empty() { text } else { format!("{text}\n{tags}") } })
}
