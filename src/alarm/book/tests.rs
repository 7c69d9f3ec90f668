//! The life of an alarm, by a clock of its own.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Book, CALM, OTHERS, PACE, SUBJECTS, Today, Told};
use crate::alarm::{Alarm, Message, Sample, Sighting, Stage};
use crate::guard::Moment;

pub(super) const WINDOW: Duration = Duration::from_mins(5);

pub(super) fn sighting(alarm: Alarm, subject: &str, count: u64) -> Sighting {
    Sighting { alarm, subject: subject.to_owned(), count, values: vec![("count", count.to_string())], sample: None }
}

/// A book and its clocks.
pub(super) struct World {
    pub(super) book: Book,
    /// Seconds since it began.
    pub(super) now: u64,
    /// Seconds that the wall clock is ahead.
    pub(super) ahead: u64,
    pub(super) silenced: Vec<Alarm>,
    pub(super) room: usize,
}

impl Default for World {
    fn default() -> Self {
        Self { book: Book::default(), now: 0, ahead: 1_000_000, silenced: vec![], room: usize::MAX }
    }
}

impl World {
    pub(super) fn date(&self, second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.ahead + second)
    }

    /// One second later.
    pub(super) fn second(&mut self, seen: Vec<Sighting>) -> Told {
        self.now += 1;
        let silenced = |alarm: Alarm| self.silenced.contains(&alarm);
        let today = Today {
            now: Moment::from_millis(self.now * 1_000),
            date: self.date(self.now),
            gateway: "gate-1",
            window: WINDOW,
            silenced: &silenced,
            room: self.room,
        };
        let told = self.book.tell(seen, &today);
        let standing = self.book.standing(&today);
        assert!(standing.iter().all(|standing| standing.silenced == silenced(standing.alarm)));
        told
    }

    /// So many seconds with the same in each of them.
    fn seconds(&mut self, seconds: u64, seen: &[Sighting]) -> Vec<Message> {
        (0..seconds).flat_map(|_| self.second(seen.to_vec()).messages).collect()
    }

    fn standing(&self) -> Vec<super::Standing> {
        let silenced = |alarm: Alarm| self.silenced.contains(&alarm);
        self.book.standing(&Today {
            now: Moment::from_millis(self.now * 1_000),
            date: self.date(self.now),
            gateway: "gate-1",
            window: WINDOW,
            silenced: &silenced,
            room: self.room,
        })
    }
}

fn told(messages: &[Message]) -> Vec<(Stage, u64)> {
    messages.iter().map(|message| (message.stage, message.count)).collect()
}

#[test]
fn a_state_is_told_at_once_then_once_a_window_then_when_it_is_over() {
    let mut world = World::default();
    let slab = [sighting(Alarm::Slab, "", 1)];
    let messages = world.seconds(700, &slab);
    assert_eq!(told(&messages), [(Stage::Firing, 1), (Stage::Firing, 300), (Stage::Firing, 300)]);
    let [first, second, _] = &messages[..] else { panic!() };
    assert_eq!((first.first, first.last, first.window), (world.date(1), world.date(1), Duration::from_secs(1)));
    assert_eq!((second.first, second.last, second.window), (world.date(2), world.date(301), WINDOW));
    assert_eq!((second.gateway.as_str(), second.subject.as_str()), ("gate-1", ""));

    let after = world.seconds(1_000, &[]);
    assert_eq!(told(&after), [(Stage::Resolved, 99)]);
    let [over] = &after[..] else { panic!() };
    assert_eq!((over.first, over.last), (world.date(1), world.date(700)), "the whole of it");
    assert!(over.values.contains(&("total", "700".to_owned())) && over.values.contains(&("lasted", "699".to_owned())));
    assert!(world.book.entries.is_empty());
}

#[test]
fn an_event_is_over_when_it_has_not_come_back_for_a_window() {
    let mut world = World::default();
    assert_eq!(told(&world.second(vec![sighting(Alarm::Panic, "", 2)]).messages), [(Stage::Firing, 2)]);
    assert_eq!(told(&world.seconds(100, &[])), []);
    assert_eq!(told(&world.second(vec![sighting(Alarm::Panic, "", 5)]).messages), [], "it is the same window");
    assert_eq!(told(&world.seconds(199, &[])), [(Stage::Firing, 5)]);
    // It was last seen in second 102.
    assert_eq!(told(&world.seconds(100, &[])), []);
    assert_eq!(told(&world.seconds(1, &[])), [(Stage::Resolved, 0)]);
    assert_eq!(world.now, 402);
}

