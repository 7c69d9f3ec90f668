//! What is left of a packet: bytes that were captured, and how many were not.

use super::Stop;
use crate::pcap::read::Frame;

/// Bytes of one IP packet without a length of its own (segmentation offload): the most that Linux builds, `GSO_MAX_SIZE`.
const MAX_UNMEASURED: usize = 8 * 65_535;

/// The rest of a packet, from some header on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'b> {
    bytes: &'b [u8],
    /// Bytes after these that were sent, but not captured.
    missing: u32,
}

impl<'b> Piece<'b> {
    /// All of a frame.
    pub(super) fn of_frame(frame: &Frame<'b>) -> Self {
        let captured = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        Self { bytes: frame.bytes, missing: frame.length.saturating_sub(captured) }
    }

    /// Something of which nothing is missing.
    pub(super) const fn whole(bytes: &'b [u8]) -> Self {
        Self { bytes, missing: 0 }
    }

    pub(super) const fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// How long it was on the wire.
    pub(super) fn length(self) -> usize {
        self.bytes.len().saturating_add(usize::try_from(self.missing).unwrap_or(usize::MAX))
    }

    pub(super) const fn is_cut(self) -> bool {
        self.missing > 0
    }

    /// A header of `N` bytes, and what comes after it.
    pub(super) const fn header<const N: usize>(self) -> Result<(&'b [u8; N], Self), Stop> {
        match self.bytes.split_first_chunk::<N>() {
            Some((header, bytes)) => Ok((header, Self { bytes, ..self })),
            None => Err(self.too_short()),
        }
    }

    /// What comes after `length` bytes.
    pub(super) fn after(self, length: usize) -> Result<Self, Stop> {
        match self.bytes.get(length..) {
            Some(bytes) => Ok(Self { bytes, ..self }),
            None => Err(self.too_short()),
        }
    }

    /// Its header says that it is so long: what follows is padding, what lacks was cut off.
    pub(super) fn sized(self, length: usize) -> Self {
        let (bytes, lacking) = match self.bytes.get(..length) {
            Some(bytes) => (bytes, 0),
            None => (self.bytes, length.saturating_sub(self.bytes.len())),
        };
        Self { bytes, missing: u32::try_from(lacking).unwrap_or(u32::MAX) }
    }

    /// Its header does not say how long it is.
    pub(super) fn unmeasured(self) -> Self {
        self.sized(self.length().min(MAX_UNMEASURED))
    }

    /// It ends within a header: because of the snap length, or because somebody sent it so.
    const fn too_short(self) -> Stop {
        if self.missing > 0 { Stop::Cut } else { Stop::Malformed }
    }
}
