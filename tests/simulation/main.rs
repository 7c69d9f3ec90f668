//! Hours of storms in seconds: the client book, the ladder, the holds, the fence and the pressure under a virtual clock, with
//! clients that behave as clients do. What must always hold is checked at every step, what a storm comes to at its end.
//!
//! `FLOODGATE_SEED=n` plays one run again; every failure names its seed. `FLOODGATE_HOURS=n` plays longer.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::cast_precision_loss, reason = "rates of a simulation")]

mod kernel;
mod people;
mod world;

use std::time::Duration;

use floodgate::config::Settings;
use floodgate::config::settings::{self, GuardMode, StallChoice};
use floodgate::guard::pressure::Level;

use people::{Habit, Person};
use world::World;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

fn seeds() -> Vec<u64> {
    match std::env::var("FLOODGATE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2],
    }
}

fn hours() -> u64 {
    std::env::var("FLOODGATE_HOURS").map_or(1, |hours| hours.parse().unwrap())
}

fn guard() -> settings::Guard {
    Settings::defaults().guard
}

/// Sixteen connections that retry at once, as the incident's clients.
fn retrier(address: u32, patience: u64) -> Person {
    Person::new(address, Habit::Retries { connections: 16, patience: Duration::from_micros(patience) })
}

/// Fifty of them, and beside them whoever may suffer.
fn storm(patience: u64) -> Vec<Person> {
    let good = (100..150).map(|n| Person::new(n, Habit::Browses));
    let polls = (200..205).map(|n| Person::new(n, Habit::Polls { every: Duration::from_secs(u64::from(n - 199) * 7) }));
    (0..50).map(|n| retrier(n, patience)).chain(good).chain(polls).collect()
}

#[test]
fn a_storm_is_left_with_its_own_time_outs_and_nobody_else_notices() {
    for seed in seeds() {
        let hour = hours() * 60 * MINUTE;
        let storms =
            [(true, SECOND, hour / 6), (true, 5 * SECOND, hour), (true, 30 * SECOND, hour), (false, 5 * SECOND, hour)];
        for (may_drop, patience, long) in storms {
            let mut world = World::new(seed, may_drop, guard(), storm(patience));
            world.run_until(2 * SECOND);
            let begun = world.attempts();
            world.run_until(long);
            let silent = 50.0 * 16.0 * SECOND as f64 / patience as f64;
            let seconds = (long / SECOND - 2) as f64;
            let rate = (world.attempts() - begun) as f64 / seconds;
            assert!(rate <= 1.1 * silent, "seed {seed}: {rate} attempts/s, {silent} if nobody answered");
            world.good_ones_were_served();
        }
    }
}

#[test]
fn the_worst_second_of_a_storm_is_its_first() {
    for seed in seeds() {
        let mut world = World::new(seed, true, guard(), storm(SECOND));
        let mut before = 0;
        let per_second: Vec<u64> = (1..=600)
            .map(|second| {
                world.run_until(second * SECOND);
                let attempts = world.attempts() - before;
                before = world.attempts();
                attempts
            })
            .collect();
        let worst = per_second[2..].iter().max().unwrap();
        assert!(*worst <= 2 * 800, "seed {seed}: {worst} attempts in one second after the second one");
    }
}

#[test]
fn who_is_repaired_is_forgiven() {
    for seed in seeds() {
        let people = (0..20).map(|n| retrier(n, 5 * SECOND)).collect();
        let mut world = World::new(seed, true, guard(), people);
        world.run_until(10 * MINUTE);
        // The update comes: from now on each asks for itself once in 20 s, as a poll.
        world.everybody(&Habit::Polls { every: Duration::from_secs(20) });
        world.run_until(30 * MINUTE);
        let (asked, stalled) = world.lately(5 * MINUTE);
        assert!(asked >= 20 * 14 && stalled == 0, "seed {seed}: {stalled} of {asked} polls are stalled still");
    }
}

#[test]
fn a_small_book_and_a_small_budget_hold_against_many() {
    for seed in seeds() {
        let loops = (0..50).map(|n| Person::new(n, Habit::OpenLoop { per_second: 400 }));
        let crowd = (1_000..3_000).map(|n| Person::new(n, Habit::Bursts { requests: 9 }));
        let good = (100..150).map(|n| Person::new(n, Habit::Browses));
        let settings = settings::Guard { stall: StallChoice::Hold, hold_memory: 1 << 20, ..guard() };
        let mut world = World::new(seed, false, settings, loops.chain(crowd).chain(good).collect()).with_book_of(500);
        world.run_until(10 * SECOND);
        world.good_ones_were_served();
    }
}

