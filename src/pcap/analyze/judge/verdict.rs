//! What it means in plain words, and what to set.

use std::cmp::Reverse;
use std::fmt::{self, Write as _};

use super::super::findings::{Findings, Proxy, Relation, SelfTarget, Storm, Verdict, Weight};
use super::super::limits::{SOCKET_BYTES, TIME_WAIT_BYTES};
use crate::http1::target::{Authority, Host};

/// Ports that `destinations.connect-ports` opens by default.
const CONNECT_PORTS: [u16; 3] = [443, 80, 8443];
/// `limits.client-connection-rate` by default, per second.
const CONNECTION_RATE: u64 = 200;
/// `limits.client-connections` by default.
const CONNECTIONS: u64 = 2_048;
/// Half of the TIME_WAIT places of a box with 2 GB (`net.ipv4.tcp_max_tw_buckets` 8,192).
const MANY_TIME_WAIT: u64 = 4_096;
/// If one of so many attempts of an address is good, a limit for the address is no remedy.
const GOOD_SHARE: u64 = 5;
/// So few of something are no pattern.
const FEW: u64 = 10;

/// The verdicts on findings that are complete but for them; `absent`: proxies that were told, and never seen; `one_sided`: so many
/// conversations have one direction only.
pub(super) fn verdicts(findings: &Findings, absent: Vec<String>, one_sided: u64) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = findings.proxies.iter().flat_map(of_proxy).flatten().collect();
    verdicts.extend(absent.into_iter().map(|told| Verdict {
        weight: Weight::Warning,
        cause: format!("The proxy {told} does not occur in the capture."),
        evidence: format!("Not one conversation with {told}."),
        remedy: "Check the address; capture on the interface that faces its clients.".into(),
    }));
    if one_sided >= FEW && one_sided.saturating_mul(2) >= findings.counters.flows {
        verdicts.push(Verdict {
            weight: Weight::Warning,
            cause: "The capture has one direction of most conversations.".into(),
            evidence: format!(
                "{one_sided} of {} have bytes of one side, and not a packet of the other: what was answered, and when they \
                 ended, cannot be told.",
                count(findings.counters.flows, "conversation")
            ),
            remedy: "Capture both directions: on the box itself, or where its whole traffic passes.".into(),
        });
    }
    if findings.more_proxies > 0 {
        verdicts.push(Verdict {
            weight: Weight::Note,
            cause: "There are more proxies than are told.".into(),
            evidence: format!("{} besides the {} busiest.", findings.more_proxies, findings.proxies.len()),
            remedy: "Name those that matter with --proxy.".into(),
        });
    }
    if findings.untracked > 0 {
        verdicts.push(Verdict {
            weight: Weight::Note,
            cause: "There was more than the tables of the analysis hold.".into(),
            evidence: format!("{} conversations are left out of the account.", findings.untracked),
            remedy: "Name the proxy with --proxy, or cut the capture into shorter ones.".into(),
        });
    }
    if !verdicts.iter().any(|verdict| verdict.weight >= Weight::Warning) {
        verdicts.push(fine(findings));
    }
    verdicts.sort_by_key(|verdict| Reverse(verdict.weight));
    verdicts
}

/// "1 client", "2 clients".
fn count(many: u64, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}

fn fine(findings: &Findings) -> Verdict {
    if findings.proxies.is_empty() {
        return Verdict {
            weight: Weight::Fine,
            cause: "No proxy was found in the capture.".into(),
            evidence: format!(
                "{} TCP conversations and {} HTTP requests, none of which a proxy was meant with.",
                findings.counters.flows, findings.requests
            ),
            remedy: "If there is one, name it with --proxy ADDRESS:PORT.".into(),
        };
    }
    let mut evidence = String::new();
    for proxy in findings.proxies.iter().take(4) {
        add(
            &mut evidence,
            format_args!(
                "{}: {}, {}, {}, {} refused, {} never answered, {} answered late, none for the proxy itself, at most {} at once. ",
                proxy.endpoint,
                count(proxy.clients, "client"),
                count(proxy.connections.total, "connection"),
                count(proxy.requests, "request"),
                proxy.answers.refused,
                proxy.answers.never,
                proxy.answers.late,
                count(proxy.connections.peak, "connection"),
            ),
        );
    }
    Verdict {
        weight: Weight::Fine,
        cause: "Nothing wrong was found.".into(),
        evidence: evidence.trim_end().into(),
        remedy: "Nothing needs to be set.".into(),
    }
}

