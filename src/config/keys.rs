//! The table of keys: the one place for names, defaults, ranges, documentation, and what needs a restart.
//!
//! Owns: every key. Called by: the file (to read them), `print` (to show them). Never: reads a value itself.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use super::kinds::{Choice, Count, Kind, List, PortList, Size, Span, Switch, Text};
use super::problem::Fault;
use super::settings::{
    AccessFormat, AccessTarget, DestinationRule, FenceChoice, GuardMode, HostName, HostPort, LadderMode, Rate,
    Settings, StallChoice, TokenFile,
};
use super::{alarms, hosts, units};
use crate::alarm::Language;
use crate::alarm::judge::Threshold;
use crate::alarm::silence::Silence;
use crate::kernel::privilege::Account;

/// A key and how its value is read.
pub(super) struct Key<K> {
    /// What does not depend on the kind.
    pub(super) row: Row,
    /// How its value is read.
    pub(super) kind: K,
}

/// What there is to know about a key besides its kind.
pub(super) struct Row {
    /// The table of the file it stands in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    /// Both, with a dot between.
    pub(super) path: &'static str,
    /// The default, as TOML.
    pub(super) default: &'static str,
    /// What it means; each line begins with a space.
    pub(super) doc: &'static [&'static str],
    /// Whether two settings differ in it, if it takes a restart to change it; `None` for what a reload changes.
    pub(super) changed: Option<fn(&Settings, &Settings) -> bool>,
}

/// A key of any kind.
pub(super) trait Listed: Sync {
    /// What does not depend on the kind.
    fn row(&self) -> &Row;
    /// What to write: form and range.
    fn takes(&self) -> String;
}

impl<K: Kind> Listed for Key<K> {
    fn row(&self) -> &Row {
        &self.row
    }

    fn takes(&self) -> String {
        match self.kind.range() {
            Some(range) => format!("{}; {range}", self.kind.form()),
            None => self.kind.form(),
        }
    }
}

/// The tables of the file, in the order they are printed, and what they are for.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("listener", "Where clients connect. Give one [[listener]] per address; giving any replaces the defaults."),
    ("runtime", "The process."),
    ("admin", "Dashboard, metrics and API."),
    ("self", "What counts as this box besides every local address, which is found live."),
    ("clients", "Who is served."),
    (
        "destinations",
        "What may be reached. Loopback, link-local and private destinations are denied unless allowed here.",
    ),
    ("limits", "Per client (an IPv4 address, an IPv6 /64) and for the box."),
    ("guard", "What happens to clients that come back at once when they are refused: answer, stall, fence."),
    ("timeouts", "How long a client may take."),
    ("upstream", "Connections to destinations."),
    ("alarm", "What is told, and where to."),
    ("log", "Access log and diagnostics."),
];