#[test]
fn a_state_that_flaps_is_told_once_a_window() {
    let mut world = World::default();
    let slab = || vec![sighting(Alarm::Slab, "", 1)];
    let mut messages = vec![];
    for _ in 0..30 {
        messages.extend(world.second(slab()).messages);
        // As long as it takes to be over.
        messages.extend(world.seconds(CALM.as_secs(), &[]));
    }
    assert_eq!(world.now, 330);
    // Seconds 12, 23, …, 298 are in the first window, and told when it ends.
    let expected = [(Stage::Firing, 1), (Stage::Resolved, 0), (Stage::Firing, 27), (Stage::Resolved, 0)];
    assert_eq!(told(&messages), expected);
    // What comes back before it was over has never been away.
    let mut world = World::default();
    for _ in 0..29 {
        let messages = world.second(slab()).messages;
        assert_eq!(messages.len(), usize::from(world.now == 1));
        assert_eq!(told(&world.seconds(CALM.as_secs() - 1, &[])), []);
    }
}

#[test]
fn subjects_have_windows_of_their_own_up_to_a_number() {
    let mut world = World::default();
    let clients: Vec<_> = (0..100).map(|n| sighting(Alarm::DestinationFenced, &format!("10.0.0.{n:03}"), 10)).collect();
    let mut messages = world.second(clients.clone()).messages;
    assert_eq!(messages.len(), SUBJECTS + 1);
    let others = messages.pop().unwrap();
    assert_eq!((others.subject.as_str(), others.count), (OTHERS, 840));
    assert!(messages.iter().all(|message| message.count == 10));
    // Another alarm is not concerned.
    let messages = world.second(vec![sighting(Alarm::NoData, "10.0.0.200", 1)]).messages;
    assert_eq!(messages[0].subject, "10.0.0.200");
    assert_eq!(world.standing().len(), SUBJECTS + 2);
    // When they have gone there is room for new ones.
    world.seconds(2_000, &[]);
    let messages = world.second(vec![sighting(Alarm::DestinationFenced, "10.0.0.99", 1)]).messages;
    assert_eq!(messages[0].subject, "10.0.0.99");
}

