//! What was found in captures, as plain data: what the text, the JSON and the picture are made of.

use std::net::{IpAddr, SocketAddr};

use super::super::Time;
pub use super::super::road::{Counters, File};

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What was read, in the order given.
    pub files: Vec<File>,
    /// What passed by, and what could not be looked at.
    pub counters: Counters,
    /// Times of the earliest and the latest packet; none in an empty capture.
    pub span: Option<(Time, Time)>,
    /// HTTP requests to any server, those inside tunnels left out.
    pub requests: u64,
    /// HTTP requests inside CONNECT tunnels.
    pub tunnelled: u64,
    /// Conversations left out of the account because a table of the analysis was full: `--proxy` makes sure that a proxy is in.
    pub untracked: u64,
    /// The proxies, busiest first.
    pub proxies: Vec<Proxy>,
    /// Proxies beyond those.
    pub more_proxies: u64,
    /// What it means, the heaviest first; never empty.
    pub verdicts: Vec<Verdict>,
}

/// A proxy and all that concerns it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub endpoint: SocketAddr,
    /// Why it is taken for a proxy.
    pub because: Because,
    /// Requests to it, those inside tunnels left out.
    pub requests: u64,
    /// Requests by form; zeros left out.
    pub by_form: Vec<(Form, u64)>,
    /// Requests by method, the most first; unknown methods are `other`.
    pub by_method: Vec<(&'static str, u64)>,
    /// Final answers by status, in the order of the statuses.
    pub statuses: Vec<(u16, u64)>,
    /// Distinct client addresses.
    pub clients: u64,
    /// The client with the most connections at the same time, and how many.
    pub busiest: Option<(IpAddr, u64)>,
    /// Distinct hosts that were asked for.
    pub hosts: Distinct,
    /// The authorities of CONNECT, the most asked first.
    pub connect_targets: Vec<(String, u64)>,
    /// CONNECTs to authorities that are not in `connect_targets`.
    pub connect_others: u64,
    /// Authorities the proxy did not get an answer from (502, 503, 504), the most failures first: requests, and those that failed.
    pub failing: Vec<(String, u64, u64)>,
    /// Its connections from clients.
    pub connections: Connections,
    /// What became of the requests.
    pub answers: Answers,
    /// Requests that name the proxy itself, one entry per client and kind, the most first.
    pub self_target: Vec<SelfTarget>,
    /// Clients that storm, the most attempts first.
    pub storms: Vec<Storm>,
    /// What refused requests cost.
    pub cost: Cost,
    /// Connections of the clients that go past it, the most telling first.
    pub bypass: Vec<Bypass>,
    /// Clients that ask for keep-alive and close after each answer.
    pub keep_alive_misuse: Vec<Misuse>,
    /// Its own connections to others.
    pub onward: Onward,
    /// Attempts of the busiest clients over time, the busiest first.
    pub series: Vec<Series>,
}

/// Why an endpoint is taken for a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// `--proxy` says so.
    Told,
    /// CONNECT requests that it did not answer as a web server does.
    Connect,
    /// Requests in absolute-form with `Proxy-Connection`, and it answered.
    ProxyConnection,
    /// Requests in absolute-form for several sites.
    ManyHosts,
    /// Requests in absolute-form for its own address, but another port.
    OtherPort,
    /// Requests in absolute-form for another host from several clients, to a private address.
    FanIn,
    /// Requests in absolute-form for other hosts, and it called others while they were in flight.
    Onward,
}

impl Because {
    /// In words: the rest of "it is taken for a proxy because …".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Told => "--proxy says so",
            Self::Connect => "clients send it CONNECT",
            Self::ProxyConnection => "clients send it absolute-form with Proxy-Connection, and it answers",
            Self::ManyHosts => "clients ask it for several other hosts in absolute-form",
            Self::FanIn => "several clients send it absolute-form for another host, and its address is a private one",
            Self::OtherPort => "clients ask it in absolute-form for another port of its own address",
            Self::Onward => "it calls others while requests in absolute-form are in flight",
        }
    }
}

