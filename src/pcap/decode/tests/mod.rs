//! Packets built by hand. `stacks` is the table of everything that leads to TCP; the tests that must hold for each header walk it.

mod arbitrary;
mod fragments;
mod other;
mod segments;
mod stacks;

use super::*;

/// Payload of every TCP segment here.
const HELLO: &[u8] = b"hello";

fn frame(link: u16, bytes: &[u8]) -> Frame<'_> {
    let length = u32::try_from(bytes.len()).unwrap();
    Frame { number: 1, time: Time(0), link, bytes, length, offset: 0 }
}

/// The counters after one frame, which gave no segment.
fn refused(frame: &Frame<'_>) -> Counters {
    let mut decoder = Decoder::new();
    assert!(decoder.segment(frame).is_none(), "{frame:?}");
    assert_counted_once(decoder.counters());
    decoder.counters().clone()
}

/// Every frame is in one counter.
fn assert_counted_once(counters: &Counters) {
    let kinds: u64 = counters.kinds().iter().map(|&(_, count)| count).sum();
    let sum = counters.segments
        + kinds
        + counters.other_kinds
        + counters.cut_headers
        + counters.malformed
        + counters.too_deep
        + (counters.fragments - counters.reassembled);
    assert_eq!(sum, counters.frames, "{counters:?}");
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A segment of [`HELLO`], from port 49152 to 80.
fn tcp() -> Vec<u8> {
    cat(&[&[0xc0, 0, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0], HELLO])
}

/// From 192.0.2.1 to 192.0.2.2.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_part(protocol, 1, 0, false, payload)
}

fn ipv4_part(protocol: u8, identification: u8, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let [o0, o1] = (u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 }).to_be_bytes();
    let header = [0x45, 0, l0, l1, 0, identification, o0, o1, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    cat(&[&header, payload])
}

/// From `2001:db8::1` to `2001:db8::2`.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    cat(&[&[0x60, 0, 0, 0, l0, l1, next, 64], &address(1), &address(2), payload])
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[2; 12], &ethertype.to_be_bytes(), payload])
}

fn udp(destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    cat(&[&[0xc0, 1], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload])
}

/// `LLC` and `SNAP`.
fn snap(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[0xaa, 0xaa, 3, 0, 0, 0], &ethertype.to_be_bytes(), payload])
}
