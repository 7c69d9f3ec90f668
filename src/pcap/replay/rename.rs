//! The same request, for another proxy.
//!
//! Owns: whom a request names, and its wording. Called by: the cast. Never: changes a byte besides authorities of the target and of
//! `Host`.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;
use memchr::{memchr, memchr2, memmem, memrchr};

use crate::http1::target::{Authority, AuthorityError, Host};
use crate::net::class::embedded_v4;

/// What a request is to the proxy; the order is that of [`CLASSES`](super::CLASSES).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Class {
    /// It names the proxy itself.
    SelfTarget,
    /// Any other.
    Good,
    /// CONNECT to anybody else.
    Connect,
}

/// Old addresses and new ones.
#[derive(Clone, Debug)]
pub(super) struct Renaming {
    /// The proxies of the capture: their ports by address.
    pub(super) proxies: AHashMap<IpAddr, Vec<u16>>,
    /// The proxy that they become.
    pub(super) to: SocketAddr,
    /// What every other destination becomes; none: they stay.
    pub(super) map: Option<SocketAddr>,
}

impl Renaming {
    /// The head for the new proxy, and what it is to it. None if it does not name anybody: neither a proxy nor, through it, another.
    pub(super) fn head(&self, head: &[u8]) -> Option<(Vec<u8>, Class)> {
        let blank = head.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (_, head) = head.split_at_checked(blank)?;
        let (line, fields) = head.split_at_checked(memchr(b'\n', head)?.saturating_add(1))?;
        let (method, rest) = line.split_at_checked(memchr(b' ', line)?)?;
        let (gap, rest, end) = trimmed(rest);
        // Without a version, as clients of HTTP/0.9 leave it out, the target ends the line.
        let (target, version) = rest.split_at_checked(memrchr(b' ', rest).unwrap_or(rest.len()))?;

        let mut out = Vec::with_capacity(head.len().saturating_add(64));
        out.extend_from_slice(method);
        out.extend_from_slice(gap);
        let class = if method == b"CONNECT" {
            out.extend_from_slice(&self.authority(target));
            Some(if self.is_self(target) { Class::SelfTarget } else { Class::Connect })
        } else if let Some((scheme, authority, path)) = split(target) {
            out.extend_from_slice(scheme);
            out.extend_from_slice(b"://");
            out.extend_from_slice(&self.authority(authority));
            out.extend_from_slice(path);
            Some(if self.is_self(authority) { Class::SelfTarget } else { Class::Good })
        } else {
            out.extend_from_slice(target);
            None
        };
        out.extend_from_slice(version);
        out.extend_from_slice(end);
        let mut by_host = None;
        for line in fields.split_inclusive(|&byte| byte == b'\n') {
            let Some((name, value)) = host_field(line) else {
                out.extend_from_slice(line);
                continue;
            };
            let (gap, value, end) = trimmed(value);
            by_host.get_or_insert_with(|| self.is_self(value));
            out.extend_from_slice(name);
            out.extend_from_slice(gap);
            out.extend_from_slice(&self.authority(value));
            out.extend_from_slice(end);
        }
        // Origin-form is for a proxy only if it names it: broken clients send that.
        let class = class.or_else(|| by_host.filter(|is_self| *is_self).map(|_| Class::SelfTarget))?;
        Some((out, class))
    }

    /// Whether this is the proxy itself to some stack: its address in any spelling or disguise, or whoever connects.
    fn is_self(&self, authority: &[u8]) -> bool {
        named(authority).is_some_and(|named| {
            is_oneself(&named.host) || matches!(named.host, Host::Address(address) if self.is_proxy(address))
        })
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let embedded = match address {
            IpAddr::V6(address) => embedded_v4(address).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        self.proxies.contains_key(&address) || embedded.is_some_and(|address| self.proxies.contains_key(&address))
    }

    fn authority(&self, old: &[u8]) -> Vec<u8> {
        if !self.is_self(old) {
            return self.map.map_or_else(|| old.to_vec(), |map| map.to_string().into_bytes());
        }
        let Some(Authority { host, port }) = named(old) else { return old.to_vec() };
        let is_listener = |port: &u16| self.proxies.values().any(|ports| ports.contains(port));
        let new_port = port.filter(is_listener).map(|_| self.to.port());
        // What means the box on any box stays as it is written.
        if is_oneself(&host) {
            let written = memrchr(b':', old).and_then(|at| old.get(..at)).filter(|_| new_port.is_some());
            let port = new_port.map(|port| format!(":{port}")).unwrap_or_default();
            return [written.unwrap_or(old), port.as_bytes()].concat();
        }
        let userinfo = old.get(..memrchr(b'@', old).map_or(0, |at| at.saturating_add(1))).unwrap_or_default();
        let new = Authority { host: Host::Address(self.to.ip().to_canonical()), port: new_port.or(port) };
        [userinfo, new.to_string().as_bytes()].concat()
    }
}

/// The scheme, authority and path of an absolute-form target.
pub(super) fn split(target: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (scheme, rest) = target.split_at_checked(memmem::find(target, b"://")?)?;
    let is_scheme = |byte: &u8| matches!(byte, b'+' | b'-' | b'.') || byte.is_ascii_alphanumeric();
    if scheme.is_empty() || !scheme.iter().all(is_scheme) {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let (authority, path) = rest.split_at_checked(memchr2(b'/', b'?', rest).unwrap_or(rest.len()))?;
    Some((scheme, authority, path))
}

/// Whom an authority names, userinfo left aside.
pub(super) fn named(authority: &[u8]) -> Option<Authority> {
    let authority = memrchr(b'@', authority).and_then(|at| authority.get(at.saturating_add(1)..)).unwrap_or(authority);
    match Authority::parse(authority) {
        Ok(named) | Err(AuthorityError::NotAscii(named)) => Some(named),
        Err(_) => None,
    }
}

/// Whether a host means whatever box connects to it.
pub(super) fn is_oneself(host: &Host) -> bool {
    match host {
        Host::Address(address) => address.is_loopback() || address.is_unspecified(),
        Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
    }
}

/// The name of a `Host` field with its colon, and the rest of the line; none if it is another field, or empty.
fn host_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr(b':', line)?.saturating_add(1))?;
    let is_host = name.strip_suffix(b":").is_some_and(|name| name.eq_ignore_ascii_case(b"host"));
    (is_host && !value.trim_ascii().is_empty()).then_some((name, value))
}

/// The white space before, the text, and the white space behind it.
fn trimmed(bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let from = bytes.len().saturating_sub(bytes.trim_ascii_start().len());
    let (before, rest) = bytes.split_at_checked(from).unwrap_or_default();
    let (text, after) = rest.split_at_checked(rest.trim_ascii_end().len()).unwrap_or_default();
    (before, text, after)
}
