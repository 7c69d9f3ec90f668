//! Alertmanager's API v2: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
//!
//! It wants to be told again and again of what stands, as Prometheus tells it, and forgets what it is not told of. So what
//! stands is repeated here, once a minute; it ends when the alarm does, when nothing was heard of it for two windows, or four
//! minutes after floodgate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use url::Url;

use super::super::item::Item;
use super::{Post, TEXT_BYTES};
use crate::alarm::Language;
use crate::alarm::{Message, Stage};

/// How often what stands is told again: Prometheus' `--rules.alert.resend-delay`.
pub(in super::super) const REPEAT: Duration = Duration::from_mins(1);
/// How long it stands when it is not: four times that, as Prometheus has it.
const EXPIRES: u64 = 240;
/// A test ends by itself, seconds.
const TEST: u64 = 60;
/// Alerts that are repeated; further ones are told once a window, and may expire before.
const MOST: usize = 256;

pub(super) fn pack(message: &Message, language: Language) -> Value {
    let text = message.text(language, TEXT_BYTES);
    let mut labels = json!({
        "alertname": message.alarm.label(),
        "severity": message.severity().label(),
        "gateway": message.gateway,
        "service": "floodgate",
    });
    // An empty label is none.
    if let Some(labels) = labels.as_object_mut().filter(|_| !message.subject.is_empty()) {
        labels.insert("subject".to_owned(), json!(message.subject));
    }
    json!({
        "labels": labels,
        "annotations": { "summary": text.lines().next().unwrap_or_default(), "description": text },
        "first": seconds(message.first),
        "last": seconds(message.last),
        "window": message.window.as_secs(),
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What stands at one Alertmanager.
#[derive(Debug, Default)]
pub(in super::super) struct Standing(Mutex<Vec<Alert>>);

#[derive(Clone, Debug)]
struct Alert {
    labels: Value,
    annotations: Value,
    /// Seconds since 1970.
    starts: u64,
    /// When it is no longer repeated.
    until: u64,
}

impl Standing {
    /// The request for one message. Nothing begins after now, though the clock may have been set back: it would end before it
    /// began, which is refused.
    pub(in super::super) fn post(&self, url: &Url, item: &Item, now: SystemTime) -> Post {
        let now = seconds(now);
        let alert = self.alert(item, now);
        let (starts, ends) = match item.stage {
            Stage::Firing => (alert.starts.min(now), now.saturating_add(EXPIRES)),
            Stage::Test => (now, now.saturating_add(TEST)),
            // The end lies behind: that is what makes it one.
            Stage::Resolved => (alert.starts.min(now), number(item, "last").clamp(alert.starts.min(now), now)),
        };
        request(url, &[told(&alert, starts, ends)])
    }

    /// It was told.
    pub(in super::super) fn heard(&self, item: &Item, now: SystemTime) {
        let alert = self.alert(item, seconds(now));
        let mut standing = self.0.lock();
        standing.retain(|other| other.labels != alert.labels);
        if item.stage == Stage::Firing {
            if standing.len() >= MOST {
                standing.remove(0);
            }
            standing.push(alert);
        }
    }

    /// The request that repeats what stands; `None` if nothing does.
    pub(in super::super) fn again(&self, url: &Url, now: SystemTime) -> Option<Post> {
        let now = seconds(now);
        let mut standing = self.0.lock();
        standing.retain(|alert| alert.until > now);
        let alerts: Vec<Value> =
            standing.iter().map(|alert| told(alert, alert.starts.min(now), now.saturating_add(EXPIRES))).collect();
        (!alerts.is_empty()).then(|| request(url, &alerts))
    }

    /// Hands over what stands.
    pub(in super::super) fn take(&self) -> Self {
        Self(Mutex::new(std::mem::take(&mut *self.0.lock())))
    }

    /// Whether anything stands.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The alert of a message; it began when the one with the same labels that stands began.
    fn alert(&self, item: &Item, now: u64) -> Alert {
        let part = |name: &str| item.load.get(name).cloned().unwrap_or(Value::Null);
        let labels = part("labels");
        let begun = self.0.lock().iter().find(|other| other.labels == labels).map(|other| other.starts);
        let first = number(item, "first");
        // Two windows, and a minute for the way.
        let until = now.saturating_add(number(item, "window").saturating_mul(2)).saturating_add(60);
        Alert { labels, annotations: part("annotations"), starts: begun.unwrap_or(first), until }
    }
}

fn number(item: &Item, name: &str) -> u64 {
    item.load.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn told(alert: &Alert, starts: u64, ends: u64) -> Value {
    let time = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        time.unwrap_or_default().to_string()
    };
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": time(starts),
        "endsAt": time(ends),
    })
}

/// `url` is that of its root, or of the path itself.
fn request(url: &Url, alerts: &[Value]) -> Post {
    const PATH: &str = "/api/v2/alerts";
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(PATH) {
        url.set_path(&(path + PATH));
    }
    Post { url, fields: Vec::new(), body: Value::from(alerts.to_vec()).to_string().into_bytes() }
}
