//! `[[alarm.webhook]]`: where alarms are sent.
//!
//! Owns: its keys, and which of them go with which kind. Called by: the file, `print`; the deliveries, for an address that is
//! kept in a file. Never: opens a file.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeTable;
use url::{Host, Url};

use super::file::{File, array};
use super::keys::{Key, Listed, Row, is_file, keys};
use super::kinds::{Choice, Found, List, Switch, Text};
use super::problem::Fault;
use super::settings::{MessageFormat, Webhook, WebhookKind, WebhookPlace};
use crate::alarm::Language;
use crate::alarm::Severity;
use crate::net::class::{Class, class};

/// At most so many: each has a queue of its own on disk.
pub(super) const MAX_WEBHOOKS: usize = 16;
/// People or groups that one message calls by name.
const MAX_MENTIONS: usize = 20;
/// Bytes of a name to mention: user ids of all three robots are at most 64.
const MENTION_BYTES: usize = 64;

keys! {
    /// What is spoken there: "wecom", "dingtalk" and "feishu" are robots of group chats, "slack" is a Slack-compatible incoming
    /// hook, "alertmanager" its API v2, "json" our own JSON, "command" a program on this box that gets that JSON on its
    /// standard input.
    KIND: Choice<WebhookKind> = ["alarm.webhook" "kind" = r#""wecom""#]
        Choice(&[
            ("wecom", WebhookKind::Wecom), ("dingtalk", WebhookKind::Dingtalk), ("feishu", WebhookKind::Feishu),
            ("slack", WebhookKind::Slack), ("alertmanager", WebhookKind::Alertmanager), ("json", WebhookKind::Json),
            ("command", WebhookKind::Command),
        ]);
    /// The file that holds the address, and nothing else. The address of a robot is a secret: whoever knows it can write to
    /// the group. The gateway's account must be able to read it, others must not (chmod 600).
    URL_FILE: Text<Option<PathBuf>> = ["alarm.webhook" "url-file" = r#""""#] FILE;
    /// The address itself, for "alertmanager" (of its root) and "json": theirs need not be a secret.
    URL: Text<Option<Url>> = ["alarm.webhook" "url" = r#""""#]
        Text { form: "an address such as \"https://alerts.example.net/\" or \"\"", parse: url };
    /// Permits http:// to an address of this box or of a private network, where there is nobody to listen.
    PLAIN_HTTP: Switch = ["alarm.webhook" "plain-http" = "false"] Switch;
    /// The file that holds the key messages are signed with: "dingtalk" and "feishu" where the robot asks for it, "json" where
    /// the receiver checks it.
    SECRET_FILE: Text<Option<PathBuf>> = ["alarm.webhook" "secret-file" = r#""""#] FILE;
    /// The certificates (PEM) of those who may sign the server's, instead of the ones this box trusts.
    CA_FILE: Text<Option<PathBuf>> = ["alarm.webhook" "ca-file" = r#""""#] FILE;
    /// The program of kind "command", by its absolute path, and its arguments. It runs without a shell, with an empty
    /// environment, for at most 10 s; exit code 0 means delivered.
    COMMAND: List<String> = ["alarm.webhook" "command" = "[]"]
        List { form: "a list such as [\"/usr/local/bin/tell\", \"--urgent\"]", parse: argument };
    /// What is less severe than this is not sent there: "info", "warning", "critical".
    SEVERITY: Choice<Severity> = ["alarm.webhook" "severity" = r#""info""#]
        Choice(&[("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)]);
    /// Its language: "en" or "zh"; with "" that of the other messages.
    LANGUAGE: Choice<Option<Language>> = ["alarm.webhook" "language" = r#""""#]
        Choice(&[("", None), ("en", Some(Language::English)), ("zh", Some(Language::Chinese))]);
    /// "text", or "markdown" ("wecom" and "dingtalk"; the former takes twice the length then, but only its own client shows it).
    FORMAT: Choice<MessageFormat> = ["alarm.webhook" "format" = r#""text""#]
        Choice(&[("text", MessageFormat::Text), ("markdown", MessageFormat::Markdown)]);
    /// Who is called by name while an alarm stands: user ids ("wecom", "feishu", "slack"), telephone numbers ("wecom",
    /// "dingtalk"), "@all" for everybody.
    MENTION: List<String> = ["alarm.webhook" "mention" = "[]"]
        List { form: "a list such as [\"@all\"]", parse: mention };
}

const FILE: Text<Option<PathBuf>> = Text { form: "an absolute path or \"\"", parse: file };

fn file(text: &str) -> Result<Option<PathBuf>, Fault> {
    match text {
        "" => Ok(None),
        path if is_file(path) => Ok(Some(path.into())),
        _ => Err(Fault::new("is not the absolute path of a file", "write a path that begins with /")),
    }
}

fn url(text: &str) -> Result<Option<Url>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    // What takes another key is judged with it.
    address(text, true).map(Some).map_err(|(reason, remedy)| Fault::new(reason, remedy))
}

fn argument(text: &str) -> Result<String, Fault> {
    if text.contains('\0') {
        return Err(Fault::new("contains a NUL character", "remove it"));
    }
    Ok(text.to_owned())
}

/// What ends up between the markers of a chat's markup must not be able to close them.
fn mention(text: &str) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@_-.+".contains(&byte);
    if (1..=MENTION_BYTES).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        "is nobody's user id or telephone number",
        "write letters, digits, '@', '_', '-', '.' and '+', or \"@all\" for everybody",
    ))
}

/// Reads the address of a webhook; what is wrong with it, and what to write instead.
pub(crate) fn address(text: &str, plain_http: bool) -> Result<Url, (&'static str, &'static str)> {
    let url = Url::parse(text).map_err(|_| ("is not an address", "write https://HOST/PATH"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(("is neither https nor http", "write https://HOST/PATH"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("holds a user name or a password, which is not sent", "write https://HOST/PATH without them"));
    }
    if url.scheme() == "http" && !(plain_http && is_near(&url)) {
        return Err((
            "would send alarms, and the key in the address, unencrypted",
            "write https://; or, to an address of this box or of a private network, set plain-http = true",
        ));
    }
    Ok(url)
}

/// Whether nobody on the way can listen, as far as an address tells.
fn is_near(url: &Url) -> bool {
    let near = |ip: IpAddr| matches!(class(ip), Class::Loopback | Class::Private);
    match url.host() {
        Some(Host::Ipv4(ip)) => near(ip.into()),
        Some(Host::Ipv6(ip)) => near(ip.into()),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Every `[[alarm.webhook]]` of the file.
pub(super) fn read(file: &mut File<'_>) -> Vec<Webhook> {
    let Some(configured) = configured(file.table).and_then(array) else {
        return Vec::new();
    };
    if let Some(first) = configured.get(MAX_WEBHOOKS) {
        let fault = Fault::new(format!("more than {MAX_WEBHOOKS} webhooks"), "remove some of them");
        file.problem("alarm.webhook", None, first.span(), fault);
    }
    let mut webhooks: Vec<(usize, Webhook)> = Vec::new();
    for (index, found) in configured.iter().take(MAX_WEBHOOKS).enumerate() {
        let Some(table) = found.get_ref().as_table() else { continue };
        let Some(webhook) = (Entry { index, found, table }).read(file) else { continue };
        let twin = webhooks.iter().find(|(_, other)| (other.kind, &other.place) == (webhook.kind, &webhook.place));
        if let Some((other, _)) = twin {
            let fault = Fault::new(
                format!("goes where alarm.webhook[{other}] goes, and every message would arrive twice"),
                "remove one of the two",
            );
            file.problem(&format!("alarm.webhook[{index}]"), None, found.span(), fault);
        }
        webhooks.push((index, webhook));
    }
    webhooks.into_iter().map(|(_, webhook)| webhook).collect()
}

/// What the file has under `alarm.webhook`.
pub(super) fn configured<'a>(document: &'a DeTable<'a>) -> Option<&'a Found<'a>> {
    document.get("alarm")?.get_ref().as_table()?.get("webhook")
}

/// One of them.
struct Entry<'a> {
    index: usize,
    found: &'a Found<'a>,
    table: &'a DeTable<'a>,
}

impl Entry<'_> {
    fn path(&self, name: &str) -> String {
        format!("alarm.webhook[{}].{name}", self.index)
    }

    fn get<K: super::kinds::Kind>(&self, file: &mut File<'_>, key: &Key<K>) -> K::Value {
        file.value(self.table.get(key.row.name), key, &self.path(key.row.name))
    }

    /// The webhook, unless something in it is wrong.
    fn read(&self, file: &mut File<'_>) -> Option<Webhook> {
        let before = file.problems.len();
        if !self.table.contains_key(KIND.row.name) {
            let fault = Fault::new("missing", format!("write kind = {}", KIND.row.default));
            file.problem(&self.path(KIND.row.name), None, self.found.span(), fault);
        }
        let kind = self.get(file, &KIND);
        let (address_file, url) = (self.get(file, &URL_FILE), self.get(file, &URL));
        let command = self.get(file, &COMMAND);
        let webhook = Webhook {
            kind,
            place: WebhookPlace::Command(Vec::new()),
            plain_http: self.get(file, &PLAIN_HTTP),
            secret_file: self.get(file, &SECRET_FILE),
            ca_file: self.get(file, &CA_FILE),
            severity: self.get(file, &SEVERITY),
            language: self.get(file, &LANGUAGE),
            format: self.get(file, &FORMAT),
            mention: self.get(file, &MENTION),
        };
        if file.problems.len() > before {
            return None;
        }
        for name in foreign(kind) {
            if let Some(found) = self.table.get(*name) {
                let fault = Fault::new(format!("does not go with kind = \"{}\"", kind.label()), remedy(kind, name));
                // Not the value: an address in the wrong place is still a secret.
                file.problem(&self.path(name), None, found.span(), fault);
            }
        }
        if webhook.mention.len() > MAX_MENTIONS {
            let fault = Fault::new(format!("more than {MAX_MENTIONS} names"), "write \"@all\"");
            file.problem(&self.path(MENTION.row.name), None, self.found.span(), fault);
        }
        if file.problems.len() > before {
            return None;
        }
        match place(kind, address_file, url, command, webhook.plain_http) {
            Ok(place) => Some(Webhook { place, ..webhook }),
            Err((name, fault)) => {
                file.problem(&self.path(name), None, self.found.span(), fault);
                None
            }
        }
    }
}

/// Where it is, or the key that is wrong.
fn place(
    kind: WebhookKind,
    address_file: Option<PathBuf>,
    url: Option<Url>,
    command: Vec<String>,
    plain_http: bool,
) -> Result<WebhookPlace, (&'static str, Fault)> {
    match (kind, address_file, url) {
        (WebhookKind::Command, ..) if command.first().is_some_and(|program| is_file(program)) => {
            Ok(WebhookPlace::Command(command))
        }
        (WebhookKind::Command, ..) => {
            let fault = Fault::new("names no program", "write command = [\"/absolute/path\"]");
            Err((COMMAND.row.name, fault))
        }
        (_, Some(_), Some(_)) => {
            let fault = Fault::new("there is a url-file, too", "remove one of the two");
            Err((URL.row.name, fault))
        }
        (_, Some(path), None) => Ok(WebhookPlace::UrlFile(path)),
        (_, None, Some(url)) => match address(url.as_str(), plain_http) {
            Ok(url) => Ok(WebhookPlace::Url(url)),
            Err((reason, remedy)) => Err((URL.row.name, Fault::new(reason, remedy))),
        },
        (_, None, None) => {
            let fault = Fault::new("missing", "write url-file = \"/etc/floodgate/webhook\", a file with the address");
            Err((URL_FILE.row.name, fault))
        }
    }
}

/// The keys that mean nothing to a kind.
fn foreign(kind: WebhookKind) -> &'static [&'static str] {
    match kind {
        WebhookKind::Wecom => &["url", "command", "secret-file"],
        WebhookKind::Dingtalk => &["url", "command"],
        WebhookKind::Feishu => &["url", "command", "format"],
        WebhookKind::Slack => &["url", "command", "secret-file", "format"],
        WebhookKind::Alertmanager => &["command", "secret-file", "format", "mention"],
        WebhookKind::Json => &["command", "format", "mention"],
        WebhookKind::Command => &["url-file", "url", "plain-http", "secret-file", "ca-file", "format", "mention"],
    }
}

fn remedy(kind: WebhookKind, name: &str) -> &'static str {
    match (kind, name) {
        (WebhookKind::Command, _) | (_, "secret-file" | "format" | "mention") => "remove it",
        (_, "url") => "its address is a secret: put it into a file (chmod 600) and name that in url-file",
        _ => "remove it, or write kind = \"command\"",
    }
}

/// The keys, for whoever shows or compares them.
pub(super) fn listed() -> &'static [&'static dyn Listed] {
    KEYS
}
