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
    missing: usize,
}

impl<'b> Piece<'b> {
    /// All of a frame.
    pub(super) fn of_frame(frame: &Frame<'b>) -> Self {
        let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
        Self { bytes: frame.bytes, missing: length.saturating_sub(frame.bytes.len()) }
    }

    /// Something of which nothing is missing.
    pub(super) const fn whole(bytes: &'b [u8]) -> Self {
        Self { bytes, missing: 0 }
    }

    pub(super) const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// How long it was on the wire.
    pub(super) const fn length(&self) -> usize {
        self.bytes.len().saturating_add(self.missing)
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.missing > 0
    }

    /// A header of `N` bytes; it stays where it is.
    pub(super) const fn peek<const N: usize>(&self) -> Result<&'b [u8; N], Stop> {
        match self.bytes.first_chunk() {
            Some(header) => Ok(header),
            None => Err(self.too_short()),
        }
    }

    /// Takes a header of `N` bytes off.
    pub(super) const fn header<const N: usize>(&mut self) -> Result<&'b [u8; N], Stop> {
        match self.bytes.split_first_chunk() {
            Some((header, rest)) => {
                self.bytes = rest;
                Ok(header)
            }
            None => Err(self.too_short()),
        }
    }

    /// Takes so many bytes off.
    pub(super) fn skip(&mut self, length: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.get(length..).ok_or_else(|| self.too_short())?;
        Ok(())
    }

    /// Its header says that it is so long: what follows is padding, what lacks was cut off.
    pub(super) fn resize(&mut self, length: usize) {
        self.missing = length.saturating_sub(self.bytes.len());
        self.bytes = self.bytes.get(..length).unwrap_or(self.bytes);
    }

    /// Its header does not say how long it is.
    pub(super) fn resize_unmeasured(&mut self) {
        self.resize(self.length().min(MAX_UNMEASURED));
    }

    /// It ends within a header: because of the snap length, or because somebody sent it so.
    const fn too_short(&self) -> Stop {
        if self.is_cut() { Stop::Cut } else { Stop::Malformed }
    }
}
