//! What carries packets in packets: GRE and what goes through it, MPLS, and tunnels over UDP.

use super::link::ethertype;
use super::piece::Piece;
use super::{Kind, Next, Step, Stop};

/// RFC 3032 section 2.1: a label. What is under the last of them no number tells: IP by its version (RFC 4928 section 3), or else
/// Ethernet, perhaps behind the control word of a pseudowire (RFC 4385 section 3), which begins as many addresses do.
pub(super) fn mpls(piece: &mut Piece<'_>) -> Step {
    let &[_, _, bottom, _] = piece.header()?;
    if bottom & 1 == 0 {
        return Ok(Next::Mpls);
    }
    let &[first] = piece.peek()?;
    match first >> 4 {
        4 => return Ok(Next::Ipv4),
        6 => return Ok(Next::Ipv6),
        0 => {
            let frame: &[u8; 14] = piece.peek()?;
            if ethertype(u16::from_be_bytes([frame[12], frame[13]])).is_err() {
                piece.skip(4)?;
            }
        }
        _ => {}
    }
    Ok(Next::Ethernet)
}

/// RFC 2784, RFC 2890, and PPTP's kind (RFC 2637 section 4.1).
pub(super) fn gre(piece: &mut Piece<'_>) -> Step {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const ACKNOWLEDGEMENT: u8 = 0x80;
    const VERSION: u8 = 0x07;
    let &[flags, more, high, low] = piece.header()?;
    if flags & ROUTING != 0 || more & VERSION > 1 {
        return Err(Stop::Other(Kind::Protocol(47)));
    }
    let options = [flags & CHECKSUM, flags & KEY, flags & SEQUENCE, more & ACKNOWLEDGEMENT];
    piece.skip(options.into_iter().filter(|&option| option != 0).count() * 4)?;
    match u16::from_be_bytes([high, low]) {
        0x880b => Ok(Next::Ppp),
        // ERSPAN: the first has no header; the second numbers its packets, and has one of 8 bytes.
        0x88be if flags & SEQUENCE == 0 => Ok(Next::Ethernet),
        0x88be => piece.skip(8).map(|()| Next::Ethernet),
        0x22eb => Ok(Next::Erspan3),
        0x883e => Ok(Next::Wccp),
        // Aruba's controllers: frames of the air.
        0x8200..=0x8210 => Ok(Next::Wlan),
        number => ethertype(number),
    }
}

/// The third ERSPAN (draft-foschiano-erspan section 4.3): 12 bytes, and 8 more if its last bit says so.
pub(super) fn erspan3(piece: &mut Piece<'_>) -> Step {
    let header: &[u8; 12] = piece.header()?;
    if header[11] & 1 != 0 {
        piece.skip(8)?;
    }
    Ok(Next::Ethernet)
}

/// How routers hand connections to a transparent proxy: its second version has 4 bytes before the packet.
pub(super) fn wccp(piece: &mut Piece<'_>) -> Step {
    let &[first] = piece.peek()?;
    if first >> 4 != 4 {
        piece.skip(4)?;
    }
    Ok(Next::Ip)
}

/// Tunnels are known by their ports, and by headers that look like theirs.
pub(super) fn udp(piece: &mut Piece<'_>) -> Step {
    const GTP: u16 = 2152;
    const VXLAN: u16 = 4789;
    /// Linux's own number for VXLAN, from before the other.
    const OLD_VXLAN: u16 = 8472;
    const GENEVE: u16 = 6081;
    let &[s0, s1, d0, d1, l0, l1, _, _] = piece.header()?;
    if let Some(length) = u16::from_be_bytes([l0, l1]).checked_sub(8) {
        piece.resize(length.into());
    }
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    match (destination, piece.bytes()) {
        (VXLAN | OLD_VXLAN, [flags, ..]) if flags & 0x08 != 0 => Ok(Next::Vxlan),
        (GENEVE, [version, ..]) if version >> 6 == 0 => Ok(Next::Geneve),
        // Version 1, and a packet of the user's.
        (_, [flags, 0xff, ..]) if flags >> 4 == 3 && (destination == GTP || source == GTP) => Ok(Next::Gtp),
        _ => Err(Stop::Other(Kind::Protocol(17))),
    }
}

/// RFC 7348 section 5.
pub(super) fn vxlan(piece: &mut Piece<'_>) -> Step {
    piece.skip(8)?;
    Ok(Next::Ethernet)
}

/// RFC 8926 section 3.4.
pub(super) fn geneve(piece: &mut Piece<'_>) -> Step {
    let &[options, _, high, low, _, _, _, _] = piece.header()?;
    piece.skip(usize::from(options & 0x3f) * 4)?;
    ethertype(u16::from_be_bytes([high, low]))
}

/// 3GPP TS 29.281 section 5.1.
pub(super) fn gtp(piece: &mut Piece<'_>) -> Step {
    const EXTENSION: u8 = 4;
    const SEQUENCE: u8 = 2;
    const NUMBER: u8 = 1;
    let &[flags, _, high, low, _, _, _, _] = piece.header()?;
    piece.resize(u16::from_be_bytes([high, low]).into());
    // Any of the flags brings all of the optional fields.
    if flags & (EXTENSION | SEQUENCE | NUMBER) == 0 {
        return Ok(Next::Ip);
    }
    let &[_, _, _, following] = piece.header()?;
    Ok(after_gtp(if flags & EXTENSION == 0 { 0 } else { following }))
}

/// 3GPP TS 29.281 section 5.2.1: the first byte is the length in units of 4 bytes, the last says what follows.
pub(super) fn gtp_extension(piece: &mut Piece<'_>) -> Step {
    let &[units] = piece.peek()?;
    let last = (usize::from(units) * 4).checked_sub(1).ok_or(Stop::Malformed)?;
    piece.skip(last)?;
    let &[following] = piece.header()?;
    Ok(after_gtp(following))
}

const fn after_gtp(extension: u8) -> Next {
    if extension == 0 { Next::Ip } else { Next::GtpExtension }
}
