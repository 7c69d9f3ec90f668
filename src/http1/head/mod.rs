//! Heads of requests and responses (RFC 9112 sections 2 to 6): found, validated, and reduced to what a proxy must know.
//!
//! Owns: what a head means, above all where its body ends. Called by: the journey, the rewriter, the fuzz targets.
//! Never: repairs an ambiguous head, allocates, or copies a byte.

mod facts;
mod fields;
mod scan;
#[cfg(test)]
mod tests;

use facts::Facts;
pub use fields::{Field, Fields, Iter};
pub(crate) use fields::{Known, Nominated};
pub use scan::{HeadError, HeadLimits, MAX_FIELDS, Scan, Version};

use super::body::Body;
use super::target::{self, Target};

/// A request head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    /// The method, a token; case matters.
    pub method: &'b [u8],
    /// The target, split by its form.
    pub target: Target<'b>,
    /// The target as received.
    pub raw_target: &'b [u8],
    /// The version that the client spoke.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'b>,
    /// The value of `Host`, syntactically valid, possibly empty.
    pub host: Option<&'b [u8]>,
    /// Where the body ends; never [`Body::UntilClose`].
    pub body: Body,
    /// Whether the client expects the connection to stay: never with HTTP/1.0, which a proxy cannot trust (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client may wait for a 100 before it sends the body.
    pub expect_continue: bool,
    /// The protocols offered by a valid upgrade: HTTP/1.1, `Connection: upgrade`, no body, not CONNECT, and not h2c, whose
    /// requests would pass unseen and which RFC 9113 withdrew.
    pub upgrade: Option<&'b [u8]>,
    /// `Max-Forwards` of OPTIONS and TRACE; saturates.
    pub max_forwards: Option<u64>,
}

impl<'b> Request<'b> {
    /// Parses exactly one head, as delimited by [`Scan`].
    pub fn parse(head: &'b [u8], limits: HeadLimits) -> Result<Self, HeadError> {
        let mut scan = Scan::request();
        whole(&mut scan, head, limits)?;
        let part = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
        let method = part(scan.start, scan.target.saturating_sub(1));
        let raw_target = part(scan.target, scan.version.saturating_sub(1));
        let version = Version::parse(part(scan.version, scan.block.saturating_sub(2)))?;
        let target = Target::parse(method, raw_target)?;

        let mut facts = Facts::default();
        let fields = Fields::parse(part(scan.block, head.len()), limits.fields.min(MAX_FIELDS), |known, value| {
            facts.learn(known, value)?;
            facts.learn_request(known, value, method)
        })?;
        if facts.host.is_none() && version == Version::Http11 {
            return Err(HeadError::Malformed("no Host"));
        }
        if let Some(host) = facts.host
            && !target::is_host_field(host)
        {
            return Err(HeadError::Malformed("invalid Host"));
        }
        // RFC 9110 section 9.3.6: CONNECT has no content, and what follows its head is the tunnel's. `Content-Length: 0`
        // says just that; WinINet, and with it much software on Windows, sends it.
        if method == b"CONNECT" && facts.announces_body() {
            return Err(HeadError::Malformed("CONNECT with a body"));
        }
        let body = facts.request_body(version)?;
        let current = version == Version::Http11;
        if current && facts.expects_unknown {
            return Err(HeadError::ExpectationUnknown);
        }
        let may_upgrade = current && matches!(body, Body::Empty | Body::Length(0)) && method != b"CONNECT";
        Ok(Self {
            method,
            target,
            raw_target,
            version,
            fields,
            host: facts.host,
            body,
            keep_alive: current && !facts.closes(),
            expect_continue: current && facts.expects_continue,
            upgrade: facts.upgrade().filter(|offer| may_upgrade && !offered(offer, b"h2c")),
            max_forwards: facts.max_forwards,
        })
    }

    /// Whether the client asks for a tunnel.
    pub fn is_connect(&self) -> bool {
        self.method == b"CONNECT"
    }

