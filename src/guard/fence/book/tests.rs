use std::time::Duration;

use ahash::AHashMap;
use ipnet::IpNet;

use super::{Act, Circumstances, Event, FenceBook, Judgement, Why};
use crate::guard::Moment;
use crate::guard::clients::Rates;
use crate::guard::fence::{Release, Terms};
use crate::guard::ladder::Class;
use crate::kernel::fence::Change;
use crate::net::ClientKey;

pub(super) fn client(text: &str) -> ClientKey {
    ClientKey::new(text.parse().unwrap())
}

/// A box of its own time: clients are seen, then judged, once a second.
pub(super) struct World {
    pub(super) book: FenceBook,
    /// Milliseconds.
    pub(super) now: u64,
    pub(super) act: Act,
    pub(super) behind: bool,
    pub(super) never: Vec<IpNet>,
    pub(super) dropped: AHashMap<IpNet, u64>,
    pub(super) wishes: Vec<Release>,
    pub(super) unbuilt: Vec<IpNet>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            book: FenceBook::new(Terms::default()),
            now: 1_000_000,
            act: Act::Enforce,
            behind: false,
            never: vec![],
            dropped: AHashMap::new(),
            wishes: vec![],
            unbuilt: vec![],
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    /// Judges what was seen, after so many milliseconds.
    pub(super) fn after(&mut self, millis: u64, seen: impl IntoIterator<Item = (ClientKey, Rates)>) -> Judgement {
        self.now += millis;
        for (client, rates) in seen {
            self.book.see(client, rates);
        }
        let never = |network: IpNet| self.never.iter().any(|never| never.contains(&network) || network.contains(never));
        let circumstances = Circumstances {
            act: self.act,
            behind: self.behind,
            never: &never,
            dropped: &self.dropped,
            wishes: &std::mem::take(&mut self.wishes),
            unbuilt: &std::mem::take(&mut self.unbuilt),
        };
        self.book.judge(Moment::from_millis(self.now), &circumstances)
    }

    /// A second.
    fn second(&mut self, seen: &[(ClientKey, Rates)]) -> Judgement {
        self.after(1_000, seen.iter().copied())
    }

    /// So many seconds, and everything that was told.
    fn seconds(&mut self, seconds: usize, seen: &[(ClientKey, Rates)]) -> Vec<Event> {
        (0..seconds).flat_map(|_| self.second(seen).events).collect()
    }

    /// Bytes move for it now.
    fn progress(&self) -> Rates {
        Rates { moved: 1, progress: Some(self.moment()), ..Rates::default() }
    }

    /// Storms until it is fenced.
    fn fence(&mut self, clients: &[ClientKey]) -> Judgement {
        let seen: Vec<_> = clients.iter().map(|client| (*client, storm(1_000))).collect();
        for _ in 0..10 {
            let judgement = self.second(&seen);
            if !judgement.changes.is_empty() {
                return judgement;
            }
        }
        panic!("not fenced");
    }
}

/// One that has been stalled with self-targets from the first second on, and comes so often.
fn storm(arrivals: u32) -> Rates {
    let start = Moment::from_millis(1_000_000);
    Rates { arrivals, stalled: Some((Class::SelfTarget, start)), since: start, ..Rates::default() }
}

const BAD: &str = "10.0.0.1";

fn shut(text: &str, seconds: u64) -> Change {
    Change::Shut(text.parse().unwrap(), Duration::from_secs(seconds))
}

fn half_open(text: &str) -> Change {
    Change::HalfOpen(text.parse().unwrap(), Duration::from_secs(15))
}

fn open(text: &str) -> Change {
    Change::Open(text.parse().unwrap())
}

fn is_released(events: &[Event], expected: Why) -> bool {
    events.iter().any(|event| matches!(event, Event::Released { why, .. } if *why == expected))
}

#[test]
fn a_storm_that_stalling_does_not_slow_is_fenced_after_five_seconds() {
    let mut world = World::new();
    let storm = [(client(BAD), storm(101))];
    for _ in 0..4 {
        assert_eq!(world.second(&storm), Judgement::default());
    }
    let judgement = world.second(&storm);
    assert_eq!(judgement.changes, [shut("10.0.0.1/32", 65)]);
    let [Event::Fenced(offence)] = judgement.events[..] else { panic!("{judgement:?}") };
    assert_eq!((offence.client, offence.reason, offence.arrivals), (client(BAD), Class::SelfTarget, 101));
    assert_eq!((offence.stalled.as_secs(), offence.lasts.as_secs(), offence.times), (5, 60, 1));
    let rows = world.book.rows();
    assert_eq!((rows.len(), rows[0].client, rows[0].half_open), (1, client(BAD), false));
    assert_eq!(rows[0].until.since(rows[0].since).as_secs(), 60);
    assert_eq!(world.second(&[]), Judgement::default(), "once");
}

