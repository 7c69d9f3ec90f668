//! IPv4, IPv6 and its extension headers, TCP. No checksum is looked at: where segments are captured before the network card has
//! filled it in, it is wrong.

use std::net::SocketAddr;

use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::{Ipv4Flags, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::TcpPacket;

use super::fragment::{Fragment, Key};
use super::piece::Piece;
use super::{Ends, Kind, Next, Segment, Step, Stop, Way};

/// The unit of the length of most extension headers (RFC 8200 section 4), in bytes; the first of them is not counted.
const EXTENSION_UNIT: u8 = 8;
/// That of the authentication header (RFC 4302 section 2.2); the first two are not counted.
const AUTHENTICATION_UNIT: u8 = 4;

/// IP, whichever it is.
pub(super) fn version(piece: Piece<'_>) -> Step<'_> {
    let (first, _) = piece.header::<1>()?;
    match first[0] >> 4 {
        4 => Ok((Next::Ipv4, piece)),
        6 => Ok((Next::Ipv6, piece)),
        _ => Err(Stop::Malformed),
    }
}

/// What an IP packet carries.
fn payload(protocol: u8, ends: Ends) -> Result<Next, Stop> {
    Ok(match IpNextHeaderProtocol(protocol) {
        IpNextHeaderProtocols::Tcp => Next::Tcp(ends),
        IpNextHeaderProtocols::Udp => Next::Udp,
        IpNextHeaderProtocols::Ipv4 => Next::Ipv4,
        IpNextHeaderProtocols::Ipv6 => Next::Ipv6,
        IpNextHeaderProtocols::Gre => Next::Gre,
        IpNextHeaderProtocols::MplsInIp => Next::Mpls,
        IpNextHeaderProtocols::Ah => Next::Extension(ends, AUTHENTICATION_UNIT),
        IpNextHeaderProtocols::Hopopt | IpNextHeaderProtocols::Ipv6Route | IpNextHeaderProtocols::Ipv6Opts
            if ends.source.is_ipv6() =>
        {
            Next::Extension(ends, EXTENSION_UNIT)
        }
        IpNextHeaderProtocols::Ipv6Frag if ends.source.is_ipv6() => Next::FragmentHeader(ends),
        _ => return Err(Stop::Other(Kind::Protocol(protocol))),
    })
}

impl Way<'_> {
    /// RFC 791.
    pub(super) fn ipv4<'b>(&mut self, piece: Piece<'b>) -> Step<'b> {
        let (fixed, _) = piece.header::<{ Ipv4Packet::minimum_packet_size() }>()?;
        let header = Ipv4Packet::new(fixed).ok_or(Stop::Malformed)?;
        let length = usize::from(header.get_header_length()) * 4;
        // Zero if the card was left to cut this into segments.
        let total = usize::from(header.get_total_length());
        if header.get_version() != 4 || length < fixed.len() || (total != 0 && total < length) {
            return Err(Stop::Malformed);
        }
        self.counters.ipv4 += 1;
        let packet = if total == 0 { piece.unmeasured() } else { piece.sized(total) };
        let rest = packet.after(length)?;
        let protocol = header.get_next_level_protocol().0;
        let ends = Ends { source: header.get_source().into(), destination: header.get_destination().into() };
        let more = header.get_flags() & Ipv4Flags::MoreFragments != 0;
        let offset = usize::from(header.get_fragment_offset()) * 8;
        if !more && offset == 0 {
            return Ok((payload(protocol, ends)?, rest));
        }
        let key = Key { identification: header.get_identification().into(), protocol: Some(protocol), ends };
        self.fragment(key, offset, more, protocol, rest)
    }

    /// RFC 8200 section 3. A payload length of zero is that of a jumbogram or of a packet for the card to cut: Linux builds those.
    pub(super) fn ipv6<'b>(&mut self, piece: Piece<'b>) -> Step<'b> {
        let (fixed, rest) = piece.header::<{ Ipv6Packet::minimum_packet_size() }>()?;
        let header = Ipv6Packet::new(fixed).ok_or(Stop::Malformed)?;
        if header.get_version() != 6 {
            return Err(Stop::Malformed);
        }
        self.counters.ipv6 += 1;
        let length = usize::from(header.get_payload_length());
        let rest = if length == 0 { rest.unmeasured() } else { rest.sized(length) };
        let ends = Ends { source: header.get_source().into(), destination: header.get_destination().into() };
        Ok((payload(header.get_next_header().0, ends)?, rest))
    }

    /// The fragment header of RFC 8200 section 4.5.
    pub(super) fn ipv6_fragment<'b>(&mut self, ends: Ends, piece: Piece<'b>) -> Step<'b> {
        let (&[protocol, _, high, low, i0, i1, i2, i3], rest) = piece.header::<8>()?;
        let offset = usize::from(u16::from_be_bytes([high, low]) & !7);
        let more = low & 1 != 0;
        if !more && offset == 0 {
            return Ok((payload(protocol, ends)?, rest));
        }
        let key = Key { identification: u32::from_be_bytes([i0, i1, i2, i3]), protocol: None, ends };
        self.fragment(key, offset, more, protocol, rest)
    }

    /// Never a next header in these bytes: only [`Stop::Datagram`] goes on.
    fn fragment<'b>(&mut self, key: Key, offset: usize, more: bool, protocol: u8, piece: Piece<'b>) -> Step<'b> {
        if piece.is_cut() {
            return Err(Stop::Cut);
        }
        let fragment = Fragment { offset, more, protocol, bytes: piece.bytes() };
        let protocol = self.fragments.add(self.counters, self.time, key, fragment)?;
        Err(Stop::Datagram(payload(protocol, key.ends)?))
    }
}

/// A header that is only skipped.
pub(super) fn extension(ends: Ends, unit: u8, piece: Piece<'_>) -> Step<'_> {
    let (&[protocol, length], _) = piece.header::<2>()?;
    Ok((payload(protocol, ends)?, piece.after(usize::from(length) * usize::from(unit) + 8)?))
}

/// RFC 9293 section 3.1. Options that were cut off are no loss.
pub(super) fn tcp(ends: Ends, piece: Piece<'_>) -> Result<Segment<'_>, Stop> {
    let (fixed, _) = piece.header::<{ TcpPacket::minimum_packet_size() }>()?;
    let header = TcpPacket::new(fixed).ok_or(Stop::Malformed)?;
    let length = usize::from(header.get_data_offset()) * 4;
    if length < fixed.len() || length > piece.length() {
        return Err(Stop::Malformed);
    }
    let payload = piece.bytes().get(length..).unwrap_or_default();
    let cut = piece.length() - length - payload.len();
    Ok(Segment {
        source: SocketAddr::new(ends.source, header.get_source()),
        destination: SocketAddr::new(ends.destination, header.get_destination()),
        sequence: header.get_sequence(),
        acknowledgement: header.get_acknowledgement(),
        flags: header.get_flags(),
        payload,
        cut: u32::try_from(cut).unwrap_or(u32::MAX),
    })
}
