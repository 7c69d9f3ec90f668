//! Finding the end of a head while it arrives, and refusing what can never become one.
//!
//! Owns: [`Scan`], its limits and errors. Called by: the journey after every read, and the parser of a whole head.
//! Never: looks at a byte twice (one pending CR excepted), or interprets a field.

use memchr::memchr;

use crate::http1::{is_control, is_tchar};

/// The most field lines a head may have, whatever [`HeadLimits::fields`] says: the size of the parser's table.
pub const MAX_FIELDS: usize = 128;

/// How many empty lines before a request line are forgiven (RFC 9112 section 2.2: "at least one").
const LEADING_LINES: u8 = 4;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head, line ends included.
    pub size: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Field lines; more than [`MAX_FIELDS`] has no effect.
    pub fields: usize,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadError {
    /// 400, with a short reason for the log.
    Malformed(&'static str),
    /// 414.
    TargetTooLong,
    /// 431.
    TooLarge,
    /// 505: a well-formed version that is neither 1.0 nor 1.1.
    VersionUnknown,
    /// 501: a transfer coding other than chunked.
    CodingUnknown,
    /// 417: an expectation other than 100-continue.
    ExpectationUnknown,
}

/// The protocol versions that are spoken here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// The case-sensitive `HTTP-version` of RFC 9112 section 2.3.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        match bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(HeadError::VersionUnknown),
            _ => Err(HeadError::Malformed("version")),
        }
    }

    /// The `received-protocol` of a Via member (RFC 9110 section 7.6.3).
    pub(crate) const fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Method,
    Target,
    Version,
    Status,
    Fields,
}

/// An incremental search for the end of a head: O(bytes) in total, and the same verdict however the bytes are split.
///
/// One `Scan` serves one head. All positions are offsets into the bytes received so far.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Everything before it was judged; a CR whose successor is unknown stays behind it.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    part: Part,
    blank: u8,
    fields: usize,
    /// Where the start-line, its target, its version and the first field line begin, once known.
    pub(super) start: usize,
    pub(super) target: usize,
    pub(super) version: usize,
    pub(super) block: usize,
}

impl Scan {
    /// A search for the end of a request head.
    pub const fn request() -> Self {
        Self::new(Part::Method)
    }

    /// A search for the end of a response head.
    pub const fn response() -> Self {
        Self::new(Part::Status)
    }

    const fn new(part: Part) -> Self {
        Self { seen: 0, line: 0, part, blank: 0, fields: 0, start: 0, target: 0, version: 0, block: 0 }
    }

    /// Judges what arrived since the last call; `bytes` is everything received so far.
    ///
    /// `Ok(Some(n))`: the head is `bytes[..n]`, leading empty lines of a request included. `Ok(None)`: more is needed.
    /// An error is certain as soon as it is returned: no continuation of `bytes` would be accepted.
    pub fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<usize>, HeadError> {
        let window = bytes.get(..limits.size).unwrap_or(bytes);
        loop {
            let fresh = window.get(self.seen..).unwrap_or_default();
            let Some(at) = memchr(b'\n', fresh) else {
                let text = fresh.strip_suffix(b"\r").unwrap_or(fresh);
                self.judge(window, text, limits)?;
                break;
            };
            let line = fresh.get(..at).unwrap_or_default();
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            self.judge(window, text, limits)?;
            if text.len() == line.len() {
                return Err(HeadError::Malformed("bare LF"));
            }
            if self.end_line(window, limits)? {
                return Ok(Some(self.seen));
            }
        }
        if window.len() < limits.size {
            Ok(None)
        } else if self.part == Part::Target {
            Err(HeadError::TargetTooLong)
        } else {
            Err(HeadError::TooLarge)
        }
    }

