//! The text of a configuration file becomes settings, or the list of everything that is wrong with it.
//!
//! Owns: reading values by the table of keys, and what is said of keys that are not in it.
//! Called by: `Settings::from_toml`, `load`. Never: opens a file.

use std::ops::Range;
use std::thread::available_parallelism;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::alarms;
use super::check;
use super::keys::{self, KEYS, Key, Listed, SECTIONS};
use super::kinds::{Found, Kind, not_expected};
use super::problem::{Fault, MAX_PROBLEMS, Problem, Problems, shown};
use super::settings::{
    Admin, Alarm, Clients, Destinations, Guard, HostName, Limits, Listener, Log, Own, Runtime, Settings, Timeouts,
    Upstream,
};
use super::webhook::{self, MAX_WEBHOOKS};
use crate::alarm::judge::Thresholds;
use crate::guard::fence::Terms;

/// At most so many listeners: each costs a socket and a task on every worker.
const MAX_LISTENERS: usize = 64;

/// Longer names are not compared with the known ones.
const MAX_COMPARED: usize = 64;

/// What a file says, before the cross-checks: flags may still replace parts of it.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where a value could not be read, the default stands.
    pub(super) settings: Settings,
    pub(super) problems: Vec<Problem>,
    /// The keys that were set, and the line of each.
    pub(super) lines: Vec<(String, usize)>,
}

impl Draft {
    /// The settings, if neither a key nor the whole is wrong.
    pub(super) fn finish(mut self) -> Result<Settings, Problems> {
        for conflict in check::conflicts(&self.settings) {
            // A default that stands for an unreadable value conflicts with nothing.
            let readable = |key: &str| !self.problems.iter().any(|p| p.key.starts_with(key));
            if !readable(&conflict.problem.key) || !readable(&conflict.with) {
                continue;
            }
            let line = self
                .lines
                .iter()
                .find(|(key, _)| conflict.problem.key.starts_with(key.as_str()))
                .map(|(_, line)| *line);
            self.problems.push(Problem { line, ..conflict.problem });
        }
        if self.problems.is_empty() { Ok(self.settings) } else { Err(Problems::new(self.problems)) }
    }
}

/// The settings of an empty file.
pub(super) fn defaults() -> Settings {
    settings(&mut File::new("", &DeTable::new()))
}

/// Reads a text; an error if it is not TOML.
pub(super) fn read(text: &str) -> Result<Draft, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = File::new(text, document.get_ref());
    if !errors.is_empty() {
        return Err(file.syntax(&errors));
    }
    let settings = settings(&mut file);
    file.unknown_keys();
    Ok(Draft { settings, problems: file.problems, lines: file.lines })
}

fn settings(file: &mut File<'_>) -> Settings {
    let (addresses, names) = file.read(&keys::SELF_ALIASES).into_iter().fold(
        (Vec::new(), Vec::new()),
        |(mut addresses, mut names), alias| {
            match alias {
                HostName::Address(address) => addresses.push(address),
                HostName::Name(name) => names.push(name),
            }
            (addresses, names)
        },
    );
    Settings {
        listeners: listeners(file),
        runtime: Runtime {
            workers: match file.read(&keys::WORKERS) {
                0 => available_parallelism().map_or(1, usize::from),
                workers => workers,
            },
            user: file.read(&keys::USER),
        },
        admin: Admin {
            address: file.read(&keys::ADMIN_ADDRESS),
            allow: file.read(&keys::ADMIN_ALLOW),
            hosts: file.read(&keys::ADMIN_HOSTS),
            token_file: file.read(&keys::ADMIN_TOKEN_FILE),
            read_token_file: file.read(&keys::ADMIN_READ_TOKEN_FILE),
            exemplars: file.read(&keys::ADMIN_EXEMPLARS),
        },
        own: Own { addresses, names, allow: file.read(&keys::SELF_ALLOW) },
        clients: Clients { allow: file.read(&keys::CLIENTS_ALLOW), exempt: file.read(&keys::CLIENTS_EXEMPT) },
        destinations: Destinations {
            connect_ports: file.read(&keys::CONNECT_PORTS),
            http_ports: file.read(&keys::HTTP_PORTS),
            allow: file.read(&keys::DESTINATIONS_ALLOW),
            deny: file.read(&keys::DESTINATIONS_DENY),
        },
        limits: limits(file),
        guard: Guard {
            mode: file.read(&keys::GUARD_MODE),
            ladder: file.read(&keys::GUARD_LADDER),
            stall: file.read(&keys::GUARD_STALL),
            fence: file.read(&keys::GUARD_FENCE),
            hold_memory: file.read(&keys::HOLD_MEMORY),
            terms: Terms::default(),
        },
        timeouts: timeouts(file),
        upstream: upstream(file),
        alarm: alarm(file),
        webhooks: webhook::read(file),
        log: Log {
            access: file.read(&keys::ACCESS),
            access_format: file.read(&keys::ACCESS_FORMAT),
            level: file.read(&keys::LEVEL),
        },
    }
}