/// The form of a request's target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Form {
    /// `http://host/path`.
    Absolute,
    /// `host:port` of CONNECT.
    Authority,
    /// `/path`.
    Origin,
    /// `*`.
    Asterisk,
    /// Anything else.
    Other,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Absolute, Self::Authority, Self::Origin, Self::Asterisk, Self::Other];

    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Authority => "authority",
            Self::Origin => "origin",
            Self::Asterisk => "asterisk",
            Self::Other => "other",
        }
    }
}

/// A number of distinct things, counted as far as the table goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Distinct {
    /// At least so many.
    pub at_least: u64,
    /// Exactly so many: the table was never full.
    pub exact: bool,
}

/// Connections from clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connections {
    /// All of them.
    pub total: u64,
    /// Open at the same time, at most.
    pub peak: u64,
    /// Packets in both directions.
    pub packets: u64,
    /// Payload bytes in both directions.
    pub bytes: u64,
    /// Refused: the SYN was answered by a reset.
    pub refused: u64,
    /// Never accepted: the SYN was not answered.
    pub unanswered: u64,
    /// Accepted, and reset by the client.
    pub reset_by_client: u64,
    /// Accepted, and reset by the proxy.
    pub reset_by_proxy: u64,
    /// Ended without a single request, and without a reset.
    pub silent: u64,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    /// Final answers.
    pub answered: u64,
    /// Refused: a status from 400 up, but 401 and 407, which ask for credentials.
    pub refused: u64,
    /// Requests that never got one.
    pub never: u64,
    /// Answers later than [`LATE`](super::limits::LATE).
    pub late: u64,
    /// Requests whose head was still not complete after [`LATE`](super::limits::LATE).
    pub slow_heads: u64,
}

/// Requests of one client and kind that name the proxy's own box.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SelfTarget {
    /// Who.
    pub client: IpAddr,
    /// How it is named.
    pub kind: SelfKind,
    /// How often.
    pub count: u64,
    /// When the first was complete.
    pub first: Time,
    /// The head of the first, cut to [`SAMPLE`](super::limits::SAMPLE) bytes.
    pub sample: Vec<u8>,
}

/// How a request names the proxy's own box.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SelfKind {
    /// Where: in an absolute target, in the authority of CONNECT, or (origin) in `Host`.
    pub form: Form,
    /// How the address is written.
    pub spelling: Spelling,
    /// A port is written, and it is neither the proxy's nor that of the scheme.
    pub other_port: bool,
}

impl SelfKind {
    /// The form, and what is unusual besides: `absolute-form`, `authority-form, other port`, `absolute-form, numeric spelling`.
    pub fn label(self) -> String {
        let spelling = match self.spelling {
            Spelling::Plain => "",
            Spelling::Numeric => ", numeric spelling",
            Spelling::Loopback => ", loopback",
            Spelling::Embedded => ", embedded address",
        };
        let port = if self.other_port { ", other port" } else { "" };
        format!("{}-form{spelling}{port}", self.form.label())
    }
}

/// How an own address is written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Spelling {
    /// As everybody writes it.
    Plain,
    /// Decimal, octal, hex, short, IPv4-mapped, or with a dot behind.
    Numeric,
    /// An address or name that means whatever box connects to it: 127.0.0.0/8, `::1`, `0.0.0.0`, `localhost`.
    Loopback,
    /// An IPv6 address that carries the IPv4 address (NAT64, 6to4 and the like).
    Embedded,
}

/// A client that tries again and again in vain.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Who.
    pub client: IpAddr,
    /// Attempts in vain: refused, reset, never answered, or naming the proxy itself.
    pub attempts: u64,
    /// All attempts of this client, the good ones too.
    pub of: u64,
    /// When the first attempt in vain began, and the last.
    pub span: (Time, Time),
    /// Attempts in vain in the busiest second: a second that slides in steps of a tenth.
    pub peak_per_s: u64,
    /// The fastest ten attempts in a row took so long, in nanoseconds; none if there were fewer.
    pub fastest_ten_ns: Option<u64>,
    /// From the end of an attempt in vain to the beginning of the next; none if no attempt followed one within a second.
    pub gap: Option<Quantiles>,
    /// Attempts that asked for the same as the one before, of 1.
    pub same_request: f64,
    /// Whether it waits for an answer before it tries again; none if that cannot be told.
    pub closed_loop: Option<bool>,
    /// Its connections that were open at the same time, at most.
    pub concurrency: u64,
    /// The attempts in vain that named the proxy itself.
    pub self_target: u64,
    /// What it asked for most recently in vain: method, target and Host, in words.
    pub request: String,
}

