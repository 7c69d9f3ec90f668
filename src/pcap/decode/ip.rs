//! IPv4, IPv6 and its extension headers.

use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::{Ipv4Flags, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;

use super::fragment::{Fragment, Key};
use super::piece::Piece;
use super::{Ends, Kind, Next, Step, Stop, Way};

/// The unit of the length of most extension headers (RFC 8200 section 4), in bytes; the first of them is not counted.
const EXTENSION_UNIT: u8 = 8;
/// That of the authentication header (RFC 4302 section 2.2); the first two are not counted.
const AUTHENTICATION_UNIT: u8 = 4;

/// IP, whichever it is.
pub(super) fn version(piece: &Piece<'_>) -> Step {
    let &[first] = piece.peek()?;
    match first >> 4 {
        4 => Ok(Next::Ipv4),
        6 => Ok(Next::Ipv6),
        _ => Err(Stop::Malformed),
    }
}

impl Way<'_> {
    /// What an IP packet carries.
    const fn payload(&self, protocol: u8) -> Step {
        let is_ipv6 = matches!(self.ends, Ends::V6(..));
        Ok(match IpNextHeaderProtocol(protocol) {
            IpNextHeaderProtocols::Tcp => Next::Tcp,
            IpNextHeaderProtocols::Udp => Next::Udp,
            IpNextHeaderProtocols::Ipv4 => Next::Ipv4,
            IpNextHeaderProtocols::Ipv6 => Next::Ipv6,
            IpNextHeaderProtocols::Gre => Next::Gre,
            IpNextHeaderProtocols::MplsInIp => Next::Mpls,
            IpNextHeaderProtocols::Ah => Next::Extension(AUTHENTICATION_UNIT),
            IpNextHeaderProtocols::Hopopt | IpNextHeaderProtocols::Ipv6Route | IpNextHeaderProtocols::Ipv6Opts
                if is_ipv6 =>
            {
                Next::Extension(EXTENSION_UNIT)
            }
            IpNextHeaderProtocols::Ipv6Frag if is_ipv6 => Next::FragmentHeader,
            _ => return Err(Stop::Other(Kind::Protocol(protocol))),
        })
    }

    /// RFC 791.
    pub(super) fn ipv4(&mut self, piece: &mut Piece<'_>) -> Step {
        let header = piece.peek::<{ Ipv4Packet::minimum_packet_size() }>()?;
        let header = Ipv4Packet::new(header).ok_or(Stop::Malformed)?;
        let length = usize::from(header.get_header_length()) * 4;
        // Zero if it was left to the network card to cut this into segments.
        let total = usize::from(header.get_total_length());
        if header.get_version() != 4 || length < 20 {
            return Err(Stop::Malformed);
        }
        self.counters.ipv4 += 1;
        if total == 0 {
            piece.resize_unmeasured();
        } else {
            piece.resize(total);
        }
        piece.skip(length)?;
        self.ends = Ends::V4(header.get_source(), header.get_destination());
        let protocol = header.get_next_level_protocol().0;
        let more = header.get_flags() & Ipv4Flags::MoreFragments != 0;
        let offset = usize::from(header.get_fragment_offset()) * 8;
        if !more && offset == 0 {
            return self.payload(protocol);
        }
        let key = Key { identification: header.get_identification().into(), protocol: Some(protocol), ends: self.ends };
        self.fragment(key, offset, more, protocol, piece)
    }

    /// RFC 8200 section 3. A payload length of zero is that of a jumbogram or of a packet for the card to cut: Linux builds those.
    pub(super) fn ipv6(&mut self, piece: &mut Piece<'_>) -> Step {
        let header = piece.header::<{ Ipv6Packet::minimum_packet_size() }>()?;
        let header = Ipv6Packet::new(header).ok_or(Stop::Malformed)?;
        if header.get_version() != 6 {
            return Err(Stop::Malformed);
        }
        self.counters.ipv6 += 1;
        let length = usize::from(header.get_payload_length());
        if length == 0 {
            piece.resize_unmeasured();
        } else {
            piece.resize(length);
        }
        self.ends = Ends::V6(header.get_source(), header.get_destination());
        self.payload(header.get_next_header().0)
    }

    /// A header that is only skipped.
    pub(super) fn extension(&self, unit: u8, piece: &mut Piece<'_>) -> Step {
        let &[protocol, length] = piece.peek()?;
        piece.skip(usize::from(length) * usize::from(unit) + 8)?;
        self.payload(protocol)
    }

    /// RFC 8200 section 4.5.
    pub(super) fn fragment_header(&mut self, piece: &mut Piece<'_>) -> Step {
        let &[protocol, _, high, low, i0, i1, i2, i3] = piece.header()?;
        let offset = usize::from(u16::from_be_bytes([high, low]) & !7);
        let more = low & 1 != 0;
        if !more && offset == 0 {
            return self.payload(protocol);
        }
        let key = Key { identification: u32::from_be_bytes([i0, i1, i2, i3]), protocol: None, ends: self.ends };
        self.fragment(key, offset, more, protocol, piece)
    }

    /// Never goes on in these bytes, but perhaps in those of [`Stop::Datagram`].
    fn fragment(&mut self, key: Key, offset: usize, more: bool, protocol: u8, piece: &Piece<'_>) -> Step {
        if piece.is_cut() {
            return Err(Stop::Cut);
        }
        let fragment = Fragment { offset, more, protocol, bytes: piece.bytes() };
        let protocol = self.fragments.add(self.counters, self.time, key, fragment)?;
        Err(Stop::Datagram(self.payload(protocol)?))
    }
}
