use std::sync::atomic::Ordering::Relaxed;

use super::holds::HOLD_BYTES;
use super::pressure::Level;
use super::{Guard, Manner, Refusal};
use crate::config::Settings;
use crate::config::settings::{self, GuardMode, LadderMode, StallChoice};
use crate::net::ClientKey;
use crate::outcome::RequestEnd;

/// How a thousand refusals at once are met: answered, dropped, held.
fn met(guard: &Guard, settings: &settings::Guard, exempt: bool, end: RequestEnd, whole: bool) -> [usize; 3] {
    let client = guard.book.find(ClientKey::new("10.0.0.1".parse().unwrap()), guard.clock.now());
    let mut sums = [0; 3];
    let mut held = Vec::new();
    for _ in 0..1_000 {
        match guard.refused(&Refusal { client: &client, exempt, end, whole }, settings, guard.clock.now()) {
            Manner::Answer => sums[0] += 1,
            Manner::Drop => sums[1] += 1,
            Manner::Hold(hold, _) => {
                sums[2] += 1;
                held.push(hold);
            }
        }
    }
    sums
}

fn defaults() -> settings::Guard {
    Settings::defaults().guard
}

#[test]
fn a_storm_is_dropped_where_that_is_permitted_and_held_elsewhere() {
    let storm =
        |may_drop, settings, whole| met(&Guard::new(10, may_drop), &settings, false, RequestEnd::SelfTarget, whole);
    assert_eq!(storm(true, defaults(), true), [9, 991, 0]);
    assert_eq!(storm(true, defaults(), false), [9, 0, 991], "what is not read to its end cannot be dropped");
    let dead = met(&Guard::new(10, true), &defaults(), false, RequestEnd::DestinationFailing, true);
    assert_eq!(dead, [49, 0, 951], "a browser with a dead host in its page keeps its sockets");
    assert_eq!(storm(true, settings::Guard { stall: StallChoice::Hold, ..defaults() }, true), [9, 0, 991]);
    assert_eq!(storm(false, settings::Guard { stall: StallChoice::Drop, ..defaults() }, true), [9, 0, 991]);
    let hold_memory = 10 * usize::try_from(HOLD_BYTES).unwrap();
    assert_eq!(storm(false, settings::Guard { hold_memory, ..defaults() }, true), [990, 0, 10]);
}

#[test]
fn nobody_is_held_under_pressure() {
    let guard = Guard::new(10, false);
    guard.pressure.set(Level::High);
    assert_eq!(met(&guard, &defaults(), false, RequestEnd::SelfTarget, true), [1_000, 0, 0]);
}

#[test]
fn the_exempt_the_measured_and_the_blameless_are_answered() {
    let guard = Guard::new(10, true);
    assert_eq!(met(&guard, &defaults(), true, RequestEnd::SelfTarget, true), [1_000, 0, 0]);
    let measured = settings::Guard { ladder: LadderMode::Answer, ..defaults() };
    assert_eq!(met(&guard, &measured, false, RequestEnd::SelfTarget, true), [1_000, 0, 0]);
    assert_eq!(met(&guard, &defaults(), false, RequestEnd::ConnectRefused, true), [1_000, 0, 0]);
    let observed = settings::Guard { mode: GuardMode::Observe, ..defaults() };
    assert_eq!(met(&guard, &observed, false, RequestEnd::SelfTarget, true), [1_000, 0, 0]);
    assert_eq!(guard.observed.load(Relaxed), 991);
}
