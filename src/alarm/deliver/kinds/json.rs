//! JSON of our own: the message as it is, signed where there is a secret.

use std::time::Duration;

use serde_json::json;
use url::Url;

use super::super::item::Item;
use super::{Post, hmac_sha256};

/// `X-Floodgate-Signature` is `sha256=` and the HMAC-SHA256, in hexadecimal digits, of the time in `X-Floodgate-Timestamp`, a
/// full stop and the body. `id` in the body stays the same when a message is sent again.
pub(super) fn post(url: &Url, secret: Option<&str>, item: &Item, since: Duration) -> Post {
    let mut load = item.load.clone();
    if let Some(load) = load.as_object_mut() {
        load.insert("id".to_owned(), json!(item.id));
    }
    let mut post = Post::json(url.clone(), &load);
    if let Some(secret) = secret {
        let time = since.as_secs().to_string();
        let signed = [time.as_bytes(), b".", &post.body].concat();
        let sign = hmac_sha256(secret.as_bytes(), &signed);
        let digits = sign.iter().fold(String::from("sha256="), |text, byte| text + &format!("{byte:02x}"));
        post.fields = vec![("x-floodgate-timestamp", time), ("x-floodgate-signature", digits)];
    }
    post
}
