//! The clock, the events and the guard; what must always hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;

use floodgate::config::settings::{self, GuardMode};
use floodgate::guard::fence::book::{Act, Circumstances};
use floodgate::guard::fence::{FenceBook, Terms};
use floodgate::guard::holds::{HOLD_BYTES, Hold};
use floodgate::guard::pressure::{Level, Load, Watch};
use floodgate::guard::{Guard, Manner, Moment, Refusal};
use floodgate::kernel::view::KernelView;
use floodgate::net::ClientKey;
use floodgate::outcome::RequestEnd;

use crate::kernel::Fence;
use crate::people::{Habit, Person};
use crate::{MINUTE, SECOND};

/// From an answer to the next attempt of who retries at once, and from an attempt to its answer, in µs.
const ROUND_TRIP: u64 = 500;

/// A simulated gateway and its clients. Times are in microseconds.
pub(crate) struct World {
    seed: u64,
    guard: Guard,
    settings: settings::Guard,
    people: Vec<Person>,
    /// When something happens, and to whom; the number keeps the order of what happens at once.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    now: u64,
    chance: u64,
    capacity: usize,
    attempts: u64,
    held: BTreeMap<u64, Hold>,
    book: FenceBook,
    fence: Fence,
    watch: Watch,
    /// How much of the kernel's memory for buffers others have taken, as a share.
    taken: f64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Asks(usize),
    /// A held answer is given, or its client has gone.
    LetGo(u64),
    Tick,
}

impl World {
    pub(crate) fn new(seed: u64, may_drop: bool, settings: settings::Guard, people: Vec<Person>) -> Self {
        let capacity = 16_384;
        let mut world = Self {
            seed,
            guard: Guard::new(capacity, may_drop),
            settings,
            people,
            events: BinaryHeap::new(),
            number: 0,
            now: 0,
            chance: seed,
            capacity,
            attempts: 0,
            held: BTreeMap::new(),
            book: FenceBook::new(Terms::default()),
            fence: Fence::default(),
            watch: Watch::default(),
            taken: 0.0,
        };
        world.at(SECOND, Event::Tick);
        world.wake_all();
        world
    }

    pub(crate) fn with_book_of(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self.guard.book.resize(capacity);
        self
    }

    /// Another habit for everybody, from now on. What is under way ends as it would have.
    pub(crate) fn everybody(&mut self, habit: &Habit) {
        for person in &mut self.people {
            person.habit = habit.clone();
        }
        self.events.retain(|Reverse((_, _, event))| !matches!(event, Event::Asks(_)));
        self.wake_all();
    }

    fn wake_all(&mut self) {
        for index in 0..self.people.len() {
            for _ in 0..self.people[index].lanes() {
                let first = self.random() % SECOND;
                self.at(self.now + first, Event::Asks(index));
            }
        }
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= until
        {
            let Reverse((at, _, event)) = self.events.pop().unwrap();
            self.now = at;
            match event {
                Event::Asks(index) => self.asks(index),
                Event::LetGo(held) => drop(self.held.remove(&held)),
                Event::Tick => {
                    self.tick(moment(at));
                    self.at(at + SECOND, Event::Tick);
                }
            }
            self.invariants();
        }
        self.now = until;
    }

    /// What control does once a second.
    fn tick(&mut self, now: Moment) {
        const LIMIT: u64 = 1_000_000;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a million")]
        let kernel = KernelView {
            tcp_memory: Some((self.taken * LIMIT as f64) as u64),
            tcp_memory_limits: Some([LIMIT / 2, LIMIT * 3 / 4, LIMIT]),
            ..KernelView::default()
        };
        let load = Load {
            kernel: &kernel,
            before: None,
            connections: 0,
            connection_limit: 8_192,
            backlog: 4_096,
            delay: None,
            busiest: 0,
        };
        self.watch.look(load, now, Vec::new, &self.guard.pressure);
        let (guard, book) = (&self.guard, &mut self.book);
        guard.book.tick(now, |client, rates| client.key().into_iter().for_each(|key| book.see(key, rates)));
        let dropped = self.fence.dropped().map(|(client, syns)| (client.network(), syns)).collect();
        // It takes the same right as to drop.
        let act = match self.settings.mode {
            GuardMode::Observe => Act::Observe,
            GuardMode::Enforce if guard.may_drop => Act::Enforce,
            GuardMode::Enforce => Act::Nothing,
        };
        let judgement = book.judge(
            now,
            &Circumstances { act, never: &|_| false, behind: false, dropped: &dropped, wishes: &[], unbuilt: &[] },
        );
        self.fence.apply(&judgement.changes, now);
        let rows = self.book.rows();
        assert!(rows.len() <= Terms::default().cap(self.guard.book.tracked()), "seed {}: {rows:?}", self.seed);
        let members: Vec<_> = self.fence.members(now).collect();
        let told: Vec<_> = rows.iter().map(|row| row.client).collect();
        assert_eq!(members, told, "seed {}: the kernel has whom the book has", self.seed);
    }

    /// Others take that much of the memory for buffers, from the next second on.
    pub(crate) fn take(&mut self, share: f64) {
        self.taken = share;
    }

    pub(crate) fn level(&self) -> Level {
        self.guard.pressure.level()
    }

    /// Whom the kernel keeps out, half open or not.
    pub(crate) fn fenced(&self) -> usize {
        self.fence.members(moment(self.now)).count()
    }