/// The addresses listened on if the file has no `[[listener]]`, as TOML.
pub(super) const LISTENERS: [&str; 2] = [LISTENER_ADDRESS.row.default, r#""[::]:3128""#];

/// Declares each key as a static and lists it in [`KEYS`]; the doc comment is also what the operator reads.
macro_rules! keys {
    ($(
        $(#[doc = $doc:literal])+
        $id:ident: $kind:ty = [$section:literal $name:literal = $default:literal] $value:expr
        $(, restart if $changed:expr)?;
    )+) => {
        $(
            $(#[doc = $doc])+
            pub(super) const $id: Key<$kind> = Key {
                row: Row {
                    section: $section,
                    name: $name,
                    path: concat!($section, ".", $name),
                    default: $default,
                    doc: &[$($doc),+],
                    changed: keys!(@changed $($changed)?),
                },
                kind: $value,
            };
        )+

        /// Every one of these keys, in the order of the printed file.
        pub(super) static KEYS: &[&dyn Listed] = &[$(&$id),+];
    };
    (@changed) => { None };
    (@changed $changed:expr) => { Some($changed) };
}

pub(super) use keys;

keys! {
    /// Address and port to listen on. An IPv6 listener never takes IPv4 connections.
    LISTENER_ADDRESS: Text<SocketAddr> = ["listener" "address" = r#""0.0.0.0:3128""#]
        Text { form: "an address and port such as \"0.0.0.0:3128\"", parse: hosts::socket },
        restart if |old, new| old.listeners != new.listeners;
    /// How clients come: "explicit", that is configured to use a proxy.
    LISTENER_MODE: Text<()> = ["listener" "mode" = r#""explicit""#]
        Text { form: "the text \"explicit\"", parse: mode };

    /// Threads that serve connections; 0 means one per core.
    WORKERS: Count<usize> = ["runtime" "workers" = "0"] Count { min: 0, max: 256 },
        restart if |old, new| old.runtime.workers != new.runtime.workers;
    /// Account to change to when started as root, once the listeners are bound; "" stays who one is. Of root's rights only
    /// `CAP_NET_ADMIN` is kept, either way. It must be able to write the log and to read this file again.
    USER: Text<Option<Account>> = ["runtime" "user" = r#""""#]
        Text { form: "the name of an account of this box or \"\"", parse: account },
        restart if |old, new| old.runtime.user != new.runtime.user;

    /// Address and port of the dashboard, metrics and API.
    ADMIN_ADDRESS: Text<SocketAddr> = ["admin" "address" = r#""127.0.0.1:9128""#]
        Text { form: "an address and port such as \"127.0.0.1:9128\"", parse: hosts::socket },
        restart if |old, new| old.admin.address != new.admin.address;
    /// Who may ask.
    ADMIN_ALLOW: List<IpNet> = ["admin" "allow" = r#"["127.0.0.0/8", "::1/128"]"#] NETWORKS;
    /// Names accepted in Host besides the address itself and localhost (against DNS rebinding).
    ADMIN_HOSTS: List<String> = ["admin" "hosts" = "[]"]
        List { form: "a list of names such as [\"proxy.example.net\"]", parse: hosts::host_text };
    /// The file of the token that every change must carry; made, readable for its owner only, if it is not there. "auto" is
    /// the file "token" in systemd's `StateDirectory`, else for root in /var/lib/floodgate, else in `$XDG_RUNTIME_DIR/floodgate`.
    /// With "" there is no token, and nothing can be changed.
    ADMIN_TOKEN_FILE: Text<TokenFile> = ["admin" "token-file" = r#""auto""#]
        Text { form: "an absolute path, \"auto\" or \"\"", parse: token_file },
        restart if |old, new| old.admin.token_file != new.admin.token_file;
    /// The file of the token that whoever is not on this box must show to see anything but the health checks: once behind
    /// /?token= of the page's address, or as Authorization: Bearer. Made like that of token-file, which reads too. With "" every
    /// address of allow may see everything.
    ADMIN_READ_TOKEN_FILE: Text<TokenFile> = ["admin" "read-token-file" = r#""""#]
        Text { form: "an absolute path or \"\"", parse: read_token_file },
        restart if |old, new| old.admin.read_token_file != new.admin.read_token_file;
    /// Whether the latency histograms of /metrics have exemplars, for scrapers of OpenMetrics: for each bucket how long the
    /// slowest request of a minute took, and the time under which the access log has it.
    ADMIN_EXEMPLARS: Switch = ["admin" "exemplars" = "false"] Switch;

    /// Further addresses and names of this box: its address before NAT, virtual addresses, DNS names.
    SELF_ALIASES: List<HostName> = ["self" "aliases" = "[]"]
        List { form: "a list of addresses and names such as [\"203.0.113.7\", \"proxy.example.net\"]", parse: hosts::host };
    /// Own services that may be reached through the proxy. Lifts the self, loopback, private and port denials
    /// for exactly this host and port.
    SELF_ALLOW: List<HostPort> = ["self" "allow" = "[]"]
        List { form: "a list of host:port such as [\"10.115.5.2:8443\"]", parse: hosts::host_port };

    /// Networks that are served; all others are closed unanswered. Default: loopback, RFC 1918, ULA, link-local.
    CLIENTS_ALLOW: List<IpNet> = ["clients" "allow" =
        r#"["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10", "169.254.0.0/16"]"#]
        NETWORKS;
    /// Clients that are never limited.
    CLIENTS_EXEMPT: List<IpNet> = ["clients" "exempt" = "[]"] NETWORKS;

    /// Ports CONNECT may name; an empty list denies CONNECT. Port 80: some clients tunnel plain HTTP.
    CONNECT_PORTS: PortList = ["destinations" "connect-ports" = "[443, 80, 8443]"] PortList;
    /// Ports an http:// request may name.
    HTTP_PORTS: PortList = ["destinations" "http-ports" = r#"[80, "1024-65535"]"#] PortList;
    /// Exceptions to the built-in denials, but never to the denial of this box itself. "host:port" goes for that port
    /// whatever the lists above say, the others for the ports of these lists. "*.example.net" is every name below it.
    DESTINATIONS_ALLOW: List<DestinationRule> = ["destinations" "allow" = "[]"] RULES;
    /// Never reached, whatever is allowed above.
    DESTINATIONS_DENY: List<DestinationRule> = ["destinations" "deny" = "[]"] RULES;

    /// Concurrent connections of one client. Fifty PCs behind one address, 32 sockets each, stay below the default.
    CLIENT_CONNECTIONS: Count<u32> = ["limits" "client-connections" = "2048"] Count { min: 1, max: 1_048_576 };
    /// New connections of one client. Fifty PCs that start at once may open twenty each within the default's burst.
    CLIENT_CONNECTION_RATE: Text<Rate> = ["limits" "client-connection-rate" = r#""200/s, burst 1000""#] RATE;
    /// Requests of one client. Fifty PCs behind one address may each load a page of 80 objects at once.
    CLIENT_REQUEST_RATE: Text<Rate> = ["limits" "client-request-rate" = r#""1000/s, burst 4000""#] RATE;
    /// Connections of one client whose first request has not arrived. Up to half of them are waited for as long as
    /// timeouts.head says, further ones less and less, 250 ms at the limit and beyond; a request that comes in time is
    /// served. The default's half is ten for each of fifty PCs: browsers open a few ahead of need.
    CLIENT_HEADS: Count<u32> = ["limits" "client-heads" = "1024"] Count { min: 1, max: 1_048_576 };
    /// Requests of one client that wait for a connection to their destination (429 beyond). The default is every socket of
    /// fifty PCs, 32 each.
    CLIENT_OPENINGS: Count<u32> = ["limits" "client-openings" = "1600"] Count { min: 1, max: 1_048_576 };
    /// Of these, how many may wait for the name servers (429 beyond); never more than seven eighths of what the box asks at
    /// once, which is 512 names. With answers within 100 ms the default is 4,480 new names a second.
    CLIENT_LOOKUPS: Count<u32> = ["limits" "client-lookups" = "448"] Count { min: 1, max: 1_048_576 };
    /// The same as client-heads for all clients together: half of the default for connections.
    HEADS: Count<u32> = ["limits" "heads" = "4096"] Count { min: 1, max: 1_048_576 };
    /// Concurrent client connections of the box.
    CONNECTIONS: Count<u32> = ["limits" "connections" = "8192"] Count { min: 1, max: 1_048_576 };
    /// Clients with exact rate limits of their own; the clients beyond share 4,096 buckets.
    CLIENTS_TRACKED: Count<usize> = ["limits" "clients-tracked" = "65536"] Count { min: 1, max: 1_048_576 };
    /// Bytes of a request or response head; a longer request head is answered 431.
    HEAD_SIZE: Size = ["limits" "head-size" = r#""16KiB""#] Size { min: 8_000, max: 60 << 10 };
    /// Bytes of a request target, at most head-size; a longer one is answered 414. RFC 9112 asks for 8000 at least.
    TARGET_SIZE: Size = ["limits" "target-size" = r#""8KiB""#] Size { min: 8_000, max: 60 << 10 };
    /// Fields of a head; a request with more is answered 431.
    HEAD_FIELDS: Count<usize> = ["limits" "head-fields" = "100"] Count { min: 1, max: 128 };

    /// "enforce", or "observe": everybody is answered, and it is reported who would have been stalled or fenced.
    GUARD_MODE: Choice<GuardMode> = ["guard" "mode" = r#""enforce""#]
        Choice(&[("enforce", GuardMode::Enforce), ("observe", GuardMode::Observe)]);
    /// "auto", or "answer": never stall or fence, for measurements.
    GUARD_LADDER: Choice<LadderMode> = ["guard" "ladder" = r#""auto""#]
        Choice(&[("auto", LadderMode::Auto), ("answer", LadderMode::Answer)]);
    /// How a storm is stalled: "drop" frees our socket without a word to the client and needs `CAP_NET_ADMIN`, "hold"
    /// answers late, "auto" drops where that is permitted and holds elsewhere.
    GUARD_STALL: Choice<StallChoice> = ["guard" "stall" = r#""auto""#]
        Choice(&[("auto", StallChoice::Auto), ("drop", StallChoice::Drop), ("hold", StallChoice::Hold)]);
    /// Where a storm that stalling does not slow is kept out: "nftables", "socket-filter" on the listeners (both need
    /// `CAP_NET_ADMIN`), "auto" the first of them that works, "off".
    GUARD_FENCE: Choice<FenceChoice> = ["guard" "fence" = r#""auto""#]
        Choice(&[
            ("auto", FenceChoice::Auto), ("nftables", FenceChoice::NfTables),
            ("socket-filter", FenceChoice::SocketFilter), ("off", FenceChoice::Off),
        ]),
        restart if |old, new| old.guard.fence != new.guard.fence;
    /// Kernel memory that held answers may pin; when it is spent, refusals are answered at once.
    HOLD_MEMORY: Size = ["guard" "hold-memory" = r#""4MiB""#] Size { min: 0, max: 1 << 30 };

    /// From the connection, or the first byte of a later request, to the complete head.
    HEAD: Span = ["timeouts" "head" = r#""10s""#] WAIT;
    /// An idle connection between two requests.
    KEEP_ALIVE: Span = ["timeouts" "keep-alive" = r#""60s""#] WAIT;
    /// Nothing of a request or response body moved for so long.
    BODY: Span = ["timeouts" "body" = r#""60s""#] WAIT;
    /// Nothing moved in either direction of a tunnel.
    TUNNEL_IDLE: Span = ["timeouts" "tunnel-idle" = r#""15m""#] WAIT;
    /// Nothing moved in a tunnel one side of which has ended.
    HALF_CLOSED: Span = ["timeouts" "half-closed" = r#""30s""#] WAIT;
    /// At SIGTERM, how long running exchanges may take; 0s ends them at once.
    DRAIN: Span = ["timeouts" "drain" = r#""30s""#] Span { min: Duration::ZERO, max: DAY };

    /// A connection to a destination, all addresses and attempts together.
    CONNECT_TIMEOUT: Span = ["upstream" "connect-timeout" = r#""10s""#] WAIT;
    /// From the forwarded request to the first byte of the answer.
    FIRST_BYTE_TIMEOUT: Span = ["upstream" "first-byte-timeout" = r#""60s""#] WAIT;
    /// One name, all servers and attempts.
    DNS_TIMEOUT: Span = ["upstream" "dns-timeout" = r#""5s""#] WAIT;
    /// Ask these instead of the servers of /etc/resolv.conf.
    DNS_SERVERS: List<SocketAddr> = ["upstream" "dns-servers" = "[]"]
        List { form: "a list of addresses such as [\"192.0.2.53\", \"[2001:db8::53]:53\"]", parse: hosts::dns_server };
    /// Source address of connections over IPv4; "" leaves the choice to the kernel.
    SOURCE_V4: Text<Option<Ipv4Addr>> = ["upstream" "source-v4" = r#""""#]
        Text { form: "an IPv4 address of this box or \"\"", parse: hosts::source_v4 };
    /// Source address of connections over IPv6; "" leaves the choice to the kernel.
    SOURCE_V6: Text<Option<Ipv6Addr>> = ["upstream" "source-v6" = r#""""#]
        Text { form: "an IPv6 address of this box or \"\"", parse: hosts::source_v6 };
    /// Idle connections to origins that one worker keeps for reuse; 0 switches reuse off.
    IDLE_CONNECTIONS: Count<usize> = ["upstream" "idle-connections" = "256"] Count { min: 0, max: 65_536 };
    /// Of these to one destination.
    IDLE_PER_HOST: Count<usize> = ["upstream" "idle-per-host" = "64"] Count { min: 0, max: 65_536 };
    /// How long one is kept.
    IDLE_TIMEOUT: Span = ["upstream" "idle-timeout" = r#""15s""#] WAIT;

    /// The name of this gateway in messages; "" is the name of the host.
    ALARM_NAME: Text<String> = ["alarm" "name" = r#""""#]
        Text { form: "a name such as \"gate-1\" or \"\"", parse: alarms::name };
    /// The language of messages.
    ALARM_LANGUAGE: Choice<Language> = ["alarm" "language" = r#""en""#]
        Choice(&[("en", Language::English), ("zh", Language::Chinese)]);
    /// What goes on is told once in so long, with how often it was counted. An event is over when it has not come back for
    /// so long.
    ALARM_WINDOW: Span = ["alarm" "window" = r#""5m""#] Span { min: Duration::from_secs(10), max: DAY };
    /// A request that has waited so long for an upstream to accept the connection, or to begin its answer, counts for the
    /// alarms as if it had timed out, though it goes on. Where the time-outs of `[upstream]` are shorter, those count.
    ALARM_SLOW: Span = ["alarm" "slow" = r#""5s""#] Span { min: Duration::from_millis(100), max: DAY };
    /// When nothing is told: every day by the clock of this box, over midnight too, or once, in moments of RFC 3339. Behind
    /// the time the ids of alarms; without one, all are meant. What still stands when it is over is told then.
    ALARM_SILENCE: List<Silence> = ["alarm" "silence" = "[]"]
        List {
            form: "a list of times such as [\"02:00-04:30 io_wait cpu\", \"2027-01-01T22:00:00Z/2027-01-02T04:00:00Z\"]",
            parse: alarms::silence,
        };
    /// Other lines than those of the catalogue, from which on something is an alarm: the id of an alarm and a number in its
    /// unit, shares in percent too.
    ALARM_THRESHOLDS: List<Threshold> = ["alarm" "thresholds" = "[]"]
        List { form: "a list such as [\"error_ratio 10%\", \"latency 5\"]", parse: alarms::threshold };

    /// Access log: a file (reopened on SIGUSR1), "-" for standard output, "" for none.
    ACCESS: Text<AccessTarget> = ["log" "access" = r#""""#]
        Text { form: "an absolute path, \"-\" or \"\"", parse: access },
        restart if |old, new| old.log.access != new.log.access;
    /// Its format: "main" is close to nginx's, "squid" is Squid's native one, "json" is one object a line.
    ACCESS_FORMAT: Choice<AccessFormat> = ["log" "access-format" = r#""main""#]
        Choice(&[("main", AccessFormat::Main), ("squid", AccessFormat::Squid), ("json", AccessFormat::Json)]),
        restart if |old, new| old.log.access_format != new.log.access_format;
    /// What is told on standard error.
    LEVEL: Choice<LevelFilter> = ["log" "level" = r#""info""#]
        Choice(&[
            ("off", LevelFilter::OFF), ("error", LevelFilter::ERROR), ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO), ("debug", LevelFilter::DEBUG), ("trace", LevelFilter::TRACE),
        ]);
}

const DAY: Duration = Duration::from_hours(24);

const WAIT: Span = Span { min: Duration::from_millis(1), max: DAY };

const RATE: Text<Rate> = Text { form: "a rate such as \"200/s, burst 1000\"", parse: units::rate };

const NETWORKS: List<IpNet> =
    List { form: "a list of networks and addresses such as [\"10.0.0.0/8\", \"fd00::/8\"]", parse: hosts::network };

const RULES: List<DestinationRule> = List {
    form: "a list of networks, addresses, host:port, names and patterns such as \
           [\"10.0.0.0/8\", \"[fd00::1]:443\", \"*.example.net\"]",
    parse: hosts::rule,
};

fn mode(text: &str) -> Result<(), Fault> {
    match text {
        "explicit" => Ok(()),
        "redirect" | "tproxy" => {
            Err(Fault::new("transparent modes are not built in this version", "write \"explicit\""))
        }
        _ => Err(Fault::new("must be \"explicit\"", "")),
    }
}

fn account(name: &str) -> Result<Option<Account>, Fault> {
    if name.is_empty() {
        return Ok(None);
    }
    match Account::find(name) {
        Ok(Some(account)) => Ok(Some(account)),
        Ok(None) => Err(Fault::new(
            "is no account of this box",
            "make it (useradd --system NAME), or write \"\" to stay who starts it",
        )),
        Err(error) => Err(Fault::new(format!("cannot be looked up: {error}"), "write \"\" to stay who starts it")),
    }
}

fn token_file(text: &str) -> Result<TokenFile, Fault> {
    match text {
        "" => Ok(TokenFile::Off),
        "auto" => Ok(TokenFile::Auto),
        path if is_file(path) => Ok(TokenFile::At(path.into())),
        _ => Err(Fault::new(
            "is not the absolute path of a file",
            "write a path that begins with /, \"auto\", or \"\" for none",
        )),
    }
}

fn read_token_file(text: &str) -> Result<TokenFile, Fault> {
    match text {
        "" => Ok(TokenFile::Off),
        path if is_file(path) => Ok(TokenFile::At(path.into())),
        _ => Err(Fault::new("is not the absolute path of a file", "write a path that begins with /, or \"\" for none")),
    }
}

/// Whether it can be the absolute path of a file.
pub(super) fn is_file(path: &str) -> bool {
    path.starts_with('/') && !path.ends_with('/') && !path.contains('\0')
}

fn access(text: &str) -> Result<AccessTarget, Fault> {
    match text {
        "" => Ok(AccessTarget::Off),
        "-" => Ok(AccessTarget::Stdout),
        path if is_file(path) => Ok(AccessTarget::File(path.into())),
        _ => Err(Fault::new(
            "is not the absolute path of a file",
            "write a path that begins with /, \"-\" for standard output, or \"\" for none",
        )),
    }
}

/// The keys in which the two differ and which take a restart to change: `listener.address`, `runtime.workers`, …
pub fn restart_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    KEYS.iter()
        .map(|key| key.row())
        .filter(|row| row.changed.is_some_and(|changed| changed(old, new)))
        .map(|row| row.path)
        .collect()
}
