//! The pcapng format: blocks, in sections (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>).

use std::io::Read;

use pcap_parser::{
    BOM_MAGIC, CB_MAGIC, DCB_MAGIC, DSB_MAGIC, EPB_MAGIC, IDB_MAGIC, ISB_MAGIC, NRB_MAGIC, OptionCode, SHB_MAGIC,
    SJE_MAGIC, SPB_MAGIC,
};

use super::damage::{Fault, Ledger};
use super::order::Order;
use super::window::Window;
use super::{LONGEST, Record, Step, Time};

/// The obsolete packet block (appendix A of the draft).
const PB_MAGIC: u32 = 2;
/// The least that a section header block can be, and what it needs to be recognized.
pub(super) const SECTION: usize = 28;
/// Interfaces of a section; more are not described, and their packets left out.
const INTERFACES: usize = 65_536;
/// Blocks that are longer prove no place in a file to be the begin of a block.
const AHEAD: usize = 1024 * 1024;
/// The type, both lengths, and what stands before the data of an enhanced packet block.
const AROUND: usize = 12;
const PACKET: usize = 20;

/// Where packets were captured.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    snaplen: u32,
    clock: Clock,
}

/// How the times of an interface are counted (`if_tsresol`, `if_tsoffset`).
#[derive(Clone, Copy, Debug)]
struct Clock {
    unit: Unit,
    offset_s: i64,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// The so-manyth part of one. The finest that can be written are so small that no count of them is a nanosecond.
    Parts(u128),
    /// A second has 2 to the power of this.
    Binary(u32),
}

impl Clock {
    fn new(resolution: u8, offset_s: i64) -> Self {
        let power = u32::from(resolution & 0x7f);
        let unit = match (resolution >> 7, power) {
            (1, _) => Unit::Binary(power),
            (_, 0..=9) => Unit::Nanoseconds(10_u64.pow(9 - power)),
            _ => Unit::Parts(10_u128.saturating_pow(power - 9)),
        };
        Self { unit, offset_s }
    }

    #[inline]
    fn time(self, high: u32, low: u32) -> Time {
        let count = u64::from(high) << 32 | u64::from(low);
        let since = match self.unit {
            Unit::Nanoseconds(unit) => count.saturating_mul(unit),
            Unit::Parts(parts) => u64::try_from(u128::from(count) / parts).unwrap_or(u64::MAX),
            Unit::Binary(power) => u64::try_from((u128::from(count) * 1_000_000_000) >> power).unwrap_or(u64::MAX),
        };
        let offset = self.offset_s.unsigned_abs().saturating_mul(1_000_000_000);
        Time(if self.offset_s < 0 { since.saturating_sub(offset) } else { since.saturating_add(offset) })
    }
}

/// A section: what its header and its interfaces say.
#[derive(Debug)]
pub(super) struct Section {
    order: Order,
    interfaces: Vec<Interface>,
}

/// The order of a section whose header `bytes` begin with.
pub(super) fn section(bytes: &[u8]) -> Option<Order> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let mark = rest.get(4..)?.first_chunk::<4>()?;
    if u32::from_be_bytes(*kind) != SHB_MAGIC {
        return None;
    }
    [Order::Little, Order::Big].into_iter().find(|order| order.u32(*mark) == BOM_MAGIC)
}

/// The type and length of a block, and what follows them.
#[inline]
fn head(order: Order, bytes: &[u8]) -> Option<(u32, u32)> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    Some((order.u32(*kind), order.u32(*rest.first_chunk::<4>()?)))
}

/// The least that a block of a type can be; none if the type is unknown.
const fn least(kind: u32) -> Option<usize> {
    Some(match kind {
        SHB_MAGIC => SECTION,
        EPB_MAGIC | PB_MAGIC => AROUND + PACKET,
        ISB_MAGIC => AROUND + 12,
        IDB_MAGIC | DSB_MAGIC => AROUND + 8,
        SPB_MAGIC | CB_MAGIC | DCB_MAGIC => AROUND + 4,
        NRB_MAGIC | SJE_MAGIC => AROUND,
        _ => return None,
    })
}

impl Section {
    pub(super) const fn new(order: Order) -> Self {
        Self { order, interfaces: Vec::new() }
    }