fn of_proxy(proxy: &Proxy) -> [Option<Verdict>; 13] {
    [
        circle(proxy),
        self_target(proxy),
        storm(proxy),
        time_wait(proxy),
        not_accepted(proxy),
        slow_heads(proxy),
        slow(proxy),
        failing(proxy),
        onward(proxy),
        bypass(proxy),
        connect_ports(proxy),
        many_connections(proxy),
        misuse(proxy),
    ]
}

fn add(text: &mut String, more: fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    text.write_fmt(more).unwrap_or_default();
}

/// "3 clients (10.0.0.1, 10.0.0.2, …)".
fn listed<T: fmt::Display>(what: &str, all: impl Iterator<Item = T>) -> String {
    let all: Vec<String> = all.map(|one| one.to_string()).collect();
    let plural = if all.len() == 1 { "" } else { "s" };
    let first = all.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if all.len() > 3 { ", …" } else { "" };
    format!("{} {what}{plural} ({first}{more})", all.len())
}

/// A duration as a reader wants it: `480 µs`, `1.2 s`.
fn span(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
    let seconds = nanos as f64 / 1e9;
    match nanos {
        0..1_000_000 => format!("{:.0} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

fn circle(proxy: &Proxy) -> Option<Verdict> {
    let onward = &proxy.onward;
    (onward.to_itself > 0).then(|| {
        let own = match onward.to_own_proxy {
            0 => String::new(),
            own => format!(" {own} of them came in at its own proxy port: requests go round in circles."),
        };
        Verdict {
            weight: Weight::Critical,
            cause: format!("The proxy {} connects to itself.", proxy.endpoint),
            evidence: format!(
                "{} of its {} onward connections went to its own address.{own}",
                onward.to_itself, onward.connections
            ),
            remedy: format!(
                "floodgate answers such requests itself with 403 and never dials an own address; it finds the addresses of its \
                 interfaces alone. If {} is not on an interface there (NAT, a virtual address), set [self] aliases = [\"{}\"].",
                proxy.endpoint.ip(),
                proxy.endpoint.ip()
            ),
        }
    })
}

fn self_target(proxy: &Proxy) -> Option<Verdict> {
    let first: &SelfTarget = proxy.self_target.first()?;
    let count: u64 = proxy.self_target.iter().map(|one| one.count).sum();
    let mut clients: Vec<_> = proxy.self_target.iter().map(|one| one.client).collect();
    clients.sort_unstable();
    clients.dedup();
    let mut kinds: Vec<String> = proxy.self_target.iter().map(|one| one.kind.label()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let head = String::from_utf8_lossy(&first.sample);
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default();
    let host = lines.find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("host:")));
    let worst = proxy.storms.iter().any(|storm| storm.self_target > 0) || proxy.onward.to_itself > 0;
    Some(Verdict {
        weight: if worst { Weight::Critical } else { Weight::Warning },
        cause: format!(
            "Clients ask the proxy {} for the proxy itself: {}.",
            proxy.endpoint,
            listed("client", clients.into_iter())
        ),
        evidence: format!(
            "{count} of {} requests ({}); the most from {}, {} times. First sample: \"{}\"{}.",
            proxy.requests,
            kinds.join("; "),
            first.client,
            first.count,
            cut(line),
            host.map(|host| format!(", \"{}\"", cut(host))).unwrap_or_default(),
        ),
        remedy: format!(
            "Nothing has to be set for an address of the gateway's own interfaces: floodgate refuses these by itself. For others \
             of its addresses and names set [self] aliases; if a service of the box is really meant, [self] allow = \
             [\"{}:PORT\"]. On the clients, exclude {} from the proxy settings.",
            Host::Address(proxy.endpoint.ip()),
            proxy.endpoint.ip()
        ),
    })
}

fn cut(line: &str) -> String {
    let mut cut: String = line.chars().filter(|char| !char.is_control()).take(100).collect();
    if line.chars().count() > 100 {
        cut.push('…');
    }
    cut
}

fn storm(proxy: &Proxy) -> Option<Verdict> {
    let worst: &Storm = proxy.storms.first()?;
    let attempts: u64 = proxy.storms.iter().map(|storm| storm.attempts).sum();
    let mut evidence = format!(
        "{attempts} attempts in vain; the most from {}: {} ({} of all its attempts), {}/s at the peak",
        worst.client, worst.attempts, worst.of, worst.peak_per_s
    );
    if let Some(took) = worst.fastest_ten_ns {
        add(&mut evidence, format_args!(", ten within {}", span(took)));
    }
    if let Some(gap) = &worst.gap {
        add(&mut evidence, format_args!(", the next {} after the end of the last (median)", span(gap.p50)));
    }
    add(&mut evidence, format_args!(", {:.0} % the same request", worst.same_request * 100.0));
    if !worst.request.is_empty() {
        add(&mut evidence, format_args!(" (\"{}\")", cut(&worst.request)));
    }
    let cost = &proxy.cost;
    add(
        &mut evidence,
        format_args!(
            ". Each cost {:.1} connections and {:.0} packets; with {} sockets and {} in TIME_WAIT at the peak that is about {} KB \
             of kernel memory ({SOCKET_BYTES} and {TIME_WAIT_BYTES} bytes each).",
            cost.connections_per_refused,
            cost.packets_per_refused,
            cost.sockets,
            cost.time_wait,
            cost.kernel_bytes / 1024,
        ),
    );
    let loops = match worst.closed_loop {
        Some(true) => {
            "The client waits for each answer and tries again at once: the faster it is refused, the faster it storms."
        }
        Some(false) => "The client does not wait for answers: only its connections can be limited.",
        None => "Whether the client waits for answers cannot be told.",
    };
    let good = worst.of.saturating_sub(worst.attempts);
    let what = if good * GOOD_SHARE >= worst.of {
        format!(
            "{good} of the {} attempts from {} are good, and a limit for the address would hit those too: find out who is behind it.",
            worst.of, worst.client
        )
    } else {
        let rate = (worst.peak_per_s / 4).clamp(5, CONNECTION_RATE);
        format!(
            "Set limits.client-connection-rate = \"{rate}/s, burst {}\" (and client-request-rate likewise, if connections are kept) \
             unless many good clients share an address.",
            rate * 5
        )
    };
    Some(Verdict {
        weight: Weight::Critical,
        cause: format!(
            "Clients of {} try again and again in vain: {}.",
            proxy.endpoint,
            listed("client", proxy.storms.iter().map(|storm| storm.client))
        ),
        evidence,
        remedy: format!("{loops} {what} The client's own fault has to be mended there."),
    })
}

fn time_wait(proxy: &Proxy) -> Option<Verdict> {
    (proxy.cost.time_wait >= MANY_TIME_WAIT).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!("The proxy {} closes first and fills the table of TIME_WAIT.", proxy.endpoint),
        evidence: format!("{} connections in TIME_WAIT within a minute at the peak.", proxy.cost.time_wait),
        remedy: "floodgate lets clients close first after a refusal and leaves none; lower limits.client-connection-rate if one \
                 client opens most of them."
            .into(),
    })
}