#[test]
fn who_comes_less_often_or_not_all_the_time_or_is_not_stalled_is_not_fenced() {
    let mut world = World::new();
    let slow = (client("10.0.0.1"), storm(100));
    let free = (client("10.0.0.2"), Rates { stalled: None, ..storm(5_000) });
    for second in 0..120 {
        let pausing = (client("10.0.0.3"), storm(if second % 5 == 4 { 50 } else { 5_000 }));
        assert_eq!(world.second(&[slow, free, pausing]), Judgement::default());
    }
}

#[test]
fn who_gets_anything_done_is_not_fenced_for_a_minute() {
    let mut world = World::new();
    let progress = world.moment();
    let storm = [(client(BAD), Rates { progress: Some(progress), ..storm(5_000) })];
    assert_eq!(world.seconds(59, &storm), []);
    assert!(matches!(world.seconds(1, &storm)[..], [Event::Fenced(_)]));
}

#[test]
fn over_limit_is_no_evidence_while_nobody_gets_anything_done() {
    let mut world = World::new();
    let start = world.moment();
    let crowd = (client(BAD), Rates { stalled: Some((Class::OverLimit, start)), ..storm(5_000) });
    let others = (client("10.0.0.9"), Rates { progress: Some(start), ..Rates::default() });
    world.now += 60_000;
    assert_eq!(world.seconds(120, &[crowd, others]), [], "the way out is cut");
    let others = (client("10.0.0.9"), world.progress());
    assert!(matches!(world.second(&[crowd, others]).events[..], [Event::Fenced(_)]));
}

#[test]
fn it_is_let_in_by_a_trickle_and_then_entirely_when_it_is_quiet() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    world.dropped.insert("10.0.0.1/32".parse().unwrap(), 4_000);
    assert_eq!(world.seconds(59, &[]), []);
    let judgement = world.second(&[]);
    assert_eq!(judgement.changes, [half_open("10.0.0.1/32")]);
    assert!(world.book.rows()[0].half_open);
    // A few of a monitor that is refused still.
    let poll = [(client(BAD), Rates { arrivals: 5, refusals: 5, ..Rates::default() })];
    assert_eq!(world.seconds(9, &poll), []);
    let judgement = world.second(&poll);
    assert_eq!(judgement.changes, [open("10.0.0.1/32")]);
    let [Event::Released { why: Why::Quiet, syns: Some(4_000), after, .. }] = judgement.events[..] else {
        panic!("{judgement:?}")
    };
    assert_eq!(after.as_secs(), 70);
    assert_eq!(world.book.rows(), []);
}

#[test]
fn who_still_storms_is_shut_again_for_twice_the_time() {
    for counted in [true, false] {
        let mut world = World::new();
        world.fence(&[client(BAD)]);
        let mut expected = [120, 240, 480, 600, 600].into_iter();
        let mut shuts = 0;
        let mut dropped = 0;
        for _ in 0..2_000 {
            dropped += 500;
            if counted {
                world.dropped.insert("10.0.0.1/32".parse().unwrap(), dropped);
            }
            // Of 500 a second, one of 16 passes while it is half open; 5 where they are counted.
            let trickle = world.book.rows().first().is_some_and(|row| row.half_open);
            let arrivals = if !trickle {
                0
            } else if counted {
                5
            } else {
                31
            };
            let judgement = world.second(&[(client(BAD), storm(arrivals))]);
            for event in &judgement.events {
                if let Event::ShutAgain { lasts, offered, .. } = event {
                    let seconds = expected.next().unwrap();
                    assert_eq!(lasts.as_secs(), seconds);
                    assert!((400..=600).contains(offered), "{offered}");
                    assert_eq!(judgement.changes, [shut("10.0.0.1/32", seconds + 5)]);
                    shuts += 1;
                }
            }
        }
        assert_eq!((shuts, expected.next()), (5, None));
    }
}

