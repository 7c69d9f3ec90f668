//! What a request asks for: the four forms of a target (RFC 9112 section 3.2), and the host and port that an authority names.
//!
//! Owns: [`Target`], [`Authority`], the folding of every spelling of an address to the address. Called by: the head parser, the
//! policy of the journey, the settings. Never: resolves a name, or decides whether a host is allowed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::{memchr, memchr2};
use smol_str::{SmolStr, StrExt};

use super::head::HeadError;

/// A request target, split by its form; every part as received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'b> {
    /// `scheme://authority/path?query`: what a client sends to a proxy.
    Absolute {
        /// The scheme, in any case.
        scheme: &'b [u8],
        /// Host and port, unvalidated: see [`Authority::parse`].
        authority: &'b [u8],
        /// Path and query; may be empty or begin with `?`.
        path: &'b [u8],
    },
    /// `host:port` of CONNECT: one colon, digits behind it, the rest unvalidated.
    Authority(&'b [u8]),
    /// `/path?query`: what a client sends to an origin.
    Origin(&'b [u8]),
    /// `*` of OPTIONS.
    Asterisk,
}

impl<'b> Target<'b> {
    /// Splits the target of a request with `method`; the bytes hold no white space and no controls.
    pub(crate) fn parse(method: &[u8], raw: &'b [u8]) -> Result<Self, HeadError> {
        if method == b"CONNECT" {
            return if names_port(raw) {
                Ok(Self::Authority(raw))
            } else {
                Err(HeadError::Malformed("CONNECT without host:port"))
            };
        }
        // A fragment never leaves a user agent, and stacks disagree about where the authority before it ends.
        if memchr(b'#', raw).is_some() {
            return Err(HeadError::Malformed("fragment in the target"));
        }
        match raw {
            [b'/', ..] => Ok(Self::Origin(raw)),
            b"*" if method == b"OPTIONS" => Ok(Self::Asterisk),
            _ => Self::absolute(raw).ok_or(HeadError::Malformed("target")),
        }
    }

    fn absolute(raw: &'b [u8]) -> Option<Self> {
        let (scheme, rest) = raw.split_at_checked(memchr(b':', raw)?)?;
        let first = scheme.first()?;
        if !first.is_ascii_alphabetic()
            || !scheme.iter().all(|byte| matches!(byte, b'+' | b'-' | b'.') || byte.is_ascii_alphanumeric())
        {
            return None;
        }
        let rest = rest.strip_prefix(b"://")?;
        let (authority, path) = rest.split_at_checked(memchr2(b'/', b'?', rest).unwrap_or(rest.len()))?;
        // Browsers' parsers take a backslash for a slash, RFC 3986 does not: they would see different hosts.
        if memchr(b'\\', authority).is_some() {
            return None;
        }
        Some(Self::Absolute { scheme, authority, path })
    }
}

/// `host ":" 1*DIGIT`, where only brackets may hold more colons.
fn names_port(raw: &[u8]) -> bool {
    let after = memchr(b']', raw).unwrap_or(0);
    let mut parts = raw.get(after..).unwrap_or_default().split(|&byte| byte == b':');
    let host = after > 0 || parts.clone().next().is_some_and(|host| !host.is_empty());
    let port = parts.nth(1).is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit));
    host && port && parts.next().is_none()
}

/// The host of an authority.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// An address literal in any spelling, canonical: an IPv4-mapped address is its IPv4 address.
    Address(IpAddr),
    /// A name: lower case, without a trailing dot, labels of `[a-z0-9_-]`, at most 253 bytes, and not an address to any stack.
    Name(SmolStr),
}

/// A host and, if one is written, a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    /// Whom it names.
    pub host: Host,
    /// 1 to 65535; None if missing or empty.
    pub port: Option<u16>,
}

/// Why an authority is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthorityError {
    /// It holds an `@`: userinfo misleads people, and leaks passwords into logs (RFC 9110 section 4.2.4).
    Userinfo,
    /// The host is percent-encoded: stacks decode it at different times, or never.
    PercentEncoded,
    /// An address with a zone, which has a meaning only on the client's machine (RFC 4007 section 6).
    Zone,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is no host.
    Empty,
    /// The host is neither an address nor a name.
    Host,
    /// The host holds non-ASCII characters, and this is what IDNA (UTS 46) makes of it. Refused all the same: a client that
    /// speaks HTTP maps names itself. The caller may want to know whom it named.
    NotAscii(Authority),
}

impl Authority {
    /// Parses `host[:port]`, with every spelling of an address that some client stack would connect to folded to the address.
    ///
    /// Besides the WHATWG URL rules (decimal, octal, hex, short forms) these are: a bare IPv6 address without brackets, which
    /// `WeChat` sends in `Host`; and `*`, for which getaddrinfo returns the unspecified address.
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let ascii = check(bytes)?;
        if let [b'[', rest @ ..] = bytes {
            let (address, rest) =
                memchr(b']', rest).and_then(|at| rest.split_at_checked(at)).ok_or(AuthorityError::Host)?;
            let address = address_in::<Ipv6Addr>(address).ok_or(AuthorityError::Host)?;
            return match rest {
                b"]" => Ok(Self { host: address.into(), port: None }),
                [b']', b':', port @ ..] => Ok(Self { host: address.into(), port: parse_port(port)? }),
                _ => Err(AuthorityError::Host),
            };
        }
        let colon = memchr(b':', bytes);
        let (host, port) = colon.and_then(|at| bytes.split_at_checked(at)).unwrap_or((bytes, b""));
        let port = port.strip_prefix(b":").unwrap_or(port);
        if memchr(b':', port).is_some() {
            let address = address_in::<Ipv6Addr>(bytes).ok_or(AuthorityError::Host)?;
            return Ok(Self { host: address.into(), port: None });
        }
        let port = parse_port(port)?;
        if host.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if ascii {
            return Ok(Self { host: Host::parse(host)?, port });
        }
        let host = Host::from_unicode(host)?;
        Err(AuthorityError::NotAscii(Self { host, port }))
    }
}

