//! Chunked bodies, by the conformance ids that they cover.

use proptest::prelude::*;

use super::*;

/// Decodes `input` given in pieces of `piece` bytes: the data and what was left over after the end; None: not complete.
fn decode(input: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, BodyError> {
    let mut decoder = Decoder::new();
    let (mut data, mut at) = (Vec::new(), 0);
    for end in (piece.min(input.len())..input.len()).step_by(piece).chain([input.len()]) {
        loop {
            let step = decoder.step(&input[at..end])?;
            assert!(step.data.end <= step.consumed && step.consumed <= end - at);
            data.extend_from_slice(&input[at..end][step.data.clone()]);
            at += step.consumed;
            assert_eq!(step.done, decoder.is_done());
            if step.done {
                return Ok(Some((data, input.len() - at)));
            }
            if step.consumed == 0 {
                break;
            }
        }
    }
    Ok(None)
}

#[track_caller]
fn assert_refused(input: &[u8]) {
    for piece in [1, 2, input.len()] {
        assert!(decode(input, piece).is_err(), "{:?}", input.escape_ascii().to_string());
    }
}

#[test]
fn c_56_chunk_sizes() {
    for size in ["5", "05", "0005", "0000000000000005"] {
        let body = format!("{size}\r\nhello\r\n0\r\n\r\nGET");
        assert_eq!(decode(body.as_bytes(), 1), Ok(Some((b"hello".to_vec(), 3))), "{size}");
    }
    assert_eq!(decode(b"a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", 7).unwrap().unwrap().0.len(), 20);
    for size in
        ["0x5", "+5", "5_", "-5", " 5", "5 ", "5\t", "", "FFFFFFFFFFFFFFFFF", "00000000000000005", "g", "5g", "\u{665}"]
    {
        assert_refused(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
    // The largest size is only waited for.
    assert_eq!(decode(b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 3), Ok(None));
}

#[test]
fn c_57_extensions_are_checked_and_dropped() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"\"",
        ";a=\"b c;=\\\"\\\\\"",
        "; a = b ; c",
        ";a;b",
        ";a=\"\u{e9}\t\"",
        ";foo=\"bar baz\" ;x",
    ] {
        let body = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(decode(body.as_bytes(), 1), Ok(Some((b"hello".to_vec(), 0))), "{extension}");
    }
    for extension in [
        ";",
        ";\n",
        ";a\n",
        ";a\rb",
        ";a=",
        ";=b",
        ";a=b c",
        ";a b",
        ";a=\"b",
        ";a=\"x\r\n\"",
        ";a=\"x\n\"",
        ";a=\"x\\\r\n\"",
        ";a=\"x\"y",
        ";a=\0",
        ";\u{e9}",
        " ;a",
        ";a ",
        ";a=b ",
        ";a=\"\x7f\"",
        ",a",
    ] {
        assert_refused(format!("5{extension}\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
}

#[test]
fn c_57_extensions_are_bounded_in_total() {
    // Each costs its bytes and the CR.
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(63));
    let body = |chunks: usize| [chunk.repeat(chunks).as_bytes(), LAST].concat();
    assert_eq!(decode(&body(64), 64).unwrap().unwrap().0.len(), 64);
    assert_refused(&body(65));
}

#[test]
fn c_58_crlf_and_nothing_else() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX",
        "5\r\nhello\rX0\r\n\r\n",
        "5\r\nhelloX\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\r\n",
        "5\rhello",
        "5\r\r\nhello",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "0\r\n\rX",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
    ] {
        assert_refused(body.as_bytes());
    }
}

#[test]
fn c_59_trailers_are_checked_and_dropped() {
    let body = b"1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: x\r\nX-\xe9: y\r\n\r\n";
    assert_refused(body);
    let body = b"1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: x\r\nE:\r\nX: \xe9\t \r\n\r\nGET";
    for piece in 1..body.len() {
        assert_eq!(decode(body, piece), Ok(Some((b"x".to_vec(), 3))));
    }
    for trailer in ["X : 1", " X: 1", "X: a\r\n b", "X", ": x", "X: a\nY: b", "X: a\rb", "X: \0", "X y: 1", "X: \x7f"] {
        assert_refused(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    }
    let sized = |size: usize| format!("0\r\nX: {}\r\n\r\n", "a".repeat(size)).into_bytes();
    assert!(decode(&sized(8192 - 5), 100).is_ok());
    assert_refused(&sized(8192));
    let numbered = |fields: usize| format!("0\r\n{}\r\n", "X:\r\n".repeat(fields)).into_bytes();
    assert!(decode(&numbered(128), 100).is_ok());
    assert_refused(&numbered(129));
}

#[test]
fn a_failed_body_stays_failed() {
    let mut decoder = Decoder::new();
    let error = decoder.step(b"5x").unwrap_err();
    assert_eq!(decoder.step(b"\r\nhello\r\n"), Err(error));
    assert_eq!(decoder.step(b""), Ok(Step { consumed: 0, data: 0..0, done: false }));
}

#[test]
fn encoding() {
    let mut out = Vec::new();
    encode(&mut out, b"");
    assert!(out.is_empty());
    encode(&mut out, b"hello");
    encode(&mut out, &[b'x'; 0x10]);
    encode(&mut out, &[b'y'; 0xabc]);
    out.extend_from_slice(LAST);
    assert!(out.starts_with(b"5\r\nhello\r\n10\r\nxxxx"));
    assert!(out.windows(8).any(|window| window == b"abc\r\nyyy"));
    assert_eq!(decode(&out, 1000).unwrap().unwrap().0.len(), 5 + 0x10 + 0xabc);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_data(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        framing in prop::sample::select(vec![("", ""), (";a=\"\\\"\"", "X: 1\r\n"), ("; b", "")]),
        piece in 1_usize..50,
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:x}{}\r\n", chunk.len(), framing.0).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0{}\r\n{}\r\nREST", framing.0, framing.1).as_bytes());
        prop_assert_eq!(decode(&body, piece), Ok(Some((chunks.concat(), 4))));
    }
}
