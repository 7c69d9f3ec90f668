//! What the fields of one head say together: framing, persistence, upgrade, expectation.
//!
//! Owns: the rules that reject contradictions. Called by: the head parser, once per known field and once at the end.
//! Never: sees a field whose syntax is unchecked.

use super::fields::{self, Known};
use super::{HeadError, Version};
use crate::http1::body::Body;
use crate::http1::is_tchar;

/// The facts learned so far.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
#[derive(Debug, Default)]
pub(super) struct Facts<'b> {
    length: Option<Length>,
    codings: Option<&'b [u8]>,
    connection: bool,
    options: usize,
    pub(super) close: bool,
    proxy_close: bool,
    upgrade_option: bool,
    upgrade: Option<&'b [u8]>,
    upgraded_twice: bool,
    pub(super) host: Option<&'b [u8]>,
    pub(super) expects_continue: bool,
    pub(super) expects_unknown: bool,
    pub(super) max_forwards: Option<u64>,
}

/// The Content-Length of a message.
#[derive(Clone, Copy, Debug)]
struct Length {
    bytes: u64,
    repeated: bool,
}

/// What a Transfer-Encoding field amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    /// Exactly one `chunked`.
    Chunked,
    /// `chunked` over something that we cannot decode.
    ChunkedOver,
    /// `chunked`, but not as the last: the message has no end of its own.
    ChunkedUnder,
    /// No `chunked` at all.
    Unknown,
}

/// `identity` is no coding (RFC 2616 section 3.6); some servers still say so.
fn labelled(codings: &[u8]) -> &[u8] {
    if codings.eq_ignore_ascii_case(b"identity") { b"" } else { codings }
}

impl<'b> Facts<'b> {
    /// Learns one field of a request or response.
    pub(super) fn learn(&mut self, known: Known, value: &'b [u8]) -> Result<(), HeadError> {
        match known {
            Known::ContentLength => {
                let digits = Some(value).filter(|value| is_digits(value));
                let bytes = digits.and_then(decimal).ok_or(HeadError::Malformed("Content-Length"))?;
                if self.length.is_some_and(|first| first.bytes != bytes) {
                    return Err(HeadError::Malformed("contradicting Content-Length"));
                }
                self.length = Some(Length { bytes, repeated: self.length.is_some() });
            }
            Known::TransferEncoding => {
                if self.codings.replace(value).is_some() {
                    return Err(HeadError::Malformed("several Transfer-Encoding"));
                }
            }
            Known::Connection => {
                self.connection = true;
                for option in fields::members(value) {
                    self.options += 1;
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.upgrade_option |= option.eq_ignore_ascii_case(b"upgrade");
                }
                if self.options > fields::MAX_OPTIONS {
                    return Err(HeadError::Malformed("too many Connection options"));
                }
            }
            Known::Upgrade => self.upgraded_twice |= self.upgrade.replace(value).is_some(),
            Known::ProxyConnection => {
                self.proxy_close |= fields::members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            Known::Date
            | Known::Expect
            | Known::Host
            | Known::MaxForwards
            | Known::Via
            | Known::HopByHop
            | Known::Protected => {}
        }
        Ok(())
    }

    /// Learns what only a field of a request means.
    pub(super) fn learn_request(&mut self, known: Known, value: &'b [u8], method: &[u8]) -> Result<(), HeadError> {
        match known {
            Known::Host => {
                if self.host.replace(value).is_some() {
                    return Err(HeadError::Malformed("several Host"));
                }
            }
            Known::Expect => {
                for expectation in fields::members(value) {
                    let known = expectation.eq_ignore_ascii_case(b"100-continue");
                    self.expects_continue |= known;
                    self.expects_unknown |= !known;
                }
            }
            Known::MaxForwards if matches!(method, b"OPTIONS" | b"TRACE") => {
                let hops = decimal(value).unwrap_or(u64::MAX);
                if !is_digits(value) || self.max_forwards.replace(hops).is_some() {
                    return Err(HeadError::Malformed("Max-Forwards"));
                }
            }
            Known::Connection
            | Known::ContentLength
            | Known::Date
            | Known::MaxForwards
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Via
            | Known::HopByHop
            | Known::Protected => {}
        }
        Ok(())
    }

    /// Whether a body is announced that is not empty.
    pub(super) fn announces_body(&self) -> bool {
        self.length.as_ref().is_some_and(|length| length.bytes != 0) || self.codings.is_some()
    }

    /// Whether a client asks to close. `Proxy-Connection` counts only where `Connection` is silent: it was never standard.
    pub(super) const fn closes(&self) -> bool {
        self.close || (!self.connection && self.proxy_close)
    }

    /// The `Upgrade` field, if `Connection` announces it, there is exactly one, and it names a protocol.
    pub(super) fn upgrade(&self) -> Option<&'b [u8]> {
        let named = |protocols| fields::members(protocols).next().is_some();
        self.upgrade.filter(|protocols| self.upgrade_option && !self.upgraded_twice && named(protocols))
    }

