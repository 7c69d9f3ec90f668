//! Captures: read, explained, played again, made up. `floodgate pcap`.
//!
//! Owns: the road of a packet. Called by: the command line, the tests. Never: part of the gateway; trusts a length or an order.
//!
//! A packet travels in one direction, and each room knows only the one before it:
//!
//! [`read`] (file → [`Frame`](read::Frame)) → [`decode`] (→ [`Segment`](decode::Segment)) → [`stream`] (→ bytes in order, per
//! conversation and side) → [`http`] (→ requests and answers, told to a [`Witness`](http::Witness)) → [`analyze`] or [`replay`].
//! [`road`] is all of it in one piece; [`synth`] goes the other way.

pub mod analyze;
pub mod decode;
pub mod http;
pub mod read;
pub mod replay;
pub mod road;
pub mod stream;
pub mod synth;

use std::fmt;
use std::time::Duration;

/// When a packet was captured: nanoseconds since 1970-01-01 UTC. Captures know no other clock, and theirs may jump back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(pub u64);

impl Time {
    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    /// Seconds since 1970-01-01 UTC, to the nanosecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
