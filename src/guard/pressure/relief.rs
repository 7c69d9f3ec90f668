//! What each level means, in one table: nothing that eases the box is decided anywhere else.

use std::time::Duration;

use super::Level;

/// Every so often the idleness a tunnel is allowed is halved, as long as the level stays.
const HALVED: Duration = Duration::from_secs(5);

/// Whose new connections are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shed {
    /// Nobody's.
    Nobody,
    /// Those of clients who have more open than their fair share (503).
    Heaviest,
    /// Everybody's but exempt clients' (closed unanswered).
    Everybody,
}

/// What a level does. `None` is: as it is set.
#[derive(Debug)]
pub struct Relief {
    /// How long a connection may wait for its next request; zero: each answer is its last.
    pub keep_alive: Option<Duration>,
    /// How long a transfer may stand still, at most.
    pub stall: Option<Duration>,
    /// Kernel buffers of a new socket in each direction, in bytes (`SO_RCVBUF` and `SO_SNDBUF`; the kernel doubles them for
    /// its own bookkeeping, socket(7)). At a round trip of 50 ms they allow 40 and 10 Mbit/s.
    pub buffer: Option<usize>,
    /// Idle connections to origins are kept for reuse.
    pub pool: bool,
    /// Answers may be late on purpose, which costs a socket each.
    pub holds: bool,
    /// Whose new connections are refused.
    pub sheds: Shed,
    /// How long a tunnel may be idle: when the level is reached, and at the end.
    idle: Option<[Duration; 2]>,
    /// The same for the log.
    pub says: &'static str,
}

static TABLE: [Relief; Level::ALL.len()] = [
    Relief {
        keep_alive: None,
        stall: None,
        buffer: None,
        pool: true,
        holds: true,
        sheds: Shed::Nobody,
        idle: None,
        says: "nothing",
    },
    Relief {
        keep_alive: Some(Duration::from_secs(10)),
        stall: Some(Duration::from_secs(30)),
        buffer: Some(256 * 1024),
        pool: true,
        holds: true,
        sheds: Shed::Nobody,
        idle: None,
        says: "keep-alive 10 s, stalled transfers end after 30 s, buffers of new sockets 256 KiB",
    },
    Relief {
        keep_alive: Some(Duration::from_secs(2)),
        stall: Some(Duration::from_secs(10)),
        buffer: Some(64 * 1024),
        pool: false,
        holds: false,
        sheds: Shed::Heaviest,
        idle: Some([Duration::from_mins(10), Duration::from_mins(1)]),
        says: "keep-alive 2 s, stalled transfers end after 10 s, buffers of new sockets 64 KiB, no holds, no idle \
               connections to origins, idle tunnels end longest first (down to 1 min), new connections of the heaviest \
               clients are refused",
    },
    Relief {
        keep_alive: Some(Duration::ZERO),
        stall: Some(Duration::from_secs(5)),
        buffer: Some(64 * 1024),
        pool: false,
        holds: false,
        sheds: Shed::Everybody,
        idle: Some([Duration::from_mins(1), Duration::from_secs(10)]),
        says: "connections close after each answer, stalled transfers end after 5 s, buffers of new sockets 64 KiB, no \
               holds, no idle connections to origins, idle tunnels end longest first (down to 10 s), all new connections \
               are refused but those of exempt clients",
    },
];

impl Relief {
    /// What this level does.
    pub fn of(level: Level) -> &'static Self {
        let [calm, elevated, high, critical] = &TABLE;
        match level {
            Level::Calm => calm,
            Level::Elevated => elevated,
            Level::High => high,
            Level::Critical => critical,
        }
    }

    /// How long a tunnel may be idle once the level has been held for so long. It falls, so that those go first who have
    /// been idle longest, and no more of them than it takes.
    pub fn tunnel_idle(&self, held: Duration) -> Option<Duration> {
        let [first, least] = self.idle?;
        let halvings = u32::try_from(held.as_millis() / HALVED.as_millis()).unwrap_or(u32::MAX).min(16);
        Some((first / (1 << halvings)).max(least))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Relief, Shed};
    use crate::guard::pressure::Level;

    #[test]
    fn calm_does_nothing_to_anybody() {
        let calm = Relief::of(Level::Calm);
        assert!(calm.keep_alive.is_none() && calm.stall.is_none() && calm.buffer.is_none() && calm.pool && calm.holds);
        assert!(calm.sheds == Shed::Nobody && calm.tunnel_idle(Duration::MAX).is_none());
    }

    /// What is eased at one level is eased at least as much at the next.
    #[test]
    fn every_level_does_more_than_the_one_below() {
        let least = |set: Option<Duration>| set.unwrap_or(Duration::MAX);
        for pair in Level::ALL.windows(2) {
            let [low, high] = [pair[0], pair[1]].map(Relief::of);
            assert!(least(high.keep_alive) < least(low.keep_alive) && least(high.stall) < least(low.stall));
            assert!(high.buffer.unwrap() <= low.buffer.unwrap_or(usize::MAX));
            assert!(high.pool <= low.pool && high.holds <= low.holds && high.sheds as u8 >= low.sheds as u8);
            for held in [0, 4, 5, 30, 1_000_000].map(Duration::from_secs) {
                assert!(least(high.tunnel_idle(held)) <= least(low.tunnel_idle(held)));
            }
        }
    }

    #[test]
    fn the_longest_idle_tunnels_end_first() {
        let high = Relief::of(Level::High);
        let seconds = |held| high.tunnel_idle(Duration::from_secs(held)).unwrap().as_secs();
        assert_eq!([0, 4, 5, 10, 15, 20, 3_600].map(seconds), [600, 600, 300, 150, 75, 60, 60]);
        assert_eq!(high.tunnel_idle(Duration::MAX), Some(Duration::from_mins(1)));
    }
}
