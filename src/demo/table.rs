//! What is shown: a row a second, and the difference in one paragraph.

use std::fmt;
use std::time::Duration;

use crate::guard::pressure::Level;
use crate::load::{Glance, Outcome};

use super::clients::{CONNECTIONS, IMPATIENCE};

/// The two lines above the rows.
pub(crate) const HEADER: &str = concat!(
    "second                storm           good requests            refused /s           open  pressure\n",
    "                 attempts/s      ok   p50 ms   p99 ms  answered    held  dropped  sockets",
);

/// What is going on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Nothing but good requests.
    Calm,
    /// The storm is answered.
    Answered,
    /// The guard acts.
    Guarded,
}

impl Phase {
    const fn label(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Answered => "answered",
            Self::Guarded => "guarded",
        }
    }
}

/// One second.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Which, from 1.
    pub(crate) second: u64,
    pub(crate) phase: Phase,
    /// How long it was really.
    pub(crate) took: Duration,
    /// Attempts of the storm that began.
    pub(crate) attempts: u64,
    /// What the good clients saw, if they had begun.
    pub(crate) good: Option<Glance>,
    /// Refusals that were answered, …
    pub(crate) answered: u64,
    pub(crate) held: u64,
    pub(crate) dropped: u64,
    /// Connections of clients that are open.
    pub(crate) sockets: i64,
    pub(crate) pressure: Level,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Good { ok, p50, p99 } = Good::of(self.good.as_ref());
        let per_second = |n| grouped(rate(n, self.took));
        let Self { second, sockets, .. } = self;
        write!(
            f,
            "{second:6}  {:8} {:>10} {ok:>7} {p50:>8} {p99:>8} {:>9} {:>7} {:>8} {sockets:>8}  {}",
            self.phase.label(),
            per_second(self.attempts),
            per_second(self.answered),
            per_second(self.held),
            per_second(self.dropped),
            self.pressure as u8,
        )
    }
}

/// What good clients saw, ready to be shown.
struct Good {
    ok: String,
    p50: String,
    p99: String,
}

impl Good {
    fn of(seen: Option<&Glance>) -> Self {
        let unknown = || "-".to_owned();
        let ended = |seen: &Glance| seen.outcomes.values().sum::<u64>();
        let Some(seen) = seen.filter(|seen| ended(seen) > 0) else {
            return Self { ok: unknown(), p50: unknown(), p99: unknown() };
        };
        let ok = seen.outcomes.get(&Outcome::Status(200)).copied().unwrap_or(0);
        let latency = seen.latency();
        Self { ok: percent(ok, ended(seen)), p50: millis(latency.p50), p99: millis(latency.p99) }
    }
}

/// What the rows of each phase amount to.
#[derive(Debug, Default)]
pub(crate) struct Story {
    chapters: [Chapter; 3],
    /// The second has passed in which the guard found the queues that the storm had filled.
    switched: bool,
}

#[derive(Debug, Default)]
struct Chapter {
    took: Duration,
    attempts: u64,
    stalled: [u64; 2],
    good: Option<Glance>,
}

impl Story {
    /// One more second.
    pub(crate) fn add(&mut self, row: &Row) {
        if row.phase == Phase::Guarded && !std::mem::replace(&mut self.switched, true) {
            return;
        }
        let Some(chapter) = self.chapters.get_mut(row.phase as usize) else { return };
        chapter.took += row.took;
        chapter.attempts += row.attempts;
        let [held, dropped] = &mut chapter.stalled;
        *held += row.held;
        *dropped += row.dropped;
        match (&mut chapter.good, &row.good) {
            (Some(all), Some(seen)) => all.add(seen),
            (all @ None, seen) => all.clone_from(seen),
            (Some(_), None) => {}
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [calm, answered, guarded] = &self.chapters;
        if guarded.took.is_zero() {
            return f.write_str("It ended before the guard had acted for a second: there is no difference to tell.");
        }
        let [before, after] = [answered, guarded].map(|chapter| rate(chapter.attempts, chapter.took));
        let [calm_p99, answered_p99, guarded_p99] = [calm, answered, guarded].map(|chapter| chapter.good().p99);
        let (connections, seconds) = (CONNECTIONS as u64, IMPATIENCE.as_secs().max(1));
        let [held, dropped] = guarded.stalled;
        let how = if dropped >= held { "dropped" } else { "held" };
        writeln!(
            f,
            "Answered at once, the storm made {} attempts/s; {} of the good requests were served, within {answered_p99} ms (p99).",
            grouped(before),
            answered.good().ok,
        )?;
        writeln!(
            f,
            "With the guard, from its second second on, it made {}; {} were served, within {guarded_p99} ms; in the calm before, within {calm_p99} ms.",
            grouped(after),
            guarded.good().ok,
        )?;
        write!(
            f,
            "Stalled refusals are {how}, so the storm is as fast as its own time-out: {connections} connections ÷ {seconds} s = \
             {} attempts/s.",
            connections / seconds,
        )
    }
}

impl Chapter {
    fn good(&self) -> Good {
        Good::of(self.good.as_ref())
    }
}

/// Rounded, per second.
fn rate(n: u64, took: Duration) -> u64 {
    let millis = took.as_millis().max(1);
    u64::try_from((u128::from(n) * 1000 + millis / 2) / millis).unwrap_or(u64::MAX)
}

/// `99.8 %`, never rounded up to all.
fn percent(part: u64, all: u64) -> String {
    let tenths = part.saturating_mul(1000) / all.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Microseconds in milliseconds.
fn millis(micros: u64) -> String {
    let tenths = micros.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `15,231`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(phase: Phase, attempts: u64, held: u64) -> Row {
        Row {
            second: 1,
            phase,
            took: Duration::from_millis(500),
            attempts,
            good: None,
            answered: 7,
            held,
            dropped: 0,
            sockets: 321,
            pressure: Level::Elevated,
        }
    }

    #[test]
    fn a_row_stands_below_its_header() {
        let text = row(Phase::Answered, 6_172, 1).to_string();
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(
            words,
            ["1", "answered", "12,344", "-", "-", "-", "14", "2", "0", "321", "1"],
            "per second, not per row"
        );
        let [_, below] = HEADER.lines().collect::<Vec<_>>()[..] else { panic!() };
        for (title, value) in [("attempts/s", "12,344"), ("answered", "14"), ("sockets", "321")] {
            let end = |line: &str, what: &str| line.rfind(what).unwrap() + what.len();
            assert_eq!(end(below, title), end(&text, &format!(" {value}")), "{title}");
        }
    }

    #[test]
    fn the_difference_is_told_once_there_is_one() {
        let mut story = Story::default();
        story.add(&row(Phase::Calm, 0, 0));
        story.add(&row(Phase::Answered, 8_000, 0));
        assert!(story.to_string().starts_with("It ended before"), "{story}");
        story.add(&row(Phase::Guarded, 4_000, 10));
        assert!(story.to_string().starts_with("It ended before"), "a second of both: {story}");
        story.add(&row(Phase::Guarded, 160, 160));
        let text = story.to_string();
        for part in ["made 16,000 attempts/s", "second on, it made 320;", "refusals are held", "= 320 attempts/s"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn figures() {
        let shown = [0, 999, 1000, 15_231, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "15,231", "1,234,567"]);
        assert_eq!([percent(1999, 2000), percent(2, 2), percent(0, 0)], ["99.9 %", "100.0 %", "0.0 %"]);
        assert_eq!([millis(0), millis(449), millis(450), millis(12_345)], ["0.0", "0.4", "0.5", "12.3"]);
    }
}
