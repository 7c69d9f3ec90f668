//! The steps of the chain: each looks at one thing, and says what it saw, what it means and what to do.
//!
//! Owns: the order of the steps, and what is too much ([`marks`]). Called by: [`super::diagnose`]. Never: reads anything; says
//! what the evidence does not hold.

mod cores;
pub mod marks;
mod memory;
pub(super) mod settings;
pub(super) mod shortages;
mod sockets;
mod who;

use std::fmt;

use super::Verdict;
use super::evidence::Evidence;
use crate::outcome::labelled;

labelled! {
    /// A step of the chain, in its order.
    Step {
        /// The load against the cores.
        Load = "load",
        /// What the cores do.
        Cpu = "cpu",
        /// How busy the disks are.
        Disk = "disk",
        /// Memory, and how hard it is to get.
        Memory = "memory",
        /// The kernel's own memory, by cache.
        Slab = "slab",
        /// Sockets by state and owner, orphans, TIME_WAIT, connections to itself.
        Sockets = "sockets",
        /// The buffers of sockets.
        TcpMemory = "tcp_memory",
        /// Open files.
        Descriptors = "descriptors",
        /// Local ports towards one destination.
        Ports = "ports",
        /// Connections that wait to be accepted.
        Queues = "listen_queues",
        /// The table of connection tracking.
        Conntrack = "conntrack",
        /// Who it is.
        Clients = "clients",
        /// What they send.
        Requests = "requests",
        /// Settings that do not fit a small box.
        Settings = "settings",
    }
}

/// What a step found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which step.
    pub step: Step,
    /// How bad it is.
    pub verdict: Verdict,
    /// The figures, each in a sentence.
    pub evidence: Vec<String>,
    /// What they mean; empty where nothing is known.
    pub meaning: String,
    /// What to do, with the exact setting or command.
    pub remedy: Vec<String>,
}

impl Finding {
    fn new(step: Step) -> Self {
        Self { step, verdict: Verdict::Unknown, evidence: Vec::new(), meaning: String::new(), remedy: Vec::new() }
    }

    /// A figure, and how bad it is: the worst one counts.
    fn saw(&mut self, verdict: Verdict, figure: impl fmt::Display) {
        self.verdict = self.verdict.max(verdict);
        self.evidence.push(figure.to_string());
    }

    fn advise(&mut self, remedy: impl fmt::Display) {
        self.remedy.push(remedy.to_string());
    }

    /// Says what it means, by how bad it is.
    fn means(mut self, ok: &str, otherwise: &str) -> Self {
        let meaning = match self.verdict {
            Verdict::Unknown => "This could not be seen.",
            Verdict::Ok => ok,
            Verdict::Warning | Verdict::Critical => otherwise,
        };
        meaning.clone_into(&mut self.meaning);
        self
    }
}

/// All steps, in their order.
pub fn all(evidence: &Evidence) -> Vec<Finding> {
    Step::ALL.iter().map(|step| look(*step, evidence)).collect()
}

fn look(step: Step, evidence: &Evidence) -> Finding {
    match step {
        Step::Load => cores::load(evidence),
        Step::Cpu => cores::cpu(evidence),
        Step::Disk => cores::disk(evidence),
        Step::Memory => memory::memory(evidence),
        Step::Slab => memory::slab(evidence),
        Step::Sockets => sockets::sockets(evidence),
        Step::TcpMemory => sockets::tcp_memory(evidence),
        Step::Descriptors => shortages::descriptors(evidence),
        Step::Ports => shortages::ports(evidence),
        Step::Queues => shortages::queues(evidence),
        Step::Conntrack => shortages::conntrack(evidence),
        Step::Clients => who::clients(evidence),
        Step::Requests => who::requests(evidence),
        Step::Settings => settings::settings(evidence),
    }
}
