use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use jiff::tz::{TimeZone, offset};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::page::{CUT, Page};
use super::style::Style;
use super::{Language, Message, Stage, json};
use crate::alarm::{Alarm, Sample};

/// What robots of `WeCom` take.
const TEXT: usize = 2_048;
const MARKDOWN: usize = 4_096;

fn storm() -> Message {
    Message {
        alarm: Alarm::SelfTargetStorm,
        stage: Stage::Firing,
        gateway: "上海办公区-gw1".to_owned(),
        subject: "10.115.20.21".to_owned(),
        first: SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000),
        last: SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_250),
        count: 1_272,
        window: Duration::from_mins(5),
        values: vec![("rate", "412".to_owned())],
        sample: Some(Sample {
            client: Some(IpAddr::V4(Ipv4Addr::new(10, 115, 20, 21))),
            upstream: Some(([10, 115, 5, 2], 80).into()),
            request_line: (*b"GET http://10.115.5.2/mmtls/00006a5e HTTP/1.1").into(),
            answer: (*b"HTTP/1.1 404 Not Found\r\n").into(),
        }),
    }
}

fn page(message: &Message, language: Language, style: Style) -> String {
    let zone = TimeZone::fixed(offset(8));
    let page = Page::of(message, language, style, &zone);
    let title = if style == Style::Markdown { page.marked_title() } else { page.title() };
    [title].into_iter().chain(page.lines()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_message_says_what_how_often_and_what_to_do() {
    let text = page(&storm(), Language::English, Style::Plain);
    let beginning = "\
[Warning] 10.115.20.21 asks the proxy for the proxy itself, 412 times a second
Gateway: 上海办公区-gw1
First seen: 2020-09-13 20:26:40 +08:00
Count: 1272 times in 5 minutes
Client: 10.115.20.21
Upstream: 10.115.5.2:80
Request: GET http://10.115.5.2/mmtls/00006a5e HTTP/1.1
Answer: HTTP/1.1 404 Not Found\\x0D\\x0A
What to do:
1. See what it sends: the request of the sample. For more of it, with the program's name: `timeout 10 tcpdump -ni any -w \
/tmp/storm.pcap host 10.115.20.21`, then `floodgate pcap analyze /tmp/storm.pcap`.
2. ";
    assert!(text.starts_with(beginning), "{text}");
    assert!(text.contains("\nWhat it means: A program on that machine"), "{text}");
    let text = page(&storm(), Language::Chinese, Style::Plain);
    let beginning = "\
[警告] 10.115.20.21 反复经代理请求代理自身，每秒 412 次
网关：上海办公区-gw1
首次出现：2020-09-13 20:26:40 +08:00
次数：5 分钟内 1272 次
客户端：10.115.20.21
上游：10.115.5.2:80
请求：GET http://10.115.5.2/mmtls/00006a5e HTTP/1.1
响应：HTTP/1.1 404 Not Found\\x0D\\x0A
处理步骤：
1. 查看样本";
    assert!(text.starts_with(beginning), "{text}");
    assert!(text.contains("\n说明：该机器上的某个程序"), "{text}");
}

#[test]
fn markdown_is_what_wecom_understands() {
    let text = page(&storm(), Language::Chinese, Style::Markdown);
    let beginning = "\
<font color=\"warning\">[警告]</font> **10.115.20.21 反复经代理请求代理自身，每秒 412 次**
> 网关：上海办公区-gw1
> 首次出现：2020-09-13 20:26:40 +08:00
> 次数：5 分钟内 1272 次
> 客户端：10.115.20.21
> 上游：10.115.5.2:80
> 请求：`GET http://10.115.5.2/mmtls/00006a5e HTTP/1.1`
> 响应：`HTTP/1.1 404 Not Found\\x0D\\x0A`

**处理步骤**：
1. 查看样本";
    assert!(text.starts_with(beginning), "{text}");
}

#[test]
fn the_end_and_a_test_have_words_of_their_own() {
    let message = Message { stage: Stage::Resolved, count: 1, ..storm() };
    assert_eq!(
        page(&message, Language::English, Style::Plain),
        "[Resolved] 10.115.20.21 no longer asks for the proxy itself\nGateway: 上海办公区-gw1\n\
         First seen: 2020-09-13 20:26:40 +08:00\nLast seen: 2020-09-13 20:30:50 +08:00\nCount: 1 time in 5 minutes"
    );
    assert!(page(&message, Language::Chinese, Style::Markdown).starts_with("<font color=\"info\">[已恢复]</font> **"));
    let values = vec![("total", "7,301".to_owned()), ("waiting", "3".to_owned())];
    let text = page(&Message { values, ..message }, Language::English, Style::Plain);
    assert!(text.ends_with("\nCount: 7,301\nMessages that wait: 3"), "{text}");
    let message = Message { stage: Stage::Test, ..storm() };
    assert_eq!(
        page(&message, Language::Chinese, Style::Plain),
        "[测试] floodgate 测试消息\n网关：上海办公区-gw1\n首次出现：2020-09-13 20:26:40 +08:00\n\
         收到本消息，说明该网关的告警可以送达此处。当前没有故障，无需处理。"
    );
}

#[test]
fn what_is_not_known_is_a_dash() {
    let message = Message { subject: String::new(), values: Vec::new(), sample: None, ..storm() };
    let text = page(&message, Language::English, Style::Plain);
    assert!(text.starts_with("[Warning] – asks the proxy for the proxy itself, – times a second\n"), "{text}");
    assert!(text.contains("`ip neigh show –`"), "{text}");
    let text = page(&Message { sample: storm().sample, ..message }, Language::English, Style::Plain);
    assert!(text.contains("`ip neigh show 10.115.20.21`"), "a sample tells, too: {text}");
}

#[test]
fn a_command_holds_nothing_that_a_shell_understands() {
    let subject = "a.example:80;reboot".to_owned();
    let message = Message { alarm: Alarm::DestinationFenced, subject, sample: None, ..storm() };
    let text = page(&message, Language::English, Style::Plain);
    assert!(
        text.contains("curl -sv -m 10 -o /dev/null http://–/") && text.contains("] a.example:80;reboot has"),
        "{text}"
    );
}

/// A message with the longest sample there is, and with values as they are.
fn long(alarm: Alarm) -> Message {
    let values =
        alarm.row().placeholders.iter().map(|name| (*name, "gw-0123456789.example.net:8443".to_owned())).collect();
    let sample =
        storm().sample.map(|sample| Sample { request_line: [b'<'; 256].into(), answer: [0; 128].into(), ..sample });
    Message { alarm, values, sample, ..storm() }
}

#[test]
fn whole_messages_find_room_in_a_chat() {
    for alarm in Alarm::ALL {
        for language in Language::ALL {
            let mut text = page(&long(*alarm), language, Style::Plain);
            // The steps are what may not be missing.
            let end = if language == Language::English { "\nWhat it means:" } else { "\n说明：" };
            let steps = text.find(end).unwrap();
            assert!(steps + CUT.get(language).len() < TEXT, "{alarm:?} {language:?}: {steps}\n{text}");
            text = page(&Message { sample: storm().sample, ..long(*alarm) }, language, Style::Plain);
            assert!(text.len() <= TEXT, "{alarm:?} {language:?}: {}\n{text}", text.len());
            let markdown = long(*alarm).markdown(language, MARKDOWN);
            assert!(!markdown.contains(CUT.get(language)), "{alarm:?} {language:?}: {markdown}");
        }
    }
}

#[test]
fn machines_get_every_part_by_its_name() {
    let zone = TimeZone::fixed(offset(8));
    let got = json::json(&storm(), &zone);
    let Value::Object(mut fields) = got else { panic!() };
    let mut take = |name: &str| fields.remove(name).unwrap();
    let steps = take("steps");
    assert_eq!(steps["en"].as_array().map(Vec::len), steps["zh"].as_array().map(Vec::len));
    assert!(steps["zh"][1].as_str().unwrap().contains("`ip neigh show 10.115.20.21`"));
    for name in ["meaning", "condition"] {
        assert!(take(name).as_object().unwrap().values().all(|text| !text.as_str().unwrap().is_empty()));
    }
    assert_eq!(
        Value::Object(fields),
        json!({
            "version": 1,
            "alarm": "self_target_storm",
            "severity": "warning",
            "stage": "firing",
            "gateway": "上海办公区-gw1",
            "subject": "10.115.20.21",
            "first": "2020-09-13T20:26:40+08:00",
            "last": "2020-09-13T20:30:50+08:00",
            "count": 1272,
            "window_s": 300,
            "values": { "rate": "412" },
            "sample": {
                "client": "10.115.20.21",
                "upstream": "10.115.5.2:80",
                "request_line": "GET http://10.115.5.2/mmtls/00006a5e HTTP/1.1",
                "answer": "HTTP/1.1 404 Not Found\\x0D\\x0A",
            },
            "title": {
                "en": "10.115.20.21 asks the proxy for the proxy itself, 412 times a second",
                "zh": "10.115.20.21 反复经代理请求代理自身，每秒 412 次",
            },
        })
    );
    let over = json::json(&Message { stage: Stage::Resolved, sample: None, ..storm() }, &zone);
    assert_eq!((&over["steps"], &over["meaning"], &over["sample"]), (&Value::Null, &Value::Null, &Value::Null));
}

fn bytes(most: usize) -> impl Strategy<Value = Box<[u8]>> {
    let markup = prop::sample::select(b"<>*`[]()#|~_!&@\\\"'\r\n\0\x1b\xe2\x80\xae\xff".to_vec());
    prop::collection::vec(prop_oneof![markup, any::<u8>()], 0..most).prop_map(Vec::into_boxed_slice)
}

fn hostile_text() -> impl Strategy<Value = String> {
    let odd = "<>*`[]()#|~!&@\r\n\0\u{1b}\u{85}\u{202e}\u{200b}\u{2028}中";
    let odd = prop::sample::select(odd.chars().collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![odd, any::<char>()], 0..300).prop_map(String::from_iter)
}

fn hostile() -> impl Strategy<Value = Message> {
    let stage = prop::sample::select(vec![Stage::Firing, Stage::Resolved, Stage::Test]);
    let texts = [(); 6].map(|()| hostile_text());
    let time = || prop_oneof![0_u64..4_000_000_000, any::<u64>()];
    let numbers = (time(), time(), any::<u64>(), any::<u64>());
    let sample = (any::<Option<IpAddr>>(), bytes(300), bytes(200));
    (prop::sample::select(Alarm::ALL), stage, texts, numbers, prop::option::of(sample)).prop_map(
        |(alarm, stage, [gateway, subject, values @ ..], (first, last, count, window), sample)| {
            let time = |seconds| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
            };
            let sample = sample.map(|(client, request_line, answer)| Sample {
                client,
                upstream: client.map(|client| (client, 443).into()),
                request_line,
                answer,
            });
            let names = ["total", "waiting"].iter().chain(alarm.row().placeholders).copied();
            let values = names.zip(values).collect();
            let (first, last, window) = (time(first), time(last), Duration::from_secs(window));
            Message { alarm, stage, gateway, subject, first, last, count, window, values, sample }
        },
    )
}

/// The same message, and nobody's odd bytes in it.
fn tamed(message: &Message) -> Message {
    let tame = |text: &String| if text.is_empty() { String::new() } else { "x".to_owned() };
    let tame_bytes = |bytes: &[u8]| bytes.iter().take(1).map(|_| b'x').collect();
    Message {
        gateway: tame(&message.gateway),
        subject: tame(&message.subject),
        values: message.values.iter().map(|(name, value)| (*name, tame(value))).collect(),
        sample: message.sample.as_ref().map(|sample| Sample {
            request_line: tame_bytes(&sample.request_line),
            answer: tame_bytes(&sample.answer),
            ..sample.clone()
        }),
        ..message.clone()
    }
}

fn is_seen(text: &str) -> bool {
    let unseen = |c: char| {
        c.is_control() || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
    };
    text.split('\n').all(|line| !line.contains(unseen))
}

fn all_strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(all_strings).collect(),
        Value::Object(values) => values.values().flat_map(all_strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn no_message_is_longer_than_it_may_be(message in hostile(), max in 0_usize..5_000) {
        for language in Language::ALL {
            for text in [message.text(language, max), message.markdown(language, max)] {
                prop_assert!(text.len() <= max);
                prop_assert!(is_seen(&text), "{text:?}");
            }
            let (whole, cut) = (message.text(language, usize::MAX), message.text(language, max));
            if max > 100 {
                prop_assert_eq!(cut == whole, !cut.ends_with(CUT.get(language)), "{}", cut);
            }
        }
    }

    /// Whatever strangers send: markup, lines and mentions of a message are those that it has without them.
    #[test]
    fn strangers_add_no_markup(message in hostile()) {
        for language in Language::ALL {
            for (style, markup) in [(Style::Plain, "<>`\n"), (Style::Markdown, "<>`*#|~\n")] {
                let (text, tame) = (page(&message, language, style), page(&tamed(&message), language, style));
                for character in markup.chars() {
                    prop_assert_eq!(text.matches(character).count(), tame.matches(character).count(), "{}: {}", character, text);
                }
                prop_assert!(style == Style::Plain || !text.contains("]("), "{}", text);
            }
        }
    }

    #[test]
    fn json_is_read_back_as_it_was_written(message in hostile()) {
        let value = message.json();
        let read: Value = serde_json::from_str(&value.to_string()).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert!(all_strings(&value).iter().all(|text| is_seen(text) && !text.contains('\n')), "{value}");
        let tame = tamed(&message).json().to_string();
        for markup in ['<', '>', '`'] {
            prop_assert_eq!(value.to_string().matches(markup).count(), tame.matches(markup).count(), "{}", value);
        }
    }
}
