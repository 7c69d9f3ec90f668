//! Anything at all: nothing panics, every frame is counted once, and a segment lies within what there is.

use proptest::prelude::*;

use super::*;

/// Every link type that is known, and one that is not.
const LINKS: [u16; 18] = [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 239, 276, 147];

fn assert_decodes(decoder: &mut Decoder, frame: &Frame<'_>) {
    if let Some(segment) = decoder.segment(frame) {
        assert!(segment.payload.len() <= 65_535);
        assert!(segment.cut <= 8 * 65_535);
    }
    assert_counted_once(decoder.counters());
}

proptest! {
    #[test]
    fn bytes(frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<u32>()), 1..8)) {
        for link in LINKS {
            let mut decoder = Decoder::new();
            for (bytes, length) in &frames {
                let captured = frame(link, bytes);
                assert_decodes(&mut decoder, &Frame { length: captured.length.max(*length), ..captured });
            }
        }
    }

    #[test]
    fn stacks_with_other_bytes(
        stack in prop::sample::select(stacks::all()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        captured in any::<prop::sample::Index>(),
    ) {
        let (_, link, mut bytes) = stack;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut decoder = Decoder::new();
        let whole = frame(link, &bytes);
        assert_decodes(&mut decoder, &whole);
        assert_decodes(&mut decoder, &Frame { bytes: &bytes[..captured.index(bytes.len() + 1)], ..whole });
    }
}