fn limits(file: &mut File<'_>) -> Limits {
    Limits {
        client_connections: file.read(&keys::CLIENT_CONNECTIONS),
        client_connection_rate: file.read(&keys::CLIENT_CONNECTION_RATE),
        client_request_rate: file.read(&keys::CLIENT_REQUEST_RATE),
        client_heads: file.read(&keys::CLIENT_HEADS),
        client_openings: file.read(&keys::CLIENT_OPENINGS),
        client_lookups: file.read(&keys::CLIENT_LOOKUPS),
        heads: file.read(&keys::HEADS),
        connections: file.read(&keys::CONNECTIONS),
        clients_tracked: file.read(&keys::CLIENTS_TRACKED),
        head_size: file.read(&keys::HEAD_SIZE),
        target_size: file.read(&keys::TARGET_SIZE),
        head_fields: file.read(&keys::HEAD_FIELDS),
    }
}

fn timeouts(file: &mut File<'_>) -> Timeouts {
    Timeouts {
        head: file.read(&keys::HEAD),
        keep_alive: file.read(&keys::KEEP_ALIVE),
        body: file.read(&keys::BODY),
        tunnel_idle: file.read(&keys::TUNNEL_IDLE),
        half_closed: file.read(&keys::HALF_CLOSED),
        drain: file.read(&keys::DRAIN),
    }
}

fn upstream(file: &mut File<'_>) -> Upstream {
    Upstream {
        connect_timeout: file.read(&keys::CONNECT_TIMEOUT),
        first_byte_timeout: file.read(&keys::FIRST_BYTE_TIMEOUT),
        dns_timeout: file.read(&keys::DNS_TIMEOUT),
        dns_servers: file.read(&keys::DNS_SERVERS),
        source_v4: file.read(&keys::SOURCE_V4),
        source_v6: file.read(&keys::SOURCE_V6),
        idle_connections: file.read(&keys::IDLE_CONNECTIONS),
        idle_per_host: file.read(&keys::IDLE_PER_HOST),
        idle_timeout: file.read(&keys::IDLE_TIMEOUT),
    }
}

fn alarm(file: &mut File<'_>) -> Alarm {
    let name = file.read(&keys::ALARM_NAME);
    Alarm {
        name: if name.is_empty() { alarms::host() } else { name },
        language: file.read(&keys::ALARM_LANGUAGE),
        window: file.read(&keys::ALARM_WINDOW),
        slow: file.read(&keys::ALARM_SLOW),
        silences: file.read(&keys::ALARM_SILENCE),
        thresholds: Thresholds(file.read(&keys::ALARM_THRESHOLDS)),
    }
}

