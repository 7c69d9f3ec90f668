//! What the program uses: typed, complete, no option that means "default".

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::alarm::judge::Thresholds;
use crate::alarm::silence::Silence;
use crate::alarm::{Language, Severity};
use crate::guard::fence::Terms;
use crate::kernel::privilege::Account;
use crate::outcome::labelled;

/// Everything the operator can set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[[listener]]`; at least one.
    pub listeners: Vec<Listener>,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[admin]`.
    pub admin: Admin,
    /// `[self]`.
    pub own: Own,
    /// `[clients]`.
    pub clients: Clients,
    /// `[destinations]`.
    pub destinations: Destinations,
    /// `[limits]`.
    pub limits: Limits,
    /// `[guard]`.
    pub guard: Guard,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[upstream]`.
    pub upstream: Upstream,
    /// `[alarm]`.
    pub alarm: Alarm,
    /// `[[alarm.webhook]]`; empty by default.
    pub webhooks: Vec<Webhook>,
    /// `[log]`.
    pub log: Log,
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `address`: where to listen. An IPv6 socket never accepts IPv4 (`IPV6_V6ONLY`).
    pub address: SocketAddr,
}

/// `[runtime]`: needs a restart to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// `workers`: threads that serve connections; 0 in the file means one per core.
    pub workers: usize,
    /// `user`: the account to change to when started as root; `None` stays who one is.
    pub user: Option<Account>,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// `address`.
    pub address: SocketAddr,
    /// `allow`: who may ask.
    pub allow: Vec<IpNet>,
    /// `hosts`: names accepted in `Host` besides the address itself and `localhost`; lower case.
    pub hosts: Vec<String>,
    /// `token-file`.
    pub token_file: TokenFile,
    /// `read-token-file`; never [`TokenFile::Auto`].
    pub read_token_file: TokenFile,
    /// `exemplars`: whether `/metrics` has any.
    pub exemplars: bool,
}

/// Where a token is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenFile {
    /// Where this user, or this service, keeps such things.
    Auto,
    /// Here.
    At(PathBuf),
    /// Nowhere: nothing can be changed, or whoever is admitted may see.
    Off,
}

/// `[self]`: what counts as this box besides every local address.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// The addresses among `aliases`.
    pub addresses: Vec<IpAddr>,
    /// The names among `aliases`; lower case, without a trailing dot.
    pub names: Vec<String>,
    /// `allow`: own services that may be reached through the proxy.
    pub allow: Vec<HostPort>,
}

/// A host and a port, as in `[self] allow`.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPort {
    /// The host.
    pub host: HostName,
    /// The port.
    pub port: u16,
}

/// A host in the configuration: an address (canonical, never IPv4-mapped) or a name (lower case, no trailing dot).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostName {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// `[clients]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// `allow`: who is served.
    pub allow: Vec<IpNet>,
    /// `exempt`: never limited.
    pub exempt: Vec<IpNet>,
}

impl Clients {
    /// Whether this address, canonical, is served.
    pub fn serves(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&address))
    }

    /// Whether it is never limited.
    pub fn exempts(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|net| net.contains(&address))
    }
}

/// `[destinations]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Destinations {
    /// `connect-ports`.
    pub connect_ports: Ports,
    /// `http-ports`.
    pub http_ports: Ports,
    /// `allow`: exceptions to the built-in denials.
    pub allow: Vec<DestinationRule>,
    /// `deny`: never reached, whatever `allow` says.
    pub deny: Vec<DestinationRule>,
}

/// Inclusive port ranges, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ports(pub Vec<(u16, u16)>);

impl Ports {
    /// Whether the port is in one of the ranges.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&port))
    }
}

/// One entry of `[destinations] allow` or `deny`.
#[derive(Clone, Debug, PartialEq)]
pub enum DestinationRule {
    /// `10.0.0.0/8`, or a bare address (a prefix of full length): any port that the port lists allow.
    Network(IpNet),
    /// `host:port`: this pair, whatever the port lists say.
    Pair(HostPort),
    /// `intranet.example`: this name, any port that the port lists allow.
    Name(String),
    /// `*.example.net`: every name below `example.net`, not the name itself.
    Below(String),
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `client-connections`: concurrent connections of one client.
    pub client_connections: u32,
    /// `client-connection-rate`.
    pub client_connection_rate: Rate,
    /// `client-request-rate`.
    pub client_request_rate: Rate,
    /// `client-heads`: connections of one client whose first request is waited for.
    pub client_heads: u32,
    /// `client-openings`: requests of one client that wait for a connection.
    pub client_openings: u32,
    /// `client-lookups`: requests of one client that wait for the name servers.
    pub client_lookups: u32,
    /// `heads`: connections of all clients whose first request is waited for.
    pub heads: u32,
    /// `connections`: concurrent client connections of the box.
    pub connections: u32,
    /// `clients-tracked`: exact rate limits for at most so many clients; more share 4,096 buckets.
    pub clients_tracked: usize,
    /// `head-size`: bytes of a request or response head (431 above).
    pub head_size: usize,
    /// `target-size`: bytes of a request target (414 above); at least 8,000 (RFC 9112 section 3).
    pub target_size: usize,
    /// `head-fields`: fields of a head (431 above); at most 128.
    pub head_fields: usize,
}

