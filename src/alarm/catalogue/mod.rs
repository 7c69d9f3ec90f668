//! Every alarm there is, in one table: when it is given, what it means, what to do; in English and Chinese.
//!
//! Owns: [`Alarm`], its [`Row`], and the words; a file of rows for each kind of trouble. Called by: the judge
//! (thresholds), the messages, the documentation. Never: looks at a box; a row has no behaviour.

mod gateway;
mod kernel;
mod machine;
mod storms;
#[cfg(test)]
mod tests;
mod text;
mod upstream;

use std::time::Duration;

use crate::outcome::labelled;

pub(super) use text::both;
pub use text::{Language, Piece, Text, pieces, span};

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// To be known.
    Info,
    /// Somebody should look today.
    Warning,
    /// Users suffer, or are about to.
    Critical,
}

impl Severity {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The word for people.
    pub const fn words(self) -> Text {
        match self {
            Self::Info => both("Info", "提示"),
            Self::Warning => both("Warning", "警告"),
            Self::Critical => both("Critical", "严重"),
        }
    }
}

/// What `fire` and `clear` of a row are numbers of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// There is no number: it is the case or not.
    Nothing,
    /// A share of a limit, from 0 to 1.
    Share,
    /// Times a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Times in a row.
    Times,
    /// A level of pressure, 0 to 3.
    Level,
}

impl Unit {
    /// A number of this unit, in words.
    pub fn words(self, number: f64, language: Language) -> String {
        match (self, language) {
            (Self::Nothing, _) => String::new(),
            (Self::Share, _) => format!("{}%", (number * 100.0).round()),
            (Self::PerSecond, Language::English) => format!("{number} a second"),
            (Self::PerSecond, Language::Chinese) => format!("每秒 {number} 次"),
            (Self::Seconds, Language::English) => format!("{number} s"),
            (Self::Seconds, Language::Chinese) => format!("{number} 秒"),
            (Self::Times, Language::English) => format!("{number}"),
            (Self::Times, Language::Chinese) => format!("{number} 次"),
            (Self::Level, Language::English) => format!("level {number}"),
            (Self::Level, Language::Chinese) => format!("{number} 级"),
        }
    }
}

/// What there is to know about an alarm.
#[derive(Debug)]
pub struct Row {
    /// How bad it is.
    pub severity: Severity,
    /// How long the condition must last before the alarm is given.
    pub hold: Duration,
    /// From this number on it is given; `None` where it is the case or not.
    pub fire: Option<f64>,
    /// It is over when the number has fallen to this; less than `fire`, so that it does not flap.
    pub clear: Option<f64>,
    /// What the two are numbers of.
    pub unit: Unit,
    /// Why these numbers, for the documentation.
    pub why: &'static str,
    /// The placeholder that [`Sighting::subject`](super::Sighting::subject) fills; `None` where there is only one.
    pub subject: Option<&'static str>,
    /// Every placeholder of the texts, the subject among them.
    pub placeholders: &'static [&'static str],
    /// What is wrong, in a line.
    pub title: Text,
    /// That it is over.
    pub over: Text,
    /// What is compared; `{fire}` is the number of this row. [`Row::condition`] is all of it.
    pub compared: Text,
    /// What it means.
    pub meaning: Text,
    /// What to do, step by step.
    pub steps: &'static [Text],
}

impl Row {
    /// When it is given and when it is over, in words, with the numbers of this row.
    pub fn condition(&self, language: Language) -> String {
        let number = |number: Option<f64>| number.map(|number| self.unit.words(number, language));
        let mut words = self.compared.get(language).replace("{fire}", &number(self.fire).unwrap_or_default());
        if !self.hold.is_zero() {
            words.push_str(both(", for ", "，持续 ").get(language));
            words.push_str(&span(self.hold, language));
        }
        if let Some(clear) = number(self.clear) {
            words.push_str(both("; over at ", "；恢复阈值：").get(language));
            words.push_str(&clear);
        }
        words
    }
}

/// What the texts leave open: name, what it stands for, an example. What is not known shows as `–`.
pub const PLACEHOLDERS: [(&str, &str, &str); 16] = [
    ("client", "address of the client", "10.115.20.21"),
    ("destination", "host and port that was asked for", "www.example.com:443"),
    ("upstream", "address and port that was dialled", "203.0.113.7:443"),
    ("address", "IP address that was dialled, without the port", "203.0.113.7"),
    ("file", "path of a file or a folder", "/var/log/floodgate/access.log"),
    ("source", "file that figures are read from", "/proc/slabinfo"),
    ("webhook", "name of a delivery, never its URL", "wecom"),
    ("used", "what is used at this moment, with its unit", "231 MB"),
    ("limit", "what may be used, with its unit", "322 MB"),
    ("forecast", "time until the limit is reached, at the present slope", "4 min"),
    ("rate", "times a second", "412"),
    ("level", "level of pressure, 0 to 3", "2"),
    ("signal", "signal of pressure that decides", "slab"),
    ("reason", "label of an outcome or of a class of refusals", "self_target"),
    ("why", "reason, as the program or the system gave it", "Permission denied"),
    ("until", "local time at which a fence ends", "14:31:07"),
];

