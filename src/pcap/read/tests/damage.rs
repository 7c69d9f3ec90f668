//! Damage costs what is damaged, and little more.

use std::io;

use proptest::prelude::*;

use super::*;

/// What stands between the 3rd and the 4th record of a file, how much of it is left out, and which record more is lost.
#[test]
fn damage_in_pcap_costs_what_is_damaged() {
    let first = [usual(), nth(1), nth(2), nth(3)].concat();
    let rest = [nth(4), nth(5), nth(6)].concat();
    let at = first.len() as u64;
    let absurd = |field: usize, value: u32| {
        let mut fields = [T, 0, 20, 20];
        fields[field] = value;
        [numbers(Little, &fields), vec![b'x'; 20]].concat()
    };
    for (what, between) in [
        ("zeros", vec![0; 1000]),
        ("ones", vec![0xff; 1000]),
        ("captured too much", absurd(2, 262_145)),
        ("all ones captured", absurd(2, u32::MAX)),
        ("captured more than was sent", absurd(2, 300)),
        ("too long on the wire", absurd(3, u32::MAX)),
        ("a time far off, and the length too short", absurd(0, 5)[..30].to_vec()),
        ("years apart", [vec![0xff; 20], (1..9).flat_map(|n| record(Little, n << 27, 0, b"years")).collect()].concat()),
        ("half a record", nth(40)[30..].to_vec()),
        ("text", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
    ] {
        let file = [&first[..], &between, &rest].concat();
        let expected = (nths(1..=6), vec![(at, between.len() as u64)]);
        assert_eq!(outline(&file), expected, "{what}");
    }
    // What reaches to the very end by chance.
    let chance = [&first[..], &[0xff; 20], &numbers(Little, &[T / 2, 0, 60, 60]), &nth(44)].concat();
    assert_eq!(outline(&chance), ([nths(1..=3), nths([44])].concat(), vec![(at, 36)]));
    // Without another one to find.
    assert_eq!(outline(&[&first[..], &[0xff; 1000]].concat()), (nths(1..=3), vec![(at, 1000)]));
    assert_eq!(outline(&[&first[..], &[0xff; 5]].concat()), (nths(1..=3), vec![(at, 5)]));
}

#[test]
fn a_lost_part_of_a_pcap_file_costs_no_more() {
    let (first, rest) = ([usual(), nth(60), nth(61)].concat(), [nth(63), nth(64)].concat());
    let lost = nth(62);
    for from in 1..lost.len() - 1 {
        let file = [&first, &lost[from..], &rest].concat();
        let (frames, damage) = outline(&file);
        assert_eq!(frames, nths([60, 61, 63, 64]), "{from}");
        assert_eq!(damage, [(first.len() as u64, (lost.len() - from) as u64)], "{from}");
    }
}

#[test]
fn a_file_that_was_cut_off() {
    for (whole, first) in [
        ([usual(), nth(1), nth(2), nth(50)].concat(), [usual(), nth(1), nth(2)].concat()),
        (
            [section(Little), interface(Little, 1, 0, &[]), nth_packet(1), nth_packet(2), nth_packet(50)].concat(),
            [section(Little), interface(Little, 1, 0, &[]), nth_packet(1), nth_packet(2)].concat(),
        ),
    ] {
        assert_eq!(outline(&whole), (nths([1, 2, 50]), vec![]));
        assert_eq!(outline(&first), (nths([1, 2]), vec![]));
        for end in first.len() + 1..whole.len() {
            let left = (end - first.len()) as u64;
            assert_eq!(outline(&whole[..end]), (nths([1, 2]), vec![(first.len() as u64, left)]), "{end}");
        }
    }
}

#[test]
fn clocks_may_jump() {
    let early = |n: u8| record(Little, u32::from(n), 0, &vec![n; usize::from(n)]);
    let file = [usual(), early(1), early(2), nth(3), nth(4), early(5), nth(6)].concat();
    assert_eq!(outline(&file), (nths(1..=6), vec![]));
    let file = [usual(), record(Little, T, 1_000_000, &[1]), nth(2)].concat();
    assert_eq!(outline(&file), (nths(1..=2), vec![]));
    assert_eq!(read(&*file).0[0].time, NANOSECONDS + 999_999_000);
}

#[test]
fn captures_that_were_joined_are_read_in_turn() {
    let ng = [section(Big), interface(Big, 1, 0, &[]), packet(Big, 0, 0, b"ng")].concat();
    let other = [header(Big, 0xa1b2_3c4d, 96, 101), record(Big, T, 1, b"other")].concat();
    let file = [usual(), nth(1), ng.clone(), usual(), nth(2), other, ng].concat();
    let expected = [&[1][..], b"ng", &[2, 2], b"other", b"ng"].map(<[u8]>::to_vec).to_vec();
    assert_eq!(outline(&file), (expected, vec![]));
    // One of them was cut off before.
    let file = [usual(), nth(1), nth(9)[..10].to_vec(), usual(), nth(2), nth(3)].concat();
    assert_eq!(outline(&file), (nths(1..=3), vec![(41, 10)]));
}

#[test]
fn damage_in_pcapng_costs_what_is_damaged() {
    let first = [section(Little), interface(Little, 1, 0, &[]), nth_packet(1), nth_packet(2)].concat();
    let rest = [nth_packet(3), nth_packet(4)].concat();
    let at = first.len() as u64;
    let changed = |place: usize, value: u32| {
        let mut block = nth_packet(40);
        block[place..place + 4].copy_from_slice(&value.to_le_bytes());
        block
    };
    let length = u32::try_from(nth_packet(40).len()).unwrap();
    for (what, between) in [
        ("zeros", vec![0; 1001]),
        ("ones", vec![0xff; 1001]),
        ("a block of nothing", changed(4, 0)),
        ("a block shorter than its frame", changed(4, 8)),
        ("no multiple of four", changed(4, length + 2)),
        ("beyond the end", changed(4, 1 << 20)),
        ("beyond what is read", changed(4, 1 << 31)),
        ("lengths that differ", changed(length as usize - 4, length + 4)),
        ("a packet longer than its block", changed(20, length)),
        ("an interface that was never described", changed(8, 1)),
        ("a block with no room for a packet", block(Little, 6, &[0; 16])),
        ("a section without a byte order", section(Little)[..8].to_vec()),
        ("half a block", nth_packet(40)[30..].to_vec()),
    ] {
        let file = [&first[..], &between, &rest].concat();
        assert_eq!(outline(&file), (nths(1..=4), vec![(at, between.len() as u64)]), "{what}");
    }
}

/// Gives at most `size` bytes at once.
struct Pieces<'i>(&'i [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(into.len());
        self.0.read(&mut into[..size])
    }
}

