//! A message laid out for people, the most important first: what, how often, an example, what to do, what it means.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::style::{Style, VALUE, in_command};
use super::{Language, Message, Rendered, Stage};
use crate::alarm::Severity;
use crate::alarm::catalogue::{Piece, Row, Text, both, pieces, span};

/// Says that something is missing at the end.
pub(super) const CUT: Text = both("[cut: more on the status page]", "[已截断，完整内容见状态页]");
/// Stands for what is not known.
const UNKNOWN: &str = "–";

const TEST_TITLE: Text = both("A test message of floodgate", "floodgate 测试消息");
const TEST: Text = both(
    "If you read this, alarms of this gateway arrive here. Nothing is wrong, and nothing is to be done.",
    "收到本消息，说明该网关的告警可以送达此处。当前没有故障，无需处理。",
);
const RESOLVED: Text = both("Resolved", "已恢复");
const TESTED: Text = both("Test", "测试");
const GATEWAY: Text = both("Gateway", "网关");
const FIRST: Text = both("First seen", "首次出现");
const LAST: Text = both("Last seen", "最近出现");
const COUNT: Text = both("Count", "次数");
const CLIENTS: Text = both("Clients", "客户端数");
const WAITING: Text = both("Messages that wait", "待发告警");
const CLIENT: Text = both("Client", "客户端");
const UPSTREAM: Text = both("Upstream", "上游");
const REQUEST: Text = both("Request", "请求");
const ANSWER: Text = both("Answer", "响应");
const STEPS: Text = both("What to do", "处理步骤");
const MEANING: Text = both("What it means", "说明");

/// How times are shown to people, and to machines (RFC 3339).
const CLOCK: &str = "%Y-%m-%d %H:%M:%S %:z";
pub(super) const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// A message in one language and style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    message: &'a Message,
    row: &'static Row,
    language: Language,
    style: Style,
    zone: &'a TimeZone,
}

impl<'a> Page<'a> {
    pub(super) fn of(message: &'a Message, language: Language, style: Style, zone: &'a TimeZone) -> Self {
        Self { message, row: message.alarm.row(), language, style, zone }
    }

    pub(super) fn rendered(&self) -> Rendered {
        Rendered { title: self.title(), lines: self.lines() }
    }

    /// How bad, and what.
    pub(super) fn title(&self) -> String {
        format!("[{}] {}", self.tag(), self.what())
    }

    /// The same in colours: `info`, `comment` and `warning` are all that `WeCom` has.
    pub(super) fn marked_title(&self) -> String {
        let colour = match (self.message.stage, self.message.severity()) {
            (Stage::Resolved | Stage::Test, _) => "info",
            (Stage::Firing, Severity::Info) => "comment",
            (Stage::Firing, Severity::Warning | Severity::Critical) => "warning",
        };
        format!("<font color=\"{colour}\">[{}]</font> **{}**", self.tag(), self.what())
    }

