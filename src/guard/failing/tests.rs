use proptest::prelude::*;

use super::{Attempt, CAPACITY, Failing, Outcome, ROW, WAITING};
use crate::guard::Moment;
use crate::http1::target::Host;
use crate::outcome::RequestEnd::{
    self, ConnectRefused, ConnectTimeout, DestinationFailing, DestinationSilent, DnsFailure, DnsTimeout, Overload,
    SelfTarget,
};

const fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn name(name: impl AsRef<str>) -> Host {
    Host::Name(name.as_ref().into())
}

fn begin(failing: &Failing, host: &Host, now: u64) -> Result<Attempt, RequestEnd> {
    failing.begin(host, 80, at(now), false)
}

/// One attempt that takes no time; `None` if it was answered from memory.
fn tries(failing: &Failing, host: &Host, now: u64, end: RequestEnd) -> bool {
    begin(failing, host, now).is_ok_and(|attempt| {
        failing.ended(host, 80, attempt, Outcome::Failed(end), at(now));
        true
    })
}

#[test]
fn three_failures_in_a_row_are_remembered_and_each_trial_doubles_the_time() {
    let (failing, dead) = (Failing::default(), name("dead.test"));
    for millis in 0..u64::from(ROW) {
        assert!(tries(&failing, &dead, millis, ConnectRefused));
    }
    let mut failed = u64::from(ROW) - 1;
    let mut seconds = Vec::new();
    for _ in 0..9 {
        assert_eq!(begin(&failing, &dead, failed).unwrap_err(), DestinationFailing);
        let back = (failed..).step_by(500).find(|now| tries(&failing, &dead, *now, ConnectRefused)).unwrap();
        seconds.push((back - failed) / 1_000);
        failed = back;
    }
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!((failing.remembered(), failing.tracked()), (1, 1));
}

#[test]
fn the_status_from_memory_is_that_of_the_failure() {
    for (end, memory) in [
        (ConnectRefused, DestinationFailing),
        (DnsFailure, DestinationFailing),
        (ConnectTimeout, DestinationSilent),
        (DnsTimeout, DestinationSilent),
    ] {
        let (failing, dead) = (Failing::default(), name("dead.test"));
        (0..3).for_each(|_| assert!(tries(&failing, &dead, 0, end)));
        let remembered = begin(&failing, &dead, 0).unwrap_err();
        assert_eq!((remembered, remembered.row().status), (memory, end.row().status));
    }
}

#[test]
fn what_is_no_failing_of_the_destination_is_not_remembered() {
    let (failing, host) = (Failing::default(), name("o.test"));
    for end in [Overload, SelfTarget, RequestEnd::DestinationDenied, RequestEnd::UpstreamReset] {
        (0..20).for_each(|_| assert!(tries(&failing, &host, 0, end)));
    }
    assert_eq!(failing.tracked(), 0, "nor does it leave anything");
    // Failures that are far apart are not a row.
    for n in 0..20 {
        assert!(tries(&failing, &host, n * 10_001, ConnectRefused));
    }
    // Another port is another destination.
    (0..3).for_each(|_| assert!(tries(&failing, &host, 1_000_000, ConnectRefused)));
    assert!(failing.begin(&host, 81, at(1_000_000), false).is_ok());
    assert!(failing.begin(&host, 80, at(1_000_000), true).is_ok(), "who is exempt is not bound by it");
}

#[test]
fn one_request_at_a_time_is_a_trial_and_a_success_forgets_at_once() {
    let (failing, dead) = (Failing::default(), name("dead.test"));
    (0..3).for_each(|_| assert!(tries(&failing, &dead, 0, ConnectTimeout)));
    let trial = begin(&failing, &dead, 1_000).unwrap();
    for now in [1_000, 2_000, 9_000] {
        assert_eq!(begin(&failing, &dead, now).unwrap_err(), DestinationSilent);
    }
    // Its client leaves early: nothing is learned, and the next may try.
    failing.ended(&dead, 80, trial, Outcome::Left(ConnectTimeout), at(2_000));
    let trial = begin(&failing, &dead, 2_000).unwrap();
    assert!(begin(&failing, &dead, 2_000).is_err());
    failing.ended(&dead, 80, trial, Outcome::Stands, at(2_001));
    assert_eq!((failing.remembered(), failing.tracked()), (0, 0));
    for _ in 0..2 {
        assert!(tries(&failing, &dead, 2_001, ConnectTimeout), "the row begins anew");
    }
    assert!(begin(&failing, &dead, 2_001).is_ok());
}

