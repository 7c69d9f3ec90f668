//! Strangers' bytes made fit to be read: in a log line, in JSON, on the status page.
//!
//! Owns: the escapes and the mask for credentials. Called by: the access log, the table of refusals, admin.
//! Never: fails; every byte string has an image, and that image is printable ASCII.

use std::borrow::Cow;

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

/// What stands for the credentials in a logged target.
const MASK: &[u8] = b"***";

fn hex(digits: &[u8; 16], nibble: u8) -> u8 {
    digits.get(usize::from(nibble)).copied().unwrap_or(b'0')
}

/// Appends the bytes as nginx's access log would: printable ASCII as it is, everything else, `"` and `\` as `\xHH`.
pub fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\' {
            out.push(byte);
        } else {
            out.extend_from_slice(b"\\x");
            out.push(hex(UPPER, byte >> 4));
            out.push(hex(UPPER, byte & 15));
        }
    }
}

/// Like [`quoted`] for formats whose fields are separated by spaces: a space becomes `\x20`, nothing becomes `-`.
pub fn word(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push(b'-');
    }
    for (i, part) in bytes.split(|byte| *byte == b' ').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\\x20");
        }
        quoted(out, part);
    }
}

/// Appends the inside of a JSON string (RFC 8259 section 7).
///
/// Every byte that is not printable ASCII becomes `\u00HH`: the string's code points are the bytes (Latin-1),
/// so that nothing is lost or replaced, whatever encoding the stranger used.
pub fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(hex(LOWER, byte >> 4));
                out.push(hex(LOWER, byte & 15));
            }
        }
    }
}

/// The bytes as text for people, escaped like a line of the access log.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    quoted(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// A request line without the credentials in its target, in at most `limit` bytes.
///
/// The mask comes before the cut: a name and password that reach beyond the limit must not be what is left.
pub fn safe_line(line: &[u8], limit: usize) -> Cow<'_, [u8]> {
    match mask_userinfo(line) {
        Cow::Borrowed(line) => Cow::Borrowed(line.get(..limit).unwrap_or(line)),
        Cow::Owned(mut line) => {
            line.truncate(limit);
            Cow::Owned(line)
        }
    }
}

/// Replaces `user:password` before the `@` of the target's authority by `***` (RFC 9110 section 4.2.4).
///
/// Such requests are refused, but it is exactly refused lines that people paste into reports. An authority is sought in
/// absolute-form, authority-form and their misspellings (`http:/`, `//`, backslashes); not in the path of origin-form.
fn mask_userinfo(line: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'@', line).is_none() {
        return Cow::Borrowed(line);
    }
    let is_slash = |byte: u8| matches!(byte, b'/' | b'\\');
    let target = memchr::memchr(b' ', line).map_or(0, |space| space + 1);
    let rest = line.get(target..).unwrap_or_default();
    let scheme =
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')).count();
    let after_scheme = match rest.get(scheme..) {
        Some([b':', next, ..]) if is_slash(*next) => scheme + 1,
        _ => 0,
    };
    let slashes = rest.iter().skip(after_scheme).take_while(|byte| is_slash(**byte)).count();
    if after_scheme == 0 && slashes == 1 {
        return Cow::Borrowed(line);
    }
    let start = target + after_scheme + slashes;
    let authority = line.get(start..).unwrap_or_default();
    let end =
        authority.iter().position(|byte| is_slash(*byte) || matches!(byte, b'?' | b'#')).unwrap_or(authority.len());
    match authority.get(..end).and_then(|authority| memchr::memrchr(b'@', authority)) {
        None | Some(0) => Cow::Borrowed(line),
        Some(at) => {
            let (before, after) = (line.get(..start), line.get(start + at..));
            Cow::Owned([before.unwrap_or_default(), MASK, after.unwrap_or_default()].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{json, mask_userinfo, printable, safe_line, word};

    #[test]
    fn escapes_like_nginx() {
        assert_eq!(printable(b"GET /\"\\\r\n\x7f\xc3\xa4 ~"), r"GET /\x22\x5C\x0D\x0A\x7F\xC3\xA4 ~");
        let mut out = Vec::new();
        word(&mut out, b"a b");
        word(&mut out, b"");
        assert_eq!(out, br"a\x20b-");
    }

    #[test]
    fn credentials_are_masked() {
        for (line, masked) in [
            ("GET http://u:p@o/ HTTP/1.1", "GET http://***@o/ HTTP/1.1"),
            ("GET http://u:p@x@o/ HTTP/1.1", "GET http://***@o/ HTTP/1.1"),
            ("GET http:/u:p@o/a@b HTTP/1.1", "GET http:/***@o/a@b HTTP/1.1"),
            ("GET http:\\\\u:p@o HTTP/1.1", "GET http:\\\\***@o HTTP/1.1"),
            ("GET //u:p@o HTTP/1.1", "GET //***@o HTTP/1.1"),
            ("GET http://u:p w@o/ HTTP/1.1", "GET http://***@o/ HTTP/1.1"),
            ("CONNECT u:p@o:443 HTTP/1.1", "CONNECT ***@o:443 HTTP/1.1"),
            ("u:p@o", "***@o"),
        ] {
            assert_eq!(String::from_utf8_lossy(&mask_userinfo(line.as_bytes())), masked);
        }
        for line in [
            "GET http://o/?mail=a@b HTTP/1.1",
            "GET /@scope/a@b HTTP/1.1",
            "GET http://@o/ HTTP/1.1",
            "GET http://o/ HTTP/1.1",
            "@",
            "",
        ] {
            assert_eq!(String::from_utf8_lossy(&mask_userinfo(line.as_bytes())), line);
        }
    }

    #[test]
    fn a_long_password_does_not_survive_the_cut() {
        let line = format!("GET http://user:{}@o/ HTTP/1.1", "s".repeat(5_000));
        assert_eq!(safe_line(line.as_bytes(), 64).as_ref(), b"GET http://***@o/ HTTP/1.1");
        assert_eq!(safe_line(&[b'a'; 100], 64).len(), 64);
    }

    proptest! {
        #[test]
        fn every_image_is_printable_and_json_gives_the_bytes_back(bytes: Vec<u8>) {
            prop_assert!(printable(&bytes).bytes().all(|b| (b' '..=b'~').contains(&b)));
            let mut out = vec![b'"'];
            json(&mut out, &bytes);
            out.push(b'"');
            prop_assert!(out.is_ascii());
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>(), bytes);
        }
    }
}
