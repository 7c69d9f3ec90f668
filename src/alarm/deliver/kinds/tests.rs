//! What is sent to each kind, and what its codes mean.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::wecom::{MARKDOWN_BYTES, TEXT_BYTES};
use super::{Standing, called, defuse, dingtalk, feishu, hmac_sha256, pack, post, wecom};
use crate::alarm::Language;
use crate::alarm::deliver::failure::Trouble;
use crate::alarm::deliver::item::Item;
use crate::alarm::{Alarm, Message, Sample, Severity, Stage};
use crate::config::settings::{MessageFormat, Webhook, WebhookKind, WebhookPlace};

/// 2023-11-14T22:13:20Z.
const NOW: Duration = Duration::from_secs(1_700_000_000);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW + Duration::from_secs(seconds)
}

fn webhook(kind: WebhookKind, format: MessageFormat, mention: &[&str]) -> Webhook {
    Webhook {
        kind,
        place: WebhookPlace::UrlFile("/x".into()),
        plain_http: false,
        secret_file: None,
        ca_file: None,
        severity: Severity::Info,
        language: None,
        format,
        mention: mention.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// It shows its subject, and a sample that is made of it.
fn message(stage: Stage, subject: &str) -> Message {
    let bytes = Box::from(subject.as_bytes());
    Message {
        alarm: Alarm::DestinationFenced,
        stage,
        gateway: "gate".to_owned(),
        subject: subject.to_owned(),
        first: at(0),
        last: at(30),
        count: 3,
        window: Duration::from_mins(5),
        values: Vec::new(),
        sample: Some(Sample { request_line: Box::clone(&bytes), answer: bytes, ..Sample::default() }),
    }
}

fn load(webhook: &Webhook, message: &Message) -> Value {
    pack(webhook, message, Language::English)
}

fn sent(kind: WebhookKind, load: Value, secret: Option<&str>) -> (url::Url, Vec<(&'static str, String)>, Vec<u8>) {
    let item = Item { id: "0123".to_owned(), made: 0, stage: Stage::Firing, load };
    let url = "https://h.example/robot?access_token=t".parse().unwrap();
    let post = post(&webhook(kind, MessageFormat::Text, &[]), &url, secret, &item, at(0));
    (post.url, post.fields, post.body)
}

#[test]
fn hmac_is_that_of_the_rfc() {
    // RFC 4231 section 4.3.
    let digest = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    let hex = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[test]
fn dingtalk_signs_in_the_address() {
    let (url, fields, body) = sent(WebhookKind::Dingtalk, json!({ "msgtype": "text" }), Some("SECabc"));
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let sign = STANDARD.encode(hmac_sha256(b"SECabc", b"1700000000000\nSECabc"));
    let expected = [("access_token", "t"), ("timestamp", "1700000000000"), ("sign", &*sign)];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!url.as_str().contains('+') || !sign.contains('+'), "url-encoded: {url}");
    assert_eq!((fields.len(), body), (0, br#"{"msgtype":"text"}"#.to_vec()));
    let (url, ..) = sent(WebhookKind::Dingtalk, json!({}), None);
    assert_eq!(url.query(), Some("access_token=t"));
}

#[test]
fn feishu_signs_in_the_body() {
    let (url, _, body) = sent(WebhookKind::Feishu, json!({ "msg_type": "text" }), Some("abc"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["timestamp"], "1700000000");
    assert_eq!(body["sign"], STANDARD.encode(hmac_sha256(b"1700000000\nabc", b"")));
    assert_eq!(url.query(), Some("access_token=t"));
}

#[test]
fn json_signs_time_and_body() {
    let (_, fields, body) = sent(WebhookKind::Json, json!({ "alarm": "slab" }), Some("abc"));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({ "alarm": "slab", "id": "0123" }));
    let signed = [b"1700000000.", &*body].concat();
    let hex = hmac_sha256(b"abc", &signed).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let expected =
        [("x-floodgate-timestamp", "1700000000".to_owned()), ("x-floodgate-signature", format!("sha256={hex}"))];
    assert_eq!(fields, expected);
    assert!(sent(WebhookKind::Json, json!({}), None).1.is_empty());
}

#[test]
fn people_are_called_while_it_stands() {
    let names = ["@all", "zhang.san", "13800000000", "+8613900000000", "10086001"];
    let text = webhook(WebhookKind::Wecom, MessageFormat::Text, &names);
    let load = load(&text, &message(Stage::Firing, ""));
    assert_eq!(load["text"]["mentioned_list"], json!(["@all", "zhang.san", "10086001"]));
    assert_eq!(load["text"]["mentioned_mobile_list"], json!(["13800000000", "+8613900000000"]));
    let over = super::tests::load(&text, &message(Stage::Resolved, ""));
    assert_eq!(over["text"]["mentioned_list"], json!([]));
    assert!(called(&text, Stage::Test).is_empty());

    let robot = webhook(WebhookKind::Dingtalk, MessageFormat::Text, &["@all", "13800000000"]);
    let load = super::tests::load(&robot, &message(Stage::Firing, ""));
    assert_eq!(load["at"], json!({ "atMobiles": ["13800000000"], "isAtAll": true }));
    assert!(load["text"]["content"].as_str().unwrap().ends_with(" @13800000000"));
    let robot = webhook(WebhookKind::Feishu, MessageFormat::Text, &["@all", "ou_1"]);
    let load = super::tests::load(&robot, &message(Stage::Firing, ""));
    let tags = "<at user_id=\"all\"></at><at user_id=\"ou_1\"></at>";
    assert!(load["content"]["text"].as_str().unwrap().ends_with(tags), "{load}");
    let hook = webhook(WebhookKind::Slack, MessageFormat::Text, &["@all", "U1"]);
    let load = super::tests::load(&hook, &message(Stage::Firing, ""));
    assert!(load["text"].as_str().unwrap().ends_with("<!channel><@U1>"), "{load}");
}

#[test]
fn strangers_call_nobody() {
    let evil = "<!channel> <@U1> <at user_id=\"all\"></at> </at>";
    let at_most = |kind, format: MessageFormat, path: &str| {
        let load = load(&webhook(kind, format, &[]), &message(Stage::Firing, evil));
        load.pointer(path).unwrap().as_str().unwrap().to_owned()
    };
    let slack = at_most(WebhookKind::Slack, MessageFormat::Text, "/text");
    assert!(!slack.contains('<'), "{slack}");
    let feishu = at_most(WebhookKind::Feishu, MessageFormat::Text, "/content/text");
    assert!(!feishu.contains("<at"), "{feishu}");
    let wecom = at_most(WebhookKind::Wecom, MessageFormat::Markdown, "/markdown/content");
    assert!(!wecom.contains("<@"), "{wecom}");
    assert_eq!(defuse("a<@b<@", "<@"), "a<\u{200b}@b<\u{200b}@");
    // What imitates Slack takes these for mentions, and for a picture that it fetches.
    let evil = "@channel @all ![x](http://evil.example/)";
    let told = |kind, path: &str| {
        let load = load(&webhook(kind, MessageFormat::Text, &[]), &message(Stage::Firing, evil));
        load.pointer(path).unwrap().as_str().unwrap().to_owned()
    };
    for text in [told(WebhookKind::Slack, "/text"), told(WebhookKind::Feishu, "/content/text")] {
        assert!(text.contains("@\u{200b}channel @\u{200b}all ![x]\u{200b}(http://evil.example/)"), "{text}");
    }
}

proptest! {
    #[test]
    fn wecom_gets_no_more_than_it_takes(subject in "\\PC{0,3000}|(<@){0,3000}|\u{4e2d}{0,3000}", names in 0_usize..21) {
        let names = vec!["a.name.of.sixty-four.characters"; names];
        for (format, path, most) in [
            (MessageFormat::Text, "/text/content", TEXT_BYTES),
            (MessageFormat::Markdown, "/markdown/content", MARKDOWN_BYTES),
        ] {
            let load = load(&webhook(WebhookKind::Wecom, format, &names), &message(Stage::Firing, &subject));
            let text = load.pointer(path).unwrap().as_str().unwrap();
            prop_assert!(text.len() <= most, "{}", text.len());
            prop_assert!(format == MessageFormat::Text || text.matches("<@").count() == names.len());
        }
    }
}

#[test]
fn codes_have_a_meaning() {
    type Meaning = fn(i64) -> Option<Trouble>;
    let table: &[(Meaning, i64, Option<Trouble>)] = &[
        (wecom::trouble, 0, None),
        (wecom::trouble, 45_009, Some(Trouble::Rate)),
        (wecom::trouble, 93_000, Some(Trouble::Refused)),
        (wecom::trouble, 40_058, Some(Trouble::Message)),
        (wecom::trouble, 77_777, Some(Trouble::Refused)),
        (dingtalk::trouble, 0, None),
        (dingtalk::trouble, 130_101, Some(Trouble::Rate)),
        (dingtalk::trouble, 310_000, Some(Trouble::Refused)),
        (feishu::trouble, 0, None),
        (feishu::trouble, 11_232, Some(Trouble::Rate)),
        (feishu::trouble, 19_024, Some(Trouble::Message)),
        (feishu::trouble, 19_001, Some(Trouble::Refused)),
    ];
    for (trouble, code, expected) in table {
        assert_eq!(trouble(*code), *expected, "{code}");
    }
}

/// What an Alertmanager is sent: labels, begin, end.
fn alerts(body: &[u8]) -> Vec<(String, String, String)> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = body.as_array().unwrap().iter();
    alerts.map(|alert| (text(&alert["labels"]["subject"]), text(&alert["startsAt"]), text(&alert["endsAt"]))).collect()
}

#[test]
fn what_stands_at_an_alertmanager_is_told_again_and_ends() {
    let standing = Standing::default();
    let url = "http://10.0.0.9:9093/prefix/".parse().unwrap();
    let hook = webhook(WebhookKind::Alertmanager, MessageFormat::Text, &[]);
    let item = |stage, subject: &str, first: u64| {
        let message = Message { first: at(first), last: at(first + 30), ..message(stage, subject) };
        Item { id: String::new(), made: 0, stage, load: load(&hook, &message) }
    };
    let tell = |item: &Item, now: u64| {
        let post = standing.post(&url, item, at(now));
        assert_eq!(post.url.as_str(), "http://10.0.0.9:9093/prefix/api/v2/alerts");
        standing.heard(item, at(now));
        alerts(&post.body).remove(0)
    };
    let time = |seconds: u64| jiff::Timestamp::try_from(at(seconds)).unwrap().to_string();
    let alert = |subject: &str, begin, end| (subject.to_owned(), time(begin), time(end));
    assert!(standing.again(&url, at(0)).is_none());
    assert_eq!(tell(&item(Stage::Firing, "a", 0), 10), alert("a", 0, 250));
    assert_eq!(tell(&item(Stage::Firing, "b", 5), 10), alert("b", 5, 250));
    let again = standing.again(&url, at(70)).unwrap();
    assert_eq!(alerts(&again.body), [alert("a", 0, 310), alert("b", 5, 310)]);
    // The next window: it began when it began.
    assert_eq!(tell(&item(Stage::Firing, "a", 300), 310), alert("a", 0, 550));
    assert_eq!(tell(&item(Stage::Resolved, "a", 300), 400), alert("a", 0, 330));
    let again = standing.again(&url, at(401)).unwrap();
    assert_eq!(alerts(&again.body), [alert("b", 5, 641)]);
    // Nothing was heard of it for two windows and a minute.
    assert!(standing.again(&url, at(10 + 661)).is_none());
    assert!(standing.is_empty());
    // A test ends by itself, and what was never told ends where it began at the latest.
    assert_eq!(tell(&item(Stage::Test, "t", 0), 10), alert("t", 10, 70));
    assert_eq!(tell(&item(Stage::Resolved, "z", 900), 10), alert("z", 10, 10));
    assert!(standing.is_empty());
}

#[test]
fn a_clock_that_is_set_back_begins_nothing_in_the_future() {
    let (standing, url) = (Standing::default(), "http://10.0.0.9:9093/".parse().unwrap());
    let hook = webhook(WebhookKind::Alertmanager, MessageFormat::Text, &[]);
    let load = load(&hook, &message(Stage::Firing, "a"));
    let item = Item { id: String::new(), made: 0, stage: Stage::Firing, load };
    standing.heard(&item, at(10));
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for post in [standing.post(&url, &item, before), standing.again(&url, before).unwrap()] {
        let (_, begin, end) = alerts(&post.body).remove(0);
        assert_eq!((begin.as_str(), end.as_str()), ("1970-01-01T00:16:40Z", "1970-01-01T00:20:40Z"));
    }
}

#[test]
fn an_alertmanager_is_repeated_a_bounded_number() {
    let standing = Standing::default();
    let hook = webhook(WebhookKind::Alertmanager, MessageFormat::Text, &[]);
    for n in 0..1_000 {
        let load = load(&hook, &message(Stage::Firing, &n.to_string()));
        standing.heard(&Item { id: String::new(), made: 0, stage: Stage::Firing, load }, at(0));
    }
    let url = "http://10.0.0.9:9093/api/v2/alerts".parse().unwrap();
    let again = standing.again(&url, at(1)).unwrap();
    assert_eq!(again.url.path(), "/api/v2/alerts");
    let alerts = alerts(&again.body);
    assert_eq!((alerts.len(), &*alerts[0].0), (256, "744"));
}
