//! The wire of HTTP/1.1 (RFC 9112), without I/O: heads, targets, body framing, chunked, rewriting.
//!
//! Owns: what is valid, what is ambiguous (rejected, never repaired), and how a message is worded when it is passed on.
//! Called by: the journey, the fuzz targets. Never: touches a socket, reads a clock, or knows a policy.

pub mod body;
#[cfg(test)]
mod cases;
pub mod chunked;
pub mod head;
pub mod rewrite;
pub mod target;

/// A `tchar` of RFC 9110 section 5.6.2: what methods, field names and codings are made of.
const fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// A byte that no line of a head or trailer may hold: controls other than HTAB, and DEL (RFC 9110 section 5.5).
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}