fn listeners(file: &mut File<'_>) -> Vec<Listener> {
    let configured = file.table.get("listener").and_then(array);
    let Some(configured) = configured.filter(|tables| !tables.is_empty()) else {
        return keys::LISTENERS
            .iter()
            .map(|default| Listener { address: built_in(&keys::LISTENER_ADDRESS, default) })
            .collect();
    };
    if let Some(first) = configured.get(MAX_LISTENERS) {
        let reason = format!("more than {MAX_LISTENERS} listeners");
        let fault = Fault::new(reason, "listen on an unspecified address instead");
        file.problem("listener", Some(first.span()), first.span(), fault);
    }
    let tables = configured.iter().take(MAX_LISTENERS).enumerate();
    tables
        .filter_map(|(index, found)| Some((index, found, found.get_ref().as_table()?)))
        .map(|(index, found, table)| {
            let path = |name: &str| format!("listener[{index}].{name}");
            let (address, mode) = (&keys::LISTENER_ADDRESS, &keys::LISTENER_MODE);
            if !table.contains_key(address.row.name) {
                let remedy = format!("write {} = {}", address.row.name, address.row.default);
                let fault = Fault::new("missing", remedy);
                file.problem(&path(address.row.name), None, found.span(), fault);
            }
            file.value(table.get(mode.row.name), mode, &path(mode.row.name));
            let found = table.get(address.row.name);
            Listener { address: file.value(found, address, &path(address.row.name)) }
        })
        .collect()
}

/// A default of the table, read.
#[expect(clippy::expect_used, reason = "defaults are constants of the table of keys, and a test reads each of them")]
fn built_in<K: Kind>(key: &Key<K>, default: &str) -> K::Value {
    DeValue::parse(default).ok().and_then(|value| key.kind.read(&value).ok()).expect("a default of the table of keys")
}

pub(super) fn array<'a>(found: &'a Found<'_>) -> Option<&'a [Spanned<DeValue<'a>>]> {
    found.get_ref().as_array().map(|array| &**array)
}

/// A file that is being read.
pub(super) struct File<'a> {
    text: &'a str,
    /// All of it.
    pub(super) table: &'a DeTable<'a>,
    /// Where each line ends.
    newlines: Vec<usize>,
    /// What was found to be wrong with it.
    pub(super) problems: Vec<Problem>,
    lines: Vec<(String, usize)>,
}