/// A rate with a burst, as in `"200/s, burst 1000"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Per second.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// `[guard]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// `mode`.
    pub mode: GuardMode,
    /// `ladder`.
    pub ladder: LadderMode,
    /// `stall`.
    pub stall: StallChoice,
    /// `fence`.
    pub fence: FenceChoice,
    /// `hold-memory`: bytes of kernel memory that held answers may pin.
    pub hold_memory: usize,
    /// When a client is fenced and for how long: no key, but tests have less time.
    pub terms: Terms,
}

/// Whether the guard acts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GuardMode {
    /// It does.
    Enforce,
    /// It reports what it would have done.
    Observe,
}

/// How far the ladder goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LadderMode {
    /// Answer, stall, fence.
    Auto,
    /// Answer, whatever comes.
    Answer,
}

/// How a storm is stalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StallChoice {
    /// Dropped where that is permitted, else held.
    Auto,
    /// Our socket is freed without a word.
    Drop,
    /// The answer comes late.
    Hold,
}

/// Where a storm is kept out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FenceChoice {
    /// The first of the others that works.
    Auto,
    /// In nftables, before connection tracking.
    NfTables,
    /// By a filter on the listeners.
    SocketFilter,
    /// Nowhere.
    Off,
}

/// `[timeouts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// `head`: from accept (or the first byte of a later request) to the complete head.
    pub head: Duration,
    /// `keep-alive`: an idle connection between two requests.
    pub keep_alive: Duration,
    /// `body`: nothing of a request or response body moved for so long.
    pub body: Duration,
    /// `tunnel-idle`: nothing moved in either direction of a tunnel.
    pub tunnel_idle: Duration,
    /// `half-closed`: nothing moved in a tunnel one side of which has ended.
    pub half_closed: Duration,
    /// `drain`: at SIGTERM, how long running exchanges may take.
    pub drain: Duration,
}

/// `[upstream]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// `connect-timeout`: all attempts together.
    pub connect_timeout: Duration,
    /// `first-byte-timeout`: from the forwarded head to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// `dns-timeout`: one name, all servers and attempts.
    pub dns_timeout: Duration,
    /// `dns-servers`: instead of those of `/etc/resolv.conf`; empty means the latter.
    pub dns_servers: Vec<SocketAddr>,
    /// `source-v4`: source address of connections over IPv4, if set.
    pub source_v4: Option<std::net::Ipv4Addr>,
    /// `source-v6`: source address of connections over IPv6, if set.
    pub source_v6: Option<std::net::Ipv6Addr>,
    /// `idle-connections`: pooled connections kept by one worker; 0 switches reuse off.
    pub idle_connections: usize,
    /// `idle-per-host`: of these to one destination.
    pub idle_per_host: usize,
    /// `idle-timeout`: how long one is kept.
    pub idle_timeout: Duration,
}

/// `[alarm]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// `name`: of this gateway; that of the host, if none is given.
    pub name: String,
    /// `language`.
    pub language: Language,
    /// `window`: what goes on is told once in it.
    pub window: Duration,
    /// `slow`: an upstream that takes so long is as good as one that times out.
    pub slow: Duration,
    /// `silence`.
    pub silences: Vec<Silence>,
    /// `thresholds`.
    pub thresholds: Thresholds,
}

/// One `[[alarm.webhook]]`: where alarms are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// `kind`.
    pub kind: WebhookKind,
    /// `url`, `url-file` or `command`, as goes with the kind.
    pub place: WebhookPlace,
    /// `plain-http`: http is permitted to near addresses.
    pub plain_http: bool,
    /// `secret-file`: what messages are signed with.
    pub secret_file: Option<PathBuf>,
    /// `ca-file`: who may sign the server's certificate, instead of those this box trusts.
    pub ca_file: Option<PathBuf>,
    /// `severity`: the least that is sent there.
    pub severity: Severity,
    /// `language`; `None` is that of the other messages.
    pub language: Option<Language>,
    /// `format`.
    pub format: MessageFormat,
    /// `mention`: who is called by name.
    pub mention: Vec<String>,
}

labelled! {
    /// What is spoken at a webhook; the label is also that of metrics.
    WebhookKind {
        /// A group robot of `WeCom`.
        Wecom = "wecom",
        /// A group robot of `DingTalk`.
        Dingtalk = "dingtalk",
        /// A group robot of Feishu, or Lark.
        Feishu = "feishu",
        /// An incoming hook of Slack, or of what imitates it.
        Slack = "slack",
        /// API v2 of Prometheus' Alertmanager.
        Alertmanager = "alertmanager",
        /// JSON of our own, signed.
        Json = "json",
        /// A program on this box.
        Command = "command",
    }
}

/// Where a webhook is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebhookPlace {
    /// Here.
    Url(Url),
    /// Where this file says: the address is a secret.
    UrlFile(PathBuf),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// How a message is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageFormat {
    /// As plain text.
    Text,
    /// As the Markdown of a chat.
    Markdown,
}

/// Format of an access-log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessFormat {
    /// Close to nginx's.
    Main,
    /// Squid's native format.
    Squid,
    /// One JSON object a line.
    Json,
}

/// Where access-log lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, reopened on SIGUSR1.
    File(PathBuf),
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `access`.
    pub access: AccessTarget,
    /// `access-format`.
    pub access_format: AccessFormat,
    /// `level` of the diagnostics on standard error.
    pub level: tracing::level_filters::LevelFilter,
}
