//! Byte orders.

use pcap_parser::nom::IResult;
use pcap_parser::{PcapError, PcapNGOption, parse_option_be, parse_option_le};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Little => i64::from_le_bytes(bytes),
            Self::Big => i64::from_be_bytes(bytes),
        }
    }

    /// The option of a pcapng block that `bytes` begin with, and what follows it.
    pub(super) fn option(self, bytes: &[u8]) -> IResult<&[u8], PcapNGOption<'_>, PcapError<&[u8]>> {
        match self {
            Self::Little => parse_option_le(bytes),
            Self::Big => parse_option_be(bytes),
        }
    }

    /// The number at `at`.
    #[inline]
    pub(super) fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        bytes.get(at..)?.first_chunk().map(|field| self.u32(*field))
    }
}