#[test]
fn attempts_that_ran_when_it_was_remembered_neither_prolong_nor_hide_it() {
    let (failing, dead) = (Failing::default(), name("dead.test"));
    let running: Vec<_> = (0..20).map(|_| begin(&failing, &dead, 0).unwrap()).collect();
    for attempt in running {
        failing.ended(&dead, 80, attempt, Outcome::Failed(ConnectRefused), at(10));
    }
    assert!(begin(&failing, &dead, 1_009).is_err());
    let late = begin(&failing, &dead, 1_010).unwrap();
    let exempt = failing.begin(&dead, 80, at(1_010), true).unwrap();
    failing.ended(&dead, 80, exempt, Outcome::Stands, at(1_011));
    assert!(begin(&failing, &dead, 1_011).is_ok(), "it is back, whoever found out");
    failing.ended(&dead, 80, late, Outcome::Failed(ConnectRefused), at(1_012));
    assert!(begin(&failing, &dead, 1_013).is_ok());
}

#[test]
fn few_wait_for_a_destination_that_is_silent() {
    let (failing, dead) = (Failing::default(), name("dead.test"));
    // 1,000 a second whose clients wait for 1 s: no attempt lives long enough to time out.
    let mut running = std::collections::VecDeque::new();
    let mut most = 0;
    for now in 0..20_000 {
        if running.front().is_some_and(|(begun, _)| now - begun >= 1_000) {
            let (_, attempt) = running.pop_front().unwrap();
            failing.ended(&dead, 80, attempt, Outcome::Left(ConnectTimeout), at(now));
        }
        match begin(&failing, &dead, now) {
            Ok(attempt) => running.push_back((now, attempt)),
            Err(end) => assert_eq!(end, DestinationSilent),
        }
        if now > 4_000 {
            most = most.max(running.len());
        }
    }
    assert_eq!(most, usize::try_from(WAITING).unwrap());
    // A destination that answers, if slowly, may be waited for by any number.
    let (failing, slow) = (Failing::default(), name("slow.test"));
    let mut running = std::collections::VecDeque::new();
    for now in 0..5_000 {
        running.push_back(begin(&failing, &slow, now).unwrap());
        if running.len() > 900 {
            failing.ended(&slow, 80, running.pop_front().unwrap(), Outcome::Stands, at(now));
        }
    }
}

#[test]
fn what_clients_gave_up_for_good_counts_as_timed_out() {
    let (failing, dead) = (Failing::default(), name("dead.test"));
    for n in 0..3 {
        let attempt = begin(&failing, &dead, n * 5_000).unwrap();
        failing.ended(&dead, 80, attempt, Outcome::Left(ConnectTimeout), at((n + 1) * 5_000));
    }
    assert_eq!(begin(&failing, &dead, 15_000).unwrap_err(), DestinationSilent);
}

