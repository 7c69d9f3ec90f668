//! What is below IP: Ethernet, VLAN tags, and the headers that systems put in front of captured packets.

use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket};

use super::piece::Piece;
use super::{Kind, Next, Step, Stop};

/// Below this an ethertype is the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x600;
/// A service tag of before IEEE 802.1ad, after 0x9100.
const OLD_QINQ: EtherType = EtherType(0x9200);
/// Transparent Ethernet bridging (RFC 1701).
const BRIDGED: EtherType = EtherType(0x6558);

/// What the frames of a link type begin with (<https://www.tcpdump.org/linktypes.html>).
pub(super) const fn first(link: u16) -> Result<Next, Stop> {
    Ok(match link {
        0 | 108 => Next::Null,
        1 => Next::Ethernet,
        9 | 50 => Next::Ppp,
        // 12 and 14 are what some systems wrote for 101.
        12 | 14 | 101 => Next::Ip,
        51 => Next::Pppoe,
        104 => Next::Hdlc,
        105 => Next::Wlan,
        113 => Next::Cooked,
        127 => Next::Radiotap,
        228 => Next::Ipv4,
        229 => Next::Ipv6,
        239 => Next::Nflog,
        276 => Next::Cooked2,
        _ => return Err(Stop::Other(Kind::Link(link))),
    })
}

/// What follows an ethertype.
pub(super) fn ethertype(number: u16) -> Result<Next, Stop> {
    Ok(match EtherType(number) {
        EtherTypes::Ipv4 => Next::Ipv4,
        EtherTypes::Ipv6 => Next::Ipv6,
        EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ | OLD_QINQ => Next::Vlan,
        EtherTypes::Mpls | EtherTypes::MplsMcast => Next::Mpls,
        EtherTypes::PppoeSession => Next::Pppoe,
        BRIDGED => Next::Ethernet,
        _ => return Err(Stop::Other(Kind::EtherType(number))),
    })
}

/// The same, where it may be a length.
fn ethertype_or_length(number: u16, rest: Piece<'_>) -> Step<'_> {
    if number < FIRST_ETHERTYPE {
        return Ok((Next::Llc, rest.sized(number.into())));
    }
    Ok((ethertype(number)?, rest))
}

pub(super) fn ethernet(piece: Piece<'_>) -> Step<'_> {
    let (header, rest) = piece.header::<{ EthernetPacket::minimum_packet_size() }>()?;
    let header = EthernetPacket::new(header).ok_or(Stop::Malformed)?;
    ethertype_or_length(header.get_ethertype().0, rest)
}

/// The rest of a tag: its number and the next ethertype.
pub(super) fn vlan(piece: Piece<'_>) -> Step<'_> {
    let (&[_, _, high, low], rest) = piece.header::<4>()?;
    ethertype_or_length(u16::from_be_bytes([high, low]), rest)
}

/// IEEE 802.2, and SNAP if its numbers are ethertypes (RFC 1042; 00:00:F8 is that of bridges).
pub(super) fn llc(piece: Piece<'_>) -> Step<'_> {
    let (&[sap, _, _], rest) = piece.header::<3>()?;
    if sap != 0xaa {
        return Err(Stop::Other(Kind::Llc(sap)));
    }
    match rest.header::<5>()? {
        (&[0, 0, 0 | 0xf8, high, low], rest) => Ok((ethertype(u16::from_be_bytes([high, low]))?, rest)),
        _ => Err(Stop::Other(Kind::Llc(sap))),
    }
}

/// `LINKTYPE_LINUX_SLL`. Protocol 4 is IEEE 802.2.
pub(super) fn cooked(piece: Piece<'_>) -> Step<'_> {
    let (header, rest) = piece.header::<16>()?;
    cooked_protocol(u16::from_be_bytes([header[14], header[15]]), rest)
}

/// `LINKTYPE_LINUX_SLL2`.
pub(super) fn cooked2(piece: Piece<'_>) -> Step<'_> {
    let (header, rest) = piece.header::<20>()?;
    cooked_protocol(u16::from_be_bytes([header[0], header[1]]), rest)
}

fn cooked_protocol(number: u16, rest: Piece<'_>) -> Step<'_> {
    if number == 4 {
        return Ok((Next::Llc, rest));
    }
    Ok((ethertype(number)?, rest))
}

/// An address family of four bytes, in the order of the machine that captured; IPv6 has another number on every system.
pub(super) fn null(piece: Piece<'_>) -> Step<'_> {
    let (&bytes, rest) = piece.header::<4>()?;
    let family = u32::from_le_bytes(bytes).min(u32::from_be_bytes(bytes));
    match family {
        2 => Ok((Next::Ipv4, rest)),
        10 | 24 | 28 | 30 => Ok((Next::Ipv6, rest)),
        _ => Err(Stop::Other(Kind::Family(family))),
    }
}

/// RFC 1661 section 2 and RFC 1662 section 3: address and control may be left out, and the first byte of a protocol below 256.
/// Some serial lines speak [`hdlc`] instead.
pub(super) fn ppp(piece: Piece<'_>) -> Step<'_> {
    let rest = match piece.header::<2>()? {
        ([0xff, 3], rest) => rest,
        ([0x0f | 0x8f, 0], _) => return Ok((Next::Hdlc, piece)),
        _ => piece,
    };
    let (&[first], after_first) = rest.header::<1>()?;
    let (protocol, rest) = if first & 1 == 1 {
        (first.into(), after_first)
    } else {
        let (&bytes, rest) = rest.header::<2>()?;
        (u16::from_be_bytes(bytes), rest)
    };
    let next = match protocol {
        0x21 => Next::Ipv4,
        0x57 => Next::Ipv6,
        0x281 => Next::Mpls,
        _ => return Err(Stop::Other(Kind::Ppp(protocol))),
    };
    Ok((next, rest))
}

/// RFC 2516 section 4.
pub(super) fn pppoe(piece: Piece<'_>) -> Step<'_> {
    match piece.header::<6>()? {
        (&[0x11, 0, _, _, high, low], rest) => Ok((Next::Ppp, rest.sized(u16::from_be_bytes([high, low]).into()))),
        _ => Err(Stop::Malformed),
    }
}

/// Cisco's: address, control, ethertype.
pub(super) fn hdlc(piece: Piece<'_>) -> Step<'_> {
    let (&[_, _, high, low], rest) = piece.header::<4>()?;
    Ok((ethertype(u16::from_be_bytes([high, low]))?, rest))
}

/// `LINKTYPE_NFLOG`: attributes, one of which is the packet. Their lengths have the order of the machine that captured.
pub(super) fn nflog(piece: Piece<'_>) -> Step<'_> {
    const PAYLOAD: u16 = 9;
    const MAX_ATTRIBUTES: usize = 64;
    let (_, mut rest) = piece.header::<4>()?;
    for _ in 0..MAX_ATTRIBUTES {
        let (&[l0, l1, t0, t1], payload) = rest.header::<4>()?;
        // The types are few: in the wrong order they are 256 and more.
        let kind = u16::from_le_bytes([t0, t1]);
        let (kind, length) = if kind < 256 {
            (kind, u16::from_le_bytes([l0, l1]))
        } else {
            (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]))
        };
        let length = usize::from(length);
        if length < 4 {
            return Err(Stop::Malformed);
        }
        if kind == PAYLOAD {
            return Ok((Next::Ip, payload.sized(length - 4)));
        }
        rest = rest.after(length.next_multiple_of(4))?;
    }
    Err(Stop::TooDeep)
}
