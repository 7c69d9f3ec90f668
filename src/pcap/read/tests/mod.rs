//! Files made by hand: what is in them, and what they may cost.

mod damage;
mod source;

use std::io::{self, Cursor};

use super::order::Order::{self, Big, Little};
use super::*;

/// 2020-09-13 12:26:40 UTC.
const T: u32 = 1_600_000_000;
const NANOSECONDS: u64 = T as u64 * 1_000_000_000;

fn numbers(order: Order, numbers: &[u32]) -> Vec<u8> {
    let bytes = |number: &u32| match order {
        Little => number.to_le_bytes(),
        Big => number.to_be_bytes(),
    };
    numbers.iter().flat_map(bytes).collect()
}

/// Two numbers of 16 bits, as one of 32.
fn halves(order: Order, first: u16, second: u16) -> u32 {
    let (first, second) = (u32::from(first), u32::from(second));
    match order {
        Little => second << 16 | first,
        Big => first << 16 | second,
    }
}

/// A pcap file header of version 2.4.
fn header(order: Order, magic: u32, snaplen: u32, link: u32) -> Vec<u8> {
    numbers(order, &[magic, halves(order, 2, 4), 0, 0, snaplen, link])
}

/// The usual one.
fn usual() -> Vec<u8> {
    header(Little, 0xa1b2_c3d4, 262_144, 1)
}

fn record(order: Order, seconds: u32, fraction: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&numbers(order, &[seconds, fraction, length, length]), data].concat()
}

/// A record of the usual order, the `n`th of a file: its data is `n` bytes long and ends in `n`.
fn nth(n: u8) -> Vec<u8> {
    record(Little, T + u32::from(n), 0, &vec![n; usize::from(n)])
}

fn block(order: Order, kind: u32, content: &[u8]) -> Vec<u8> {
    let padding = content.len().next_multiple_of(4) - content.len();
    let length = u32::try_from(content.len() + padding + 12).unwrap();
    [&numbers(order, &[kind, length]), content, &vec![0; padding], &numbers(order, &[length])].concat()
}

fn section(order: Order) -> Vec<u8> {
    block(order, 0x0a0d_0d0a, &numbers(order, &[0x1a2b_3c4d, halves(order, 1, 0), u32::MAX, u32::MAX]))
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    let padding = value.len().next_multiple_of(4) - value.len();
    [&numbers(order, &[halves(order, code, length)]), value, &vec![0; padding]].concat()
}

fn interface(order: Order, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    block(order, 1, &[&numbers(order, &[halves(order, link, 0), snaplen]), options].concat())
}

fn packet(order: Order, interface: u32, count: u64, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let [high, low] = [count >> 32, count & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
    block(order, 6, &[&numbers(order, &[interface, high, low, length, length]), data].concat())
}

/// A packet of the `n`th microsecond.
fn nth_packet(n: u8) -> Vec<u8> {
    packet(Little, 0, u64::from(T) * 1_000_000 + u64::from(n), &vec![n; usize::from(n)])
}

/// A frame as the tests look at it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    time: u64,
    link: u16,
    bytes: Vec<u8>,
    length: u32,
    offset: u64,
}

/// The frames of a file, its damage and the counters.
fn read(input: impl Read) -> (Vec<Seen>, Vec<Damage>, Counters) {
    let mut reader = Reader::new(input);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        let Frame { number, time: Time(time), link, bytes, length, offset } = frame;
        frames.push(Seen { time, link, bytes: bytes.to_vec(), length, offset });
        assert_eq!(number, frames.len() as u64);
    }
    assert!(reader.next().unwrap().is_none());
    assert!(reader.window.memory() <= 16 * 1024 * 1024);
    (frames, reader.damage().to_vec(), reader.counters())
}

/// The data of all frames, one after the other, and the damage as offset and bytes skipped.
fn outline(file: &[u8]) -> (Vec<Vec<u8>>, Vec<(u64, u64)>) {
    let (frames, damage, counters) = read(file);
    assert_eq!(counters.bytes, file.len() as u64);
    assert_eq!((counters.frames, counters.damages), (frames.len() as u64, damage.len() as u64));
    assert_eq!(counters.skipped, damage.iter().map(|damage| damage.skipped).sum::<u64>());
    let data = frames.into_iter().map(|frame| frame.bytes).collect();
    (data, damage.iter().map(|damage| (damage.offset, damage.skipped)).collect())
}