#[test]
fn clients_are_one_thing_with_one_window_and_one_end() {
    let mut world = World::default();
    let storm = |clients: std::ops::Range<u64>| -> Vec<_> {
        let of = |n| sighting(Alarm::SelfTargetStorm, &format!("10.0.0.{n:03}"), n + 1);
        clients.map(of).collect()
    };
    // It is gone when the others come: a message names those of its window.
    let mut messages = world.seconds(1, &storm(99..100));
    assert_eq!((messages.len(), messages[0].values.len()), (1, 1), "alone it is as ever");
    messages.extend(world.seconds(300, &storm(0..40)));
    messages.extend(world.seconds(50, &[]));
    assert_eq!(told(&messages), [(Stage::Firing, 100), (Stage::Firing, 820 * 300), (Stage::Resolved, 0)]);
    let expected = [
        ("count", "40"),
        ("clients", "40"),
        ("more", "39"),
        ("heaviest", "10.0.0.039 × 12,000, 10.0.0.038 × 11,700, 10.0.0.037 × 11,400, …"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(messages[1].values, expected, "the values are those of the worst");
    assert_eq!(messages[2].values[..4], expected, "and its end is that of all of them");
    assert!(messages.iter().all(|message| message.subject.is_empty()));
}

#[test]
fn the_worst_is_told_first_and_the_rest_when_there_is_room() {
    let mut world = World::default();
    let mut all: Vec<_> = (0..17).map(|n| sighting(Alarm::DestinationFenced, &n.to_string(), 3)).collect();
    all.extend((0..10).map(|n| sighting(Alarm::NoData, &n.to_string(), 1)));
    all.push(sighting(Alarm::Slab, "", 1));
    let told = world.second(all.clone());
    assert_eq!((told.messages.len(), told.waiting, told.begun.len()), (PACE, 8, 28));
    assert_eq!(told.messages[0].alarm, Alarm::Slab, "the only critical one");
    assert!(told.messages[0].values.contains(&("waiting", "8".to_owned())));
    let standing = world.standing();
    assert_eq!((standing.len(), standing.iter().filter(|standing| standing.told).count()), (28, 20));
    // Until a minute later, when the others are told with all that was counted meanwhile.
    for _ in 0..59 {
        assert_eq!(world.second(all.clone()).messages, []);
    }
    let told = world.second(all.clone());
    assert_eq!((told.messages.len(), told.waiting), (8, 0));
    assert!(told.messages.iter().all(|message| message.count == 61 && message.window.as_secs() == 60));
    assert!(told.messages.iter().all(|message| message.values.iter().all(|(name, _)| *name != "waiting")));
}

#[test]
fn what_nobody_takes_is_counted_on() {
    let mut world = World { room: 0, ..World::default() };
    let slab = || vec![sighting(Alarm::Slab, "", 1)];
    for _ in 0..1_000 {
        assert_eq!(
            world.second(slab()),
            Told { waiting: 1, begun: if world.now == 1 { vec![Alarm::Slab] } else { vec![] }, ..Told::default() }
        );
    }
    world.room = 1;
    let messages = world.second(slab()).messages;
    assert_eq!(told(&messages), [(Stage::Firing, 1_001)]);
    assert_eq!(messages[0].first, world.date(1));
}

#[test]
fn what_stands_when_the_silence_ends_is_told_and_what_is_over_is_not() {
    let mut world = World { silenced: vec![Alarm::Cpu, Alarm::IoWait], ..World::default() };
    let both = [sighting(Alarm::Cpu, "", 1), sighting(Alarm::IoWait, "", 1), sighting(Alarm::Panic, "", 1)];
    let messages = world.seconds(100, &both);
    assert_eq!(messages.iter().map(|message| message.alarm).collect::<Vec<_>>(), [Alarm::Panic]);
    let silenced = world.standing();
    assert_eq!(silenced.iter().filter(|standing| standing.silenced && !standing.told).count(), 2);
    world.seconds(100, &both[..1]);
    assert_eq!(world.book.hushed, 100, "the disk was busy, and is not any more");
    world.silenced.clear();
    let messages = world.seconds(1, &both[..1]);
    assert_eq!(told(&messages), [(Stage::Firing, 201)]);
    assert_eq!((messages[0].alarm, messages[0].first), (Alarm::Cpu, world.date(1)));
}

#[test]
fn what_was_told_before_a_silence_is_over_after_it() {
    let mut world = World::default();
    let cpu = [sighting(Alarm::Cpu, "", 1)];
    assert_eq!(told(&world.seconds(5, &cpu)), [(Stage::Firing, 1)]);
    world.silenced = vec![Alarm::Cpu];
    assert_eq!(told(&world.seconds(1_000, &[])), []);
    assert_eq!(world.standing().len(), 1, "it has not been told that it is over");
    world.silenced.clear();
    assert_eq!(told(&world.seconds(10, &[])), [(Stage::Resolved, 4)]);
    assert_eq!(world.book.hushed, 0);
}

#[test]
fn the_first_sample_of_a_window_is_the_one_that_is_told() {
    let mut world = World::default();
    let seen = |n: u8| {
        let client = Some(IpAddr::from([10, 0, 0, n]));
        let sample = Some(Sample { client, ..Sample::default() });
        vec![Sighting { sample, ..sighting(Alarm::ConnectTimeout, "a:1", 1) }]
    };
    let clients: Vec<_> = (0..=250_u8)
        .chain(0..=99)
        .flat_map(|n| world.second(seen(n)).messages)
        .map(|message| message.sample.unwrap().client.unwrap().to_string())
        .collect();
    assert_eq!(clients, ["10.0.0.0", "10.0.0.1"]);
}

#[test]
fn a_wall_clock_that_is_set_changes_what_is_printed_and_nothing_else() {
    let mut world = World::default();
    let slab = || vec![sighting(Alarm::Slab, "", 1)];
    let mut messages = vec![];
    for second in 0..310 {
        world.ahead = if second % 2 == 0 { 0 } else { 1 << 33 };
        messages.extend(world.second(slab()).messages);
    }
    assert_eq!(told(&messages), [(Stage::Firing, 1), (Stage::Firing, 300)]);
    assert_eq!(messages[1].first.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), (1 << 33) + 2);
}