    /// Whether the answer has no body whatever its fields say.
    pub fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// Whether sending it twice has the effect of sending it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }

    /// Whether a member of `Via` was added by `pseudonym`: then the request has been here before (RFC 9110 section 7.6.3).
    ///
    /// Commas inside a comment split too; that can only hurt a client that writes our pseudonym into one.
    pub fn via_names(&self, pseudonym: &str) -> bool {
        let lines = self.fields.iter().filter(|field| Known::of(field.name) == Some(Known::Via));
        lines.flat_map(|field| fields::members(field.value)).any(|member| {
            let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
            words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
        })
    }
}

/// Whether every protocol that a 101 chose was among those `offer`ed (RFC 9110 section 7.8); false if it chose none.
pub fn offered(offer: &[u8], chosen: &[u8]) -> bool {
    let mut chosen = fields::members(chosen).peekable();
    chosen.peek().is_some() && chosen.all(|one| fields::members(offer).any(|other| other.eq_ignore_ascii_case(one)))
}

/// A response head.
#[derive(Clone, Copy, Debug)]
pub struct Response<'b> {
    /// The version that the origin spoke.
    pub version: Version,
    /// The status, 100 to 999: codes above 599 are in real use and mean nothing to a proxy.
    pub status: u16,
    /// The reason phrase as received, possibly empty.
    pub reason: &'b [u8],
    /// The field lines.
    pub fields: Fields<'b>,
    /// Where the body ends.
    pub body: Body,
    /// The transfer codings of the body besides chunked. We cannot undo them, so they stay (RFC 9112 section 6.1).
    pub codings: &'b [u8],
    /// Whether the origin's connection may serve another request.
    pub keep_alive: bool,
    /// The protocols that a 101 switches to; compare with what was [`offered`].
    pub upgrade: Option<&'b [u8]>,
}

impl<'b> Response<'b> {
    /// Parses exactly one head, as delimited by [`Scan`]. `to_head`: it answers a HEAD request.
    pub fn parse(head: &'b [u8], limits: HeadLimits, to_head: bool) -> Result<Self, HeadError> {
        let mut scan = Scan::response();
        whole(&mut scan, head, limits)?;
        let line = head.get(..scan.block.saturating_sub(2)).unwrap_or_default();
        let (version, status, reason) = status_line(line)?;

        let mut facts = Facts::default();
        let block = head.get(scan.block..).unwrap_or_default();
        let fields = Fields::parse(block, limits.fields.min(MAX_FIELDS), |known, value| facts.learn(known, value))?;
        let framed = facts.response_body(version)?;
        let bodiless = to_head || matches!(status, 100..=199 | 204 | 304);
        let (body, codings) = if bodiless { (Body::Empty, &b""[..]) } else { framed };
        Ok(Self {
            version,
            status,
            reason,
            fields,
            body,
            codings,
            keep_alive: version == Version::Http11 && !facts.close && body != Body::UntilClose,
            upgrade: facts.upgrade().filter(|_| status == 101 && version == Version::Http11),
        })
    }
}

/// Runs the scan over a head that must be complete and alone: the parser is strict for every caller, at the price of a second pass.
fn whole(scan: &mut Scan, head: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
    match scan.advance(head, limits)? {
        Some(size) if size == head.len() => Ok(()),
        Some(_) => Err(HeadError::Malformed("bytes after the head")),
        None => Err(HeadError::Malformed("incomplete head")),
    }
}

/// `HTTP-version SP status-code [ SP reason-phrase ]`: RFC 9112 section 4, and without the last space as many servers send it.
fn status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), HeadError> {
    let malformed = HeadError::Malformed("status line");
    let (version, rest) = line.split_at_checked(8).ok_or(malformed)?;
    let version = Version::parse(version)?;
    let [b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = rest else {
        return Err(malformed);
    };
    let status = [hundreds, tens, ones].iter().fold(0, |status, &digit| status * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Ok((version, status, rest)),
        [b' ', reason @ ..] => Ok((version, status, reason)),
        _ => Err(malformed),
    }
}