/// A distribution of durations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quantiles {
    /// So many were measured.
    pub count: u64,
    /// Half were shorter, in nanoseconds.
    pub p50: u64,
    /// Nine of ten were shorter.
    pub p90: u64,
    /// Ninety-nine of a hundred were shorter.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// Upper edges in nanoseconds and what lies below each and above the one before; empty ones at both ends left out.
    pub histogram: Vec<(u64, u64)>,
}

/// What refused requests cost the box.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Requests refused, reset, never answered, or naming the proxy itself.
    pub refused: u64,
    /// Connections per such request: those of clients, and the proxy's to itself.
    pub connections_per_refused: f64,
    /// Packets per such request.
    pub packets_per_refused: f64,
    /// Sockets of the box at the same time, at most: those of clients and its own onward.
    pub sockets: u64,
    /// Connections in TIME_WAIT on the box at the same time, at most: it closed first within a minute.
    pub time_wait: u64,
    /// `sockets` × [`SOCKET_BYTES`](super::limits::SOCKET_BYTES) + `time_wait` × [`TIME_WAIT_BYTES`](super::limits::TIME_WAIT_BYTES).
    pub kernel_bytes: u64,
}

/// A client that uses the proxy and also goes straight to a destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bypass {
    /// Who.
    pub client: IpAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// The name of the destination, if a request told it.
    pub host: Option<String>,
    /// What it has to do with what is asked through the proxy.
    pub relation: Relation,
    /// The destination is of the private network: no proxy may be needed there.
    pub private: bool,
    /// Connections.
    pub connections: u64,
    /// Payload bytes in both directions.
    pub bytes: u64,
    /// When the first was opened.
    pub first: Time,
}

/// What a destination has to do with those asked for through the proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Relation {
    /// It is one of them: its name or address was asked for, or the proxy called it.
    Same,
    /// It is near one of them: the same last two labels of the name, or the same IPv4 /24 or IPv6 /48.
    Sibling,
    /// Nothing.
    Other,
}

impl Relation {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Sibling => "sibling",
            Self::Other => "other",
        }
    }
}

/// A client that asks for keep-alive, is promised it, and closes after each answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Misuse {
    /// Who.
    pub client: IpAddr,
    /// Its connections that carried one request, were to be kept, and that it closed.
    pub closed: u64,
    /// Its connections that were to be kept.
    pub of: u64,
}

/// The proxy's own connections.
#[derive(Clone, Debug, Default)]
pub struct Onward {
    /// Other addresses that are taken for the box's: they call what is asked for at the proxy, while it is asked for, and little else.
    pub addresses: Vec<IpAddr>,
    /// All of them.
    pub connections: u64,
    /// Refused: the SYN was answered by a reset.
    pub refused: u64,
    /// Never accepted: the SYN was not answered.
    pub unanswered: u64,
    /// To the box itself, any port: it calls itself.
    pub to_itself: u64,
    /// To its own proxy port: a request goes round in a circle.
    pub to_own_proxy: u64,
    /// Open at the same time, at most.
    pub peak: u64,
    /// The destinations, the most called first: connections, and those that failed.
    pub destinations: Vec<(SocketAddr, u64, u64)>,
}

/// Attempts of a client over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Who.
    pub client: IpAddr,
    /// When the first bin begins.
    pub start: Time,
    /// How long a bin is, in nanoseconds.
    pub width: u64,
    /// Attempts in each bin, up to the last that has any.
    pub bins: Vec<u32>,
}

/// What something means, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// How bad.
    pub weight: Weight,
    /// What is the matter, in a sentence.
    pub cause: String,
    /// The figures it rests on.
    pub evidence: String,
    /// What to do; keys of floodgate.toml by name.
    pub remedy: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Weight {
    /// Nothing is wrong.
    Fine,
    /// Good to know.
    Note,
    /// Something should be changed.
    Warning,
    /// This makes a gateway fall over.
    Critical,
}

impl Weight {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
