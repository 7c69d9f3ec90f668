//! The settings that matter on a small box, and what each comes to.
//!
//! What the kernel sets by itself is no warning: only what is worse than that, or does not fit this box.

use super::super::Verdict;
use super::super::evidence::Evidence;
use super::super::words::share;
use super::shortages::TRACKED_BYTES;
use super::{Finding, Step};
use crate::figures::{bytes, count};

/// How long TIME_WAIT lasts, seconds (`TCP_TIMEWAIT_LEN` of `include/net/tcp.h`): no setting changes it.
pub(in crate::doctor) const TIME_WAIT_SECONDS: u64 = 60;
/// What a connection in TIME_WAIT takes, in bytes.
const TIME_WAIT_BYTES: u64 = 256;
/// What an orphan may take, in bytes (`tcp_max_orphans` in ip-sysctl.rst).
const ORPHAN_BYTES: u64 = 64 << 10;
/// What a connection that was not accepted yet takes, in bytes.
const WAITING_BYTES: u64 = 2_862;
/// Below so many places bursts of connections are lost (the kernel's own value until Linux 5.4: 128).
const SOMAXCONN: u64 = 1_024;

/// One line, and what would be better.
type Line = (Verdict, String, Option<String>);

pub(super) fn settings(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Settings);
    let lines = [
        ports(evidence),
        reuse(evidence),
        backlog(evidence),
        handshakes(evidence),
        fin_timeout(evidence),
        orphans(evidence),
        time_wait(evidence),
        buffers(evidence),
        per_socket(evidence),
        files(evidence),
        tracking(evidence),
        tracking_time(evidence),
    ];
    for (verdict, figure, remedy) in lines.into_iter().flatten() {
        finding.saw(verdict, figure);
        finding.remedy.extend(remedy);
    }
    finding.means(
        "The settings fit this box.",
        "Some settings do not fit this box. To keep a change over a restart, write it to /etc/sysctl.d/90-floodgate.conf.",
    )
}

fn ports(evidence: &Evidence) -> Option<Line> {
    let ports = evidence.ports()?;
    let rate = ports / TIME_WAIT_SECONDS;
    let figure = format!(
        "ip_local_port_range: {} ports at {TIME_WAIT_SECONDS} s TIME_WAIT = {} new connections/s to one destination",
        count(ports),
        count(rate)
    );
    let few = ports < 8_192;
    let remedy = few.then(|| "`sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"`: 921/s".to_owned());
    Some((if few { Verdict::Warning } else { Verdict::Ok }, figure, remedy))
}

fn reuse(evidence: &Evidence) -> Option<Line> {
    let what = match evidence.sysctl("net.ipv4.tcp_tw_reuse")? {
        0 => "0: a port is taken for all of TIME_WAIT",
        1 => "1: a port in TIME_WAIT is used again after 1 s, for connections this box opens",
        _ => "2: ports in TIME_WAIT are used again on loopback only",
    };
    Some((Verdict::Ok, format!("tcp_tw_reuse {what}"), None))
}

fn backlog(evidence: &Evidence) -> Option<Line> {
    let places = evidence.sysctl("net.core.somaxconn")?;
    let cost = bytes(places.saturating_mul(WAITING_BYTES));
    let figure =
        format!("somaxconn {}: so many connections may wait to be accepted at a socket, {cost}", count(places));
    if places >= SOMAXCONN {
        return Some((Verdict::Ok, figure, None));
    }
    let remedy = "`sysctl -w net.core.somaxconn=4096`, and restart what listens".to_owned();
    Some((Verdict::Warning, figure + "; a burst of more is lost", Some(remedy)))
}

fn handshakes(evidence: &Evidence) -> Option<Line> {
    let places = evidence.sysctl("net.ipv4.tcp_max_syn_backlog")?;
    let cookies = evidence.sysctl("net.ipv4.tcp_syncookies");
    let figure = format!("tcp_max_syn_backlog {}: handshakes under way at a socket", count(places));
    if cookies == Some(0) {
        let remedy = "`sysctl -w net.ipv4.tcp_syncookies=1`".to_owned();
        return Some((
            Verdict::Warning,
            figure + ", and no SYN cookies beyond them: new connections are lost",
            Some(remedy),
        ));
    }
    Some((Verdict::Ok, figure + ", SYN cookies beyond them", None))
}

fn fin_timeout(evidence: &Evidence) -> Option<Line> {
    let seconds = evidence.sysctl("net.ipv4.tcp_fin_timeout")?;
    let figure = format!("tcp_fin_timeout {seconds} s: so long a closed connection waits for the peer's FIN");
    // Up to a minute it waits as a remnant of 256 B, longer as a whole socket (`tcp_fin_time`, net/ipv4/tcp.c).
    if seconds <= TIME_WAIT_SECONDS {
        return Some((Verdict::Ok, figure, None));
    }
    let remedy = "`sysctl -w net.ipv4.tcp_fin_timeout=30`".to_owned();
    Some((Verdict::Warning, figure + ", beyond 60 s as a whole socket and an orphan", Some(remedy)))
}

fn orphans(evidence: &Evidence) -> Option<Line> {
    let limit = evidence.sysctl("net.ipv4.tcp_max_orphans")?;
    let worst = limit.saturating_mul(ORPHAN_BYTES);
    let figure = format!("tcp_max_orphans {}: up to {} ({} each)", count(limit), bytes(worst), bytes(ORPHAN_BYTES));
    // The kernel itself allows a quarter of the memory on small boxes.
    let too_many = share(worst, evidence.memory.total?).is_some_and(|part| part > 0.5);
    let is_small = evidence.memory.total? < 8 << 30;
    if too_many && is_small {
        let fits = evidence.memory.total? / 4 / ORPHAN_BYTES;
        return Some((
            Verdict::Warning,
            figure + ", more than half of the memory",
            Some(format!("`sysctl -w net.ipv4.tcp_max_orphans={fits}`")),
        ));
    }
    Some((Verdict::Ok, figure, None))
}

fn time_wait(evidence: &Evidence) -> Option<Line> {
    let limit = evidence.sysctl("net.ipv4.tcp_max_tw_buckets")?;
    let figure = format!(
        "tcp_max_tw_buckets {}: {}, {} connections/s closed by this box",
        count(limit),
        bytes(limit.saturating_mul(TIME_WAIT_BYTES)),
        count(limit / TIME_WAIT_SECONDS)
    );
    Some((Verdict::Ok, figure, None))
}

fn buffers(evidence: &Evidence) -> Option<Line> {
    let [low, pressure, high] = evidence.tcp_memory_limits()?;
    let figure =
        format!("tcp_mem {} / {} / {}: for the buffers of all sockets", bytes(low), bytes(pressure), bytes(high));
    let total = evidence.memory.total?;
    let part = share(high, total)?;
    if part > 0.5 {
        let pages = total / evidence.page_size.max(1);
        let remedy = format!("`sysctl -w net.ipv4.tcp_mem=\"{} {} {}\"`", pages / 20, pages / 15, pages / 10);
        return Some((Verdict::Warning, figure + ", more than half of the memory", Some(remedy)));
    }
    Some((Verdict::Ok, figure, None))
}

