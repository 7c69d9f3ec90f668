//! What carries packets in packets: GRE and what goes through it, MPLS, and tunnels over UDP.

use super::link::ethertype;
use super::piece::Piece;
use super::{Kind, Next, Step, Stop};

/// RFC 3032 section 2.1: a label, and what is under the last of them, which no number tells (RFC 4928 section 3).
pub(super) fn mpls(piece: Piece<'_>) -> Step<'_> {
    let (&[_, _, bottom, _], rest) = piece.header::<4>()?;
    if bottom & 1 == 0 {
        return Ok((Next::Mpls, rest));
    }
    let (first, _) = rest.header::<1>()?;
    Ok(match first[0] >> 4 {
        4 => (Next::Ipv4, rest),
        6 => (Next::Ipv6, rest),
        // The control word of a pseudowire (RFC 4385 section 3).
        0 => (Next::Ethernet, rest.after(4)?),
        _ => (Next::Ethernet, rest),
    })
}

/// RFC 2784, RFC 2890, and PPTP's kind (RFC 2637 section 4.1).
pub(super) fn gre(piece: Piece<'_>) -> Step<'_> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const ACKNOWLEDGEMENT: u8 = 0x80;
    const VERSION: u8 = 0x07;
    let (&[flags, more, high, low], rest) = piece.header::<4>()?;
    if flags & ROUTING != 0 || more & VERSION > 1 {
        return Err(Stop::Other(Kind::Protocol(47)));
    }
    let options = [flags & CHECKSUM, flags & KEY, flags & SEQUENCE, more & ACKNOWLEDGEMENT];
    let rest = rest.after(options.into_iter().filter(|&option| option != 0).count() * 4)?;
    let number = u16::from_be_bytes([high, low]);
    Ok(match number {
        0x880b => (Next::Ppp, rest),
        // ERSPAN: the first has no header; the second numbers its packets, and has one of 8 bytes.
        0x88be if flags & SEQUENCE == 0 => (Next::Ethernet, rest),
        0x88be => (Next::Ethernet, rest.after(8)?),
        0x22eb => (Next::Erspan3, rest),
        0x883e => (Next::Wccp, rest),
        // Aruba's controllers: frames of the air.
        0x8200..=0x8210 => (Next::Wlan, rest),
        _ => (ethertype(number)?, rest),
    })
}

/// The third ERSPAN (draft-foschiano-erspan section 4.3): 12 bytes, and 8 more if its last bit says so.
pub(super) fn erspan3(piece: Piece<'_>) -> Step<'_> {
    let (header, rest) = piece.header::<12>()?;
    Ok((Next::Ethernet, if header[11] & 1 == 0 { rest } else { rest.after(8)? }))
}

/// How routers hand connections to a transparent proxy: its second version has 4 bytes before the packet.
pub(super) fn wccp(piece: Piece<'_>) -> Step<'_> {
    let (first, rest) = piece.header::<4>()?;
    Ok((Next::Ip, if first[0] >> 4 == 4 { piece } else { rest }))
}

/// Tunnels are known by their ports, and by headers that look like theirs.
pub(super) fn udp(piece: Piece<'_>) -> Step<'_> {
    const GTP: u16 = 2152;
    const VXLAN: u16 = 4789;
    /// Linux's own number for VXLAN, from before the other.
    const OLD_VXLAN: u16 = 8472;
    const GENEVE: u16 = 6081;
    let (&[s0, s1, d0, d1, l0, l1, _, _], rest) = piece.header::<8>()?;
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    let rest = match u16::from_be_bytes([l0, l1]).checked_sub(8) {
        Some(length) => rest.sized(length.into()),
        None => rest,
    };
    let next = match (destination, rest.bytes()) {
        (VXLAN | OLD_VXLAN, [flags, ..]) if flags & 0x08 != 0 => Next::Vxlan,
        (GENEVE, [version, ..]) if version >> 6 == 0 => Next::Geneve,
        // Version 1, and a packet of the user's.
        (_, [flags, 0xff, ..]) if flags >> 4 == 3 && (destination == GTP || source == GTP) => Next::Gtp,
        _ => return Err(Stop::Other(Kind::Protocol(17))),
    };
    Ok((next, rest))
}

/// RFC 7348 section 5.
pub(super) fn vxlan(piece: Piece<'_>) -> Step<'_> {
    let (_, rest) = piece.header::<8>()?;
    Ok((Next::Ethernet, rest))
}

/// RFC 8926 section 3.4.
pub(super) fn geneve(piece: Piece<'_>) -> Step<'_> {
    let (&[options, _, high, low, ..], rest) = piece.header::<8>()?;
    Ok((ethertype(u16::from_be_bytes([high, low]))?, rest.after(usize::from(options & 0x3f) * 4)?))
}

/// 3GPP TS 29.281 section 5.1.
pub(super) fn gtp(piece: Piece<'_>) -> Step<'_> {
    const EXTENSION: u8 = 4;
    const SEQUENCE: u8 = 2;
    const NUMBER: u8 = 1;
    let (&[flags, _, high, low, ..], rest) = piece.header::<8>()?;
    let rest = rest.sized(u16::from_be_bytes([high, low]).into());
    // Any of the flags brings all of the optional fields.
    if flags & (EXTENSION | SEQUENCE | NUMBER) == 0 {
        return Ok((Next::Ip, rest));
    }
    let (&[_, _, _, extension], rest) = rest.header::<4>()?;
    Ok((if flags & EXTENSION != 0 { after_gtp(extension) } else { Next::Ip }, rest))
}

/// 3GPP TS 29.281 section 5.2.1: the first byte is the length in units of 4 bytes, the last says what follows.
pub(super) fn gtp_extension(piece: Piece<'_>) -> Step<'_> {
    let (&[units], _) = piece.header::<1>()?;
    let length = usize::from(units) * 4;
    let last = length.checked_sub(1).ok_or(Stop::Malformed)?;
    let (&[following], rest) = piece.after(last)?.header::<1>()?;
    Ok((after_gtp(following), rest))
}

const fn after_gtp(extension: u8) -> Next {
    if extension == 0 { Next::Ip } else { Next::GtpExtension }
}