    pub(crate) fn holds(&self) -> usize {
        self.held.len()
    }

    fn asks(&mut self, index: usize) {
        let chance = self.random();
        let now = moment(self.now);
        let key = ClientKey::new(Ipv4Addr::from_bits(0x0a00_0000 + self.people[index].address).into());
        if !self.fence.passes(key, now) {
            return self.unheard(index, chance);
        }
        let seat = self.guard.book.enter(key, now);
        let end = self.people[index].end(chance, &seat.client);
        let refusal = Refusal { client: &seat.client, exempt: false, end, whole: true };
        let manner = self.guard.refused(&refusal, &self.settings, now);
        let refused = end != RequestEnd::Forwarded;
        let stalled = !matches!(manner, Manner::Answer);
        assert!(refused || !stalled, "seed {}: a good request was stalled", self.seed);
        let person = &mut self.people[index];
        person.asked += 1;
        if refused {
            person.answered += u64::from(!stalled);
            person.stalled += u64::from(stalled);
            if !matches!(person.habit, Habit::Retries { .. } | Habit::OpenLoop { .. }) {
                person.times.push((self.now, stalled));
            }
        }
        self.attempts += u64::from(matches!(person.habit, Habit::Retries { .. }));
        let again = match (&person.habit, &manner) {
            (Habit::Retries { .. }, Manner::Answer) => ROUND_TRIP,
            (Habit::Retries { patience, .. }, Manner::Drop) => micros(*patience),
            (Habit::Retries { patience, .. }, Manner::Hold(_, late)) => micros(*patience.min(late)) + ROUND_TRIP,
            (Habit::OpenLoop { per_second }, _) => SECOND / u64::from(*per_second),
            (Habit::Polls { every }, _) => micros(*every),
            // A page of a dozen objects, then somebody reads it.
            (Habit::Browses, _) if !chance.is_multiple_of(12) => ROUND_TRIP,
            (Habit::Browses, _) => chance / 12 % (20 * SECOND),
            (Habit::Bursts { requests }, _) if !person.asked.is_multiple_of(u64::from(*requests)) => ROUND_TRIP,
            (Habit::Bursts { .. }, _) => 10 * SECOND,
        };
        if let Manner::Hold(hold, _) = manner {
            self.held.insert(self.number, hold);
            self.at(self.now + again, Event::LetGo(self.number));
        }
        // No two clients keep step for long.
        let jitter = chance / 7 % (again / 50 + 1);
        self.at(self.now + again + jitter, Event::Asks(index));
    }

    /// A SYN that draws no answer: who waits for one gives up after its time-out, if it has one.
    fn unheard(&mut self, index: usize, chance: u64) {
        let person = &mut self.people[index];
        person.unheard += 1;
        self.attempts += u64::from(matches!(person.habit, Habit::Retries { .. }));
        let again = match &person.habit {
            Habit::Retries { patience, .. } => micros(*patience),
            Habit::OpenLoop { per_second } => SECOND / u64::from(*per_second),
            Habit::Polls { .. } | Habit::Browses | Habit::Bursts { .. } => 30 * SECOND,
        };
        let jitter = chance / 7 % (again / 50 + 1);
        self.at(self.now + again + jitter, Event::Asks(index));
    }

    fn invariants(&self) {
        let (guard, seed) = (&self.guard, self.seed);
        assert!(guard.book.tracked() <= self.capacity, "seed {seed}: {} clients in the book", guard.book.tracked());
        assert!(guard.holds.bytes() <= self.settings.hold_memory as u64, "seed {seed}: {} bytes", guard.holds.bytes());
        let held = self.held.len() as u64;
        assert_eq!(guard.holds.bytes(), held * HOLD_BYTES, "seed {seed}: holds are counted once, and given back");
    }

    /// Nobody who browses or polls ever waited.
    pub(crate) fn good_ones_were_served(&self) {
        for person in &self.people {
            if matches!(person.habit, Habit::Browses | Habit::Polls { .. }) {
                assert_eq!((person.stalled, person.unheard), (0, 0), "seed {}: {person:?}", self.seed);
            }
        }
    }

    /// Attempts of those who retry at once.
    pub(crate) fn attempts(&self) -> u64 {
        self.attempts
    }

    pub(crate) fn observed(&self) -> u64 {
        self.guard.observed.load(Relaxed)
    }

    /// Refused requests of these, and how many of them were stalled.
    pub(crate) fn of(&self, whose: &dyn Fn(&Habit) -> bool) -> (u64, u64) {
        let people = self.people.iter().filter(|person| whose(&person.habit));
        people.fold((0, 0), |(asked, stalled), person| {
            (asked + person.answered + person.stalled, stalled + person.stalled)
        })
    }

    /// The same of everybody's requests in the last `span`.
    pub(crate) fn lately(&self, span: u64) -> (usize, usize) {
        assert!(span <= 60 * MINUTE);
        let times = self.people.iter().flat_map(|person| &person.times).filter(|(at, _)| *at + span >= self.now);
        times.fold((0, 0), |(asked, stalled), (_, was)| (asked + 1, stalled + usize::from(*was)))
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    /// `SplitMix64`: enough chance for a simulation, and the same everywhere.
    fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.chance;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }
}

fn moment(micros: u64) -> Moment {
    Moment::from_millis(micros / 1_000)
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap()
}
