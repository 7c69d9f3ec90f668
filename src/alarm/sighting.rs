//! Something that an alarm is about, seen within one second.

use std::net::{IpAddr, SocketAddr};

use super::Alarm;

/// Seen once or more within one second.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// What.
    pub alarm: Alarm,
    /// What of that kind: a client, a destination, a file; empty where there is only one. Windows are kept for each.
    pub subject: String,
    /// How often. A state that lasts counts once a second.
    pub count: u64,
    /// What the words of the catalogue leave open, by name: `("used", "7,400")`.
    pub values: Vec<(&'static str, String)>,
    /// One of them.
    pub sample: Option<Sample>,
}

/// One error, as the operator is to see it. Strangers' bytes: whoever shows them escapes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Who asked.
    pub client: Option<IpAddr>,
    /// Where it was sent to.
    pub upstream: Option<SocketAddr>,
    /// The request line, credentials masked; at most 256 bytes.
    pub request_line: Box<[u8]>,
    /// The first bytes of what came back, at most 128; empty if nothing did.
    pub answer: Box<[u8]>,
}