#[test]
fn a_burst_is_no_storm() {
    for seed in seeds() {
        let crowd = (0..500).map(|n| Person::new(n, Habit::Bursts { requests: 9 })).collect();
        let mut world = World::new(seed, true, guard(), crowd);
        world.run_until(10 * MINUTE);
        let (asked, stalled) = world.of(&|_| true);
        assert!(asked > 500 * 9 * 50 && stalled == 0, "seed {seed}: {stalled} of {asked}");
    }
}

/// Ten who do not wait for anything, beside good clients.
fn open_loop() -> Vec<Person> {
    let good = (100..150).map(|n| Person::new(n, Habit::Browses));
    (0..10).map(|n| Person::new(n, Habit::OpenLoop { per_second: 150 })).chain(good).collect()
}

#[test]
fn who_does_not_wait_is_fenced_and_let_in_again_when_it_has_stopped() {
    for seed in seeds() {
        let mut world = World::new(seed, true, guard(), open_loop());
        world.run_until(4 * SECOND);
        assert_eq!(world.fenced(), 0, "seed {seed}: five seconds of stalling come first");
        world.run_until(10 * SECOND);
        assert_eq!(world.fenced(), 10, "seed {seed}");
        let (before, _) = world.of(&|habit| matches!(habit, Habit::OpenLoop { .. }));
        world.run_until(40 * SECOND);
        let (after, _) = world.of(&|habit| matches!(habit, Habit::OpenLoop { .. }));
        assert_eq!(after, before, "seed {seed}: nothing of it reaches us");
        // A trickle every now and then, and nobody is let in who goes on.
        world.run_until(10 * MINUTE);
        assert_eq!(world.fenced(), 10, "seed {seed}");
        world.good_ones_were_served();
        world.everybody(&Habit::Polls { every: Duration::from_secs(20) });
        world.run_until(25 * MINUTE);
        assert_eq!(world.fenced(), 0, "seed {seed}: whoever has stopped is let in after ten minutes at most");
        let (asked, stalled) = world.lately(5 * MINUTE);
        assert!(asked >= 60 * 14 && stalled == 0, "seed {seed}: {stalled} of {asked}");
    }
}

#[test]
fn who_storms_and_browses_is_never_fenced() {
    for seed in seeds() {
        let mut people = open_loop();
        // The same addresses, with somebody who browses.
        people.extend((0..10).map(|n| Person::new(n, Habit::Browses)));
        let mut world = World::new(seed, true, guard(), people);
        for minute in 1..=5 {
            world.run_until(minute * MINUTE);
            assert_eq!(world.fenced(), 0, "seed {seed}");
        }
        world.good_ones_were_served();
    }
}

#[test]
fn a_short_box_holds_nobody_back_and_recovers() {
    for seed in seeds() {
        let settings = settings::Guard { stall: StallChoice::Hold, ..guard() };
        let good = (100..110).map(|n| Person::new(n, Habit::Browses));
        let people = (0..4).map(|n| retrier(n, 5 * SECOND)).chain(good).collect();
        let mut world = World::new(seed, false, settings, people);
        world.run_until(10 * SECOND);
        assert!(world.level() == Level::Calm && world.holds() > 32, "seed {seed}: {} held", world.holds());
        world.take(0.8);
        // What is held is answered within 5 s: then its client gives up.
        world.run_until(17 * SECOND);
        assert!(world.level() >= Level::High && world.holds() == 0, "seed {seed}: {} held", world.holds());
        world.take(0.1);
        world.run_until(22 * SECOND);
        assert!(world.level() == Level::Calm && world.holds() > 32, "seed {seed}: {} held", world.holds());
        world.good_ones_were_served();
    }
}

#[test]
fn who_only_observes_answers_everybody() {
    for seed in seeds() {
        let settings = settings::Guard { mode: GuardMode::Observe, ..guard() };
        let people = (0..3).map(|n| Person::new(n, Habit::OpenLoop { per_second: 100 })).collect();
        let mut world = World::new(seed, true, settings, people);
        world.run_until(MINUTE);
        let (asked, stalled) = world.of(&|_| true);
        assert!(stalled == 0 && asked > 17_000, "seed {seed}");
        assert!(world.observed() > asked * 9 / 10, "seed {seed}: {} of {asked}", world.observed());
    }
}

#[test]
fn the_same_seed_plays_the_same() {
    let play = |seed| {
        let mut world = World::new(seed, true, guard(), storm(SECOND));
        world.run_until(MINUTE);
        (world.attempts(), world.of(&|_| true))
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}
