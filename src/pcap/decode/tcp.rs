//! TCP's header (RFC 9293 section 3.1).
//!
//! No checksum is looked at, here and elsewhere: in what is captured before the network card has filled it in, it is wrong.

use std::net::{IpAddr, SocketAddr};

use pnet::packet::tcp::TcpPacket;

use super::piece::Piece;
use super::{Ends, Segment, Stop};

/// The segment in an IP packet. Options that were cut off are no loss.
pub(super) fn segment<'b>(ends: Ends, piece: &Piece<'b>) -> Result<Segment<'b>, Stop> {
    // Addresses of a known version need no detour through memory, which would take as long as all the rest here.
    match ends {
        Ends::V4(source, destination) => between(source, destination, piece),
        Ends::V6(source, destination) => between(source, destination, piece),
    }
}

#[inline]
fn between<'b, A: Into<IpAddr>>(source: A, destination: A, piece: &Piece<'b>) -> Result<Segment<'b>, Stop> {
    let header = piece.peek::<{ TcpPacket::minimum_packet_size() }>()?;
    let header = TcpPacket::new(header).ok_or(Stop::Malformed)?;
    let length = usize::from(header.get_data_offset()) * 4;
    if length < 20 || length > piece.length() {
        return Err(Stop::Malformed);
    }
    let payload = piece.bytes().get(length..).unwrap_or_default();
    let cut = piece.length() - length - payload.len();
    Ok(Segment {
        source: SocketAddr::new(source.into(), header.get_source()),
        destination: SocketAddr::new(destination.into(), header.get_destination()),
        sequence: header.get_sequence(),
        acknowledgement: header.get_acknowledgement(),
        flags: header.get_flags(),
        payload,
        cut: u32::try_from(cut).unwrap_or(u32::MAX),
    })
}
