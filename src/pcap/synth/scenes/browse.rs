//! People who look at pages: objects one after the other on one connection, then a pause.

use std::ops::RangeInclusive;

use super::super::cast::{Origin, SITES, pc, pc_v6};
use super::super::chance::Quantiles;
use super::super::exchange::{Pair, Passing, Pc, handshake, inside, tunnel};
use super::super::message::Message;
use super::super::stage::{Actor, Cast, MILLISECOND, SECOND, Stage};
use super::super::words::{self, BROWSER_AGENT};

/// How people browse.
#[derive(Debug)]
pub(super) struct Habits {
    /// Between two pages, milliseconds.
    pub pause: RangeInclusive<u64>,
    /// Objects of a page.
    pub objects: RangeInclusive<u64>,
    /// Bytes of an object.
    pub sizes: &'static Quantiles,
    /// So many of a thousand pages come through tunnels.
    pub tunnels: u64,
}

/// An ordinary day: most objects are small, most bytes are in large ones.
const DAY: Habits = Habits {
    pause: 2_000..=40_000,
    objects: 2..=12,
    sizes: &[
        (200, 0),
        (1_200, 250),
        (6_000, 500),
        (20_000, 750),
        (60_000, 900),
        (120_000, 960),
        (400_000, 998),
        (4_000_000, 1_000),
    ],
    tunnels: 550,
};

/// One small page after the other: what is of interest is that they come at all.
pub(super) const BUSY: Habits =
    Habits { pause: 200..=600, objects: 1..=3, sizes: &[(200, 0), (500, 500), (1_400, 1_000)], tunnels: 150 };

/// The same, once in a while.
pub(super) const RARE: Habits = Habits { pause: 1_200..=3_600, objects: 1..=1, ..BUSY };

/// How much longer pauses are in each hour, from 09:00 on: noon, evening, night.
const HOURS: [u64; 24] = [1, 1, 1, 2, 3, 1, 1, 1, 1, 2, 4, 6, 10, 20, 40, 60, 60, 60, 60, 60, 40, 20, 10, 3];

/// One person.
#[derive(Debug)]
struct Browser {
    pc: Pc,
    habits: &'static Habits,
    visit: Option<Visit>,
}

#[derive(Debug)]
struct Visit {
    pair: Pair,
    origin: &'static Origin,
    encrypted: bool,
    /// Objects that are still to be asked for.
    objects: u64,
    passing: Option<Passing>,
}

impl Browser {
    fn pause(&self, stage: &mut Stage, now: u64) -> u64 {
        let hour = usize::try_from(now / (3_600 * SECOND) % 24).unwrap_or_default();
        stage.chance.within(self.habits.pause.clone()) * MILLISECOND * HOURS.get(hour).copied().unwrap_or(1)
    }

    /// Opens the connections for a page; when it can be asked for.
    fn begin(&self, stage: &mut Stage, now: u64) -> Option<(Visit, u64)> {
        let origin = stage.chance.pick(SITES)?;
        let encrypted = stage.chance.permille(self.habits.tunnels);
        let objects = stage.chance.within(self.habits.objects.clone());
        let (pair, at) = if encrypted {
            let authority = format!("{}:443", origin.name);
            let (mut pair, at) = tunnel(stage, now, self.pc, origin, (&authority, 443), BROWSER_AGENT);
            let at = handshake(stage, at, &mut pair, origin.name);
            (pair, at)
        } else {
            Pair::open(stage, now, self.pc, origin, 80)
        };
        Some((Visit { pair, origin, encrypted, objects, passing: None }, at))
    }
}

impl Visit {
    /// Asks for an object; when the answer begins.
    fn ask(&mut self, stage: &mut Stage, now: u64, pc: Pc, sizes: &Quantiles) -> u64 {
        let size = stage.chance.drawn(sizes);
        let start = stage.chance.within(0..=0xffff);
        self.objects -= 1;
        if self.encrypted {
            let question = Message::tls(start, stage.chance.within(300..=900));
            self.passing = Some(Passing::new(&inside(&Message::tls(start, size))));
            return self.pair.ask_inside(stage, now, &question);
        }
        let (ending, kind) = match size {
            ..2_000 => ("css", "text/css"),
            2_000..30_000 => ("html", "text/html; charset=utf-8"),
            30_000..1_000_000 => ("webp", "image/webp"),
            _ => ("zip", "application/zip"),
        };
        let path = format!("/{}/{}.{ending}", stage.chance.hex(3), stage.chance.hex(8));
        let fields = format!(
            "Proxy-Connection: keep-alive\r\nUser-Agent: {BROWSER_AGENT}\r\nAccept: */*\r\n\
             Accept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n"
        );
        let request = words::request(&mut stage.chance, pc.address, ("GET", self.origin.name, &path), &fields, 0);
        let fields = format!("Content-Type: {kind}\r\nConnection: keep-alive\r\n");
        self.passing = Some(Passing::new(&words::answer(&mut stage.chance, "200 OK", &fields, size)));
        self.pair.ask(stage, now, &request)
    }
}

impl Actor for Browser {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        let Some(visit) = &mut self.visit else {
            if stage.is_over(now) {
                return None;
            }
            let (visit, at) = self.begin(stage, now)?;
            self.visit = Some(visit);
            return Some(at);
        };
        if let Some(passing) = &mut visit.passing {
            let (last, next) = visit.pair.pass(stage, now, passing);
            return next.or_else(|| {
                visit.passing = None;
                Some(last + self.pc.leg + stage.chance.within(2..=120) * MILLISECOND)
            });
        }
        if visit.objects > 0 && !stage.is_over(now) {
            return Some(visit.ask(stage, now, self.pc, self.habits.sizes));
        }
        visit.pair.close(stage, now);
        self.visit = None;
        Some(now + self.pause(stage, now))
    }
}

/// The person of this number: the first opens a page soon, the others within half a pause.
pub(super) fn browser(stage: &mut Stage, number: u32, pc: Pc, habits: &'static Habits) -> (u64, Box<dyn Actor>) {
    let latest = (habits.pause.start() / 2).saturating_mul(u64::from(number) + 1).min(habits.pause.end() / 2);
    let first = stage.chance.within(0..=latest) * MILLISECOND;
    (first, Box::new(Browser { pc, habits, visit: None }))
}

/// One PC in four speaks IPv6 with the proxy.
pub(super) fn cast(stage: &mut Stage, clients: u32) -> Cast {
    (0..clients)
        .map(|number| {
            let address = if number % 4 == 3 { pc_v6(number) } else { pc(number) };
            let pc = Pc::new(stage, address);
            browser(stage, number, pc, &DAY)
        })
        .collect()
}
