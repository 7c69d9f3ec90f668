//! When a client is fenced, for how long, and when that is given up: the figures, and where they come from.

use std::time::Duration;

/// What [`FenceBook`](super::FenceBook) decides by. The program uses the defaults; tests have less time.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Connections per second that a stalled client must stay above. One that waits for its time-out makes connections ÷
    /// time-out: 3/s a PC of the incident (16 connections, 5 s), 53/s fifty PCs behind one address (32 each, 30 s). 100/s
    /// are 500 connections in flight at 5 s, or somebody who does not wait at all.
    pub rate: u32,
    /// How long it must stay above it, stalled: as long as the shortest usual time-out, in which everybody who waits has
    /// stopped.
    pub stalled: Duration,
    /// How long no byte may have moved between it and an origin: longer than clients wait for an answer (30 s at most),
    /// so that a slow page is no silence. A PC that storms and browses is stalled, never fenced.
    pub silence: Duration,
    /// The first time out. A client that was repaired, or rebooted, is let in again before anybody has found the reason.
    pub first: Duration,
    /// The longest. It doubles with each offence up to this.
    pub longest: Duration,
    /// How long some SYNs pass before all do. Who retries at once or every second shows within a few seconds; who waits
    /// between retransmissions of a SYN (1 s, 3 s, 7 s) does so too.
    pub trickle: Duration,
    /// What is dropped in the beginning of the trickle is not counted: the kernel is told a moment later, and its counters
    /// are read once a second.
    pub settling: Duration,
    /// An offence is forgotten after so much peace, one after the other: as the ladder does.
    pub peace: Duration,
    /// A fence must have shown its effect after this. The kernel knows within a second; what waited in the accept queue is
    /// served within two.
    pub proof: Duration,
    /// Who was fenced in vain, or released by an operator, is not fenced again for so long.
    pub pardon: Duration,
    /// Who could not be fenced, since the kernel had no room or refused, is left alone for so long.
    pub retry: Duration,
    /// So many clients may be fenced, however few there are: fifty PCs with the same broken program, which is what happened,
    /// and some more. Sixteen would leave the accept loop two thirds of an open-loop storm from fifty addresses.
    pub places: usize,
    /// And this share of those the client book knows, in percent: if the judgement were ever wrong, nineteen of twenty
    /// would not notice.
    pub share: usize,
    /// The kernel forgets a fence this much later than we let the client in, so it does so only when we have died or hang.
    pub margin: Duration,
    /// That places are lacking is told once in so long.
    pub telling: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            rate: 100,
            stalled: Duration::from_secs(5),
            silence: Duration::from_mins(1),
            first: Duration::from_mins(1),
            longest: Duration::from_mins(10),
            trickle: Duration::from_secs(10),
            settling: Duration::from_secs(2),
            peace: Duration::from_mins(10),
            proof: Duration::from_secs(5),
            pardon: Duration::from_mins(10),
            retry: Duration::from_secs(10),
            places: 64,
            share: 5,
            margin: Duration::from_secs(5),
            telling: Duration::from_mins(1),
        }
    }
}

/// Clients fenced at a time, whatever the share: the socket filter holds so many on every kernel (about 1,200 addresses
/// in 20 KiB of option memory before Linux 6.8).
pub const MOST: usize = 1_024;

impl Terms {
    /// How many may be fenced while the book knows so many.
    pub fn cap(&self, known: usize) -> usize {
        self.places.max(known.saturating_mul(self.share) / 100).min(MOST)
    }

    /// How long the n-th time out is, from 1.
    pub fn lasts(&self, times: u32) -> Duration {
        let doublings = times.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Terms};

    #[test]
    fn times_double_to_ten_minutes() {
        let terms = Terms::default();
        let lasts: Vec<_> = (0..8).map(|times| terms.lasts(times).as_secs()).collect();
        assert_eq!(lasts, [60, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(terms.lasts(u32::MAX), terms.longest);
    }

    #[test]
    fn the_cap_is_sixty_four_or_one_of_twenty() {
        let terms = Terms::default();
        let caps: Vec<_> = [0, 1, 1_280, 1_300, 2_000, usize::MAX].into_iter().map(|known| terms.cap(known)).collect();
        assert_eq!(caps, [64, 64, 64, 65, 100, MOST]);
    }
}
