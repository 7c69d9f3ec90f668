//! Files made by hand, whole and damaged, in any pieces.

use super::*;

/// A pcap file header: little-endian, microseconds, Ethernet.
const HEADER: [u8; 24] = *b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0";

/// A record of the little-endian format.
fn record(seconds: u32, fraction: u32, data: &[u8], original: u32) -> Vec<u8> {
    let captured = u32::try_from(data.len()).unwrap();
    let head = [seconds, fraction, captured, original].map(u32::to_le_bytes);
    [head.as_flattened(), data].concat()
}

#[test]
fn a_record_is_a_frame() {
    let file = [&HEADER[..], &record(7, 5, b"one", 3), &record(8, 0, b"tw", 9)].concat();
    let mut reader = Reader::new(&*file);
    let frame = reader.next().unwrap().unwrap();
    assert_eq!((frame.number, frame.time, frame.link, frame.bytes), (1, Time(7_000_005_000), 1, &b"one"[..]));
    assert_eq!((frame.length, frame.offset), (3, 24));
    let frame = reader.next().unwrap().unwrap();
    assert_eq!((frame.number, frame.bytes, frame.length, frame.offset), (2, &b"tw"[..], 9, 43));
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.damage(), []);
    assert_eq!(reader.counters(), Counters { bytes: 61, frames: 2, captured: 5, cut: 1, ..Counters::default() });
}
