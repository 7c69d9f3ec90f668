//! What is wrong with a file, and how much of it was read all the same.

use std::fmt;

use super::LONGEST;

/// Damages that are described; the others are counted.
const DESCRIBED: usize = 64;

/// A place where a file makes no sense.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Where it begins in the (decompressed) file.
    pub offset: u64,
    /// What is wrong there, in words.
    pub what: String,
    /// Bytes that were left out on its account.
    pub skipped: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, what, skipped } = self;
        write!(f, "at byte {offset}: {what}; {skipped} bytes left out")
    }
}

/// What a reader has seen so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Bytes of the (decompressed) file that have been used.
    pub bytes: u64,
    /// Frames that were handed out.
    pub frames: u64,
    /// Their captured bytes.
    pub captured: u64,
    /// Frames of which less was captured than was sent (a snap length).
    pub cut: u64,
    /// Frames without a time of their own: simple packet blocks.
    pub untimed: u64,
    /// pcapng blocks that hold neither a packet nor an interface: names, statistics, secrets, comments, unknown ones.
    pub other_blocks: u64,
    /// Places where the file makes no sense.
    pub damages: u64,
    /// Bytes that were left out because of them.
    pub skipped: u64,
}

/// The list and the counters.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) counters: Counters,
    pub(super) damages: Vec<Damage>,
}

impl Ledger {
    #[cold]
    pub(super) fn damage(&mut self, offset: u64, skipped: u64, what: &Fault) {
        self.counters.damages += 1;
        self.counters.skipped += skipped;
        if self.damages.len() < DESCRIBED {
            self.damages.push(Damage { offset, what: what.to_string(), skipped });
        }
    }
}

/// Why something is damage.
#[derive(Debug)]
pub(super) enum Fault {
    /// A packet of so many bytes, more than the limit.
    Captured(u32, u32),
    /// A packet that was so long on the wire.
    Original(u32),
    /// No header, but zeros.
    Zeros,
    /// A header that might be one, if something sensible followed.
    Unlikely,
    /// The file ends so many bytes early.
    Truncated(u64),
    /// A block of so many bytes.
    BlockLength(u32),
    /// A block whose two lengths differ.
    BlockEnd(u32, u32),
    /// A block of this type and length has no room for what it must hold.
    BlockContent(u32, u32),
    /// A section header whose byte-order mark is none.
    ByteOrder,
    /// A packet of an interface that was never described.
    Interface(u32),
    /// One interface too many in a section.
    Interfaces(usize),
    /// Reading went wrong.
    Input(std::io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Captured(length, limit) => write!(f, "a packet of {length} bytes, and at most {limit} are possible"),
            Self::Original(length) => write!(f, "a packet that was {length} bytes long on the wire"),
            Self::Zeros => write!(f, "zeros where a packet should begin"),
            Self::Unlikely => write!(f, "a packet with a strange length or time, and no packet after it"),
            Self::Truncated(missing) => write!(f, "what begins here would end {missing} bytes after the file does"),
            Self::BlockLength(length) => write!(f, "a block of {length} bytes: no multiple of 4 from 12 to {LONGEST}"),
            Self::BlockEnd(first, last) => write!(f, "a block of {first} bytes that ends as one of {last}"),
            Self::BlockContent(kind, length) => {
                write!(f, "a block of type {kind} and {length} bytes, too few for what it should hold")
            }
            Self::ByteOrder => write!(f, "a section header without a byte-order mark"),
            Self::Interface(id) => write!(f, "a packet of interface {id}, which is not described before it"),
            Self::Interfaces(limit) => write!(f, "an interface too many: {limit} are read in a section"),
            Self::Input(error) => write!(f, "the file could not be read further: {error}"),
        }
    }
}
