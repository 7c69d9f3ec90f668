//! What happened: proxies, self-target requests, storms, bypass, and what to do about it.
//!
//! Owns: the evidence, and what it means. Called by: the command line. Never: keeps more than its limits, or prints.

mod evidence;
pub mod findings;
mod judge;
pub mod limits;
pub mod show;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::http::Witness;
use super::road::{Passed, Road};
use evidence::Gatherer;
use findings::Findings;

/// What the analysis is told beforehand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--proxy`: these are proxies, and the addresses are all of one box.
    pub proxies: Vec<Told>,
}

/// A proxy that is known beforehand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// Its address.
    pub address: IpAddr,
    /// Its port; none: every port that gets requests.
    pub port: Option<u16>,
}

impl FromStr for Told {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { address: address.ip(), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let address = bare.parse::<IpAddr>();
        address.map(|address| Self { address, port: None }).map_err(|_| {
            "write an address, or an address and a port, such as 10.115.5.2, 10.115.5.2:3128 or [fd00::2]:3128"
                .to_owned()
        })
    }
}

impl Told {
    fn names(&self, endpoint: SocketAddr) -> bool {
        self.address.to_canonical() == endpoint.ip().to_canonical()
            && self.port.is_none_or(|port| port == endpoint.port())
    }
}

/// Reads captures (`-` is standard input) one after the other, as one. Whatever cannot be read stands in [`Findings::files`].
pub fn analyze(files: &[PathBuf], options: Options) -> Findings {
    analyze_with(files, options, ()).0
}

/// Reads one capture to its end, as it comes.
pub fn analyze_input(name: String, input: impl Read, options: Options) -> Findings {
    let mut road = Road::new(Gatherer::new(options));
    road.read(name, input);
    let (gatherer, Passed { files, counters, span }) = road.finish();
    let findings = judge::judge(&gatherer.evidence);
    Findings { files, counters, span, ..findings }
}

/// [`analyze`], with a `witness` who hears it all too.
pub fn analyze_with<W: Witness>(files: &[PathBuf], options: Options, witness: W) -> (Findings, W) {
    let mut road = Road::new((Gatherer::new(options), witness));
    road.open(files);
    let ((gatherer, witness), Passed { files, counters, span }) = road.finish();
    let findings = judge::judge(&gatherer.evidence);
    (Findings { files, counters, span, ..findings }, witness)
}
