//! Capture files: the same frames and the same damage however the bytes arrive, and nothing that is not in them.

use std::io::{Cursor, Read};

use floodgate::pcap::Time;
use floodgate::pcap::read::{Counters, Damage, Reader, decompressed};

use super::splits;

/// What is taken of compressed input: a few bytes make gigabytes.
const UNPACKED: u64 = 256 * 1024;
/// Places that a reader describes.
const DESCRIBED: usize = 64;
/// Bytes before the data of a packet: a simple packet block, a record, one of the modified format, an enhanced packet block.
const HEADS: [usize; 4] = [12, 16, 24, 28];

/// A frame that was read.
#[derive(Debug, Eq, PartialEq)]
struct Packet {
    time: Time,
    link: u16,
    bytes: Vec<u8>,
    length: u32,
    offset: usize,
}

/// What a reader says of a file; the error, if it is none.
type Seen = Result<(Vec<Packet>, Vec<Damage>, Counters), String>;

/// Takes `input` for a capture, and for a compressed one. True if there is a frame in it.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    if input.starts_with(b"\x1f\x8b")
        || input.get(1..4) == Some(b"\x4d\x2a\x18")
        || input.starts_with(b"\x28\xb5\x2f\xfd")
    {
        let mut unpacked = Vec::new();
        let mut packed = decompressed(Cursor::new(input.to_vec())).expect("memory can be read").take(UNPACKED);
        // What there is before an error counts.
        drop(packed.read_to_end(&mut unpacked));
        return plain_holds(&unpacked);
    }
    plain_holds(input)
}

fn plain_holds(input: &[u8]) -> bool {
    let [whole, others @ ..] = splits(input).map(|ends| read(Pieces { input, ends: &ends, at: 0 }));
    for other in &others {
        assert_eq!(*other, whole, "the split makes a difference");
    }
    let Ok((packets, damage, counters)) = &whole else { return false };

    let mut end = 0;
    for packet in packets {
        assert!(packet.offset >= end, "frames overlap");
        let data = HEADS.map(|head| input.get(packet.offset + head..)?.get(..packet.bytes.len()));
        assert!(data.contains(&Some(&packet.bytes)), "a frame is not in the file: {packet:?}");
        assert!(packet.length as usize >= packet.bytes.len(), "more was captured than was sent");
        end = packet.offset + packet.bytes.len() + HEADS[0];
    }
    assert!(end <= input.len(), "a frame ends outside the file");
    assert_eq!(counters.bytes, input.len() as u64, "something was not read");
    assert_eq!(counters.frames, packets.len() as u64);
    let captured = packets.iter().map(|packet| packet.bytes.len() as u64).sum::<u64>();
    assert_eq!(counters.captured, captured);
    assert!(counters.skipped + captured <= counters.bytes, "bytes are left out and handed out");
    assert_eq!(damage.len(), DESCRIBED.min(usize::try_from(counters.damages).expect("few")));
    assert!(damage.is_sorted_by(|a, b| a.offset + a.skipped <= b.offset), "damages overlap");
    if counters.damages == damage.len() as u64 {
        assert_eq!(counters.skipped, damage.iter().map(|damage| damage.skipped).sum::<u64>());
    }
    !packets.is_empty()
}

fn read(input: impl Read) -> Seen {
    let mut reader = Reader::new(input);
    let mut packets = Vec::new();
    while let Some(frame) = reader.next().map_err(|error| error.to_string())? {
        packets.push(Packet {
            time: frame.time,
            link: frame.link,
            bytes: frame.bytes.to_vec(),
            length: frame.length,
            offset: usize::try_from(frame.offset).expect("an offset in memory"),
        });
        assert_eq!(frame.number, packets.len() as u64, "a number is missing");
    }
    assert!(matches!(reader.next(), Ok(None)), "there is something after the end");
    Ok((packets, reader.damage().to_vec(), reader.counters()))
}

/// Input that arrives in pieces that end at `ends`.
struct Pieces<'i> {
    input: &'i [u8],
    ends: &'i [usize],
    at: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let end = self.ends.first().copied().unwrap_or(self.at);
        let n = (&self.input[self.at..end]).read(into)?;
        self.at += n;
        if self.at == end {
            self.ends = self.ends.get(1..).unwrap_or_default();
        }
        Ok(n)
    }
}
