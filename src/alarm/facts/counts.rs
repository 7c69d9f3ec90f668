//! Counters that only grow, and what a second added to them.

use std::sync::atomic::Ordering::Relaxed;

use crate::kernel::view::KernelView;
use crate::outcome::RequestEnd;
use crate::telemetry::Counters;
use crate::telemetry::counters::BUCKETS;

/// How many buckets a histogram has, the last without a bound.
pub(in crate::alarm) const LATENCIES: usize = BUCKETS.len() + 1;

/// What was counted: since the start, or between two looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Requests by how they ended, in the order of [`RequestEnd::ALL`].
    pub ends: [u64; RequestEnd::COUNT],
    /// Requests by how long they took, in the order of [`BUCKETS`].
    pub latencies: [u64; LATENCIES],
    /// Handshakes that the kernel dropped at a listener; `None` where it does not tell.
    pub listen_drops: Option<u64>,
    /// Lines of the access log that were lost.
    pub log_drops: u64,
    /// Defects that were contained.
    pub panics: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { ends: [0; RequestEnd::COUNT], latencies: [0; LATENCIES], listen_drops: None, log_drops: 0, panics: 0 }
    }
}

impl Counts {
    /// Since the start.
    pub fn read(counters: &Counters, kernel: &KernelView, log_drops: u64) -> Self {
        let mut latencies = counters.request_seconds.buckets().map(|(_, count)| count);
        Self {
            ends: std::array::from_fn(|index| counters.request_ends.get(index)),
            latencies: std::array::from_fn(|_| latencies.next().unwrap_or(0)),
            // Overflows are drops too, where these are counted.
            listen_drops: kernel.tcp_ext.listen_drops.max(kernel.tcp_ext.listen_overflows),
            log_drops,
            panics: counters.panics.load(Relaxed),
        }
    }

    /// What was added since `before`; nothing to a counter that has fallen.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            ends: added(&self.ends, &before.ends),
            latencies: added(&self.latencies, &before.latencies),
            listen_drops: self.listen_drops.zip(before.listen_drops).map(|(now, before)| now.saturating_sub(before)),
            log_drops: self.log_drops.saturating_sub(before.log_drops),
            panics: self.panics.saturating_sub(before.panics),
        }
    }

    /// Requests that ended in this way.
    pub fn ended(&self, end: RequestEnd) -> u64 {
        self.ends.get(end.index()).copied().unwrap_or(0)
    }

    /// Requests that failed, and all that were not refused.
    pub fn errors(&self) -> [u64; 2] {
        RequestEnd::ALL.iter().fold([0; 2], |[errors, all], end| {
            let count = self.ended(*end);
            let [error, counts] = [is_error(*end), is_error(*end) || end.row().reason.is_none()].map(u64::from);
            [errors.saturating_add(error * count), all.saturating_add(counts * count)]
        })
    }

    /// How most of the failed ones failed.
    pub fn worst(&self) -> Option<RequestEnd> {
        let failed = RequestEnd::ALL.iter().copied().filter(|end| is_error(*end) && self.ended(*end) > 0);
        // The first of equals.
        failed.reduce(|worst, end| if self.ended(end) > self.ended(worst) { end } else { worst })
    }
}

/// Whether a request that ended so is one that users take for a failure of the network: 502, 503 or 504. Refusals for what a
/// client does are none.
const fn is_error(end: RequestEnd) -> bool {
    matches!(end.row().status, Some(502..=504))
}

fn added<const N: usize>(now: &[u64; N], before: &[u64; N]) -> [u64; N] {
    let mut pairs = now.iter().zip(before);
    std::array::from_fn(|_| pairs.next().map_or(0, |(now, before)| now.saturating_sub(*before)))
}