labelled! {
    /// One of them; the label is its id.
    Alarm {
        /// A client asks for this box itself, again and again.
        SelfTargetStorm = "self_target_storm",
        /// A client comes back faster than its limits allow, or with what is no request.
        ReconnectStorm = "reconnect_storm",
        /// A client is kept out in the kernel; resolved when it is let in again.
        ClientFenced = "client_fenced",
        /// Fencing did not lower the load, or cannot be built.
        FenceUseless = "fence_useless",
        /// The box is short of something: the level of pressure is above 0.
        PressureLevel = "pressure_level",
        /// Socket objects of TCP fill the memory.
        Slab = "slab",
        /// TCP's buffers come near `net.ipv4.tcp_mem`.
        TcpMemory = "tcp_memory",
        /// Orphans come near `net.ipv4.tcp_max_orphans`.
        Orphans = "orphans",
        /// Connections in `TIME_WAIT` come near `net.ipv4.tcp_max_tw_buckets`.
        TimeWait = "time_wait",
        /// Open files come near the limit of the process.
        Descriptors = "descriptors",
        /// Local ports towards one destination run out.
        Ports = "ports",
        /// Connections are lost since an accept queue is full.
        ListenOverflows = "listen_overflows",
        /// The kernel's connection tracking comes near `nf_conntrack_max`.
        Conntrack = "conntrack",
        /// Names cannot be resolved.
        DnsFailure = "dns_failure",
        /// Name servers do not answer in time.
        DnsTimeout = "dns_timeout",
        /// An upstream does not accept connections in time.
        ConnectTimeout = "connect_timeout",
        /// An upstream does not answer in time.
        ResponseTimeout = "response_timeout",
        /// An upstream answers with something that is not HTTP.
        InvalidResponse = "invalid_response",
        /// A destination failed many times in a row and is answered for from memory.
        DestinationFenced = "destination_fenced",
        /// Many requests fail.
        ErrorRatio = "error_ratio",
        /// Requests take long.
        Latency = "latency",
        /// Lines of the access log are lost.
        AccessLogDrops = "access_log_drops",
        /// A disk that we write to is full, or nearly.
        DiskFull = "disk_full",
        /// The cores are busy.
        Cpu = "cpu",
        /// The cores wait for a disk.
        IoWait = "io_wait",
        /// The box has little memory left.
        Memory = "memory",
        /// A new configuration was not taken over.
        ReloadFailed = "reload_failed",
        /// A source of figures has stopped reporting.
        NoData = "no_data",
        /// Alarms do not arrive: a webhook, its certificate, or the clock of this box.
        Delivery = "delivery",
        /// A defect of the gateway was contained.
        Panic = "panic",
    }
}

impl Alarm {
    /// How bad it is: as its row says; pressure by its level.
    pub fn severity(self, subject: &str) -> Severity {
        match (self, subject) {
            (Self::PressureLevel, "1") => Severity::Info,
            (Self::PressureLevel, "3") => Severity::Critical,
            _ => self.row().severity,
        }
    }

    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        match self {
            Self::SelfTargetStorm => &storms::SELF_TARGET,
            Self::ReconnectStorm => &storms::RECONNECT,
            Self::ClientFenced => &storms::FENCED,
            Self::FenceUseless => &storms::FENCE_USELESS,
            Self::PressureLevel => &kernel::PRESSURE,
            Self::Slab => &kernel::SLAB,
            Self::TcpMemory => &kernel::TCP_MEMORY,
            Self::Orphans => &kernel::ORPHANS,
            Self::TimeWait => &kernel::TIME_WAIT,
            Self::Descriptors => &kernel::DESCRIPTORS,
            Self::Ports => &kernel::PORTS,
            Self::ListenOverflows => &kernel::LISTEN_OVERFLOWS,
            Self::Conntrack => &kernel::CONNTRACK,
            Self::DnsFailure => &upstream::DNS_FAILURE,
            Self::DnsTimeout => &upstream::DNS_TIMEOUT,
            Self::ConnectTimeout => &upstream::CONNECT_TIMEOUT,
            Self::ResponseTimeout => &upstream::RESPONSE_TIMEOUT,
            Self::InvalidResponse => &upstream::INVALID_RESPONSE,
            Self::DestinationFenced => &upstream::DESTINATION_FENCED,
            Self::ErrorRatio => &upstream::ERROR_RATIO,
            Self::Latency => &upstream::LATENCY,
            Self::AccessLogDrops => &machine::ACCESS_LOG_DROPS,
            Self::DiskFull => &machine::DISK_FULL,
            Self::Cpu => &machine::CPU,
            Self::IoWait => &machine::IO_WAIT,
            Self::Memory => &machine::MEMORY,
            Self::ReloadFailed => &gateway::RELOAD_FAILED,
            Self::NoData => &gateway::NO_DATA,
            Self::Delivery => &gateway::DELIVERY,
            Self::Panic => &gateway::PANIC,
        }
    }
}