/// What [`nth`] and [`nth_packet`] hold.
fn nths(numbers: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|n| vec![n; usize::from(n)]).collect()
}

fn refused(input: impl Read) -> String {
    Reader::new(input).next().unwrap_err().to_string()
}

#[test]
fn pcap_in_both_orders_and_all_three_kinds() {
    for order in [Little, Big] {
        for (magic, nanoseconds, more) in
            [(0xa1b2_c3d4, 5_000, &[][..]), (0xa1b2_3c4d, 5, &[]), (0xa1b2_cd34, 5_000, &[1, 0, 0, 0, 0, 8, 4, 0])]
        {
            let file = [
                header(order, magic, 96, 113),
                numbers(order, &[T, 5, 3, 3]),
                more.to_vec(),
                b"one".to_vec(),
                numbers(order, &[T + 1, 0, 2, 1500]),
                more.to_vec(),
                b"tw".to_vec(),
            ]
            .concat();
            let (frames, damage, counters) = read(&*file);
            let one = Seen { time: NANOSECONDS + nanoseconds, link: 113, bytes: b"one".into(), length: 3, offset: 24 };
            let offset = 24 + 19 + more.len() as u64;
            let two = Seen { time: NANOSECONDS + 1_000_000_000, link: 113, bytes: b"tw".into(), length: 1500, offset };
            assert_eq!(frames, [one, two], "{order:?} {magic:x}");
            assert_eq!(damage, []);
            let bytes = file.len() as u64;
            assert_eq!(counters, Counters { bytes, frames: 2, captured: 5, cut: 1, ..Counters::default() });
        }
    }
}

#[test]
fn the_upper_bits_of_a_link_type_are_of_something_else() {
    let file = [header(Little, 0xa1b2_c3d4, 96, 0x4400_0114), nth(1)].concat();
    assert_eq!(read(&*file).0[0].link, 276);
}

#[test]
fn a_packet_was_never_shorter_than_what_was_captured_of_it() {
    let odd = [numbers(Little, &[T, 0, 4, 2]), b"four".to_vec()].concat();
    let file = [usual(), odd, nth(1)].concat();
    assert_eq!(read(&*file).0[0].length, 4);
    assert_eq!(outline(&file).1, []);
}

#[test]
fn pcapng_sections_interfaces_and_orders() {
    let part = |order, link| {
        let comment = [option(order, 1, b"a comment"), option(order, 0, b"")].concat();
        [
            section(order),
            block(order, 4, &[0; 4]),
            interface(order, link, 0, &comment),
            interface(order, link + 1, 0, &comment),
            block(order, 0x0bad, b"\0\0\0\0custom"),
            packet(order, 1, 7, b"one"),
            block(order, 0x7777, b"unknown"),
            packet(order, 0, 8, b"four"),
            block(order, 5, &[0; 12]),
        ]
        .concat()
    };
    let file = [part(Little, 1), part(Big, 113)].concat();
    let (frames, damage, counters) = read(&*file);
    let short = frames.iter().map(|frame| (frame.link, &*frame.bytes, frame.time));
    assert!(short.eq([
        (2, &b"one"[..], 7_000),
        (1, &b"four"[..], 8_000),
        (114, &b"one"[..], 7_000),
        (113, &b"four"[..], 8_000)
    ]));
    assert_eq!(damage, []);
    assert_eq!((counters.frames, counters.other_blocks, counters.bytes), (4, 8, file.len() as u64));
    for frame in frames {
        let begin = &file[usize::try_from(frame.offset).unwrap()..];
        assert!(begin.starts_with(b"\x06\0\0\0") || begin.starts_with(b"\0\0\0\x06"), "{frame:?}");
    }
}

