//! What runs out: open files, ports, places in queues and tables.

use super::super::Verdict;
use super::super::evidence::Evidence;
use super::super::words::{harmless, percent, rate, share};
use super::{Finding, Step, marks};
use crate::figures::{bytes, count, of};

/// What a tracked connection takes: an object of the cache `nf_conntrack` (Linux 5 and 6, x86-64).
pub(in crate::doctor) const TRACKED_BYTES: u64 = 320;
/// Beyond so many entries for each hash bucket, every packet walks a list.
const CHAIN: u64 = 8;

pub(super) fn descriptors(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Descriptors);
    if let Some((open, limit)) = evidence.files {
        let part = share(open, limit).unwrap_or(0.0);
        finding.saw(
            marks::FILES.of(part),
            format_args!("{} open of at most {} (fs.file-max)", of(open, "file"), most(limit)),
        );
        if marks::FILES.of(part) > Verdict::Ok {
            finding.advise(format_args!(
                "`sysctl -w fs.file-max={}`, after a look at who opens them.",
                limit.saturating_mul(2)
            ));
        }
    }
    let processes = evidence.processes.iter().flat_map(|processes| &processes.fullest);
    for process in processes.take(3) {
        let Some(limit) = process.limit else { continue };
        let part = share(process.open, limit).unwrap_or(0.0);
        let verdict = marks::FILES.of(part);
        let name = harmless(&process.name, 32);
        finding.saw(
            verdict,
            format_args!("{name} ({}): {} of {}, {}", process.pid, count(process.open), count(limit), percent(part)),
        );
        if verdict > Verdict::Ok {
            finding.advise(format_args!(
                "Now: `prlimit --pid {} --nofile=65536:65536`. For good: `LimitNOFILE=65536` in the unit of {name}.",
                process.pid
            ));
        }
    }
    finding.means(
        "There are descriptors left.",
        "A process at its limit cannot accept, connect or open anything: its clients wait in the accept queue.",
    )
}

/// A limit that may be none.
fn most(limit: u64) -> String {
    if limit >= 1 << 40 { "any number".to_owned() } else { count(limit) }
}

pub(super) fn ports(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Ports);
    let Some(ports) = evidence.ports() else { return finding.means("", "") };
    finding.evidence.push(format!("{} local ports for connections to one destination", count(ports)));
    let Some(census) = &evidence.census else { return finding.means("", "") };
    finding.verdict = Verdict::Ok;
    for one in census.destinations.iter().take(2) {
        let part = share(one.sockets, ports).unwrap_or(0.0);
        finding.saw(
            marks::PORTS.of(part),
            format_args!(
                "{} to {}: {} of them, {} in TIME_WAIT",
                of(one.sockets, "port"),
                one.to,
                percent(part),
                count(one.time_wait)
            ),
        );
    }
    finding.means(
        "No destination takes many ports.",
        "Connections to this destination soon fail with EADDRNOTAVAIL, and before that each connect searches long for a free port.",
    )
}

pub(super) fn queues(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Queues);
    let limit = evidence.sysctl("net.core.somaxconn");
    if let Some(census) = &evidence.census
        && !census.listeners.is_empty()
    {
        let longest = census.listeners.iter().max_by_key(|listener| listener.waiting);
        if let Some(listener) = longest {
            let part = limit.and_then(|limit| share(listener.waiting, limit)).unwrap_or(0.0);
            let few = listener.waiting < marks::WAITING_LEAST;
            let bound = limit.map(|limit| format!(" (somaxconn {})", count(limit))).unwrap_or_default();
            finding.saw(
                if few { Verdict::Ok } else { marks::WAITING.of(part) },
                format_args!(
                    "{}; the longest queue: {} wait to be accepted at {}{bound}",
                    of(census.listeners.len() as u64, "listening socket"),
                    count(listener.waiting),
                    listener.local
                ),
            );
        }
    }
    if let Some(change) = evidence.change() {
        if let Some(lost) = change.rate(|reading| reading.tcp.listen_overflows) {
            let figure =
                format!("{} lost since an accept queue was full, {}", rate(lost, "connections"), change.when());
            finding.saw(marks::OVERFLOWS.of(lost), figure);
        }
        if let Some(cookies) = change.rate(|reading| reading.tcp.syn_cookies)
            && cookies > 0.0
        {
            finding
                .evidence
                .push(format!("{} sent since a queue of handshakes was full", rate(cookies, "SYN cookies")));
        }
    }
    finding.means(
        "Connections are accepted at once.",
        "The process behind this port does not accept fast enough: it has too much to do, waits for something, or has no \
         descriptor left. A longer queue only helps with bursts.",
    )
}

pub(super) fn conntrack(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Conntrack);
    let limit = evidence.sysctl("net.netfilter.nf_conntrack_max");
    let (Some(tracked), Some(limit)) = (evidence.tracked, limit) else {
        "No connection tracking to be seen: it is not loaded, or was not recorded.".clone_into(&mut finding.meaning);
        return finding;
    };
    let part = share(tracked, limit).unwrap_or(0.0);
    finding.saw(
        marks::TRACKED.of(part),
        format_args!("{} of at most {} connections tracked: {}", count(tracked), count(limit), percent(part)),
    );
    finding.evidence.push(format!("a full table takes {}", bytes(limit.saturating_mul(TRACKED_BYTES))));
    if let Some(change) = evidence.change()
        && let Some(lost) = change.rate(|reading| reading.tracking_losses)
        && lost > 0.0
    {
        finding.saw(
            marks::TRACKING_LOSSES.of(lost),
            format_args!("{} dropped by connection tracking, {}", rate(lost, "packets"), change.when()),
        );
    }
    if let Some(buckets) = evidence.sysctl("net.netfilter.nf_conntrack_buckets")
        && tracked >= buckets.saturating_mul(CHAIN)
    {
        let figure = format!("{} hash buckets: {} entries in each", count(buckets), tracked / buckets.max(1));
        finding.saw(Verdict::Warning, figure);
        finding.advise(format_args!("`sysctl -w net.netfilter.nf_conntrack_buckets={}`", limit / 4));
    }
    finding.means(
        "The table has room.",
        "A full table drops the first packet of every new connection through this box, whoever it is from.",
    )
}
