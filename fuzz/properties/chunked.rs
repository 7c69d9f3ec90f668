//! Chunked bodies: the same data and the same end however the bytes arrive, for us after a second coding, and for hyper.

use floodgate::http1::body::{Body, BodyError};
use floodgate::http1::{body, chunked};

use super::{oracle, splits};

// What is kept of a body that is still arriving.
const _: () = assert!(size_of::<chunked::Decoder>() <= 64);

/// A body that was decoded.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Decoded {
    /// Its data.
    pub(super) data: Vec<u8>,
    /// The same, as it leaves towards a peer: in chunks, as it came.
    pub(super) chunks: Vec<u8>,
    /// Where it ends in the input; None: not in it.
    pub(super) end: Option<usize>,
}

/// Takes `input` for a chunked body and what follows it. True if the body is complete.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    let [whole, others @ ..] = splits(input).map(|ends| decode(Body::Chunked, input, &ends));
    // Chunks leave as they come: only their data must be the same.
    let facts = |decoded: &Result<Decoded, BodyError>| {
        decoded.as_ref().map(|one| (one.data.clone(), one.end)).map_err(|error| *error)
    };
    for other in &others {
        assert_eq!(facts(other), facts(&whole), "the split makes a difference");
    }
    let Ok(Decoded { data, end: Some(end), .. }) = &whole else { return false };

    for again in [&whole].into_iter().chain(&others).flatten() {
        let chunks = [&again.chunks, &input[*end..]].concat();
        let again = decode(Body::Chunked, &chunks, &[chunks.len()]);
        let left = again.as_ref().ok().and_then(|again| again.end).map(|end| &chunks[end..]);
        assert_eq!(left, Some(&input[*end..]), "what is written anew ends elsewhere");
        assert!(again.is_ok_and(|again| again.data == *data), "what is written anew is another body");
    }

    let head = b"POST / HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n";
    let seen = oracle::requests(&[head, &input[..*end], oracle::SENTINEL].concat());
    let (first, rest) = seen.split_first().expect("hyper reads no request");
    assert_eq!(first.body.as_ref(), Some(data), "hyper reads another body");
    oracle::assert_sentinel(rest);
    true
}

/// What is in `input`, given in pieces that end at `ends`, and what a relay makes of it for a peer that takes chunks.
pub(super) fn decode(framing: Body, input: &[u8], ends: &[usize]) -> Result<Decoded, BodyError> {
    let mut decoder = body::Decoder::new(framing);
    let (mut data, mut chunks, mut at) = (Vec::new(), Vec::new(), 0);
    for &end in ends {
        while !decoder.is_done() {
            let piece = &input[at..end];
            let step = match decoder.step(piece) {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(decoder.step(b"0"), Err(error), "a failed body recovers");
                    return Err(error);
                }
            };
            assert!(step.consumed <= piece.len() && step.data.end <= step.consumed, "{step:?} of {}", piece.len());
            assert_eq!(step.done, decoder.is_done());
            data.extend_from_slice(&piece[step.data.clone()]);
            chunked::encode(&mut chunks, &piece[step.data]);
            at += step.consumed;
            if step.consumed == 0 {
                assert_eq!(at, end, "bytes are left for a decoder that wants more");
                break;
            }
        }
    }
    let end = decoder.is_done().then_some(at);
    if end.is_some() {
        assert_eq!(decoder.step(&input[at..]).map(|step| step.consumed), Ok(0), "a complete body takes more");
        chunks.extend_from_slice(chunked::LAST);
    }
    // Data is never more than came; at worst each byte of it gets `1 CRLF` and `CRLF`.
    assert!(data.len() <= input.len() && chunks.len() <= 6 * data.len() + chunked::LAST.len(), "a body grows");
    Ok(Decoded { data, chunks, end })
}
