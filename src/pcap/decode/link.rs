//! What is below IP: Ethernet, VLAN tags, and the headers that systems put in front of captured packets.

use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket};

use super::piece::Piece;
use super::{Kind, Next, Step, Stop};

/// Below this an ethertype is the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x600;
/// A service tag from before IEEE 802.1ad, like 0x9100.
const OLD_QINQ: EtherType = EtherType(0x9200);
/// Transparent Ethernet bridging (RFC 1701).
const BRIDGED: EtherType = EtherType(0x6558);

/// What the frames of a link type begin with (<https://www.tcpdump.org/linktypes.html>).
pub(super) const fn first(link: u16) -> Step {
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
pub(super) const fn ethertype(number: u16) -> Step {
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
fn ethertype_or_length(number: u16, piece: &mut Piece<'_>) -> Step {
    if number < FIRST_ETHERTYPE {
        piece.resize(number.into());
        return Ok(Next::Llc);
    }
    ethertype(number)
}

pub(super) fn ethernet(piece: &mut Piece<'_>) -> Step {
    let header = piece.header::<{ EthernetPacket::minimum_packet_size() }>()?;
    let header = EthernetPacket::new(header).ok_or(Stop::Malformed)?;
    ethertype_or_length(header.get_ethertype().0, piece)
}

/// The rest of a tag: its number and the next ethertype.
pub(super) fn vlan(piece: &mut Piece<'_>) -> Step {
    let &[_, _, high, low] = piece.header()?;
    ethertype_or_length(u16::from_be_bytes([high, low]), piece)
}

/// IEEE 802.2, and SNAP if its numbers are ethertypes (RFC 1042; 00:00:F8 is that of bridges).
pub(super) fn llc(piece: &mut Piece<'_>) -> Step {
    const SNAP: u8 = 0xaa;
    let &[destination, _, _] = piece.header()?;
    if destination != SNAP {
        return Err(Stop::Other(Kind::Llc(destination)));
    }
    match *piece.header()? {
        [0, 0, 0 | 0xf8, high, low] => ethertype(u16::from_be_bytes([high, low])),
        _ => Err(Stop::Other(Kind::Llc(SNAP))),
    }
}

/// `LINKTYPE_LINUX_SLL`.
pub(super) fn cooked(piece: &mut Piece<'_>) -> Step {
    let header: &[u8; 16] = piece.header()?;
    cooked_protocol(u16::from_be_bytes([header[14], header[15]]))
}

/// `LINKTYPE_LINUX_SLL2`.
pub(super) fn cooked2(piece: &mut Piece<'_>) -> Step {
    let header: &[u8; 20] = piece.header()?;
    cooked_protocol(u16::from_be_bytes([header[0], header[1]]))
}

/// An ethertype, or Linux's number for IEEE 802.2 (`ETH_P_802_2`).
const fn cooked_protocol(number: u16) -> Step {
    if number == 4 { Ok(Next::Llc) } else { ethertype(number) }
}

/// An address family of four bytes, in the order of the machine that captured; IPv6 has another number on every system.
pub(super) fn null(piece: &mut Piece<'_>) -> Step {
    let &bytes = piece.header()?;
    let family = u32::from_le_bytes(bytes).min(u32::from_be_bytes(bytes));
    match family {
        2 => Ok(Next::Ipv4),
        10 | 24 | 28 | 30 => Ok(Next::Ipv6),
        _ => Err(Stop::Other(Kind::Family(family))),
    }
}

/// RFC 1661 section 2 and RFC 1662 section 3: address and control may be left out, and the first byte of a protocol below 256.
/// Some serial lines speak [`hdlc`] instead.
pub(super) fn ppp(piece: &mut Piece<'_>) -> Step {
    match *piece.peek()? {
        [0xff, 3] => piece.skip(2)?,
        [0x0f | 0x8f, 0] => return Ok(Next::Hdlc),
        _ => {}
    }
    let &[high] = piece.header()?;
    let protocol = if high & 1 == 1 {
        high.into()
    } else {
        let &[low] = piece.header()?;
        u16::from_be_bytes([high, low])
    };
    match protocol {
        0x21 => Ok(Next::Ipv4),
        0x57 => Ok(Next::Ipv6),
        0x281 => Ok(Next::Mpls),
        _ => Err(Stop::Other(Kind::Ppp(protocol))),
    }
}

/// RFC 2516 section 4.
pub(super) fn pppoe(piece: &mut Piece<'_>) -> Step {
    let &[0x11, 0, _, _, high, low] = piece.header()? else { return Err(Stop::Malformed) };
    piece.resize(u16::from_be_bytes([high, low]).into());
    Ok(Next::Ppp)
}

/// Cisco's: address, control, ethertype.
pub(super) fn hdlc(piece: &mut Piece<'_>) -> Step {
    let &[_, _, high, low] = piece.header()?;
    ethertype(u16::from_be_bytes([high, low]))
}

/// `LINKTYPE_NFLOG`: attributes, one of which is the packet. Their numbers have the order of the machine that captured.
pub(super) fn nflog(piece: &mut Piece<'_>) -> Step {
    const PAYLOAD: u16 = 9;
    const MAX_ATTRIBUTES: usize = 64;
    piece.skip(4)?;
    for _ in 0..MAX_ATTRIBUTES {
        let &[l0, l1, t0, t1] = piece.peek()?;
        // The types are few: in the wrong order they are 256 and more.
        let (kind, length) = if t1 == 0 {
            (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([l0, l1]))
        } else {
            (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]))
        };
        let length = usize::from(length);
        if length < 4 {
            return Err(Stop::Malformed);
        }
        if kind == PAYLOAD {
            piece.resize(length);
            piece.skip(4)?;
            return Ok(Next::Ip);
        }
        piece.skip(length.next_multiple_of(4))?;
    }
    Err(Stop::TooDeep)
}