fn not_accepted(proxy: &Proxy) -> Option<Verdict> {
    let connections = &proxy.connections;
    let lost = connections.refused + connections.unanswered;
    (lost >= FEW && lost * 100 >= connections.total).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!("The proxy {} does not accept all connections.", proxy.endpoint),
        evidence: format!(
            "Of {} connections {} were refused with a reset, {} got no answer to their SYN.",
            connections.total, connections.refused, connections.unanswered
        ),
        remedy: "Raise limits.connections if the box has the memory, and the sysctl net.core.somaxconn to 4096.".into(),
    })
}

fn slow_heads(proxy: &Proxy) -> Option<Verdict> {
    let slow = proxy.answers.slow_heads;
    (slow >= FEW && slow * 20 >= proxy.connections.total).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!("Clients of {} hold connections with heads that never end.", proxy.endpoint),
        evidence: format!(
            "{slow} of {} connections brought no complete head within 5 s; at most {} were open at once.",
            proxy.connections.total, proxy.connections.peak
        ),
        remedy: "timeouts.head = \"10s\" (the default) ends them with 408, limits.client-connections bounds what one client may \
                 hold."
            .into(),
    })
}

/// Destinations that do not answer; what only some of the requests run into is the destination's affair.
fn failing(proxy: &Proxy) -> Option<Verdict> {
    let dead: Vec<_> =
        proxy.failing.iter().filter(|(_, asked, failed)| *failed >= FEW / 2 && failed * 5 >= asked * 4).collect();
    let (first, asked, failed) = dead.first()?;
    let all: u64 = dead.iter().map(|(.., failed)| failed).sum();
    (all >= FEW).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!(
            "Clients of {} ask again and again for what cannot be reached: {}.",
            proxy.endpoint,
            listed("destination", dead.iter().map(|(name, ..)| cut(name)))
        ),
        evidence: format!("{all} requests were answered 502, 503 or 504; for {} {failed} of {asked}.", cut(first)),
        remedy: match deniable(first) {
            Some(host) => format!(
                "If nobody needs it: destinations.deny = [\"{host}\"]. Otherwise a shorter upstream.connect-timeout frees the \
                 box sooner."
            ),
            None => "A shorter upstream.connect-timeout frees the box sooner.".into(),
        },
    })
}

