//! IEEE 802.11: data frames that are not encrypted.

use super::piece::Piece;
use super::{Kind, Next, Step, Stop};

/// `LINKTYPE_IEEE802_11_RADIOTAP`: what the radio measured, skipped (<https://www.radiotap.org>).
pub(super) fn radiotap(piece: &mut Piece<'_>) -> Step {
    let &[_, _, low, high] = piece.peek()?;
    piece.skip(u16::from_le_bytes([low, high]).into())?;
    Ok(Next::Wlan)
}

/// IEEE 802.11-2020 section 9.3.2.1.
pub(super) fn data(piece: &mut Piece<'_>) -> Step {
    let &[kind, flags] = piece.peek()?;
    // Version 0, type 2; subtypes with the bit 0x40 carry nothing.
    if kind & 0x4f != 0x08 {
        return Err(Stop::Other(Kind::Wlan(kind)));
    }
    if flags & 0x40 != 0 {
        return Err(Stop::Other(Kind::EncryptedWlan));
    }
    let fourth_address = if flags & 3 == 3 { 6 } else { 0 };
    let quality = kind & 0x80 != 0;
    // The order bit of a frame with quality of service says that there is an HT control field.
    let control = match (quality, flags & 0x80 != 0) {
        (true, true) => 6,
        (true, false) => 2,
        (false, _) => 0,
    };
    piece.skip(24 + fourth_address + control)?;
    // Some cards pad this header to a multiple of 4. Nothing of interest begins so.
    if let [0, 0, ..] = piece.bytes() {
        piece.skip(2)?;
    }
    Ok(Next::Llc)
}
