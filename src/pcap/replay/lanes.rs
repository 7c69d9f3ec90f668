//! Connections of a client side by side, and one after the other.
//!
//! Owns: which connection follows which. Called by: the cast. Never: looks at a request.
//!
//! A client that retries shows as thousands of connections in a capture, of which few were open at a time: as many as it has
//! threads, or whatever else makes it wait for an answer before it tries again. Each of these is a lane.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::pcap::Time;

/// Which of as many lanes as needed each connection is on, given when each began and when it was answered, in the order of their
/// beginnings: on a lane, each begins when the one before was answered or later. No more lanes than were ever in use together.
pub(super) fn lanes(connections: impl IntoIterator<Item = (Time, Time)>) -> Vec<usize> {
    let mut busy: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let mut all = 0_usize;
    let mut on = Vec::new();
    for (began, until) in connections {
        let free = busy.peek().is_some_and(|Reverse((until, _))| *until <= began);
        let lane = if free { busy.pop().map(|Reverse((_, lane))| lane) } else { None };
        let lane = lane.unwrap_or(all);
        all = all.max(lane.saturating_add(1));
        busy.push(Reverse((until.max(began), lane)));
        on.push(lane);
    }
    on
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_waits_for_an_answer_is_one_lane_and_who_does_not_is_another() {
        let times = [(0, 5), (1, 3), (3, 4), (4, 9), (5, 6)].map(|(began, until)| (Time(began), Time(until)));
        assert_eq!(lanes(times), [0, 1, 1, 1, 0]);
        assert_eq!(lanes([]), [0; 0]);
    }

    proptest! {
        #[test]
        fn lanes_do_not_overlap_and_none_is_needless(mut times: Vec<(u8, u8)>) {
            times.sort_unstable();
            let times: Vec<_> = times
                .iter()
                .map(|(began, length)| (Time(u64::from(*began)), Time(u64::from(*began) + u64::from(*length))))
                .collect();
            let on = lanes(times.iter().copied());
            let mut until = vec![Time(0); on.len()];
            for (lane, (began, ended)) in on.iter().zip(&times) {
                prop_assert!(until[*lane] <= *began);
                until[*lane] = *ended;
            }
            let used = on.iter().max().map_or(0, |last| last + 1);
            // Whoever began a lane found all the others busy.
            let together = |at: Time| times.iter().filter(|(began, until)| *began <= at && at < *until.max(&Time(began.0 + 1))).count();
            let most = times.iter().map(|(began, _)| together(*began)).max().unwrap_or(0);
            prop_assert!(used <= most, "{used} lanes, {most} together");
        }
    }
}
