//! What one second looked like, as far as an alarm may be about it.
//!
//! Owns: [`Facts`], and what is made of counters that only grow ([`Counts`], [`Last`]). Called by: control (gathers), the
//! judge (reads). Never: reads anything by itself, or decides whether something is wrong.

mod counts;
mod last;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::alarm) use counts::LATENCIES;
pub use counts::{Counts, quantile};
pub use last::Last;

use crate::guard::fence::Row;
use crate::guard::fence::book::Event;
use crate::guard::pressure::{Level, Report};
use crate::kernel::view::KernelView;
use crate::net::ClientKey;
use crate::outcome::RequestEnd;
pub use crate::telemetry::errors::Failure;

/// One second. What cannot be known is `None` or empty, never zero.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The kernel's view.
    pub kernel: Arc<KernelView>,
    /// How short the box is of anything.
    pub level: Level,
    /// What that is made of.
    pub report: Arc<Report>,
    /// The destination that has most of our connections, and how many.
    pub busiest: Option<(SocketAddr, u64)>,
    /// What was counted in this second.
    pub counts: Counts,
    /// Who was refused in it; each client once for each way.
    pub refused: Vec<Refused>,
    /// Who is kept out in the kernel.
    pub fenced: Vec<Fenced>,
    /// What became of fences in this second.
    pub fence_events: Vec<Event>,
    /// Why no fence can be built, where one is wanted.
    pub no_fence: Option<String>,
    /// Destinations that are answered for from memory.
    pub failing: Vec<Failing>,
    /// Requests that failed in this second, by destination. What they leave of [`Counts::ends`] is of no known destination.
    pub failures: Vec<Failure>,
    /// How long upstreams are waited for.
    pub patience: Patience,
    /// The last configuration was not taken over.
    pub reload: Option<Reload>,
    /// The file of the access log.
    pub access_log: Option<String>,
    /// Destinations of messages that these do not reach.
    pub deliveries: Vec<Undelivered>,
}

/// A client's refusals of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Who.
    pub client: ClientKey,
    /// One of its addresses.
    pub address: IpAddr,
    /// Why.
    pub end: RequestEnd,
    /// How often.
    pub count: u64,
    /// It has climbed the ladder with these.
    pub stalled: bool,
    /// The first of the request lines, credentials masked.
    pub request_line: Box<[u8]>,
}

/// A client that the kernel keeps out.
#[derive(Clone, Debug, PartialEq)]
pub struct Fenced {
    /// Who, why and for how long.
    pub row: Row,
    /// When it is over, by the clock of this place.
    pub until: String,
    /// One of the requests it stormed with.
    pub request_line: Option<Box<[u8]>>,
}

/// A destination that is answered for from memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// `host:port`.
    pub destination: String,
    /// How it failed.
    pub end: RequestEnd,
    /// How often in a row.
    pub times: u32,
}

/// How long upstreams are waited for: see `[upstream]` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Patience {
    /// `dns-timeout`.
    pub dns: Duration,
    /// `connect-timeout`.
    pub connect: Duration,
    /// `first-byte-timeout`.
    pub first_byte: Duration,
    /// `slow` of `[alarm]`: who waits so long for one of the latter two is among [`Facts::failures`] from then on.
    pub slow: Duration,
}

/// A configuration that was not taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// Its file.
    pub file: String,
    /// The first of what is wrong with it.
    pub why: String,
}

/// A destination that messages do not reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Undelivered {
    /// Its name, never its address.
    pub webhook: String,
    /// What became of the last attempt.
    pub why: String,
}