    /// Judges `text`, the next bytes at `self.seen`, all of one line. What comes first in the line is reported first, so that
    /// the verdict does not depend on how the bytes were split.
    fn judge(&mut self, bytes: &[u8], text: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        // In a request line HTAB is no better than a control character.
        let bad = if matches!(self.part, Part::Method | Part::Target | Part::Version) {
            first(text, |byte| is_control(byte) || byte == b'\t')
        } else {
            first(text, is_control)
        };
        let clean = bad.and_then(|at| text.get(..at)).unwrap_or(text);
        self.start_line(bytes, clean, limits)?;
        self.seen += text.len();
        match bad.and_then(|at| text.get(at)) {
            None => Ok(()),
            Some(b'\r') => Err(HeadError::Malformed("bare CR")),
            Some(0) => Err(HeadError::Malformed("NUL")),
            Some(_) => Err(HeadError::Malformed("control character")),
        }
    }

    /// Follows the parts of a request line through `text`, which begins at `self.seen`.
    fn start_line(&mut self, bytes: &[u8], text: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
        let mut at = self.seen;
        let mut rest = text;
        while matches!(self.part, Part::Method | Part::Target | Part::Version) && !rest.is_empty() {
            let space = memchr(b' ', rest);
            let (word, after) = rest.split_at_checked(space.unwrap_or(rest.len())).unwrap_or((rest, &[]));
            let end = at + word.len();
            match self.part {
                Part::Method if !word.iter().all(|&byte| is_tchar(byte)) => {
                    return Err(HeadError::Malformed("method"));
                }
                Part::Target if end - self.target > limits.target => {
                    return Err(HeadError::TargetTooLong);
                }
                Part::Method | Part::Target | Part::Version | Part::Status | Part::Fields => {}
            }
            if space.is_none() {
                return Ok(());
            }
            match self.part {
                Part::Method if end == self.line => return Err(HeadError::Malformed("method")),
                // The method of the HTTP/2 connection preface, reserved for it (RFC 9113 section 11.6).
                Part::Method if bytes.get(self.line..end) == Some(b"PRI") => {
                    return Err(HeadError::Malformed("HTTP/2 preface"));
                }
                Part::Method => (self.part, self.target) = (Part::Target, end + 1),
                Part::Target if end > self.target => {
                    (self.part, self.version) = (Part::Version, end + 1);
                }
                Part::Target | Part::Version | Part::Status | Part::Fields => {
                    return Err(HeadError::Malformed("spaces in the request line"));
                }
            }
            at = end + 1;
            rest = after.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes the CRLF at `self.seen`. True: it ended the head.
    fn end_line(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<bool, HeadError> {
        let (begin, end) = (self.line, self.seen);
        self.seen = end + 2;
        self.line = self.seen;
        match (self.part, begin == end) {
            (Part::Fields, true) => return Ok(true),
            (Part::Fields, false) => {
                self.fields += 1;
                if self.fields > limits.fields.min(MAX_FIELDS) {
                    return Err(HeadError::TooLarge);
                }
                return Ok(false);
            }
            (Part::Method, true) => {
                self.blank += 1;
                self.start = self.line;
                return if self.blank > LEADING_LINES { Err(HeadError::Malformed("empty lines")) } else { Ok(false) };
            }
            (Part::Status, true) => return Err(HeadError::Malformed("empty status line")),
            // HTTP/0.9, or no HTTP at all.
            (Part::Method | Part::Target, _) => return Err(HeadError::Malformed("no version")),
            (Part::Version, _) => {
                Version::parse(bytes.get(self.version..end).unwrap_or_default())?;
            }
            // Somebody who speaks another protocol says a line, and waits.
            (Part::Status, false) => {
                super::status_line(bytes.get(begin..end).unwrap_or_default())?;
            }
        }
        self.part = Part::Fields;
        self.block = self.line;
        Ok(false)
    }
}

/// The first byte that is `bad`. Two passes: the first, without a branch, is the one that nearly all lines need, and the compiler
/// vectorises it.
fn first(text: &[u8], bad: impl Fn(u8) -> bool) -> Option<usize> {
    if text.iter().fold(false, |any, &byte| any | bad(byte)) { text.iter().position(|&byte| bad(byte)) } else { None }
}