/// Refuses the bytes that no host or port holds; true if all are ASCII.
fn check(bytes: &[u8]) -> Result<bool, AuthorityError> {
    let mut ascii = true;
    let mut odd = false;
    for &byte in bytes {
        ascii &= byte.is_ascii();
        odd |= !(byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b':' | b'-' | b'_' | b'[' | b']' | b'*')
            || !byte.is_ascii());
    }
    if !odd {
        return if bytes.is_empty() { Err(AuthorityError::Empty) } else { Ok(ascii) };
    }
    if memchr(b'@', bytes).is_some() {
        Err(AuthorityError::Userinfo)
    } else if memchr(b'%', bytes).is_none() {
        Err(AuthorityError::Host)
    } else if bytes.first() == Some(&b'[') {
        Err(AuthorityError::Zone)
    } else {
        Err(AuthorityError::PercentEncoded)
    }
}

/// `*DIGIT` up to 65535, leading zeros included; 0 cannot be connected to.
fn parse_port(digits: &[u8]) -> Result<Option<u16>, AuthorityError> {
    if digits.is_empty() {
        return Ok(None);
    }
    let port = digits.iter().try_fold(0_u16, |port, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    });
    port.filter(|&port| port != 0).map(Some).ok_or(AuthorityError::Port)
}

fn address_in<A: std::str::FromStr>(bytes: &[u8]) -> Option<A> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

impl From<Ipv6Addr> for Host {
    fn from(address: Ipv6Addr) -> Self {
        Self::Address(address.to_canonical())
    }
}

/// What is left of an overlong host is not worth mapping: a name has at most 253 bytes, in UTF-8 perhaps four times that.
const LONGEST_UNICODE: usize = 1024;

impl Host {
    /// An ASCII host without port.
    fn parse(host: &[u8]) -> Result<Self, AuthorityError> {
        if host == b"*" {
            return Ok(Self::Address(Ipv4Addr::UNSPECIFIED.into()));
        }
        if let Some(address) = address_in::<Ipv4Addr>(host) {
            return Ok(Self::Address(address.into()));
        }
        let name = host.strip_suffix(b".").unwrap_or(host);
        if is_number(name.rsplit(|&byte| byte == b'.').next().unwrap_or_default()) {
            let host = std::str::from_utf8(host).map_err(|_| AuthorityError::Host)?;
            return match url::Host::parse(host) {
                Ok(url::Host::Ipv4(address)) => Ok(Self::Address(address.into())),
                Ok(url::Host::Ipv6(_) | url::Host::Domain(_)) | Err(_) => Err(AuthorityError::Host),
            };
        }
        // RFC 1035 section 2.3.4: what is longer cannot be asked for.
        let is_label = |label: &[u8]| (1..=63).contains(&label.len());
        let is_byte = |byte: &u8| matches!(byte, b'.' | b'-' | b'_') || byte.is_ascii_alphanumeric();
        if name.len() > 253 || !name.iter().all(is_byte) || !name.split(|&byte| byte == b'.').all(is_label) {
            return Err(AuthorityError::Host);
        }
        let name = std::str::from_utf8(name).map_err(|_| AuthorityError::Host)?;
        Ok(Self::Name(name.to_ascii_lowercase_smolstr()))
    }

    /// What IDNA makes of a host with non-ASCII characters: full-width digits and dots, soft hyphens and the like.
    fn from_unicode(host: &[u8]) -> Result<Self, AuthorityError> {
        let host =
            std::str::from_utf8(host).ok().filter(|host| host.len() <= LONGEST_UNICODE).ok_or(AuthorityError::Host)?;
        match url::Host::parse(host) {
            Ok(url::Host::Ipv4(address)) => Ok(Self::Address(address.into())),
            Ok(url::Host::Domain(name)) => Self::parse(name.as_bytes()),
            Ok(url::Host::Ipv6(_)) | Err(_) => Err(AuthorityError::Host),
        }
    }
}

/// Whether a last label makes the whole host an IPv4 address (WHATWG URL, "ends in a number").
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        [] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// As a `Host` field wants it: IPv6 in brackets, the port only if there is one.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// Whether `value` may stand in a Host field: `uri-host [ ":" port ]` (RFC 9112 section 3.2), or nothing, or a bare IPv6 address as
/// `WeChat` for Windows sends it. More lenient than [`Authority::parse`], because Host is regenerated from an absolute target, but
/// without the comma, which makes one field look like two.
pub(super) fn is_host_field(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some((address, rest)) = memchr(b']', rest).and_then(|at| rest.split_at_checked(at)) else {
                return false;
            };
            if address_in::<Ipv6Addr>(address).is_none() {
                return false;
            }
            match rest {
                b"]" => return true,
                [b']', b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        _ => memchr(b':', value).map_or((value, &b""[..]), |at| {
            (value.get(..at).unwrap_or_default(), value.get(at + 1..).unwrap_or_default())
        }),
    };
    if memchr(b':', port).is_some() {
        return address_in::<Ipv6Addr>(value).is_some();
    }
    let is_byte = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            )
    };
    host.iter().all(is_byte) && parse_port(port).is_ok()
}