proptest! {
    /// Something is written over, put in or taken out in one place: what stands before it is not touched, and what stands
    /// a little after it is found again.
    #[test]
    fn damage_is_local(
        ng in any::<bool>(),
        lengths in prop::collection::vec(1..200_u8, 20..40),
        place in any::<prop::sample::Index>(),
        lost in 0..300_usize,
        noise in prop::collection::vec(any::<u8>(), 0..300),
        size in 1..70_usize,
    ) {
        let begin = if ng { [section(Little), interface(Little, 1, 0, &[])].concat() } else { usual() };
        let parts = lengths.iter().map(|n| if ng { nth_packet(*n) } else { nth(*n) }).collect::<Vec<_>>();
        let whole = [&begin[..], &parts.concat()].concat();
        let at = begin.len() + place.index(whole.len() - begin.len());
        let end = whole.len().min(at + lost);
        let file = [&whole[..at], &noise, &whole[end..]].concat();

        let (frames, damage, counters) = read(&*file);
        let starts = parts.iter().scan(begin.len(), |next, part| Some((*next, *next += part.len()).0));
        let starts = starts.collect::<Vec<_>>();
        let before = starts.iter().zip(&parts).filter(|(start, part)| *start + part.len() <= at).count();
        // A record whose end is lost takes in as much of what follows.
        let again = starts.iter().filter(|start| **start >= end + 256).count();
        let data = nths(lengths.iter().copied());
        let read_data = frames.iter().map(|frame| frame.bytes.clone()).collect::<Vec<_>>();
        prop_assert_eq!(&read_data[..before], &data[..before]);
        prop_assert!(read_data.ends_with(&data[data.len() - again..]), "{damage:?}");
        prop_assert!(counters.bytes == file.len() as u64 && counters.skipped <= (lost + noise.len() + 1000) as u64);
        prop_assert_eq!(read(Pieces(&file, size)), (frames, damage, counters));
    }
}
