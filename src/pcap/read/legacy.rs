//! The pcap format: a header, then records (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>).

use std::io::Read;

use pcap_parser::parse_pcap_header;

use super::damage::{Fault, Ledger};
use super::order::Order;
use super::window::Window;
use super::{LONGEST, Record, Step, Time};

/// A file header.
pub(super) const HEADER: usize = 24;
/// libpcap's `MAXIMUM_SNAPLEN`: a record may be as long whatever the header says, for some writers put nonsense there.
const SNAPLEN: u32 = 262_144;
/// The longest that a packet is believed to have been on the wire: Wireshark's `WTAP_MAX_PACKET_SIZE_USBPCAP`.
const ORIGINAL: u32 = 128 * 1024 * 1024;
/// Seconds between neighbours that need no proof. Clocks are set, files are joined; a day is rarely between two packets.
const NEAR: u32 = 86_400;
/// Records in a row that prove a place in a file to be the begin of one: near in time to the last good one, or not.
const PROOF: (usize, usize) = (2, 4);
/// What is looked at to prove a record.
const AHEAD: usize = PROOF.1 * (24 + SNAPLEN as usize);

/// Whether `bytes` begin with a file header of the one version in use, 2.4.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0xa1, 0xb2, ..] | [0xd4, 0xc3, ..] | [0x4d, 0x3c, ..] | [0x34, 0xcd, ..])
        && matches!(bytes, [_, _, _, _, 0, 2, 0, 4, ..] | [_, _, _, _, 2, 0, 4, 0, ..])
        && Legacy::parse(bytes).is_some()
}

/// The header of a record: seconds, fraction, bytes captured, bytes on the wire.
#[derive(Clone, Copy, Default, PartialEq)]
struct Head {
    seconds: u32,
    fraction: u32,
    captured: u32,
    original: u32,
}

/// What the file header says.
#[derive(Debug)]
pub(super) struct Legacy {
    order: Order,
    nanoseconds: bool,
    /// Bytes before the data of a record.
    head: usize,
    /// The most that a record holds.
    limit: u32,
    link: u16,
    /// Seconds of the last record.
    last: Option<u32>,
}