impl<'a> File<'a> {
    fn new(text: &'a str, table: &'a DeTable<'a>) -> Self {
        Self {
            text,
            table,
            newlines: memchr::memchr_iter(b'\n', text.as_bytes()).collect(),
            problems: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The value of a key of an ordinary table: what the file says, else the default.
    fn read<K: Kind>(&mut self, key: &Key<K>) -> K::Value {
        let section = self.table.get(key.row.section);
        let found =
            section.and_then(|section| section.get_ref().as_table()).and_then(|section| section.get(key.row.name));
        self.value(found, key, key.row.path)
    }

    /// The value of a key at `path`: what was found, else the default.
    pub(super) fn value<K: Kind>(&mut self, found: Option<&Found<'_>>, key: &Key<K>, path: &str) -> K::Value {
        let Some(found) = found else {
            return built_in(key, key.row.default);
        };
        let line = self.line(&found.span());
        self.lines.push((path.to_owned(), line));
        match key.kind.read(found) {
            Ok(value) => value,
            Err(flaws) => {
                for mut flaw in flaws {
                    if flaw.fault.remedy.is_empty() {
                        flaw.fault.remedy = format!("the default is {}", key.row.default);
                    }
                    let path = match flaw.index {
                        Some(index) => format!("{path}[{index}]"),
                        None => path.to_owned(),
                    };
                    self.problem(&path, Some(flaw.span.clone()), flaw.span, flaw.fault);
                }
                built_in(key, key.row.default)
            }
        }
    }

    fn unknown_keys(&mut self) {
        for (name, value) in self.table {
            if self.enough() {
                return;
            }
            let section = name.get_ref().as_ref();
            if SECTIONS.iter().all(|(known, _)| *known != section) {
                let fault = unknown("", section);
                self.problem(section, None, name.span(), fault);
            } else if section == "listener" {
                self.unknown_in_each(section, value, MAX_LISTENERS, KEYS);
            } else if let Some(table) = value.get_ref().as_table() {
                self.unknown_in(section, section, table, KEYS);
                if let Some(value) = webhook::configured(self.table).filter(|_| section == "alarm") {
                    self.unknown_in_each("alarm.webhook", value, MAX_WEBHOOKS, webhook::listed());
                }
            } else {
                let mut fault = not_expected("a table", value.get_ref());
                fault.remedy = format!("write [{section}] on a line of its own, its keys below");
                self.problem(section, None, name.span(), fault);
            }
        }
    }

    /// The same for a list of tables.
    fn unknown_in_each(&mut self, section: &str, value: &Found<'_>, most: usize, keys: &[&dyn Listed]) {
        let wrong = |found: &DeValue<'_>| {
            let fault = not_expected(&format!("[[{section}]]"), found);
            Fault::new(fault.reason, format!("write [[{section}]], with two brackets, for each"))
        };
        let Some(tables) = array(value) else {
            self.problem(section, None, value.span(), wrong(value.get_ref()));
            return;
        };
        if tables.is_empty() && section == "listener" {
            let fault = Fault::new("nothing to listen on", "remove the key for the default");
            self.problem(section, Some(value.span()), value.span(), fault);
        }
        for (index, found) in tables.iter().take(most).enumerate() {
            let path = format!("{section}[{index}]");
            match found.get_ref().as_table() {
                Some(table) => self.unknown_in(section, &path, table, keys),
                None => self.problem(&path, None, found.span(), wrong(found.get_ref())),
            }
        }
    }

    fn unknown_in(&mut self, section: &str, path: &str, table: &DeTable<'_>, keys: &[&dyn Listed]) {
        for (name, value) in table {
            let key = name.get_ref().as_ref();
            let known = |listed: &&dyn Listed| {
                let row = listed.row();
                row.section == section && row.name == key
            };
            if keys.iter().any(known) || (section, key) == ("alarm", "webhook") {
                continue;
            }
            if self.enough() {
                return;
            }
            let path = format!("{path}.{key}");
            self.problem(&path, Some(value.span()), name.span(), unknown(section, key));
        }
    }

    /// The errors of TOML itself, the first of each line: recovery makes more of one.
    fn syntax(&mut self, errors: &[toml::de::Error]) -> Problems {
        for error in errors {
            let end = self.text.len()..self.text.len();
            let span = error.span().unwrap_or(end);
            let line = self.line(&span);
            if self.enough() {
                break;
            }
            if self.problems.iter().any(|told| told.line == Some(line)) {
                continue;
            }
            let reason = format!("not TOML: {}", shown(error.message()));
            let fault = Fault::new(reason, "see the file that `floodgate config` prints");
            self.problem("", None, span, fault);
        }
        Problems::new(std::mem::take(&mut self.problems))
    }

    /// Notes what is wrong with a key; `value` and `at` are where in the file the one stands and the other is.
    pub(super) fn problem(&mut self, key: &str, value: Option<Range<usize>>, at: Range<usize>, fault: Fault) {
        let value = value.and_then(|span| self.text.get(span));
        self.problems.push(Problem {
            key: shown(key),
            value: value.map(shown).unwrap_or_default(),
            reason: fault.reason,
            remedy: fault.remedy,
            line: Some(self.line(&at)),
        });
    }

    /// Whether more was found than will be reported: a file of noise costs no more than a wrong one.
    fn enough(&self) -> bool {
        self.problems.len() > MAX_PROBLEMS
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.newlines.partition_point(|end| *end < span.start) + 1
    }
}

fn unknown(section: &str, name: &str) -> Fault {
    let remedy = match nearest(section, name) {
        Some(known) => format!("did you mean {known}?"),
        None => "`floodgate config` prints every key".to_owned(),
    };
    Fault::new("unknown key", remedy)
}

/// The known key, or table, that is closest in spelling; the wrong table counts as one letter.
fn nearest(section: &str, name: &str) -> Option<String> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    let tolerated = (name.len() / 3).max(1);
    let sections = SECTIONS
        .iter()
        .filter(|_| section.is_empty())
        .map(|(known, _)| (strsim::osa_distance(known, name), format!("[{known}]")));
    let all = KEYS.iter().chain(webhook::listed());
    all.map(|listed| listed.row())
        .map(|row| {
            let elsewhere = usize::from(row.section != section);
            let distance = strsim::osa_distance(row.name, name) + elsewhere;
            (distance, row.path.to_owned())
        })
        .chain(sections)
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