    /// Where the body of a request ends (RFC 9112 section 6.3): one answer, or none.
    pub(super) fn request_body(&self, version: Version) -> Result<Body, HeadError> {
        match (self.coding(version)?, self.length) {
            (Some(Coding::Chunked), _) => Ok(Body::Chunked),
            (Some(Coding::ChunkedUnder), _) => Err(HeadError::Malformed("chunked is not the last coding")),
            (Some(Coding::ChunkedOver | Coding::Unknown), _) => Err(HeadError::CodingUnknown),
            (None, Some(Length { repeated: true, .. })) => Err(HeadError::Malformed("several Content-Length")),
            (None, Some(Length { bytes, .. })) => Ok(Body::Length(bytes)),
            (None, None) => Ok(Body::Empty),
        }
    }

    /// Where the body of a response ends, if the status and the request allow one, and the codings under the chunks.
    pub(super) fn response_body(&self, version: Version) -> Result<(Body, &'b [u8]), HeadError> {
        let codings = self.codings.unwrap_or_default().trim_ascii();
        match (self.coding(version)?, self.length) {
            (Some(Coding::Chunked), _) => Ok((Body::Chunked, b"")),
            (Some(Coding::ChunkedOver), _) => {
                let last = codings.iter().rposition(|&byte| byte == b',').unwrap_or_default();
                Ok((Body::Chunked, labelled(codings.get(..last).unwrap_or_default().trim_ascii_end())))
            }
            // Chunks that are themselves coded: no chunks may be put around them (RFC 9112 section 7).
            (Some(Coding::ChunkedUnder), _) => Err(HeadError::Malformed("chunked is not the last coding")),
            (Some(Coding::Unknown), _) => Ok((Body::UntilClose, labelled(codings))),
            (None, Some(Length { bytes, .. })) => Ok((Body::Length(bytes), b"")),
            (None, None) => Ok((Body::UntilClose, b"")),
        }
    }

    /// Rejects what RFC 9112 section 6.1 calls faulty: a coding in HTTP/1.0, a coding beside a length, a coding twice.
    fn coding(&self, version: Version) -> Result<Option<Coding>, HeadError> {
        let Some(value) = self.codings else {
            return Ok(None);
        };
        if version == Version::Http10 {
            return Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        if self.length.is_some() {
            return Err(HeadError::Malformed("Transfer-Encoding and Content-Length"));
        }
        let (mut codings, mut chunked, mut last) = (0, 0, false);
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if coding.is_empty() || !coding.iter().all(|&byte| is_tchar(byte)) {
                return Err(HeadError::Malformed("Transfer-Encoding"));
            }
            last = coding.eq_ignore_ascii_case(b"chunked");
            codings += 1;
            chunked += usize::from(last);
        }
        match (chunked, last) {
            (0, _) => Ok(Some(Coding::Unknown)),
            (1, true) if codings == 1 => Ok(Some(Coding::Chunked)),
            (1, true) => Ok(Some(Coding::ChunkedOver)),
            (1, false) => Ok(Some(Coding::ChunkedUnder)),
            _ => Err(HeadError::Malformed("chunked twice")),
        }
    }
}

/// `1*DIGIT`.
fn is_digits(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// [`is_digits`] as a number, if it fits; leading zeros are allowed.
fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit & 0xf)))
}