#[test]
fn when_the_way_out_is_cut_no_destination_is_blamed() {
    let failing = Failing::default();
    let hosts: Vec<_> = (0..10).map(|n| name(format!("{n}.test"))).collect();
    let reached = begin(&failing, &hosts[9], 0).unwrap();
    failing.ended(&hosts[9], 80, reached, Outcome::Stands, at(0));
    // Two may be remembered before the third shows what is the matter; then nothing is answered from memory any more.
    for now in (11_000..20_000).step_by(100) {
        let asked: Vec<_> = hosts.iter().map(|host| tries(&failing, host, now, ConnectTimeout)).collect();
        assert!(asked.iter().all(|asked| *asked), "{now}: {asked:?}");
    }
    assert_eq!(failing.remembered(), 0);
    // The way is back: what fails now is to blame.
    let reached = begin(&failing, &hosts[9], 20_000).unwrap();
    failing.ended(&hosts[9], 80, reached, Outcome::Stands, at(20_000));
    for _ in 0..4 {
        tries(&failing, &hosts[0], 20_000, ConnectTimeout);
    }
    assert_eq!(begin(&failing, &hosts[0], 20_000).unwrap_err(), DestinationSilent);
    // Silent name servers are the matter of names alone, and known addresses do not excuse them.
    for now in 20_001..20_100 {
        let reached = begin(&failing, &hosts[9], now).unwrap();
        failing.ended(&hosts[9], 80, reached, Outcome::Stands, at(now));
        for host in &hosts[3..8] {
            assert!(tries(&failing, host, now, DnsTimeout));
        }
    }
    failing.name_resolved(at(20_100));
    for _ in 0..4 {
        tries(&failing, &hosts[5], 20_100, DnsTimeout);
    }
    assert_eq!(begin(&failing, &hosts[5], 20_100).unwrap_err(), DestinationSilent);
    // Who refuses is there: however many do, each is remembered.
    for host in &hosts {
        for _ in 0..3 {
            tries(&failing, host, 100_000, ConnectRefused);
        }
        assert_eq!(begin(&failing, host, 100_000).unwrap_err(), DestinationFailing);
    }
}

#[test]
fn a_full_table_means_to_dial_as_ever_and_empties_again() {
    let failing = Failing::default();
    for n in 0..CAPACITY + 100 {
        assert!(tries(&failing, &name(format!("{n}.test")), 0, ConnectRefused));
    }
    assert_eq!((failing.tracked(), failing.overflowed()), (CAPACITY, 100));
    let late = name("late.test");
    (0..9).for_each(|_| assert!(tries(&failing, &late, 5_000, ConnectRefused)));
    (0..3).for_each(|_| assert!(tries(&failing, &late, 10_001, ConnectRefused)));
    assert!(begin(&failing, &late, 10_001).is_err(), "what is forgotten leaves its place");
    assert_eq!(failing.tracked(), 1);
    assert!(begin(&failing, &name("other.test"), 150_000).is_ok());
    assert_eq!((failing.tracked(), failing.remembered()), (1, 0));
}

#[test]
fn an_entry_has_the_size_that_is_stated() {
    assert!(size_of::<((Host, u16), super::Entry)>() <= 88, "{}", size_of::<((Host, u16), super::Entry)>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes in whatever order: attempts and ends match, nothing stays behind, at most one is on trial, and a
    /// destination that is back is reached within the longest time.
    #[test]
    fn nothing_stays_and_nobody_waits_for_ever(steps in prop::collection::vec((0..3_usize, 0..6_u8, 0..3_000_u64), 1..200)) {
        let failing = Failing::default();
        let hosts = [name("a.test"), name("b.test"), name("c.test")];
        let mut running: Vec<(usize, Attempt)> = Vec::new();
        let mut now = 0;
        for (host, what, passed) in steps {
            now += passed;
            let outcome = match what {
                0 => Outcome::Stands,
                1 => Outcome::Failed(ConnectTimeout),
                2 => Outcome::Failed(ConnectRefused),
                3 => Outcome::Left(DnsTimeout),
                _ => {
                    if let Ok(attempt) = begin(&failing, &hosts[host], now) {
                        running.push((host, attempt));
                    }
                    continue;
                }
            };
            if let Some(at_) = running.iter().position(|(of, _)| *of == host) {
                let (_, attempt) = running.swap_remove(at_);
                failing.ended(&hosts[host], 80, attempt, outcome, at(now));
            }
            for host in 0..3 {
                prop_assert!(running.iter().filter(|(of, attempt)| *of == host && attempt.trial).count() <= 1);
            }
        }
        for (host, attempt) in running {
            failing.ended(&hosts[host], 80, attempt, Outcome::Left(ConnectTimeout), at(now));
        }
        for host in &hosts {
            let attempt = begin(&failing, host, now + 60_000).expect("a trial when the time is over");
            failing.ended(host, 80, attempt, Outcome::Stands, at(now + 60_000));
        }
        prop_assert_eq!(failing.tracked(), 0);
    }
}
