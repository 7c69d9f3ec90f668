//! Wrong tokens: of each client so many are looked at, and no other client pays for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::connection::Visitor;
use super::desk::TurnedAway;
use super::limits::{GUESS, GUESSERS, MOST_GUESSES};
use crate::net::ClientKey;

/// What becomes of a token that is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is the right one.
    Right,
    /// It is not.
    Wrong,
    /// Whatever it is: there were too many wrong ones.
    TooMany,
}

/// Who guessed lately.
#[derive(Debug)]
pub(super) struct Guesses {
    table: Mutex<Table>,
    turned_away: Arc<TurnedAway>,
}

#[derive(Debug)]
struct Table {
    each: Vec<(ClientKey, Allowance)>,
    /// Of those for whom there is no place among [`GUESSERS`].
    others: Allowance,
}

impl Guesses {
    pub(super) fn new(turned_away: Arc<TurnedAway>) -> Self {
        let others = Allowance::new(MOST_GUESSES, Instant::now());
        Self { table: Mutex::new(Table { each: Vec::new(), others }), turned_away }
    }

    /// Judges a token that is, or is not, the right one. This box may guess as it likes: else anybody on it could keep its
    /// operator out.
    pub(super) fn judge(&self, visitor: &Visitor, is_right: bool) -> Verdict {
        let verdict = match visitor.from {
            Some(client) => self.table.lock().judge(client, is_right, Instant::now()),
            None if is_right => Verdict::Right,
            None => Verdict::Wrong,
        };
        if verdict != Verdict::Right {
            self.turned_away.credentials.fetch_add(1, Relaxed);
            tracing::debug!(peer = %visitor.peer, ?verdict, "admin: a token was refused");
        }
        verdict
    }
}

impl Table {
    fn judge(&mut self, client: ClientKey, is_right: bool, now: Instant) -> Verdict {
        let Self { each, others } = self;
        // Whose allowance is full has not guessed lately.
        each.retain_mut(|(_, allowance)| !allowance.has(MOST_GUESSES, now));
        if each.len() < GUESSERS && !each.iter().any(|(of, _)| *of == client) {
            each.push((client, Allowance::new(MOST_GUESSES, now)));
        }
        let allowance = each.iter_mut().find(|(of, _)| *of == client).map_or(others, |(_, allowance)| allowance);
        if !allowance.has(GUESS, now) {
            return Verdict::TooMany;
        }
        if is_right {
            return Verdict::Right;
        }
        allowance.spend(GUESS);
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    use super::{Allowance, GUESSERS, MOST_GUESSES, Table, Verdict};
    use crate::net::ClientKey;

    #[test]
    fn who_guesses_shuts_out_himself_alone() {
        let begun = Instant::now();
        let mut table = Table { each: Vec::new(), others: Allowance::new(MOST_GUESSES, begun) };
        let client = |n: u32| ClientKey::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)));
        let count = |table: &mut Table, n, at| {
            (0..100).take_while(|_| table.judge(client(n), false, at) == Verdict::Wrong).count()
        };
        for n in 1..=u32::try_from(GUESSERS).unwrap() {
            assert_eq!(count(&mut table, n, begun), 10, "{n}");
            assert_eq!(table.judge(client(n), true, begun), Verdict::TooMany, "a right one tells nothing either");
            assert_eq!(table.judge(client(0), true, begun), Verdict::Right);
        }
        // So many guess that the others share what is left.
        assert_eq!([1_000, 1_001].map(|n| count(&mut table, n, begun)), [10, 0]);
        assert_eq!(table.each.len(), GUESSERS);
        // It comes back.
        let later = begun + Duration::from_secs(1);
        assert_eq!(count(&mut table, 1, later), 5);
        assert_eq!(table.judge(client(0), true, begun + Duration::from_mins(1)), Verdict::Right);
        assert_eq!(table.each.len(), 1);
    }
}
