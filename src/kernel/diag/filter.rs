//! Which sockets the kernel is to tell of, as the little program it runs over each (`INET_DIAG_REQ_BYTECODE`).

use std::ops::RangeInclusive;

/// Ranges of ports that are told apart; the last one covers whatever is beyond.
const RANGES: usize = 64;

/// The opcodes of `linux/inet_diag.h`: local port at least, at most, and the jump.
const S_GE: u8 = 2;
const S_LE: u8 = 3;
const JMP: u8 = 1;

/// The local ports that are of interest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    /// Sorted, apart from each other.
    ports: Vec<RangeInclusive<u16>>,
}

impl Scope {
    /// Our listeners' ports, and the range that our own connections take their ports from, if those are wanted too
    /// (`net.ipv4.ip_local_port_range`).
    ///
    /// Exact for up to 64 separate ports; beyond that it takes in more than it was asked for.
    pub fn new(listeners: impl IntoIterator<Item = u16>, outgoing: Option<RangeInclusive<u16>>) -> Self {
        let mut wanted: Vec<_> = listeners.into_iter().map(|port| port..=port).chain(outgoing).collect();
        wanted.retain(|range| !range.is_empty());
        wanted.sort_unstable_by_key(|range| *range.start());
        let mut ports: Vec<RangeInclusive<u16>> = Vec::new();
        for range in wanted {
            let is_full = ports.len() >= RANGES;
            match ports.last_mut() {
                Some(last) if is_full || *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*range.end().max(last.end());
                }
                _ => ports.push(range),
            }
        }
        Self { ports }
    }

    /// Every socket there is.
    pub fn everything() -> Self {
        Self { ports: vec![0..=u16::MAX] }
    }

    /// No port at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// The program, `None` where it would let everything pass.
    ///
    /// An operation is 4 bytes: code, how far to go on if it holds, how far if not. A comparison takes its port from the
    /// operation after it. A socket passes if the program ends exactly at its end, not if it jumps beyond
    /// (`inet_diag_bc_run` and `inet_diag_bc_audit` in `net/ipv4/inet_diag.c`).
    pub(super) fn program(&self) -> Option<Vec<u8>> {
        if self.ports.contains(&(0..=u16::MAX)) {
            return None;
        }
        // A block of 5 operations per range, without the jump in the last.
        let length = (self.ports.len() * 20).checked_sub(4)?;
        let mut program = Vec::with_capacity(length);
        for range in &self.ports {
            // If not, on to the next block; from the last block that is one operation beyond the end.
            program.extend(comparison(S_GE, 20, *range.start()));
            program.extend(comparison(S_LE, 12, *range.end()));
            if let Ok(to_the_end) = u16::try_from(length.saturating_sub(program.len()))
                && to_the_end > 0
            {
                program.extend(operation(JMP, 4, to_the_end));
            }
        }
        Some(program)
    }
}

fn comparison(code: u8, if_not: u16, port: u16) -> impl Iterator<Item = u8> {
    operation(code, 8, if_not).into_iter().chain(operation(0, 0, port))
}

const fn operation(code: u8, if_so: u8, if_not: u16) -> [u8; 4] {
    let [low, high] = if_not.to_ne_bytes();
    [code, if_so, low, high]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{JMP, RANGES, S_GE, S_LE, Scope};

    /// `inet_diag_bc_run`, for what we use of it.
    fn passes(program: &[u8], port: u16) -> bool {
        let number = |at: usize| u16::from_ne_bytes([program[at + 2], program[at + 3]]);
        let mut at = 0;
        while at < program.len() {
            let holds = match program[at] {
                S_GE => port >= number(at + 4),
                S_LE => port <= number(at + 4),
                JMP => false,
                other => panic!("{other}"),
            };
            at += if holds { usize::from(program[at + 1]) } else { usize::from(number(at)) };
        }
        at == program.len()
    }

    fn contains(scope: &Scope, port: u16) -> bool {
        scope.ports.iter().any(|range| range.contains(&port))
    }

    #[test]
    fn one_port_is_two_comparisons() {
        let program = Scope::new([3128], None).program().unwrap();
        assert_eq!(program.len(), 16);
        assert!(passes(&program, 3128) && !passes(&program, 3127) && !passes(&program, 3129));
    }

    #[test]
    fn without_a_port_nothing_is_asked_and_with_all_nothing_is_filtered() {
        assert!(Scope::new([], None).is_empty());
        assert_eq!(Scope::everything().program(), None);
        assert_eq!(Scope::new([80], Some(0..=u16::MAX)), Scope::everything());
    }

    proptest! {
        #[test]
        fn the_program_passes_the_wanted_and_few_others(
            listeners in prop::collection::vec(any::<u16>(), 0..100),
            outgoing in prop::option::of((any::<u16>(), any::<u16>()).prop_map(|(a, b)| a.min(b)..=a.max(b))),
            asked in prop::collection::vec(any::<u16>(), 50),
        ) {
            let scope = Scope::new(listeners.clone(), outgoing.clone());
            prop_assert!(scope.ports.len() <= RANGES);
            prop_assert!(scope.ports.is_sorted_by(|a, b| a.end().saturating_add(1) < *b.start()));
            let is_wanted = |port| listeners.contains(&port) || outgoing.as_ref().is_some_and(|range| range.contains(&port));
            let program = scope.program();
            for port in asked.into_iter().chain(listeners.clone()) {
                prop_assert!(contains(&scope, port) || !is_wanted(port));
                // Up to the limit it is exact.
                prop_assert!(listeners.len() >= RANGES || contains(&scope, port) == is_wanted(port));
                if let Some(program) = &program {
                    prop_assert_eq!(passes(program, port), contains(&scope, port));
                }
            }
        }
    }
}
