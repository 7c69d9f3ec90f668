//! What kind of address a destination has.
//!
//! Owns: [`Class`] and the IPv4 addresses inside IPv6 ones. Called by: the destination policy.
//! Never: decides what is allowed, or knows which addresses are ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// The kind of an address (RFC 6890 and the IANA special-purpose registries).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// An address of the internet. 198.18.0.0/15 (benchmarks, RFC 2544) counts as one: it is what test networks are made of,
    /// and it leads to nothing of anybody's.
    Public,
    /// `0.0.0.0` and `::`. Linux connects them to itself.
    Unspecified,
    /// 127.0.0.0/8 (RFC 1122 section 3.2.1.3) and `::1` (RFC 4291 section 2.5.3).
    Loopback,
    /// 169.254.0.0/16 (RFC 3927), cloud metadata included, and `fe80::/10` (RFC 4291 section 2.5.6).
    LinkLocal,
    /// RFC 1918, carrier-grade NAT 100.64.0.0/10 (RFC 6598), unique local `fc00::/7` (RFC 4193), site-local `fec0::/10`
    /// (RFC 3879).
    Private,
    /// 224.0.0.0/4 (RFC 5771) and `ff00::/8` (RFC 4291 section 2.7).
    Multicast,
    /// `255.255.255.255` (RFC 919). Directed broadcasts are known to [`OwnAddresses`](super::own::OwnAddresses).
    Broadcast,
    /// 0.0.0.0/8 and 240.0.0.0/4 (RFC 1122, RFC 1112), 192.0.0.0/24 (RFC 6890), documentation (RFC 5737, RFC 3849, RFC 9637)
    /// and discard-only `100::/64` (RFC 6666).
    Reserved,
    /// An IPv6 form that carries an IPv4 address somewhere no honest name points: IPv4-compatible `::/96` (RFC 4291 section
    /// 2.5.5.1), IPv4-translated `::ffff:0:0:0/96` (RFC 2765), local NAT64 `64:ff9b:1::/48` (RFC 8215), Teredo `2001::/32`
    /// (RFC 4380).
    Transition,
}

impl Class {
    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Private => "private",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::Transition => "transition",
        }
    }
}

/// The class of an address. IPv4-mapped addresses count as IPv4; NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`) as what they
/// embed, since that is where a gateway would deliver.
pub fn class(ip: IpAddr) -> Class {
    match ip.to_canonical() {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

const fn class_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        [0, 0, 0, 0] => Class::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Class::Private,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [224..=239, ..] => Class::Multicast,
        [255, 255, 255, 255] => Class::Broadcast,
        [0 | 240..=255, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Reserved,
        _ => Class::Public,
    }
}

fn class_v6(ip: Ipv6Addr) -> Class {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0 | 0xffff, 0, _, _] | [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Class::Transition,
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x2002, ..] => embedded_v4(ip).map_or(Class::Transition, class_v4),
        [0x100, 0, 0, 0, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Reserved,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        _ => Class::Public,
    }
}

/// The IPv4 address that an IPv6 address stands for, if it does: to be compared with our own addresses.
///
/// IPv4-mapped `::ffff:0:0/96`, IPv4-compatible `::/96` but `::` and `::1` (RFC 4291 section 2.5.5), IPv4-translated
/// `::ffff:0:0:0/96` (RFC 2765), NAT64 `64:ff9b::/96` (RFC 6052), 6to4 `2002::/16` (RFC 3056), Teredo `2001::/32`: there the
/// client, whose bits are inverted (RFC 4380 section 4); the server in bits 32 to 63 only helps on the way and is left out.
/// `64:ff9b:1::/48` is not decoded: where its networks put the address is their own affair (RFC 8215).
pub const fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(joined(high, low)),
        [0x2001, 0, .., high, low] => Some(joined(!high, !low)),
        _ => None,
    }
}

const fn joined(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}
