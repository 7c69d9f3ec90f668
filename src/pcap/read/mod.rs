//! Files into frames: pcap and pcapng, compressed or not, from a file or a pipe.
//!
//! Owns: the buffer, and what is wrong with a file. Called by: [`super::analyze`], [`super::replay`]. Never: holds more than
//! one block; believes a length.

use super::Time;

/// One captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'b> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// When it was captured; the time of the frame before if its block has none.
    pub time: Time,
    /// What its bytes begin with: a `LINKTYPE_` value (<https://www.tcpdump.org/linktypes.html>).
    pub link: u16,
    /// What was captured of it.
    pub bytes: &'b [u8],
    /// How long it was on the wire; never less than what was captured.
    pub length: u32,
    /// Where its record begins in the (decompressed) file.
    pub offset: u64,
}
