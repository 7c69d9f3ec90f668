//! Why is this box slow? The investigation as a chain, from the symptom to the culprit.
//!
//! Owns: the evidence ([`evidence`]) and its gathering ([`gather`]), the steps ([`steps`]), the causes ([`causes`]), what is
//! shown ([`show`]). Called by: the command line. Never: changes anything on the box, waits without an end, or guesses what it
//! could not see.
//!
//! Everything is gathered first; steps and causes are pure. So a recorded tree of `/proc` is judged like the living box.

pub mod causes;
pub mod evidence;
pub mod gateway;
pub mod gather;
#[cfg(feature = "tools")]
pub mod heard;
#[cfg(feature = "tools")]
pub mod listen;
pub mod show;
pub mod steps;
#[cfg(test)]
mod tests;
mod words;

pub use causes::{Cause, Told};
pub use evidence::Evidence;
pub use steps::{Finding, Step};

/// How bad it is, from what is not known at all to what makes a gateway fall over.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// It could not be seen.
    #[default]
    Unknown,
    /// Nothing is wrong.
    Ok,
    /// Somebody should look today.
    Warning,
    /// Users suffer, or are about to.
    Critical,
}

impl Verdict {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The exit code: 0, 1 or 2. What could not be seen is no finding.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unknown | Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }
}

/// What came of the investigation.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The worst of everything.
    pub verdict: Verdict,
    /// The most probable causes, the worst first; empty when nothing is wrong, or when nothing explains it.
    pub causes: Vec<Told>,
    /// Every step, in the order of the chain.
    pub steps: Vec<Finding>,
    /// What could not be seen, and why.
    pub unseen: Vec<evidence::Unseen>,
}

/// Judges the evidence.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let steps = steps::all(evidence);
    let causes = causes::conclude(evidence, &steps);
    let worst = steps.iter().map(|step| step.verdict).chain(causes.iter().map(|cause| cause.verdict)).max();
    Diagnosis { verdict: worst.unwrap_or_default(), causes, steps, unseen: evidence.unseen.clone() }
}
