//! Heads: their end, and the few fields that matter, however they are written.
//!
//! Owns: the rules for contradictory framing, which are those of the lenient. Called by: [`super::half`],
//! [`super::interpreter`]. Never: rejects.

use memchr::memchr;

use crate::http1::body::Body;

/// What the fields of a head say, as far as it was captured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub(super) struct Fields<'b> {
    pub(super) host: Option<&'b [u8]>,
    pub(super) user_agent: Option<&'b [u8]>,
    pub(super) to_a_proxy: bool,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    proxy_close: bool,
}

/// A head: from its first line to the empty line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head<'b> {
    /// The first line, without its end.
    pub(super) line: &'b [u8],
    /// The first line has an end.
    pub(super) begun: bool,
    pub(super) fields: Fields<'b>,
    /// Where what follows it begins; none if the empty line is missing.
    pub(super) end: Option<usize>,
}

impl<'b> Head<'b> {
    /// Reads the head that `bytes` begin with.
    pub(super) fn read(bytes: &'b [u8]) -> Self {
        let mut lines = Lines { bytes, at: 0 };
        let Some(line) = lines.next() else {
            return Self { line: bytes, begun: false, fields: Fields::default(), end: None };
        };
        let mut fields = Fields::default();
        loop {
            let start = lines.at;
            match lines.next() {
                None => break,
                Some([]) => return Self { line, begun: true, fields, end: Some(lines.at) },
                Some(field) => fields.learn(field, start, &mut lines),
            }
        }
        Self { line, begun: true, fields, end: None }
    }
}

/// Where the first head of `bytes` ends, if its empty line begins at or after `from`.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'\n', bytes.get(at..)?)? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Complete lines, without their ends: CRLF or LF.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Lines<'b> {
    fn next(&mut self) -> Option<&'b [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let line = rest.get(..memchr(b'\n', rest)?)?;
        self.at += line.len() + 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The value that begins at `start`, with the lines that fold it (RFC 9112 section 5.2).
    fn value(&mut self, start: usize) -> &'b [u8] {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) && self.next().is_some() {}
        self.bytes.get(start..self.at).unwrap_or_default().trim_ascii()
    }
}

impl<'b> Fields<'b> {
    /// Learns the field line `field`, which begins at `start` of `lines`.
    fn learn(&mut self, field: &'b [u8], start: usize, lines: &mut Lines<'b>) {
        // Most fields are settled by their first letter.
        if !matches!(field.first(), Some(b'H' | b'h' | b'U' | b'u' | b'P' | b'p' | b'C' | b'c' | b'T' | b't')) {
            return;
        }
        let Some(colon) = memchr(b':', field) else { return };
        let name = field.get(..colon).unwrap_or_default().trim_ascii_end();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let mut value = || lines.value(start + colon + 1);
        match name.len() {
            4 if is(b"host") => self.host = self.host.or_else(|| Some(value())),
            10 if is(b"user-agent") => self.user_agent = self.user_agent.or_else(|| Some(value())),
            10 if is(b"connection") => {
                let value = value();
                self.close |= names(value, b"close");
                self.keep_alive |= names(value, b"keep-alive");
            }
            14 if is(b"content-length") => self.length = length(value()).or(self.length),
            16 if is(b"proxy-connection") => {
                let value = value();
                self.to_a_proxy = true;
                self.proxy_close |= names(value, b"close");
                self.keep_alive |= names(value, b"keep-alive");
            }
            17 if is(b"transfer-encoding") => self.chunked |= names(value(), b"chunked"),
            19 if is(b"proxy-authorization") => self.to_a_proxy = true,
            _ => {}
        }
    }

    /// Whether the sender of this head, with its version, wants the connection to stay.
    pub(super) fn keep_alive(&self, version: &[u8]) -> bool {
        !self.close && (self.keep_alive || !self.proxy_close && version == b"HTTP/1.1")
    }

    /// The body that follows a request.
    pub(super) fn body_of_request(&self) -> Body {
        self.framing().unwrap_or(Body::Empty)
    }

    /// The body that follows an answer which may have one.
    pub(super) fn body_of_answer(&self) -> Body {
        self.framing().unwrap_or(Body::UntilClose)
    }

    fn framing(&self) -> Option<Body> {
        if self.chunked { Some(Body::Chunked) } else { self.length.map(Body::Length) }
    }
}

/// Whether a comma-separated list has `option`; also folded, in any case.
fn names(list: &[u8], option: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(option))
}

/// A Content-Length. A negative one, one beyond an `i64` and one that is no number mean none, as they do to most readers.
fn length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let length = digits.iter().try_fold(0_i64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    });
    length.and_then(|length| u64::try_from(length).ok())
}
