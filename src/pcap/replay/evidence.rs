//! Which servers of a capture are proxies.
//!
//! Owns: what speaks for it. Called by: the recorder. Never: asks a client's name or a well-known port.

use std::net::{IpAddr, SocketAddr};

use super::rename::{named, split};
use crate::http1::target::Host;
use crate::pcap::http::Request;

/// What was sent to an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// CONNECT requests, and those that were answered as a server does that is no proxy.
    connects: u32,
    declined: u32,
    /// Absolute-form for another address or port than its own, or with a field that only proxies get.
    foreign: bool,
    /// The first host that was asked for in absolute-form, as a hash, and whether there was another.
    host: Option<u64>,
    several: bool,
}

impl Evidence {
    /// Learns from a request to `server`.
    pub(super) fn learn(&mut self, server: SocketAddr, request: &Request<'_>, hasher: &ahash::RandomState) {
        if request.method == b"CONNECT" {
            self.connects = self.connects.saturating_add(1);
            return;
        }
        let Some((scheme, authority, _)) = split(request.target) else { return };
        let Some(named) = named(authority) else {
            self.foreign |= request.to_a_proxy;
            return;
        };
        let usual = if scheme.eq_ignore_ascii_case(b"https") { 443 } else { 80 };
        let elsewhere = match named.host {
            Host::Address(address) => !is(address, server.ip()),
            Host::Name(_) => false,
        };
        self.foreign |= request.to_a_proxy || elsewhere || named.port.unwrap_or(usual) != server.port();
        let host = hasher.hash_one(&named.host);
        self.several |= *self.host.get_or_insert(host) != host;
    }

    /// Learns from an answer to CONNECT.
    pub(super) fn answered(&mut self, status: u16) {
        if matches!(status, 400 | 404 | 405 | 501) {
            self.declined = self.declined.saturating_add(1);
        }
    }

    /// Absolute-form alone proves nothing: a server must take it too (RFC 9112 section 3.2.2).
    pub(super) const fn is_proxy(self) -> bool {
        self.connects > self.declined || self.foreign || self.several
    }
}

fn is(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}