#[test]
fn offences_are_forgotten_one_in_ten_minutes() {
    let mut world = World::new();
    let times = |world: &mut World| match world.fence(&[client(BAD)]).events[..] {
        [Event::Fenced(offence)] => offence.times,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(times(&mut world), 1);
    world.seconds(80, &[]);
    assert_eq!(times(&mut world), 2);
    world.seconds(140, &[]);
    assert_eq!(times(&mut world), 3);
    world.seconds(260, &[]);
    assert_eq!(world.book.rows(), []);
    world.seconds(1_200, &[]);
    assert_eq!(times(&mut world), 2, "two of three");
    world.seconds(140 + 1_200, &[]);
    assert!(world.book.entries.is_empty(), "and then the client");
}

#[test]
fn who_gets_something_done_while_it_is_fenced_is_let_in() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    let before = [(client(BAD), world.progress())];
    assert_eq!(world.seconds(10, &before), [], "what had moved by then was not enough");
    let meanwhile = [(client(BAD), world.progress())];
    assert_eq!(world.second(&meanwhile).changes, [half_open("10.0.0.1/32")]);
    assert_eq!(world.second(&meanwhile).events, []);
    let in_the_trickle = [(client(BAD), world.progress())];
    let judgement = world.second(&in_the_trickle);
    assert!(is_released(&judgement.events, Why::Progress));
    assert_eq!(judgement.changes, [open("10.0.0.1/32")]);
}

#[test]
fn the_worst_of_many_get_the_places() {
    let mut world = World::new();
    let clients: Vec<_> = (1..=88).map(|n| client(&format!("10.0.1.{n}"))).collect();
    let seen: Vec<_> = clients.iter().zip(1..).map(|(client, n)| (*client, storm(1_000 + n))).collect();
    assert_eq!(world.seconds(4, &seen), []);
    let judgement = world.second(&seen);
    assert_eq!(judgement.changes.len(), 64);
    assert_eq!(judgement.changes[0].network().to_string(), "10.0.1.88/32");
    assert_eq!(judgement.events.last(), Some(&Event::Full { waiting: 24, places: 64 }));
    let rest = &seen[..24];
    assert_eq!(world.seconds(59, rest), [], "told once a minute");
    assert!(world.seconds(1, rest).contains(&Event::Full { waiting: 24, places: 64 }));
    // A box with many more clients has more places.
    let others = (0..1_500).map(|n| (client(&format!("10.1.{}.{}", n / 250, n % 250)), Rates::default()));
    let judgement = world.after(1_000, rest.iter().copied().chain(others));
    let added = judgement.changes.iter().filter(|change| matches!(change, Change::Shut(..))).count();
    assert_eq!(added, (1_524 / 20) - 64);
}

#[test]
fn who_is_never_fenced_is_not_and_is_let_in_when_it_becomes_so() {
    let mut world = World::new();
    world.never = vec!["10.0.0.0/30".parse().unwrap(), "2001:db8:0:1::53/128".parse().unwrap()];
    let seen = ["10.0.0.1", "2001:db8:0:1::7", "10.0.0.4"].map(|text| (client(text), storm(5_000)));
    let judgement: Vec<_> = (0..60).flat_map(|_| world.second(&seen[..2]).changes).collect();
    assert_eq!(judgement, [], "one address of a network protects it");
    world.fence(&[client("10.0.0.4")]);
    world.never.push("10.0.0.4/32".parse().unwrap());
    let judgement = world.second(&[]);
    assert_eq!(judgement.changes, [open("10.0.0.4/32")]);
    assert!(is_released(&judgement.events, Why::Never));
}

#[test]
fn a_site_is_not_fenced_while_one_of_its_networks_gets_something_done() {
    let mut world = World::new();
    let site = client("2001:db8:5:1::1").site().unwrap();
    let storm = (site, storm(5_000));
    let good = (client("2001:db8:5:2::1"), world.progress());
    assert_eq!(world.seconds(59, &[storm, good]), []);
    let judgement = world.second(&[storm, good]);
    assert_eq!(judgement.changes, [shut("2001:db8:5::/48", 65)]);
}

#[test]
fn a_fence_that_does_not_help_is_taken_down() {
    let mut world = World::new();
    let pair = [client("10.0.0.1"), client("10.0.0.2")];
    world.fence(&pair);
    // The second is kept out, the first is not: together they come more than half as often.
    let seen = [(pair[0], storm(1_100))];
    assert_eq!(world.seconds(4, &seen), []);
    let judgement = world.second(&seen);
    let clients = pair.to_vec();
    assert_eq!(judgement.events, [Event::InVain { clients, before: 2_000, after: 1_100 }]);
    let mut changes = judgement.changes;
    changes.sort_by_key(Change::network);
    assert_eq!(changes, [open("10.0.0.1/32"), open("10.0.0.2/32")]);
    assert_eq!(world.book.rows(), []);
    assert_eq!(world.seconds(599, &seen), [], "not again for ten minutes");
    assert!(matches!(world.seconds(1, &seen)[..], [Event::Fenced(offence)] if offence.times == 1));
}

