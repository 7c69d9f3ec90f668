//! Requests that failed at their destination, one entry per kind, destination and second: how often, and the first of them.
//!
//! Owns: the table of the current second. Called by: the journey ([`Errors::note`]), control ([`Errors::drain`], each second).
//! Never: hears of a request that went well or was refused; grows beyond its limit; allocates for a failure that is already
//! in the table.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::access_log::escape;
use crate::alarm::Sample;
use crate::http1::target::Host;
use crate::outcome::{RequestEnd, Row};

/// Pairs of kind and destination in one second; beyond, failures are counted per kind only
/// (`floodgate_failures_untracked_total`). With names and samples of full length a table of 160 KB.
const PAIRS: usize = 256;
/// Bytes of a sample's request line.
const LINE_BYTES: usize = 256;
/// Bytes of a sample's answer.
const ANSWER_BYTES: usize = 128;

/// What failed since the last drain: in one way, at one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// How.
    pub end: RequestEnd,
    /// The destination, as it was asked for: `host:port`, an IPv6 address in brackets.
    pub subject: String,
    /// How often.
    pub count: u64,
    /// The first of them.
    pub sample: Sample,
}

/// Whether a request that ends like this has failed at its destination, and not at the client, at a lack of ours, or for a
/// reason that makes it a refusal: whatever is answered 502 or 504, and not from memory.
pub const fn is_failure(end: RequestEnd) -> bool {
    matches!(end.row(), Row { status: Some(502 | 504), reason: None, .. })
}

/// What failed in the current second.
#[derive(Debug, Default)]
pub struct Errors(Mutex<Table>);

/// How often each has been seen, and the first of them.
type Table = AHashMap<(RequestEnd, Host, u16), (u64, Sample)>;

impl Errors {
    /// Notes the end of a request if it is a failure. `sample` is called for the first of its kind and destination in a
    /// second; it must not call back into this table.
    ///
    /// False if the table was full: nothing is known of this one.
    pub fn note(&self, end: RequestEnd, host: &Host, port: u16, sample: impl FnOnce() -> Sample) -> bool {
        if !is_failure(end) {
            return true;
        }
        // To copy a host allocates nothing: a long name is shared.
        let key = (end, host.clone(), port);
        let mut table = self.0.lock();
        if let Some((count, _)) = table.get_mut(&key) {
            *count += 1;
            return true;
        }
        let fits = table.len() < PAIRS;
        if fits {
            table.insert(key, (1, sample()));
        }
        fits
    }

    /// Takes everything out, in no order. Control calls it each second.
    pub fn drain(&self) -> Vec<Failure> {
        let table = std::mem::take(&mut *self.0.lock());
        let failures = table.into_iter().map(|((end, host, port), (count, sample))| {
            let subject = match host {
                Host::Address(ip) => SocketAddr::new(ip, port).to_string(),
                Host::Name(name) => format!("{name}:{port}"),
            };
            Failure { end, subject, count, sample }
        });
        failures.collect()
    }
}

/// A failure as the operator is to see it. `line`: the request line as it came, of which the credentials are masked;
/// `answer`: what came back. Both are cut.
pub fn sample(client: IpAddr, upstream: Option<SocketAddr>, line: &[u8], answer: &[u8]) -> Sample {
    Sample {
        client: Some(client),
        upstream,
        request_line: escape::safe_line(line, LINE_BYTES).into(),
        answer: answer.get(..ANSWER_BYTES).unwrap_or(answer).into(),
    }
}
