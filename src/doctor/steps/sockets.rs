//! Sockets: how many, in which state, whose; and the memory of their buffers.

use super::super::evidence::{Census, Change, Evidence, state_label};
use super::super::words::{harmless, percent, rate, share};
use super::{Finding, Step, marks};
use crate::figures::{bytes, count, of, real};
use crate::kernel::diag::State;

/// If the table holds fewer than so many of a hundred of the sockets there are, it is a sample.
const SAMPLE: u64 = 80;

pub(super) fn sockets(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Sockets);
    let sockets = &evidence.sockets;
    if let Some(inuse) = sockets.inuse_v4 {
        let v6 = sockets.inuse_v6.map(|v6| format!(" and {} of IPv6", count(v6))).unwrap_or_default();
        let alloc = sockets.alloc.map(|alloc| format!("; {} allocated in all", count(alloc))).unwrap_or_default();
        finding.saw(super::Verdict::Ok, format_args!("{} of IPv4{v6} in use{alloc}", of(inuse, "TCP socket")));
    }
    limits(&mut finding, evidence);
    if let Some(change) = evidence.change() {
        losses(&mut finding, &change);
    }
    if let Some(census) = &evidence.census {
        counted(&mut finding, census, evidence);
    }
    finding.means(
        "The number of sockets is harmless.",
        "There are more sockets, or more of one kind, than this box should have: the state tells who failed to close, the owner \
         and the client tell who opened them.",
    )
}

/// Orphans and TIME_WAIT against their limits.
fn limits(finding: &mut Finding, evidence: &Evidence) {
    if let (Some(orphans), Some(limit)) = (evidence.sockets.orphan, evidence.sysctl("net.ipv4.tcp_max_orphans")) {
        let part = share(orphans, limit).unwrap_or(0.0);
        let figure = format!("{} of at most {}: {}", of(orphans, "orphan"), count(limit), percent(part));
        finding.saw(marks::ORPHANS.of(part), figure);
    }
    if let (Some(waiting), Some(limit)) = (evidence.sockets.time_wait, evidence.sysctl("net.ipv4.tcp_max_tw_buckets")) {
        let part = share(waiting, limit).unwrap_or(0.0);
        let figure = format!("{} in TIME_WAIT of at most {}: {}", count(waiting), count(limit), percent(part));
        finding.saw(marks::TIME_WAIT.of(part), figure);
    }
}

fn losses(finding: &mut Finding, change: &Change<'_>) {
    if let Some(aborts) = change.rate(|reading| reading.tcp.aborts_on_memory)
        && aborts > 0.0
    {
        let figure = format!(
            "{} reset for want of memory or for too many orphans, {}",
            rate(aborts, "connections"),
            change.when()
        );
        finding.saw(marks::ABORTS.of(aborts), figure);
    }
}

fn counted(finding: &mut Finding, census: &Census, evidence: &Evidence) {
    let states: Vec<String> =
        census.states.iter().take(6).map(|(state, many)| format!("{} {}", count(*many), state_label(*state))).collect();
    if !states.is_empty() {
        finding.saw(super::Verdict::Ok, format_args!("by state: {}", states.join(", ")));
    }
    let known = [evidence.sockets.inuse_v4, evidence.sockets.inuse_v6, evidence.sockets.time_wait];
    let there = known.into_iter().flatten().fold(0, u64::saturating_add);
    if census.cut || census.total.saturating_mul(100) < there.saturating_mul(SAMPLE) {
        finding.evidence.push(format!(
            "a sample: {} of about {} sockets are in the table",
            count(census.total),
            count(there.max(census.total))
        ));
    }
    let owners: Vec<String> =
        census.owners.iter().take(4).map(|(name, many)| format!("{} {}", harmless(name, 40), count(*many))).collect();
    if !owners.is_empty() {
        finding.evidence.push(format!("by owner: {}", owners.join(", ")));
    }
    if census.to_itself >= marks::TO_ITSELF_LEAST
        && let Some(target) = census.own_target
    {
        let part = share(census.to_itself, census.total).unwrap_or(0.0);
        finding.saw(
            marks::TO_ITSELF.of(part),
            format_args!(
                "{} connections of this box to itself, most of them to {target}: {} of its sockets",
                count(census.to_itself),
                percent(part)
            ),
        );
    }
    let close_wait = census.of(State::CloseWait);
    if close_wait > 0 {
        let verdict = marks::CLOSE_WAIT.of(real(close_wait));
        if verdict > super::Verdict::Ok {
            finding.saw(
                verdict,
                format_args!("{} in CLOSE_WAIT: closed by the peer, and not by their owner", count(close_wait)),
            );
        }
    }
}

pub(super) fn tcp_memory(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::TcpMemory);
    if let (Some(used), Some([low, pressure, high])) = (evidence.tcp_memory, evidence.tcp_memory_limits()) {
        let verdict = marks::BUFFERS_PRESSURE
            .of(share(used, pressure).unwrap_or(0.0))
            .max(marks::BUFFERS.of(share(used, high).unwrap_or(0.0)));
        finding.saw(
            verdict,
            format_args!(
                "buffers take {} (tcp_mem: calm below {}, saving from {}, the end at {})",
                bytes(used),
                bytes(low),
                bytes(pressure),
                bytes(high)
            ),
        );
    }
    if let Some(change) = evidence.change()
        && let Some(times @ 1..) = change.grown(|reading| reading.tcp.memory_pressures)
    {
        finding.evidence.push(format!("the kernel began to save buffers {} times, {}", count(times), change.when()));
    }
    if finding.verdict > super::Verdict::Ok
        && let Some(most) =
            evidence.census.as_ref().and_then(|census| census.clients.iter().max_by_key(|one| one.queued))
        && most.queued > 0
    {
        finding.evidence.push(format!(
            "the most by a client: {} has {} in its queues",
            most.address,
            bytes(most.queued)
        ));
    }
    finding.means(
        "The buffers of sockets have room.",
        "Above the second figure windows shrink and everybody becomes slow; at the third nothing is received any more.",
    )
}
