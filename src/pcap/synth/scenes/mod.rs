//! The scenarios: who does what, when.
//!
//! Owns: one file for each kind of behaviour; the casts. Called by: [`super::write`]. Never: writes a byte; asks what time
//! it is.

mod browse;
mod messenger;
mod storm;
mod trouble;

use super::Scenario;
use super::cast::{NAT, pc};
use super::exchange::Pc;
use super::stage::{Cast, MILLISECOND, Stage};

/// Connections at a time of a storming PC that also browses, or stands among others.
const FEW_WORKERS: u32 = 8;

/// Everybody who takes part.
pub(super) fn cast(scenario: Scenario, clients: u32, stage: &mut Stage) -> Cast {
    match scenario {
        Scenario::SelfTargetStorm => storm::cast(stage, clients),
        Scenario::MixedClient => mixed(stage, clients),
        Scenario::Nat50 => nat(stage, clients),
        Scenario::StartupBurst => messenger::startups(stage, clients),
        Scenario::SlowLoris => trouble::slow(stage, clients),
        Scenario::DeadDestination => trouble::hopeless(stage, clients),
        Scenario::Bypass => messenger::bypasses(stage, clients),
        Scenario::BrowsingDay => browse::cast(stage, clients),
    }
}

/// Each PC storms, and is somebody's PC.
fn mixed(stage: &mut Stage, clients: u32) -> Cast {
    let process = storm::Process::shared_by(clients.saturating_mul(FEW_WORKERS));
    let mut cast = Cast::new();
    for number in 0..clients {
        let pc = Pc::new(stage, pc(number));
        cast.push(browse::browser(stage, number, pc, &browse::BUSY));
        cast.extend(storm::workers(stage, &process, pc.address, FEW_WORKERS, 400 * MILLISECOND));
    }
    cast
}

/// So many PCs behind one address; the first storms.
fn nat(stage: &mut Stage, clients: u32) -> Cast {
    let process = storm::Process::shared_by(FEW_WORKERS);
    let mut cast = storm::workers(stage, &process, NAT, FEW_WORKERS, 300 * MILLISECOND);
    for number in 1..clients {
        let pc = Pc::new(stage, NAT);
        cast.push(browse::browser(stage, number, pc, &browse::RARE));
    }
    cast
}