#[test]
fn what_the_kernel_does_not_have_yet_is_not_expected_to_help() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    let storm = [(client(BAD), storm(1_000))];
    world.behind = true;
    assert_eq!(world.seconds(20, &storm), []);
    world.behind = false;
    assert_eq!(world.seconds(4, &storm), []);
    assert!(matches!(world.seconds(1, &storm)[..], [Event::InVain { .. }]));
}

#[test]
fn what_others_do_meanwhile_does_not_disprove_a_fence() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    let others = [(client("10.0.0.2"), Rates { arrivals: 100_000, ..Rates::default() })];
    assert_eq!(world.seconds(30, &others), []);
}

#[test]
fn an_operator_lets_in_and_that_holds() {
    let mut world = World::new();
    let site = client("2001:db8:5:1::1").site().unwrap();
    let all = [client("10.0.0.1"), client("10.0.0.2"), site];
    world.fence(&all);
    world.wishes =
        vec![Release::One(all[0]), Release::One(client("2001:db8:5:7::1")), Release::One(client("10.9.9.9"))];
    let judgement = world.second(&[]);
    let released: Vec<_> = world.book.rows().iter().map(|row| row.client).collect();
    assert_eq!((released, judgement.changes.len()), (vec![all[1]], 2));
    let storm = [(all[0], storm(5_000))];
    assert_eq!(world.seconds(50, &storm), []);
    world.wishes = vec![Release::All];
    assert!(is_released(&world.second(&storm).events, Why::Operator));
    assert_eq!(world.book.rows(), []);
}

#[test]
fn what_could_not_be_built_is_not_fenced_and_tried_again() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    world.unbuilt = vec!["10.0.0.1/32".parse().unwrap()];
    let storm = [(client(BAD), storm(5_000))];
    assert_eq!(world.second(&storm), Judgement::default());
    assert_eq!(world.book.rows(), []);
    assert_eq!(world.seconds(9, &storm), []);
    assert!(matches!(world.seconds(1, &storm)[..], [Event::Fenced(offence)] if offence.times == 1));
}

#[test]
fn who_only_observes_tells_and_changes_nothing() {
    let mut world = World { act: Act::Observe, ..World::new() };
    let storm = [(client(BAD), storm(5_000))];
    let mut told = vec![];
    for second in 1..=500 {
        let judgement = world.second(&storm);
        assert_eq!((judgement.changes, world.book.rows()), (vec![], vec![]));
        told.extend(judgement.events.into_iter().map(|event| {
            let Event::WouldFence(offence) = event else { panic!("{event:?}") };
            (second, offence.times)
        }));
    }
    assert_eq!(told, [(5, 1), (70, 2), (195, 3), (440, 4)]);
    // From then on it is done; and undone.
    world.act = Act::Enforce;
    assert!(matches!(world.seconds(6, &storm)[..], [Event::Fenced(_)]));
    for act in [Act::Observe, Act::Nothing] {
        world.act = Act::Enforce;
        world.wishes = vec![];
        if world.book.rows().is_empty() {
            world.seconds(700, &[]);
            world.fence(&[client(BAD)]);
        }
        world.act = act;
        let judgement = world.second(&[]);
        assert_eq!(judgement.changes, [open("10.0.0.1/32")]);
        assert!(is_released(&judgement.events, Why::Off));
        assert_eq!(world.second(&[]), Judgement::default());
    }
}

#[test]
fn a_minute_of_sleep_lengthens_no_fence_and_shuts_nobody_again() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    let judgement = world.after(61_000, []);
    assert_eq!(judgement.changes, [half_open("10.0.0.1/32")]);
    // What was dropped before the trickle says nothing about it, nor what came when the kernel had forgotten it.
    world.dropped.insert("10.0.0.1/32".parse().unwrap(), 1_000_000);
    let judgement = world.after(61_000, [(client(BAD), storm(5_000))]);
    assert!(is_released(&judgement.events, Why::Quiet));
}

#[test]
fn a_counter_that_begins_anew_is_added() {
    let mut world = World::new();
    world.fence(&[client(BAD)]);
    for (counter, total) in [(10, 10), (30, 30), (5, 35), (5, 35), (6, 36)] {
        world.dropped.insert("10.0.0.1/32".parse().unwrap(), counter);
        world.second(&[]);
        assert_eq!(world.book.rows()[0].syns, Some(total));
    }
}

#[test]
fn all_members_can_be_built_anew() {
    let mut world = World::new();
    world.fence(&[client("10.0.0.1")]);
    world.seconds(55, &[]);
    world.fence(&[client("10.0.0.2")]);
    world.seconds(2, &[]);
    let mut members = world.book.members(world.moment());
    members.sort_by_key(Change::network);
    assert!(matches!(members[..], [Change::HalfOpen(..), Change::Shut(_, left)] if left == Duration::from_secs(63)));
}
