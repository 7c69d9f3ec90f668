//! Who takes part: the addresses of the LAN of the incident, and an internet of documentation addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::stage::MILLISECOND;

/// The gateway, where the capture is made.
pub(super) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 115, 5, 2));
/// The same in the LAN's IPv6 network.
pub(super) const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd0a, 0x115, 0, 0, 0, 0, 5, 2));
/// Its proxy.
pub(super) const PROXY: SocketAddr = SocketAddr::new(GATEWAY, 3128);
/// The same over IPv6.
pub(super) const PROXY_V6: SocketAddr = SocketAddr::new(GATEWAY_V6, 3128);
/// A web server on the gateway, which knows none of the pages that the broken clients ask for.
pub(super) const PORTAL: SocketAddr = SocketAddr::new(GATEWAY, 80);
/// The address that the PCs of a branch office share.
pub(super) const NAT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 115, 200, 1));

/// A server on the internet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub name: &'static str,
    pub address: IpAddr,
    /// From the gateway to the server and back, nanoseconds.
    pub leg: u64,
}

/// A server that is so far away.
pub(super) const fn v4(name: &'static str, octets: [u8; 4], milliseconds: u64) -> Origin {
    let [a, b, c, d] = octets;
    Origin { name, address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), leg: milliseconds * MILLISECOND }
}

const fn v6(name: &'static str, last: u16, milliseconds: u64) -> Origin {
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
    Origin { name, address, leg: milliseconds * MILLISECOND }
}

/// Sites that people look at.
pub(super) const SITES: &[Origin] = &[
    v4("www.example.com", [203, 0, 113, 10], 34),
    v4("news.example.com", [203, 0, 113, 25], 11),
    v4("img.example.net", [198, 51, 100, 20], 18),
    v4("cdn.example.net", [198, 51, 100, 21], 10),
    v4("mail.example.org", [198, 51, 100, 77], 46),
    v4("static.example.org", [192, 0, 2, 80], 27),
    v4("download.example.org", [192, 0, 2, 99], 80),
    v6("www6.example.com", 0x10, 38),
    v6("cdn6.example.net", 0x21, 14),
];

/// The messenger's servers.
pub(super) const MESSENGER: &[Origin] = &[
    v4("szshort.weixin.qq.com", [203, 0, 113, 119], 32),
    v4("szextshort.weixin.qq.com", [203, 0, 113, 120], 33),
    v4("szlong.weixin.qq.com", [203, 0, 113, 158], 36),
];

/// The PC of this number.
pub(super) fn pc(number: u32) -> IpAddr {
    let [_, _, third, fourth] = (number / 200 * 256 + number % 200).saturating_add(0x1415).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 115, third, fourth))
}

/// The same PC's IPv6 address.
pub(super) fn pc_v6(number: u32) -> IpAddr {
    let [high, low] = [number >> 16, number & 0xffff].map(|part| u16::try_from(part).unwrap_or_default());
    IpAddr::V6(Ipv6Addr::new(0xfd0a, 0x115, 0, 0, 0, 1, high, low))
}

/// What an address is to the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Gateway,
    Lan,
    Outside,
}

fn place(address: IpAddr) -> Place {
    match address {
        GATEWAY | GATEWAY_V6 => Place::Gateway,
        IpAddr::V4(v4) if v4.octets().first() == Some(&10) => Place::Lan,
        IpAddr::V6(v6) if v6.segments().first() == Some(&0xfd0a) => Place::Lan,
        IpAddr::V4(_) | IpAddr::V6(_) => Place::Outside,
    }
}

/// The hardware address that a frame between these two names for the first. The gateway's talk with itself is on its loopback
/// interface, which has none; what passes through it is captured on the LAN's side.
pub(super) fn mac(of: IpAddr, other: IpAddr) -> [u8; 6] {
    const GATEWAY_CARD: [u8; 6] = [2, 0, 10, 115, 5, 2];
    const ROUTER_CARD: [u8; 6] = [2, 0, 10, 115, 0, 1];
    match (place(of), place(other)) {
        (Place::Gateway, Place::Gateway) => [0; 6],
        (Place::Gateway, _) | (Place::Outside, Place::Lan) => GATEWAY_CARD,
        (Place::Outside, _) => ROUTER_CARD,
        (Place::Lan, _) => match of {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                [2, 0, a, b, c, d]
            }
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                [2, 6, a, b, c, d]
            }
        },
    }
}

/// What is left of the time to live where the capture is made: Windows begins at 128, Linux at 64.
pub(super) fn ttl(source: IpAddr, destination: IpAddr) -> u8 {
    match (place(source), place(destination)) {
        (Place::Gateway, _) => 64,
        (Place::Lan, _) => 128,
        (Place::Outside, _) => 52,
    }
}
