//! Datagrams in pieces.

use ahash::AHashSet;
use proptest::prelude::*;

use super::*;

/// A TCP segment with so many bytes of payload, no two units alike.
fn segment(length: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..length).map(|i| u8::try_from(i / 8 % 251).unwrap()).collect();
    cat(&[&tcp()[..20], &payload])
}

/// The fragments of a datagram; `size` is a multiple of 8.
fn split(identification: u8, datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = (datagram.len() - 1) / size;
    let part = |(i, bytes): (usize, &[u8])| ipv4_part(6, identification, i * size, i < last, bytes);
    datagram.chunks(size).enumerate().map(part).collect()
}

fn split6(datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = (datagram.len() - 1) / size;
    let part = |(i, bytes): (usize, &[u8])| {
        let [high, low] = u16::try_from((i * size) | usize::from(i < last)).unwrap().to_be_bytes();
        // Only the first may say what follows.
        let next = if i == 0 { 6 } else { 59 };
        ipv6(0, &cat(&[&[44, 0, 1, 4, 0, 0, 0, 0], &[next, 0, high, low, 1, 2, 3, 4], bytes]))
    };
    datagram.chunks(size).enumerate().map(part).collect()
}

fn at(seconds: u64, bytes: &[u8]) -> Frame<'_> {
    Frame { time: Time(seconds * 1_000_000_000), ..frame(101, bytes) }
}

/// The payloads of the segments that these give.
fn payloads(decoder: &mut Decoder, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().filter_map(|packet| Some(decoder.segment(&at(0, packet))?.payload.to_vec())).collect()
}

/// Fragments of either version with their numbers, some twice, in any order; and the payload.
fn shuffled() -> impl Strategy<Value = (Vec<(usize, Vec<u8>)>, Vec<u8>)> {
    (0_usize..4000, 1_usize..60, any::<bool>(), 0_usize..4).prop_flat_map(|(length, size, six, twice)| {
        let datagram = segment(length);
        let size = (size * 8).min(datagram.len().div_ceil(16) * 8);
        let packets = if six { split6(&datagram, size) } else { split(1, &datagram, size) };
        let mut packets: Vec<_> = packets.into_iter().enumerate().collect();
        packets.extend_from_within(..twice.min(packets.len()));
        (Just(packets).prop_shuffle(), Just(datagram[20..].to_vec()))
    })
}

proptest! {
    #[test]
    fn the_last_that_was_missing_gives_the_datagram((packets, payload) in shuffled()) {
        let mut decoder = Decoder::new();
        let mut missing: AHashSet<_> = packets.iter().map(|(number, _)| *number).collect();
        for (number, packet) in packets {
            missing.remove(&number);
            let segment = decoder.segment(&at(0, &packet));
            prop_assert_eq!(segment.is_some(), missing.is_empty());
            if let Some(segment) = segment {
                prop_assert_eq!(segment.payload, payload);
                break;
            }
        }
        let counters = decoder.counters();
        prop_assert_eq!((counters.datagrams, counters.reassembled, counters.incomplete()), (1, 1, 0));
        assert_counted_once(counters);
    }
}

#[test]
fn what_came_first_stays() {
    let datagram = segment(60);
    let mut packets = split(1, &datagram, 40);
    let overlapping = ipv4_part(6, 1, 32, true, &[0xff; 24]);
    packets.insert(1, overlapping);
    let mut expected = datagram[20..].to_vec();
    // Offset 32 to 40 was there already; 40 to 56 was not.
    expected[20..36].fill(0xff);
    assert_eq!(payloads(&mut Decoder::new(), &packets), [expected]);
}

#[test]
fn datagrams_do_not_mix() {
    let (one, two) = (segment(90), [segment(90)[..20].to_vec(), vec![1; 90]].concat());
    let (one, two) = (split(1, &one, 48), split(2, &two, 48));
    let mixed: Vec<_> = one.into_iter().zip(two).flat_map(|(one, two)| [one, two]).collect();
    assert_eq!(payloads(&mut Decoder::new(), &mixed), [segment(90)[20..].to_vec(), vec![1; 90]]);
}

#[test]
fn nobody_waits_longer_than_the_kernel() {
    let packets = split(1, &segment(60), 40);
    let mut decoder = Decoder::new();
    assert!(decoder.segment(&at(100, &packets[0])).is_none());
    assert!(decoder.segment(&at(131, &packets[1])).is_none());
    assert!(decoder.segment(&at(131, &packets[0])).is_some());
    assert_eq!((decoder.counters().datagrams, decoder.counters().incomplete()), (2, 1));
    let mut decoder = Decoder::new();
    assert!(decoder.segment(&at(100, &packets[0])).is_none());
    assert!(decoder.segment(&at(130, &packets[1])).is_some());
}

