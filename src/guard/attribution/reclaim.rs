//! Which of our sockets are given up when memory is short.

use std::cmp::Reverse;
use std::time::Duration;

use crate::guard::pressure::Level;
use crate::kernel::diag::{Entry, Id, Kind, Waiting};

/// Sockets given up in one go, at most once a second: a tenth of the orphans that a box of 2 GB may have, and a few
/// milliseconds of the kernel's time.
pub const AT_ONCE: usize = 512;

/// What was sent again this many times without an answer has made no progress for 1.4 seconds at least: the time-out starts
/// at 200 ms and doubles (RFC 6298 section 5.5, `TCP_RTO_MIN`).
const ATTEMPTS: u8 = 3;
/// A peer whose window has been closed for about that long: probes come at intervals that double, and the next one is as
/// far away as the first one is back.
const CLOSED_WINDOW: Duration = Duration::from_secs(5);
/// An open socket is worth giving up for that much memory, in bytes.
const WORTH: u64 = 64 << 10;

/// Collects the sockets that are worth giving up. Pure: who ends them is [`crate::kernel::diag::Diag::destroy`].
///
/// - calm, elevated: none;
/// - high: closed sockets (orphans) whose peer does not take what is left for it, the largest first;
/// - critical: these, then every other orphan, then open connections with clients that do not take more than 64 KiB that
///   wait for them, the largest first.
///
/// Never remnants (`TIME_WAIT` is 256 bytes, and guards the next connection) and never a half-open connection.
#[derive(Debug)]
pub struct Reclaim {
    level: Level,
    found: Vec<(Rank, Id)>,
}

/// Least first: by class, then by size.
type Rank = (Class, Reverse<u64>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Class {
    StuckOrphan,
    Orphan,
    StuckClient,
}

impl Reclaim {
    /// For this level of pressure.
    pub const fn new(level: Level) -> Self {
        Self { level, found: Vec::new() }
    }

    /// Looks at a socket that came through one of our listeners.
    pub fn consider(&mut self, entry: &Entry) {
        let class = match (entry.kind, is_stuck(entry)) {
            (Kind::Orphan, true) => Class::StuckOrphan,
            (Kind::Orphan, false) => Class::Orphan,
            (Kind::Live, true) if entry.buffers() >= WORTH => Class::StuckClient,
            (Kind::Live | Kind::Queued | Kind::TimeWait | Kind::HalfOpen, _) => return,
        };
        let is_given_up = match self.level {
            Level::Calm | Level::Elevated => false,
            Level::High => class == Class::StuckOrphan,
            Level::Critical => true,
        };
        if is_given_up {
            self.found.push(((class, Reverse(entry.buffers())), entry.id.clone()));
            if self.found.len() >= 2 * AT_ONCE {
                self.keep_the_first();
            }
        }
    }

    /// At most [`AT_ONCE`] of them, in the order in which they are to be given up.
    pub fn sockets(mut self) -> Vec<Id> {
        self.keep_the_first();
        self.found.into_iter().map(|(_, id)| id).collect()
    }

    fn keep_the_first(&mut self) {
        self.found.sort_by_key(|(rank, _)| *rank);
        self.found.truncate(AT_ONCE);
    }
}

/// The kernel tells no age, but what its timer waits for does.
fn is_stuck(entry: &Entry) -> bool {
    entry.waiting.is_some_and(|waiting| match waiting {
        Waiting::Retransmit(again) => again >= ATTEMPTS,
        Waiting::Probe(left, again) => again >= ATTEMPTS || left >= CLOSED_WINDOW,
    })
}