    fn tag(&self) -> &'static str {
        let tag = match self.message.stage {
            Stage::Firing => self.message.severity().words(),
            Stage::Resolved => RESOLVED,
            Stage::Test => TESTED,
        };
        tag.get(self.language)
    }

    /// What, in a line.
    pub(super) fn what(&self) -> String {
        match self.message.stage {
            Stage::Firing => self.filled(self.row.title),
            Stage::Resolved => self.filled(self.row.over),
            Stage::Test => TEST_TITLE.get(self.language).to_owned(),
        }
    }

    /// Everything below the title.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.facts();
        match self.message.stage {
            Stage::Firing => {
                self.block(&mut lines, self.heading(STEPS));
                lines.extend((1..).zip(self.steps()).map(|(number, step)| format!("{number}. {step}")));
                let heading = self.heading(MEANING);
                let apart = if self.language == Language::Chinese { "" } else { " " };
                self.block(&mut lines, format!("{heading}{apart}{}", self.meaning()));
            }
            Stage::Resolved => {}
            Stage::Test => self.block(&mut lines, TEST.get(self.language).to_owned()),
        }
        lines
    }

    /// A line that begins something new. Without an empty one before it, markdown takes it for more of what was before.
    fn block(&self, lines: &mut Vec<String>, line: String) {
        if self.style == Style::Markdown {
            lines.push(String::new());
        }
        lines.push(line);
    }

    fn facts(&self) -> Vec<String> {
        let Message { stage, gateway, first, last, count, window, sample, .. } = self.message;
        let mut facts = vec![(GATEWAY, self.style.shown(gateway, VALUE)), (FIRST, time(*first, self.zone, CLOCK))];
        if *stage == Stage::Resolved {
            facts.push((LAST, time(*last, self.zone, CLOCK)));
        }
        match (stage, self.value("total")) {
            (Stage::Test, _) => {}
            (Stage::Resolved, Some(total)) => facts.push((COUNT, self.style.shown(&total, VALUE))),
            (Stage::Firing | Stage::Resolved, _) => {
                let window = span(*window, self.language);
                let count = match self.language {
                    Language::English => format!("{count} time{} in {window}", if *count == 1 { "" } else { "s" }),
                    Language::Chinese => format!("{window}内 {count} 次"),
                };
                facts.push((COUNT, count));
            }
        }
        if let Some((clients, heaviest)) = self.value("clients").zip(self.value("heaviest")) {
            facts.push((CLIENTS, self.style.shown(&format!("{clients} ({heaviest})"), VALUE)));
        }
        if let Some(sample) = sample.as_ref().filter(|_| *stage == Stage::Firing) {
            facts.extend(sample.client.map(|client| (CLIENT, client.to_string())));
            facts.extend(sample.upstream.map(|upstream| (UPSTREAM, upstream.to_string())));
            let bytes = |label, bytes: &[u8], show: fn(Style, &[u8]) -> String| {
                (!bytes.is_empty()).then(|| (label, show(self.style, bytes)))
            };
            facts.extend(bytes(REQUEST, &sample.request_line, Style::request));
            facts.extend(bytes(ANSWER, &sample.answer, Style::answer));
        }
        facts.extend(self.value("waiting").map(|waiting| (WAITING, self.style.shown(&waiting, VALUE))));
        let quoted = if self.style == Style::Markdown { "> " } else { "" };
        let colon = self.colon();
        facts.iter().map(|(label, fact)| format!("{quoted}{}{colon}{fact}", label.get(self.language))).collect()
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = String> {
        self.row.steps.iter().map(|step| self.filled(*step))
    }

    pub(super) fn meaning(&self) -> String {
        self.filled(self.row.meaning)
    }

    const fn colon(&self) -> &'static str {
        both(": ", "：").get(self.language)
    }

    fn heading(&self, words: Text) -> String {
        let colon = self.colon().trim_end();
        match self.style {
            Style::Plain => format!("{}{colon}", words.get(self.language)),
            Style::Markdown => format!("**{}**{colon}", words.get(self.language)),
        }
    }

    /// A text with what it left open.
    fn filled(&self, text: Text) -> String {
        let mut out = String::new();
        for piece in pieces(text.get(self.language)) {
            match piece {
                Piece::Words(words) => out.push_str(words),
                Piece::Open { name, in_command: false } => {
                    out.push_str(
                        &self.value(name).map_or_else(|| UNKNOWN.to_owned(), |value| self.style.shown(&value, VALUE)),
                    );
                    if name == "client" {
                        out.push_str(&self.and_more());
                    }
                }
                Piece::Open { name, in_command: true } => {
                    out.push_str(self.value(name).as_deref().and_then(in_command).unwrap_or(UNKNOWN));
                }
            }
        }
        out
    }

    /// Behind a client that is not the only one.
    fn and_more(&self) -> String {
        let Some((clients, more)) = self.value("clients").zip(self.value("more")) else { return String::new() };
        match self.language {
            Language::English => format!(" (and {more} more)"),
            Language::Chinese => format!(" 等 {clients} 个客户端"),
        }
    }

    /// What a placeholder stands for: what was given; else the subject, where the row says so; else what the sample tells.
    fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let Message { subject, values, sample, .. } = self.message;
        let given = values.iter().find(|(given, value)| *given == name && !value.is_empty()).map(|(_, value)| value);
        let subject = || (self.row.subject == Some(name) && !subject.is_empty()).then_some(subject);
        given.or_else(subject).map(|value| Cow::Borrowed(value.as_str())).or_else(|| {
            let sample = sample.as_ref()?;
            match name {
                "client" => sample.client.map(|client| client.to_string().into()),
                "upstream" => sample.upstream.map(|upstream| upstream.to_string().into()),
                "address" => sample.upstream.map(|upstream| upstream.ip().to_string().into()),
                _ => None,
            }
        })
    }
}

/// A time as this place has it.
pub(super) fn time(at: SystemTime, zone: &TimeZone, format: &str) -> String {
    let Ok(at) = Timestamp::try_from(at) else { return UNKNOWN.to_owned() };
    at.to_zoned(zone.clone()).strftime(format).to_string()
}