#[test]
fn the_oldest_goes_when_the_table_is_full() {
    let mut decoder = Decoder::new();
    let first = |number: u16| {
        let mut packet = ipv4_part(6, 0, 0, true, &segment(60)[..40]);
        packet[4..6].copy_from_slice(&number.to_be_bytes());
        packet
    };
    let second = |number: u16| {
        let mut packet = ipv4_part(6, 0, 40, false, &segment(60)[40..]);
        packet[4..6].copy_from_slice(&number.to_be_bytes());
        packet
    };
    for number in 0..=1024 {
        decoder.segment(&at(0, &first(number)));
    }
    assert!(decoder.segment(&at(0, &second(1))).is_some());
    assert!(decoder.segment(&at(0, &second(0))).is_none());
    assert_eq!(decoder.fragments.held().0, 1024);
    assert_counted_once(decoder.counters());
}

#[test]
fn bytes_are_bounded_whatever_the_offsets_say() {
    let mut decoder = Decoder::new();
    for number in 0..200 {
        let end = ipv4_part(6, number, 65_528, true, &[]);
        assert_eq!(refused(&frame(101, &end)).malformed, 1);
        decoder.segment(&at(0, &ipv4_part(6, number, 65_520, true, &[1; 8])));
        assert!(decoder.fragments.held().1 <= 4 << 20);
    }
    assert_eq!(decoder.counters().datagrams, 200);
    assert_eq!(decoder.fragments.held().0, (4 << 20) / 65_528);
}

#[test]
fn fragments_that_cannot_be_are_malformed() {
    let mut decoder = Decoder::new();
    let mut give = |packet: Vec<u8>| assert!(decoder.segment(&at(0, &packet)).is_none());
    // Beyond what a length can say; without a byte; too short for a unit.
    give(ipv4_part(6, 1, 65_528, false, &[0; 8]));
    give(ipv4_part(6, 1, 8, false, &[]));
    give(ipv4_part(6, 1, 8, true, &[0; 7]));
    assert_eq!(decoder.counters().datagrams, 0);
    // Three ends; beyond the end; an end before what is there.
    let mut give = |packet: Vec<u8>| assert!(decoder.segment(&at(0, &packet)).is_none());
    give(ipv4_part(6, 2, 40, false, &[0; 20]));
    give(ipv4_part(6, 2, 40, false, &[0; 10]));
    give(ipv4_part(6, 2, 40, false, &[0; 30]));
    give(ipv4_part(6, 2, 64, true, &[0; 8]));
    give(ipv4_part(6, 3, 64, true, &[0; 8]));
    give(ipv4_part(6, 3, 40, false, &[0; 20]));
    assert_eq!((decoder.counters().malformed, decoder.counters().fragments), (7, 2));
    assert_counted_once(decoder.counters());
}

#[test]
fn a_fragment_that_was_cut_is_no_part() {
    let packets = split(1, &segment(60), 40);
    let cut = Frame { bytes: &packets[0][..50], ..frame(101, &packets[0]) };
    let counters = refused(&cut);
    assert_eq!((counters.cut_headers, counters.datagrams), (1, 0));
}

/// Each of these packets in two fragments of its own.
fn halved(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let halves = |(i, packet): (usize, &Vec<u8>)| {
        let identification = u8::try_from(10 * packets.len() + i).unwrap();
        let (first, second) = packet.split_at(24);
        [ipv4_part(4, identification, 0, true, first), ipv4_part(4, identification, 24, false, second)]
    };
    packets.iter().enumerate().flat_map(halves).collect()
}

#[test]
fn fragments_of_fragments_but_not_of_these() {
    let halves = halved(&split(1, &segment(200), 120));
    let mut decoder = Decoder::new();
    assert_eq!(payloads(&mut decoder, &halves), [segment(200)[20..].to_vec()]);
    assert_eq!((decoder.counters().datagrams, decoder.counters().reassembled), (3, 3));
    assert_counted_once(decoder.counters());

    let mut decoder = Decoder::new();
    assert!(payloads(&mut decoder, &halved(&halves)).is_empty());
    assert_eq!((decoder.counters().reassembled, decoder.counters().too_deep), (7, 1));
    assert_counted_once(decoder.counters());
}

#[test]
fn a_datagram_of_something_else_is_counted_once() {
    let mut decoder = Decoder::new();
    decoder.segment(&at(0, &ipv4_part(17, 1, 0, true, &udp(53, &[0; 8])[..8])));
    decoder.segment(&at(0, &ipv4_part(17, 1, 8, false, &[0; 8])));
    assert_eq!(decoder.counters().kinds(), [(Kind::Protocol(17), 1)]);
    assert_counted_once(decoder.counters());
}