#[test]
fn times_of_pcapng() {
    const HOUR: i64 = 3600;
    for (resolution, offset, count, expected) in [
        (None, 0, u64::from(T) * 1_000_000 + 1, NANOSECONDS + 1000),
        (Some(0), 0, u64::from(T), NANOSECONDS),
        (Some(9), 0, NANOSECONDS + 1, NANOSECONDS + 1),
        (Some(12), HOUR, 7_999, 3600 * 1_000_000_000 + 7),
        (Some(9), -HOUR, NANOSECONDS, NANOSECONDS - 3600 * 1_000_000_000),
        (Some(9), -HOUR, 5, 0),
        // Halves, quarters, …: 2^-20 s.
        (Some(0x94), i64::from(T), 3 << 19, NANOSECONDS + 1_500_000_000),
        // What does not fit stays at the border.
        (Some(3), 0, u64::MAX, u64::MAX),
        (Some(0x80), i64::MAX, u64::MAX, u64::MAX),
        (Some(0xff), i64::MIN, u64::MAX, 0),
        (Some(0x7f), 1, u64::MAX, 1_000_000_000),
    ] {
        for order in [Little, Big] {
            let mut options = Vec::new();
            if let Some(resolution) = resolution {
                options.extend(option(order, 9, &[resolution]));
            }
            let offset = if order == Little { offset.to_le_bytes() } else { offset.to_be_bytes() };
            options.extend(option(order, 14, &offset));
            // What stands after the end of the options is none.
            options.extend([option(order, 0, b""), option(order, 9, &[0])].concat());
            let file = [section(order), interface(order, 1, 0, &options), packet(order, 0, count, b"x")].concat();
            assert_eq!(read(&*file).0[0].time, expected, "{resolution:?} {offset:?} {count}");
        }
    }
}

#[test]
fn simple_and_obsolete_packets() {
    for order in [Little, Big] {
        let simple = |original, data: &[u8]| block(order, 3, &[&numbers(order, &[original]), data].concat());
        let old = numbers(order, &[halves(order, 0, 9), 0, 5, 3, 60]);
        let file = [
            section(order),
            interface(order, 1, 6, &[]),
            block(order, 2, &[&old[..], b"old"].concat()),
            simple(5, b"five."),
            simple(9, b"six..."),
        ]
        .concat();
        let (frames, damage, counters) = read(&*file);
        let short = frames.iter().map(|frame| (frame.time, &*frame.bytes, frame.length));
        assert!(short.eq([(5_000, &b"old"[..], 60), (5_000, &b"five."[..], 5), (5_000, &b"six..."[..], 9)]));
        assert_eq!(damage, []);
        assert_eq!((counters.untimed, counters.cut), (2, 2));
    }
}

#[test]
fn tables_and_lists_are_bounded() {
    let many = interface(Little, 1, 0, &[]).repeat(65_536);
    let more = interface(Little, 2, 0, &[]);
    let file = [section(Little), many, packet(Little, 65_535, 0, b"x"), more, packet(Little, 65_536, 0, b"y")].concat();
    let (frames, damage) = outline(&file);
    assert_eq!((frames.len(), damage.len()), (1, 2));

    let file = [usual(), [nth(1), nth(2), vec![0xff; 20]].concat().repeat(100)].concat();
    let (frames, damage, counters) = read(&*file);
    assert_eq!((frames.len(), damage.len()), (200, 64));
    assert_eq!((counters.damages, counters.skipped), (100, 2000));
}

#[test]
fn memory_is_bounded_whatever_a_length_claims() {
    let data = vec![7; LONGEST as usize];
    // The longest possible, several times, and one that is too long by one.
    let long = header(Little, 0xa1b2_c3d4, u32::MAX, 1);
    let file = [long, record(Little, T, 0, &data).repeat(3), nth(1), nth(2)].concat();
    let (frames, damage) = outline(&file);
    assert_eq!((frames.len(), damage.len()), (5, 0));
    let over = numbers(Little, &[T, 0, LONGEST + 1, LONGEST + 1]);
    let file = [header(Little, 0xa1b2_c3d4, u32::MAX, 1), over, data, vec![7], nth(1), nth(2)].concat();
    assert_eq!(outline(&file), (nths([1, 2]), vec![(24, u64::from(LONGEST) + 17)]));
    // Claims without anything behind them cost no memory.
    let mut reader = Reader::new(Cursor::new([usual(), numbers(Little, &[T, 0, 262_144, 262_144])].concat()));
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.window.memory(), Window::new(io::empty()).memory());
}
