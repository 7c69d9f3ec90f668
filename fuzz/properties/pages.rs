//! Pages of the admin: whatever strangers and files say, the status is JSON on one line that means the same bytes, and the
//! metrics are lines of `OpenMetrics` with the same labels.
//!
//! An input is four texts with a zero byte between: a listener's label, a refused request line, why a file of the kernel
//! cannot be read, why there is no token.

use std::sync::Arc;
use std::time::Instant;

use floodgate::admin::{Board, Desk};
use floodgate::config::Settings;
use floodgate::guard::Guard;
use floodgate::kernel::view::{Absent, KernelView};
use floodgate::net::ClientKey;
use floodgate::outcome::{Form, RequestEnd};
use floodgate::telemetry::Counters;
use floodgate::telemetry::access_log::AccessLog;
use floodgate::telemetry::refusals::Refusals;
use serde_json::Value;

/// Bytes of a request line that are kept.
const SAMPLE: usize = 256;

/// Shows what `input` says. True if all of it was shown and read again.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    let mut texts = input.splitn(4, |byte| *byte == 0);
    let [label, line, absent, token] = [(); 4].map(|()| texts.next().unwrap_or_default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (label, absent, token) = (text(label), text(absent), text(token));
    let desk = Desk::new(Arc::new(board(&label, line, &absent, &token)));

    let status = desk.status();
    assert!(!status.contains(['\n', '\r']), "an event of more than one line");
    let status: Value = serde_json::from_str(&status).expect("the status is JSON");
    assert_eq!(status["kernel"]["absent"][0]["why"], absent.as_str());
    assert_eq!(status["guard"]["changes"], format!("off: {token}"));
    let client = &status["clients"][0];
    let sample = client["sample"].as_str().expect("a sample");
    assert!(sample.bytes().all(|byte| matches!(byte, b' '..=b'~')), "a sample that is not printable: {sample:?}");
    // Where there may be credentials, they are masked.
    if !line.contains(&b'@') {
        assert_eq!(bytes(sample), line[..line.len().min(SAMPLE)], "the sample is another: {sample}");
    }

    let (metrics, calm) = (desk.metrics(), Desk::new(Arc::new(board("calm", b"", "", ""))).metrics());
    let (series, expected) = (series(&metrics), series(&calm));
    let names =
        |series: &[(String, Vec<(String, String)>)]| series.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&series), names(&expected), "other series");
    let listener =
        series.iter().find(|(name, _)| name == "floodgate_connections_total").expect("the listener's series");
    assert_eq!(listener.1, [("listener".to_owned(), label)]);
    true
}

fn board(label: &str, line: &[u8], absent: &str, token: &str) -> Board {
    let refusals = Refusals::new();
    let address = [10, 0, 0, 1].into();
    refusals.note(ClientKey::new(address), address, RequestEnd::SelfTarget, Form::Answered, || line.into());
    refusals.drain();
    let absent = vec![Absent { source: "/proc/net/netstat", why: absent.to_owned() }];
    let kernel = KernelView { absent, ..KernelView::default() };
    Board {
        counters: Arc::new(Counters::new([label.to_owned()])),
        kernel: Arc::new(Some(Arc::new(kernel)).into()),
        settings: Arc::new(Arc::new(Settings::defaults()).into()),
        listeners: Vec::new(),
        admin_address: ([127, 0, 0, 1], 9128).into(),
        started: Instant::now(),
        draining: Arc::default(),
        refusals: Arc::new(refusals),
        access: AccessLog::off(),
        guard: Arc::new(Guard::new(10, false)),
        token: Err(token.to_owned()),
        read_token: None,
        events: Arc::default(),
        history: Arc::new(|_| Value::Null),
        alarms: Arc::default(),
        deliveries: Arc::default(),
        kernel_bytes: Arc::new(|_| None),
        limits: Arc::new(Vec::new),
        buckets_shared: Arc::new(|| 0),
    }
}

/// What `\xHH` stands for.
fn bytes(sample: &str) -> Vec<u8> {
    let mut rest = sample.as_bytes();
    let mut bytes = Vec::new();
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        if *byte == b'\\' {
            let (escape, more) = more.split_at(3);
            let digits = escape.strip_prefix(b"x").and_then(|digits| std::str::from_utf8(digits).ok());
            bytes.push(u8::from_str_radix(digits.expect("\\x"), 16).expect("two digits"));
            rest = more;
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

/// The series of a page, in order: name and labels (`OpenMetrics` 1.0, section "ABNF").
fn series(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    let body = page.strip_suffix("# EOF\n").expect("the end is marked");
    let lines = body.split_terminator('\n').filter(|line| {
        let is_comment = line.starts_with('#');
        assert!(!is_comment || ["# HELP ", "# TYPE ", "# UNIT "].iter().any(|kind| line.starts_with(kind)), "{line}");
        !is_comment
    });
    lines
        .map(|line| {
            let end = line.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_').expect("a value");
            let (name, rest) = line.split_at(end);
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => labels(rest),
                None => (Vec::new(), rest),
            };
            let value = value.strip_prefix(' ').expect("a space before the value");
            assert!(value.parse::<f64>().is_ok(), "no number: {line}");
            (name.to_owned(), labels)
        })
        .collect()
}

/// Labels up to the brace, and what comes after it.
fn labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").expect("a label");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().expect("a quote at the end") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("no escape: {other}"),
                }),
                (_, plain) => value.push(plain),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &quoted[end..];
        match rest.split_at(1) {
            ("}", after) => return (labels, after),
            (",", more) => rest = more,
            (other, _) => panic!("neither comma nor brace: {other}"),
        }
    }
}
