//! From findings to causes: one table of rules, the most telling first.
//!
//! Owns: the causes, and which symptoms each explains. Called by: [`super::diagnose`]. Never: names a cause for a symptom that
//! another one explains already: a disk that is busy since memory is short is not slow.

mod remedies;
mod rules;

use std::net::IpAddr;

use super::Verdict;
use super::evidence::Evidence;
use super::steps::{Finding, Step};
use crate::outcome::labelled;

labelled! {
    /// What may be the reason of it all.
    Cause {
        /// Clients ask the proxy for the proxy itself.
        SelfTarget = "self_target",
        /// A client tries again and again in vain, or holds most of the sockets.
        ClientStorm = "client_storm",
        /// Too many socket objects, of nobody in particular.
        SocketMemory = "socket_memory",
        /// Connections that were closed, to clients that have vanished.
        OrphanFlood = "orphan_flood",
        /// No local port is left for a destination.
        PortExhaustion = "port_exhaustion",
        /// The buffers of sockets are at their limit.
        TcpMemory = "tcp_memory",
        /// The table of connection tracking is full.
        ConntrackFull = "conntrack_full",
        /// A process has no descriptor left.
        Descriptors = "descriptors",
        /// A process does not accept its connections.
        AcceptQueue = "accept_queue",
        /// A process does not close what its peers have closed.
        CloseWait = "close_wait",
        /// The places of TIME_WAIT are taken.
        TimeWait = "time_wait",
        /// Processes need more memory than there is.
        MemoryShortage = "memory_shortage",
        /// The disk is slow, or has too much to do.
        SlowDisk = "slow_disk",
        /// The network alone fills the cores.
        Interrupts = "interrupts",
        /// The host of this virtual machine takes its cores away.
        Stolen = "stolen_cpu",
        /// The cores are busy.
        BusyCores = "busy_cores",
    }
}

/// A cause, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Which.
    pub cause: Cause,
    /// How bad.
    pub verdict: Verdict,
    /// What is the matter, in a sentence.
    pub what: String,
    /// The client, if it is one.
    pub client: Option<IpAddr>,
    /// What it sends, a stranger's text made harmless.
    pub request: Option<String>,
    /// The figures.
    pub evidence: Vec<String>,
    /// What to do, in this order.
    pub remedy: Vec<String>,
}

/// A rule: when a cause is the reason, and of what.
struct Rule {
    cause: Cause,
    /// The symptoms it explains. It is asked only while one of them is not explained.
    explains: &'static [Step],
    /// The cause in figures, if it is one.
    fits: fn(&Case<'_>) -> Option<Told>,
}

/// All there is to conclude from.
struct Case<'a> {
    evidence: &'a Evidence,
    findings: &'a [Finding],
}

impl Case<'_> {
    /// How bad a step is.
    fn verdict(&self, step: Step) -> Verdict {
        self.findings.iter().find(|finding| finding.step == step).map_or(Verdict::Unknown, |finding| finding.verdict)
    }

    fn is_bad(&self, step: Step) -> bool {
        self.verdict(step) > Verdict::Ok
    }

    /// Its figures.
    fn figures(&self, step: Step) -> Vec<String> {
        let of_step = self.findings.iter().filter(|finding| finding.step == step);
        of_step.flat_map(|finding| finding.evidence.iter().cloned()).collect()
    }
}

/// The most probable causes of these findings.
pub fn conclude(evidence: &Evidence, findings: &[Finding]) -> Vec<Told> {
    let mut open: Vec<Step> =
        findings.iter().filter(|finding| finding.verdict > Verdict::Ok).map(|finding| finding.step).collect();
    let case = Case { evidence, findings };
    let mut causes = Vec::new();
    for rule in rules::RULES {
        if !rule.explains.iter().any(|step| open.contains(step)) {
            continue;
        }
        if let Some(mut told) = (rule.fits)(&case) {
            debug_assert_eq!(told.cause, rule.cause, "a rule tells of its own cause");
            // It is as bad as the worst it brings about.
            let explained = open.iter().filter(|step| rule.explains.contains(step)).map(|step| case.verdict(*step));
            told.verdict = explained.fold(told.verdict, Verdict::max);
            open.retain(|step| !rule.explains.contains(step));
            causes.push(told);
        }
    }
    causes.sort_by_key(|told| std::cmp::Reverse(told.verdict));
    causes
}
