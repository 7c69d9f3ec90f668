//! What holds whatever is seen, silenced and taken.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::tests::{WINDOW, World, sighting};
use super::{PACE, SUBJECTS};
use crate::alarm::{Alarm, Message, Stage};

/// Seconds in which everything that can wait is told.
const END: u64 = 10_000;

/// What happens in one second, or in many that are alike.
#[derive(Clone, Debug)]
struct Stretch {
    seconds: u64,
    /// Alarm, subject, count.
    seen: Vec<(usize, u8, u64)>,
    silenced: Vec<usize>,
    room: usize,
    ahead: u64,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    let alarm = || prop_oneof![3 => 0..5_usize, 1 => 0..Alarm::COUNT];
    (
        prop_oneof![10 => 1..5_u64, 3 => 5..40_u64, 1 => 40..700_u64],
        prop::collection::vec((alarm(), 0..25_u8, 1..1_000_u64), 0..30),
        prop::collection::vec(alarm(), 0..4),
        prop_oneof![8 => Just(usize::MAX), 1 => Just(0), 2 => 1..6_usize],
        0..1_u64 << 33,
    )
        .prop_map(|(seconds, seen, silenced, room, ahead)| Stretch { seconds, seen, silenced, room, ahead })
}

type Key = (usize, String);

/// What an onlooker knows of one key.
#[derive(Default)]
struct Known {
    fired: Option<u64>,
    open: bool,
}

/// Plays it and looks at every message. `clock`: whether the wall clock goes as it is told.
fn play(stretches: &[Stretch], clock: bool) -> Vec<(u64, Message)> {
    let mut world = World::default();
    let mut known: BTreeMap<Key, Known> = BTreeMap::new();
    let mut lately: VecDeque<u64> = VecDeque::new();
    let (mut seen, mut counted, mut all) = (0, 0, vec![]);
    // At the end everybody is quiet and may speak, for as long as it takes to be told everything.
    let end = Stretch { seconds: END, seen: vec![], silenced: vec![], room: usize::MAX, ahead: 0 };
    for stretch in stretches.iter().chain([&end]) {
        world.silenced = stretch.silenced.iter().map(|alarm| Alarm::ALL[*alarm]).collect();
        world.room = stretch.room;
        if clock {
            world.ahead = stretch.ahead;
        }
        for _ in 0..stretch.seconds {
            if stretch.seconds == END && world.book.entries.is_empty() {
                break;
            }
            let sightings = stretch.seen.iter().map(|(alarm, subject, count)| {
                seen += count;
                sighting(Alarm::ALL[*alarm], &subject.to_string(), *count)
            });
            let sightings = sightings.collect();
            let told = world.second(sightings);
            let now = world.now;

            assert!(told.messages.len() <= stretch.room);
            lately.extend(told.messages.iter().map(|_| now));
            lately.retain(|at| now - at < 60);
            assert!(lately.len() <= PACE, "{} in a minute", lately.len());
            for message in told.messages {
                assert!(!world.silenced.contains(&message.alarm), "{message:?}");
                counted += message.count;
                let known = known.entry((message.alarm.index(), message.subject.clone())).or_default();
                match message.stage {
                    Stage::Firing => {
                        assert!(message.count > 0, "{message:?}");
                        assert!(known.fired.is_none_or(|fired| now - fired >= WINDOW.as_secs()), "{message:?}");
                        (known.fired, known.open) = (Some(now), true);
                    }
                    Stage::Resolved => {
                        assert!(known.open, "{message:?}");
                        known.open = false;
                    }
                    Stage::Test => panic!("{message:?}"),
                }
                all.push((now, message));
            }
            let pending: u64 = world.book.entries.values().map(super::entry::Entry::pending).sum();
            assert_eq!(counted + pending + world.book.hushed, seen, "in second {now}");
            assert!(world.book.entries.len() <= Alarm::COUNT * (SUBJECTS + 1));
        }
    }
    assert!(known.values().all(|known| !known.open), "every beginning has an end");
    assert!(world.book.entries.is_empty());
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_told_is_what_was_seen(stretches in prop::collection::vec(stretch(), 1..40)) {
        let told = play(&stretches, true);
        prop_assert_eq!(&told, &play(&stretches, true), "the same once more");
        // A wall clock that stands elsewhere changes the dates and nothing else.
        let bare = |told: Vec<(u64, Message)>| -> Vec<_> {
            told.into_iter().map(|(at, m)| (at, m.alarm, m.stage, m.subject, m.count, m.window, m.values)).collect()
        };
        prop_assert_eq!(bare(told), bare(play(&stretches, false)));
    }
}
