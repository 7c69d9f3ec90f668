//! TCP's header (RFC 9293 section 3.1).
//!
//! No checksum is looked at, here and elsewhere: in what is captured before the network card has filled it in, it is wrong.

use pnet::packet::tcp::TcpPacket;

use super::piece::Piece;
use super::{Ends, Segment, Stop};

/// The segment in an IP packet. Options that were cut off are no loss.
#[inline]
pub(super) fn segment(ends: Ends, piece: Piece<'_>) -> Result<Segment<'_>, Stop> {
    let header = piece.peek::<{ TcpPacket::minimum_packet_size() }>()?;
    let header = TcpPacket::new(header).ok_or(Stop::Malformed)?;
    let length = usize::from(header.get_data_offset()) * 4;
    if length < 20 || length > piece.length() {
        return Err(Stop::Malformed);
    }
    let payload = piece.bytes().get(length..).unwrap_or_default();
    let cut = piece.length() - length - payload.len();
    let (source, destination) = ends.with_ports(header.get_source(), header.get_destination());
    Ok(Segment {
        source,
        destination,
        sequence: header.get_sequence(),
        acknowledgement: header.get_acknowledgement(),
        flags: header.get_flags(),
        payload,
        cut: u32::try_from(cut).unwrap_or(u32::MAX),
    })
}