impl Legacy {
    /// Reads a file header; none if it is not one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut header = *bytes.first_chunk::<HEADER>()?;
        let magic = header.first_chunk_mut::<4>()?;
        // Kuznetzov's "modified" format differs in its records alone. The parser knows it in one byte order only.
        let usual = match *magic {
            [0x34, 0xcd, 0xb2, 0xa1] => Some([0xd4, 0xc3, 0xb2, 0xa1]),
            [0xa1, 0xb2, 0xcd, 0x34] => Some([0xa1, 0xb2, 0xc3, 0xd4]),
            _ => None,
        };
        *magic = usual.unwrap_or(*magic);
        let (_, file) = parse_pcap_header(&header).ok()?;
        Some(Self {
            order: if file.is_bigendian() { Order::Big } else { Order::Little },
            nanoseconds: file.is_nanosecond_precision(),
            head: if usual.is_some() { 24 } else { 16 },
            limit: file.snaplen.clamp(SNAPLEN, LONGEST),
            // Above the type: the length of a frame check sequence.
            link: u16::try_from(file.network.0 & 0xffff).ok()?,
            last: None,
        })
    }

    /// The next record.
    #[inline]
    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>, ledger: &mut Ledger) -> Step {
        loop {
            let fault = if window.has(self.head) {
                let Some(head) = self.head(window.bytes()) else { return Step::End };
                let length = self.head + head.captured as usize;
                match self.judge(head, window) {
                    Ok(()) if window.has(length) => {
                        let offset = window.offset();
                        self.last = Some(head.seconds);
                        window.advance(length);
                        return Step::Record(Record {
                            offset,
                            time: Some(self.time(head)),
                            link: self.link,
                            back: head.captured as usize,
                            captured: head.captured,
                            length: head.original,
                        });
                    }
                    Ok(()) => Fault::Truncated((length - window.len()) as u64),
                    Err(fault) => fault,
                }
            } else if window.len() > 0 {
                Fault::Truncated((self.head - window.len()) as u64)
            } else {
                return Step::End;
            };
            // Captures that were simply joined, one file after the other, are not damaged.
            if super::skip(window, ledger, &fault, super::begins, |window| self.search(window)) {
                return Step::Restart;
            }
        }
    }

    #[inline]
    fn head(&self, bytes: &[u8]) -> Option<Head> {
        let (&[seconds, fraction, captured, original], _) = bytes.first_chunk::<16>()?.as_chunks::<4>() else {
            return None;
        };
        let number = |field| self.order.u32(field);
        Some(Head {
            seconds: number(seconds),
            fraction: number(fraction),
            captured: number(captured),
            original: number(original),
        })
    }

    const fn second(&self) -> u32 {
        if self.nanoseconds { 1_000_000_000 } else { 1_000_000 }
    }

    /// A fraction that is none leaves the second as it is.
    #[inline]
    fn time(&self, head: Head) -> Time {
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let fraction = u64::from(head.fraction.min(self.second() - 1));
        Time(u64::from(head.seconds) * 1_000_000_000 + fraction * unit)
    }

    /// Whether a record begins here, where the one before ends. What is unusual needs a record after it.
    #[inline]
    fn judge<R: Read>(&self, head: Head, window: &mut Window<R>) -> Result<(), Fault> {
        if head.captured > self.limit {
            return Err(Fault::Captured(head.captured, self.limit));
        }
        if head.original > ORIGINAL {
            return Err(Fault::Original(head.original));
        }
        let usual = head.captured > 0
            && head.captured <= head.original
            && head.fraction < self.second()
            && self.last.is_none_or(|last| head.seconds.abs_diff(last) <= NEAR);
        if usual { Ok(()) } else { self.judge_unusual(head, window) }
    }

    #[cold]
    fn judge_unusual<R: Read>(&self, head: Head, window: &mut Window<R>) -> Result<(), Fault> {
        if head == Head::default() {
            return Err(Fault::Zeros);
        }
        let length = self.head + head.captured as usize;
        // As far as is looked below, or what is found would depend on how the file arrives.
        window.has(length + super::ng::SECTION);
        if window.len() < length + self.head {
            // The last one, whole or not.
            return if window.len() <= length { Ok(()) } else { Err(Fault::Unlikely) };
        }
        let next = window.bytes().get(length..).and_then(|bytes| self.head(bytes));
        let follows = next.is_some_and(|next| {
            let near = |to: u32| next.seconds.abs_diff(to) <= NEAR;
            next.captured <= self.limit
                && next.original <= ORIGINAL
                && (next.captured <= next.original || head.original < head.captured)
                && next != Head::default()
                && (near(head.seconds) || self.last.is_some_and(near))
        });
        if follows || super::capture_begins(window.bytes().get(length..).unwrap_or_default()) {
            Ok(())
        } else {
            Err(Fault::Unlikely)
        }
    }

    /// Moves on to the next place that is proved to be the begin of a record or of a capture, or to the end.
    fn search<R: Read>(&self, window: &mut Window<R>) {
        super::search(window, AHEAD, |rest, last| super::capture_begins(rest) || self.is_record(rest, last));
    }

    /// Whether `bytes` begin with records beyond doubt. `last`: nothing follows them.
    fn is_record(&self, mut bytes: &[u8], last: bool) -> bool {
        let (mut before, mut wanted) = (self.last, PROOF.0);
        for seen in 0..PROOF.1 {
            if seen >= wanted {
                return true;
            }
            // Half of them are enough if they end where the file does.
            let Some(head) = self.head(bytes) else { return seen >= wanted / 2 && last && bytes.is_empty() };
            let possible = head.captured <= head.original
                && head.captured <= SNAPLEN
                && (1..=ORIGINAL).contains(&head.original)
                && head.fraction < self.second();
            if !possible {
                return false;
            }
            if before.is_none_or(|before| head.seconds.abs_diff(before) > NEAR) {
                if seen > 0 {
                    return false;
                }
                wanted = PROOF.1;
            }
            before = Some(head.seconds);
            let Some(rest) = bytes.get(self.head + head.captured as usize..) else { return false };
            bytes = rest;
        }
        true
    }
}
