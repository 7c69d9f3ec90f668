//! Percent-encoding, read strictly (RFC 3986 section 2.1).

/// The bytes that a part of a target stands for; `None` if a `%` is not followed by two hexadecimal digits.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            plain => plain,
        });
    }
    Some(decoded)
}

/// Reads it as ASCII text.
pub(super) fn ascii(text: &str) -> Option<String> {
    String::from_utf8(decoded(text)?).ok().filter(|text| text.is_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ascii, decoded};

    #[test]
    fn two_digits_or_nothing() {
        assert_eq!(ascii("2001%3Adb8%3a%3A%2F64").as_deref(), Some("2001:db8::/64"));
        assert_eq!(ascii("a+b%20c").as_deref(), Some("a+b c"));
        assert_eq!(ascii("").as_deref(), Some(""));
        for wrong in ["%", "%4", "%4g", "%g4", "a%", "%%41", "%+1", "% 1"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        for strange in ["%ff", "%c3%a4", "ä"] {
            assert_eq!(ascii(strange), None, "{strange}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes: Vec<u8>) {
            let text: String = bytes.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
            prop_assert_eq!(decoded(&text), Some(bytes));
        }

        #[test]
        fn any_text_has_a_verdict(text: String) {
            prop_assert!(decoded(&text).is_none_or(|bytes| bytes.len() <= text.len()));
        }
    }
}
