//! The scenarios: who does what, when.
//!
//! Owns: one file for each kind of behaviour; the casts. Called by: [`super::write`]. Never: writes a byte; asks what time it is.

mod storm;

use super::Scenario;
use super::stage::{Cast, Stage};

/// Everybody who takes part, with the time of their first act.
pub(super) fn cast(scenario: Scenario, clients: u32, stage: &mut Stage) -> Cast {
    match scenario {
        Scenario::SelfTargetStorm => storm::cast(stage, clients),
    }
}
