//! So many messages a minute and no more, whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use crate::guard::Moment;

/// Messages in any minute. The rooms that operators sit in take as many: a robot of `WeCom` posts 20 a minute and no more.
pub const PACE: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);

/// When the last messages were made.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Moment>);

impl Pace {
    /// How many may be made now.
    pub(super) fn room(&mut self, now: Moment) -> usize {
        while self.0.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.0.pop_front();
        }
        PACE.saturating_sub(self.0.len())
    }

    /// So many were.
    pub(super) fn told(&mut self, messages: usize, now: Moment) {
        self.0.extend(std::iter::repeat_n(now, messages));
    }
}
