//! Frames into TCP segments: link layers, tunnels, IP, fragments.
//!
//! Owns: every header before TCP's payload, and the fragments that wait for their rest. Called by: [`super::analyze`],
//! [`super::replay`]. Never: looks into a payload; fails on a packet, which is counted by what it is instead.

use std::net::SocketAddr;

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'b> {
    /// Who sent it. An IPv4-mapped IPv6 address stays as it is.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// The sequence number of its first byte (of the SYN, if it has one).
    pub sequence: u32,
    /// The acknowledgement number; meaningless without ACK.
    pub acknowledgement: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16 (RFC 9293 section 3.1).
    pub flags: u8,
    /// What was captured of its payload.
    pub payload: &'b [u8],
    /// Bytes of the payload that were sent, but not captured (a snap length).
    pub cut: u32,
}

/// FIN: the sender has nothing more to say.
pub const FIN: u8 = 1;
/// SYN: the first segment of a side.
pub const SYN: u8 = 2;
/// RST: the connection is no more.
pub const RST: u8 = 4;
/// ACK: the acknowledgement number counts.
pub const ACK: u8 = 16;