    /// The next packet.
    #[inline]
    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>, ledger: &mut Ledger) -> Step {
        loop {
            if !window.has(AROUND) && window.len() == 0 {
                return Step::End;
            }
            let fault = match self.block(window) {
                Ok((kind, length)) => {
                    let offset = window.offset();
                    window.advance(length);
                    match self.content(kind, window.used(length, length)) {
                        Ok(Content::Packet { time, link, at, captured, original }) => {
                            let back = length.saturating_sub(at);
                            return Step::Record(Record { offset, time, link, back, captured, length: original });
                        }
                        Ok(Content::Description) => {}
                        Ok(Content::Other) => ledger.counters.other_blocks += 1,
                        // Its end is where it says: what follows can be relied upon.
                        Err(fault) => ledger.damage(offset, length as u64, &fault),
                    }
                    continue;
                }
                Err(fault) => fault,
            };
            if super::skip(window, ledger, &fault, super::legacy_begins, |window| self.search(window)) {
                return Step::Restart;
            }
        }
    }

    /// The type and length of the block that begins here, if it is whole and both of its lengths agree.
    #[inline]
    fn block<R: Read>(&mut self, window: &mut Window<R>) -> Result<(u32, usize), Fault> {
        let Some((mut kind, mut length)) = head(self.order, window.bytes()) else {
            return Err(Fault::Truncated((AROUND - window.len().min(AROUND)) as u64));
        };
        if kind == SHB_MAGIC {
            let Some(order) = section(window.bytes()) else { return Err(Fault::ByteOrder) };
            *self = Self::new(order);
            (kind, length) = head(order, window.bytes()).unwrap_or_default();
        }
        if (length as usize) < AROUND || !length.is_multiple_of(4) || length > LONGEST {
            return Err(Fault::BlockLength(length));
        }
        let whole = length as usize;
        if !window.has(whole) {
            return Err(Fault::Truncated((whole - window.len()) as u64));
        }
        let last = self.order.u32_at(window.bytes(), whole - 4).unwrap_or_default();
        if last == length { Ok((kind, whole)) } else { Err(Fault::BlockEnd(length, last)) }
    }

    /// What is in a whole block.
    #[inline]
    fn content(&mut self, kind: u32, block: &[u8]) -> Result<Content, Fault> {
        let (order, length) = (self.order, block.len());
        let short = || Fault::BlockContent(kind, u32::try_from(length).unwrap_or(u32::MAX));
        if least(kind).is_some_and(|least| length < least) {
            return Err(short());
        }
        match kind {
            EPB_MAGIC | PB_MAGIC => {
                let (&[id, high, low, captured, original], _) =
                    block.get(8..).and_then(<[u8]>::first_chunk::<PACKET>).ok_or_else(short)?.as_chunks::<4>()
                else {
                    return Err(short());
                };
                let [a, b, ..] = id;
                // The obsolete block counts losses in the other half.
                let id = if kind == EPB_MAGIC { order.u32(id) } else { u32::from(order.u16([a, b])) };
                let (captured, original) = (order.u32(captured), order.u32(original));
                if captured as usize > length - AROUND - PACKET {
                    return Err(short());
                }
                let interface = self.interfaces.get(id as usize).ok_or(Fault::Interface(id))?;
                let time = Some(interface.clock.time(order.u32(high), order.u32(low)));
                Ok(Content::Packet { time, link: interface.link, at: 8 + PACKET, captured, original })
            }
            SPB_MAGIC => {
                let original = order.u32_at(block, 8).ok_or_else(short)?;
                let interface = self.interfaces.first().ok_or(Fault::Interface(0))?;
                let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
                let captured = original.min(snaplen).min(u32::try_from(length - AROUND - 4).unwrap_or(u32::MAX));
                Ok(Content::Packet { time: None, link: interface.link, at: 12, captured, original })
            }
            IDB_MAGIC if self.interfaces.len() >= INTERFACES => Err(Fault::Interfaces(INTERFACES)),
            IDB_MAGIC => self.describe(block).map(|()| Content::Description).ok_or_else(short),
            SHB_MAGIC => Ok(Content::Description),
            _ => Ok(Content::Other),
        }
    }

    /// Notes an interface. Its options are read one by one: the parser's own description holds all of them, in eight times
    /// their memory, and reads the offset in one byte order only.
    fn describe(&mut self, block: &[u8]) -> Option<()> {
        let order = self.order;
        let (fixed, options) = block.get(8..block.len().checked_sub(4)?)?.split_first_chunk::<8>()?;
        let [a, b, ..] = *fixed;
        let (mut resolution, mut offset_s) = (6, 0);
        let mut rest = options;
        while let Ok((after, option)) = order.option(rest) {
            match option.code {
                OptionCode::EndOfOpt => break,
                OptionCode::IfTsresol => resolution = option.value().first().copied().unwrap_or(resolution),
                OptionCode::IfTsoffset => {
                    offset_s = option.value().first_chunk().map_or(offset_s, |seconds| order.i64(*seconds));
                }
                _ => {}
            }
            rest = after;
        }
        self.interfaces.push(Interface {
            link: order.u16([a, b]),
            snaplen: order.u32_at(fixed, 4)?,
            clock: Clock::new(resolution, offset_s),
        });
        Some(())
    }

    /// Moves on to the next place where a block of a known type begins whose lengths agree, or another capture, or to the end.
    fn search<R: Read>(&self, window: &mut Window<R>) {
        super::search(window, AHEAD, |rest, _| self.is_block(rest) || super::legacy::begins(rest));
    }

    /// Whether `bytes` begin with a block beyond doubt.
    fn is_block(&self, bytes: &[u8]) -> bool {
        let Some((kind, _)) = head(self.order, bytes) else { return false };
        let Some(least) = least(kind) else { return false };
        let order = if kind == SHB_MAGIC { section(bytes) } else { Some(self.order) };
        let Some((order, (_, length))) = order.and_then(|order| Some((order, head(order, bytes)?))) else {
            return false;
        };
        let whole = length as usize;
        let agrees = (least..=AHEAD).contains(&whole)
            && whole.is_multiple_of(4)
            && order.u32_at(bytes, whole.saturating_sub(4)) == Some(length);
        agrees && (kind != EPB_MAGIC || order.u32_at(bytes, 20).is_some_and(|captured| captured <= length))
    }
}

/// What a block holds.
enum Content {
    Packet { time: Option<Time>, link: u16, at: usize, captured: u32, original: u32 },
    Description,
    Other,
}