/// The time, in seconds, within which this share of requests was served: linear within a bucket, and the highest bound there
/// is for what lies beyond it, as `histogram_quantile` of Prometheus has it.
pub fn quantile(share: f64, latencies: &[u64; LATENCIES]) -> Option<f64> {
    let total: u64 = latencies.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a minute")]
    let float = |count: u64| count as f64;
    let rank = share * float(total);
    let (mut below, mut lower) = (0, 0.0);
    for (count, upper) in latencies.iter().zip(BUCKETS) {
        let upto = below + count;
        if *count > 0 && float(upto) >= rank {
            return Some(lower + (upper - lower) * ((rank - float(below)) / float(*count)).max(0.0));
        }
        (below, lower) = (upto, upper);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Counts, LATENCIES, quantile};
    use crate::kernel::view::{KernelView, TcpExt};
    use crate::outcome::RequestEnd;
    use crate::telemetry::Counters;

    #[test]
    fn a_second_is_what_was_added() {
        let counters = Counters::default();
        let kernel = |drops| KernelView {
            tcp_ext: TcpExt { listen_overflows: Some(1), listen_drops: drops, ..TcpExt::default() },
            ..KernelView::default()
        };
        counters.request_ends.add(RequestEnd::DnsTimeout.index(), 7);
        let before = Counts::read(&counters, &kernel(Some(10)), 3);
        assert_eq!(before.ended(RequestEnd::DnsTimeout), 7);
        counters.request_ends.add(RequestEnd::DnsTimeout.index(), 5);
        counters.request_ends.add(RequestEnd::Forwarded.index(), 2);
        counters.request_seconds.record(Duration::from_secs(2));
        let added = Counts::read(&counters, &kernel(Some(12)), 4).since(&before);
        assert_eq!((added.ended(RequestEnd::DnsTimeout), added.log_drops), (5, 1));
        assert_eq!((added.listen_drops, added.latencies.iter().sum::<u64>()), (Some(2), 1));
        assert_eq!((added.errors(), added.worst()), ([5, 7], Some(RequestEnd::DnsTimeout)));
        // What is not known is not zero, and what began anew adds nothing.
        assert_eq!(Counts::read(&counters, &KernelView::default(), 0).since(&before).listen_drops, None);
        assert_eq!(Counts::default().since(&before).errors(), [0, 0]);
    }

    #[test]
    fn errors_are_what_users_take_for_a_broken_network() {
        for end in RequestEnd::ALL {
            let mut counts = Counts::default();
            counts.ends[end.index()] = 1;
            let broken = end.row().status.is_some_and(|status| (502..=504).contains(&status));
            let refused = end.row().reason.is_some();
            assert_eq!(counts.errors(), [u64::from(broken), u64::from(broken || !refused)], "{end:?}");
        }
    }

    #[test]
    fn a_quantile_is_that_of_prometheus() {
        let of = |share, filled: &[(usize, u64)]| {
            let mut latencies = [0; LATENCIES];
            for (bucket, count) in filled {
                latencies[*bucket] = *count;
            }
            quantile(share, &latencies)
        };
        assert_eq!(of(0.99, &[]), None);
        // Bucket 10 is from 0.5 s to 1 s, 11 to 2.5 s, 16 has no end.
        assert_eq!(of(0.5, &[(10, 100)]), Some(0.75));
        assert_eq!(of(0.99, &[(0, 99), (11, 1)]), Some(0.0005));
        assert_eq!(of(0.995, &[(0, 99), (11, 1)]), Some(1.75));
        assert_eq!(of(0.99, &[(16, 5)]), Some(60.0));
    }

    proptest! {
        #[test]
        fn a_quantile_never_falls_as_its_share_grows(latencies: [u32; LATENCIES], a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            let latencies = latencies.map(u64::from);
            let [low, high] = [a.min(b), a.max(b)].map(|share| quantile(share, &latencies));
            prop_assert!(low <= high, "{:?} {:?}", low, high);
            prop_assert!(high.is_none_or(|seconds| (0.0..=60.0).contains(&seconds)));
        }
    }
}