/// The host of an authority as `destinations.deny` takes it; none if it is no name and no address, as clients send them.
fn deniable(authority: &str) -> Option<String> {
    let host = Authority::parse(authority.as_bytes()).ok()?.host;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = match &host {
        Host::Name(name) => name.bytes().all(is_letter),
        Host::Address(_) => true,
    };
    fits.then(|| host.to_string())
}

fn slow(proxy: &Proxy) -> Option<Verdict> {
    let answers = &proxy.answers;
    let bad = answers.never + answers.late;
    // A storm in vain is told elsewhere.
    (bad >= FEW && bad * 20 >= proxy.requests && proxy.storms.is_empty()).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!("The proxy {} answers late or not at all.", proxy.endpoint),
        evidence: format!(
            "Of {} requests {} were answered after more than 5 s, {} never.",
            proxy.requests, answers.late, answers.never
        ),
        remedy:
            "Look at its onward connections and its DNS: upstream.connect-timeout, upstream.first-byte-timeout and \
                 upstream.dns-timeout end what hangs; upstream.dns-servers names faster ones."
                .into(),
    })
}

fn onward(proxy: &Proxy) -> Option<Verdict> {
    let onward = &proxy.onward;
    let failed = onward.refused + onward.unanswered;
    let worst = onward.destinations.iter().max_by_key(|(_, _, failed)| *failed)?;
    (failed >= FEW && failed * 5 >= onward.connections).then(|| Verdict {
        weight: Weight::Warning,
        cause: format!("Destinations of the proxy {} cannot be reached.", proxy.endpoint),
        evidence: format!(
            "Of {} onward connections {} were refused and {} not answered; the most by {} ({} of {}).",
            onward.connections, onward.refused, onward.unanswered, worst.0, worst.2, worst.1
        ),
        remedy: format!(
            "upstream.connect-timeout bounds the wait; if nobody needs {}, destinations.deny = [\"{}\"] spares it.",
            worst.0,
            worst.0.ip()
        ),
    })
}