fn per_socket(evidence: &Evidence) -> Option<Line> {
    let most = |name| evidence.sysctl3(name).map(|[_, _, most]| most);
    let (read, write) = (most("net.ipv4.tcp_rmem")?, most("net.ipv4.tcp_wmem")?);
    let [_, pressure, _] = evidence.tcp_memory_limits()?;
    let sockets = pressure.checked_div(read.saturating_add(write))?;
    let figure = format!(
        "tcp_rmem up to {}, tcp_wmem up to {}: {} stalled transfers fill tcp_mem",
        bytes(read),
        bytes(write),
        count(sockets)
    );
    Some((Verdict::Ok, figure, None))
}

fn files(evidence: &Evidence) -> Option<Line> {
    let (most, each) = (evidence.sysctl("fs.file-max")?, evidence.sysctl("fs.nr_open")?);
    let figure = if most >= 1 << 40 {
        format!("fs.nr_open {}: a process may have so many files if LimitNOFILE says so", count(each))
    } else {
        format!("fs.file-max {}: files of the whole box; fs.nr_open {}: of a process", count(most), count(each))
    };
    if most < 8_192 {
        return Some((Verdict::Warning, figure, Some("`sysctl -w fs.file-max=262144`".to_owned())));
    }
    Some((Verdict::Ok, figure, None))
}

fn tracking(evidence: &Evidence) -> Option<Line> {
    let limit = evidence.sysctl("net.netfilter.nf_conntrack_max")?;
    let buckets = evidence.sysctl("net.netfilter.nf_conntrack_buckets")?;
    let figure = format!(
        "nf_conntrack_max {} in {} buckets: {}",
        count(limit),
        count(buckets),
        bytes(limit.saturating_mul(TRACKED_BYTES))
    );
    Some((Verdict::Ok, figure, None))
}

fn tracking_time(evidence: &Evidence) -> Option<Line> {
    let seconds = evidence.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established")?;
    let figure = format!(
        "nf_conntrack_tcp_timeout_established {} s: so long an entry stays when the client has vanished",
        count(seconds)
    );
    Some((Verdict::Ok, figure, None))
}
