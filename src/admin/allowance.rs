//! Time that may be spent, and comes back as time passes.

use std::time::{Duration, Instant};

/// A purse of time, full at first: it fills as fast as time passes, up to a limit.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Duration,
    most: Duration,
    at: Instant,
}

impl Allowance {
    pub(super) const fn new(most: Duration, now: Instant) -> Self {
        Self { left: most, most, at: now }
    }

    /// Whether so much is left. What costs more than it ever holds is allowed when it is full.
    pub(super) fn has(&mut self, cost: Duration, now: Instant) -> bool {
        self.left = self.left.saturating_add(now.saturating_duration_since(self.at)).min(self.most);
        self.at = self.at.max(now);
        self.left >= cost.min(self.most)
    }

    pub(super) fn spend(&mut self, cost: Duration) {
        self.left = self.left.saturating_sub(cost);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Allowance;

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let cost = Duration::from_millis(200);
        let mut allowance = Allowance::new(Duration::from_secs(2), start);
        for _ in 0..10 {
            assert!(allowance.has(cost, start));
            allowance.spend(cost);
        }
        assert!(!allowance.has(cost, after(199)));
        assert!(allowance.has(cost, after(200)));
        allowance.spend(cost);
        assert!(!allowance.has(cost, after(100)), "time that goes back brings nothing");
        // Never more than it holds, and what costs more than that is allowed when it is full.
        assert!(allowance.has(Duration::from_secs(9), after(1_000_000)));
        allowance.spend(Duration::from_secs(9));
        assert!(!allowance.has(Duration::from_millis(1), after(1_000_000)));
    }
}
