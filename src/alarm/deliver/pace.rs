//! When to send: no faster than the other side permits, and after a failure later and later.
//!
//! Owns: the pause after a failure, the gate of a robot. Called by: the courier. Never: waits itself.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::config::settings::WebhookKind;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And the longest.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// What the other side asks for is obeyed up to here.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// The pause after so many failures in a row, between a half and the whole of what doubling gives: a hundred gateways that
/// lost the same robot do not come back in one second. `chance` is any random number.
pub(super) fn pause(failures: u32, wish: Option<Duration>, chance: u64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1));
    let whole = doubled.map_or(LONGEST_PAUSE, |factor| FIRST_PAUSE.saturating_mul(factor)).min(LONGEST_PAUSE);
    let half = whole / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(0).saturating_add(1);
    let pause = half + Duration::from_millis(chance % spread);
    pause.max(wish.unwrap_or_default().min(LONGEST_WISH))
}

/// What a kind permits: one message per period, and a burst.
///
/// A robot of `WeCom` or `DingTalk` takes 20 a minute: in any minute at most the burst and what the periods of a minute give, 5 and
/// 15. Feishu permits 100 a minute and 5 a second, Slack about one a second.
const fn permits(kind: WebhookKind) -> Option<(Duration, u32)> {
    match kind {
        WebhookKind::Wecom | WebhookKind::Dingtalk => Some((Duration::from_secs(4), 5)),
        WebhookKind::Feishu | WebhookKind::Slack => Some((Duration::from_secs(1), 4)),
        WebhookKind::Alertmanager | WebhookKind::Json | WebhookKind::Command => None,
    }
}

/// Lets messages through as fast as the other side takes them.
pub(super) struct Gate(Option<RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>>);

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.0.is_some()).finish()
    }
}

impl Gate {
    pub(super) fn new(kind: WebhookKind) -> Self {
        Self(permits(kind).and_then(|(period, burst)| {
            let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::new(burst)?);
            Some(RateLimiter::direct_with_clock(quota, Ticks(Instant::now())))
        }))
    }

    /// Takes a permit, or tells how long it takes until there is one.
    pub(super) fn pass(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        limiter.check().map_err(|not| not.wait_time_from(limiter.clock().now()).max(Duration::from_millis(1)))
    }
}

/// Time since the gate was built, by the runtime's clock: a test may turn it.
#[derive(Clone, Debug)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Gate, LONGEST_PAUSE, LONGEST_WISH, pause};
    use crate::config::settings::WebhookKind;

    proptest! {
        #[test]
        fn a_pause_grows_to_its_limit(failures in 1_u32.., chance in any::<u64>()) {
            let all = pause(failures, None, chance);
            prop_assert!(all <= LONGEST_PAUSE && all >= Duration::from_millis(500));
            prop_assert!(pause(failures.saturating_add(1), None, u64::MAX) >= all / 2);
        }
    }

    #[test]
    fn it_doubles() {
        let least: Vec<_> = (1..=12).map(|failures| pause(failures, None, 0).as_millis()).collect();
        assert_eq!(
            least,
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000]
        );
        assert_eq!(pause(u32::MAX, None, 0), LONGEST_PAUSE / 2);
    }

    #[test]
    fn a_wish_is_obeyed_within_reason() {
        assert_eq!(pause(1, Some(Duration::from_secs(77)), 0), Duration::from_secs(77));
        assert_eq!(pause(12, Some(Duration::from_secs(1)), 0), LONGEST_PAUSE / 2);
        assert_eq!(pause(1, Some(Duration::from_hours(999)), 0), LONGEST_WISH);
    }

    /// How many pass in the fullest span of this length, however hard one pushes for ten minutes.
    async fn fullest(kind: WebhookKind, span: Duration) -> usize {
        let gate = Gate::new(kind);
        let (mut passed, mut most) = (VecDeque::new(), 0);
        let begin = tokio::time::Instant::now();
        while begin.elapsed() < Duration::from_mins(10) {
            match gate.pass() {
                Ok(()) => passed.push_back(tokio::time::Instant::now()),
                Err(wait) => tokio::time::sleep(wait).await,
            }
            while passed.front().is_some_and(|first| first.elapsed() >= span) {
                passed.pop_front();
            }
            most = most.max(passed.len());
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn no_robot_gets_more_than_it_permits() {
        let minute = Duration::from_mins(1);
        for kind in [WebhookKind::Wecom, WebhookKind::Dingtalk] {
            let most = fullest(kind, minute).await;
            assert!((18..=20).contains(&most), "{most}");
        }
        assert!(fullest(WebhookKind::Feishu, minute).await <= 100);
        assert!(fullest(WebhookKind::Feishu, Duration::from_secs(1)).await <= 5);
        assert!(Gate::new(WebhookKind::Json).pass().is_ok());
    }
}
