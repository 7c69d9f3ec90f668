//! First lines: what may be a request line or a status line, as broken clients write them.
//!
//! Owns: the guess whether bytes are HTTP at all. Called by: [`super::half`], [`super::interpreter`]. Never: sees more than one line.

use memchr::memchr2;

/// Methods whose line is believed even without a version: those in use, and those of RFC 3253, 4918, 5789 and Microsoft's clients.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"CONNECT",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
    b"MERGE",
    b"PURGE",
    b"BITS_POST",
    b"CCM_POST",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
];

/// No method in use is longer; what is longer is no method.
const LONGEST_METHOD: usize = 24;

/// So many bytes show whether a line may be a first line.
pub(super) const ENOUGH: usize = 64;

/// How much a line must have of a request line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trust {
    /// A message is due here: a known method and a plausible target are enough.
    Due,
    /// Anything may be here: a version is wanted too.
    Anywhere,
}

/// A request line, split.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestLine<'b> {
    pub(super) method: &'b [u8],
    /// May be empty, and may hold spaces: broken clients do not encode them.
    pub(super) target: &'b [u8],
    /// `HTTP/` and what follows; empty if it is missing.
    pub(super) version: &'b [u8],
}

impl<'b> RequestLine<'b> {
    /// Splits a complete line, without its line end; none if it is no request line.
    pub(super) fn parse(line: &'b [u8], trust: Trust) -> Option<Self> {
        let (method, rest) = split_method(line)?;
        let rest = rest.trim_ascii();
        let last = rest.iter().rposition(|&byte| is_blank(byte)).map_or(0, |at| at + 1);
        let (target, version) = rest.split_at_checked(last)?;
        if version.starts_with(b"HTTP/") && !target.is_empty() {
            let target = target.trim_ascii_end();
            // HTTP/2 with prior knowledge (RFC 9113 section 3.4): frames follow.
            let ours = method != b"PRI" && (trust == Trust::Due && is_known(method) || is_plausible(method, target));
            return ours.then_some(Self { method, target, version });
        }
        // One word, or the line of another protocol: `OPTIONS sip:bob SIP/2.0`.
        let alone = target.is_empty() && trust == Trust::Due && is_known(method);
        let ours = alone && (rest.is_empty() || rest.starts_with(b"HTTP/") || is_plausible(method, rest));
        ours.then_some(Self { method, target: rest, version: b"" })
    }

    /// Splits what there is of a line whose end was not captured: the target may be cut.
    pub(super) fn parse_cut(line: &'b [u8]) -> Option<Self> {
        let (method, rest) = split_method(line)?;
        let rest = rest.trim_ascii();
        let target = rest.get(..memchr2(b' ', b'\t', rest).unwrap_or(rest.len()))?;
        (is_known(method) && is_plausible(method, target)).then_some(Self { method, target, version: b"" })
    }
}

/// Whether a line that begins so may become a request line: cheap for bytes that are not HTTP, which is most of them.
pub(super) fn may_be_request(begin: &[u8]) -> bool {
    let begin = begin.get(..ENOUGH).unwrap_or(begin);
    let Some(space) = begin.iter().take(LONGEST_METHOD + 1).position(|byte| !is_method_byte(*byte)) else {
        return begin.len() <= LONGEST_METHOD;
    };
    let Some((method, rest)) = begin.split_at_checked(space) else { return false };
    if method.is_empty() || !rest.first().is_some_and(|&byte| is_blank(byte) || is_end(byte)) {
        return false;
    }
    // An unknown word wants a target that says more than that.
    match rest.trim_ascii_start().first() {
        None | Some(b'/' | b'*' | b'h' | b'H') => true,
        Some(&byte) => is_known(method) && byte > b' ' && byte != 0x7f,
    }
}

/// The status of a complete status line; none if it is none. `ICY 200 OK` is how streaming servers say it.
pub(super) fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/").or_else(|| line.strip_prefix(b"ICY"))?;
    let at = rest.iter().position(|&byte| is_blank(byte))?;
    let rest = rest.get(at..)?.trim_ascii_start();
    let (digits, rest) = rest.split_at_checked(3)?;
    let ours = digits.iter().all(u8::is_ascii_digit) && rest.first().is_none_or(|&byte| is_blank(byte));
    ours.then(|| digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// Whether a line that begins so may become a status line.
pub(super) fn may_be_status(begin: &[u8]) -> bool {
    let begins = |with: &[u8]| begin.iter().zip(with).all(|(a, b)| a == b);
    begins(b"HTTP/") || begins(b"ICY ")
}

/// Whether these are the first bytes of a TLS record (RFC 8446 section 5.1), of any content type.
pub(super) fn is_tls(begin: &[u8]) -> bool {
    matches!(begin, [0x14..=0x17, 0x03, 0x00..=0x04, high, _, ..] if *high <= 0x48)
        || matches!(begin, [0x16, 0x03] | [0x16, 0x03, 0x00..=0x04] | [0x16, 0x03, 0x00..=0x04, _])
}

fn split_method(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().take(LONGEST_METHOD + 1).position(|&byte| is_blank(byte));
    let (method, rest) = line.split_at_checked(end.unwrap_or(line.len()))?;
    (!method.is_empty() && method.len() <= LONGEST_METHOD && method.iter().copied().all(is_method_byte))
        .then_some((method, rest))
}

/// Letters, and what the names of methods in the wild hold besides.
const fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_')
}

fn is_known(method: &[u8]) -> bool {
    METHODS.contains(&method)
}

/// Whether this looks like a target in one of the four forms (RFC 9112 section 3.2).
fn is_plausible(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] | b"*" => true,
        _ if method == b"CONNECT" => {
            let port = target.rsplit(|&byte| byte == b':').next().unwrap_or_default();
            port.len() < target.len() && port.iter().all(u8::is_ascii_digit)
        }
        _ => {
            let scheme = target.iter().take(8).position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(0);
            scheme > 0 && target.get(scheme..).is_some_and(|rest| rest.starts_with(b"://"))
        }
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