fn bypass(proxy: &Proxy) -> Option<Verdict> {
    let telling: Vec<_> = proxy.bypass.iter().filter(|one| one.relation != Relation::Other).collect();
    let rest = proxy.bypass.iter().filter(|one| one.relation == Relation::Other && !one.private);
    let (weight, shown): (_, Vec<_>) =
        if telling.is_empty() { (Weight::Note, rest.collect()) } else { (Weight::Warning, telling) };
    let first = *shown.first()?;
    let mut clients: Vec<_> = shown.iter().map(|one| one.client).collect();
    clients.sort_unstable();
    clients.dedup();
    let connections: u64 = shown.iter().map(|one| one.connections).sum();
    let bytes: u64 = shown.iter().map(|one| one.bytes).sum();
    let what = match first.relation {
        Relation::Same => "the same destinations",
        Relation::Sibling => "destinations near those they ask for",
        Relation::Other => "other destinations",
    };
    let mut named: Vec<String> = shown
        .iter()
        .map(|one| match &one.host {
            Some(host) => format!("{} [{}]", one.destination, cut(host)),
            None => one.destination.to_string(),
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    let closed = shown.iter().map(|one| one.destination.port()).find(|port| !CONNECT_PORTS.contains(port));
    let ports = closed.map_or(String::new(), |port| {
        format!(" Clients that would use the proxy for port {port} need it in destinations.connect-ports.")
    });
    Some(Verdict {
        weight,
        cause: format!(
            "Clients of {} also go straight to {what}: {}.",
            proxy.endpoint,
            listed("client", clients.into_iter())
        ),
        evidence: format!(
            "{} with {bytes} bytes past the proxy, to {}.",
            count(connections, "connection"),
            listed("destination", named.into_iter())
        ),
        remedy: format!(
            "No key of floodgate.toml reaches what does not come to it: let only the gateway out at the firewall, and the clients \
             will have to use it.{ports}"
        ),
    })
}

fn connect_ports(proxy: &Proxy) -> Option<Verdict> {
    let port = |target: &str| target.rsplit(':').next()?.parse::<u16>().ok();
    let closed = proxy.connect_targets.iter().filter_map(|(target, count)| Some((port(target)?, *count)));
    let mut ports: Vec<(u16, u64)> = Vec::new();
    for (port, count) in closed.filter(|(port, _)| !CONNECT_PORTS.contains(port)) {
        match ports.iter_mut().find(|(known, _)| *known == port) {
            Some((_, known)) => *known += count,
            None => ports.push((port, count)),
        }
    }
    ports.sort_by_key(|(port, count)| (Reverse(*count), *port));
    let told =
        ports.iter().take(8).map(|(port, count)| format!("{port} ({count} times)")).collect::<Vec<_>>().join(", ");
    let first = ports.first()?.0;
    Some(Verdict {
        weight: Weight::Note,
        cause: format!("Clients of {} use CONNECT for ports that floodgate keeps closed by default.", proxy.endpoint),
        evidence: format!("CONNECT to port {told}."),
        remedy: format!("If they are wanted: destinations.connect-ports = [443, 80, 8443, {first}]."),
    })
}

fn many_connections(proxy: &Proxy) -> Option<Verdict> {
    let worst = proxy.busiest.filter(|busiest| busiest.1 > CONNECTIONS)?;
    Some(Verdict {
        weight: Weight::Note,
        cause: format!("{} holds more connections to {} than floodgate allows one client.", worst.0, proxy.endpoint),
        evidence: format!("{} at the same time; limits.client-connections is {CONNECTIONS} by default.", worst.1),
        remedy: format!(
            "If many people share that address: limits.client-connections = {}.",
            worst.1.next_power_of_two()
        ),
    })
}

fn misuse(proxy: &Proxy) -> Option<Verdict> {
    let first = proxy.keep_alive_misuse.first()?;
    let clients = listed("client", proxy.keep_alive_misuse.iter().map(|one| one.client));
    Some(Verdict {
            weight: Weight::Note,
            cause: format!("Clients of {} ask for keep-alive and close after each answer: {clients}.", proxy.endpoint),
            evidence: format!(
                "{} closed {} of {} connections that were to be kept within a second of the first answer.",
                first.client, first.closed, first.of
            ),
            remedy: "Each request of theirs costs a connection: limits.client-connection-rate has to have room for their request \
                     rate."
                .into(),
    })
}
