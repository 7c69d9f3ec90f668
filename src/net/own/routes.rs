//! The kernel's own answer to "is this me": the routes that end on this box. And where the others lead.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// `RT_TABLE_LOCAL` of `linux/rtnetlink.h`: where `ip route add local` puts a route, and the kernel those of addresses.
const LOCAL_TABLE: u8 = 255;
/// Datagrams of one dump, of up to 32 KiB each: more is an error.
const DATAGRAMS: usize = 1024;
const DATAGRAM: usize = 32 * 1024;

/// Networks whose packets are delivered here: by an address of an interface, by `ip route add local`, or as the anycast
/// address of a router (RFC 4291 section 2.6.1).
///
/// Tables other than local and main do not count: policy routing sends marked packets there, which ours are not.
pub(super) fn delivered_here() -> io::Result<Vec<IpNet>> {
    let mut networks = Vec::new();
    for (family, kind) in [
        (AddressFamily::Inet, RouteType::Local),
        (AddressFamily::Inet6, RouteType::Local),
        (AddressFamily::Inet6, RouteType::Anycast),
    ] {
        dump(family, kind, |route| networks.extend(network(route, kind)))?;
    }
    Ok(networks)
}

fn network(route: &RouteMessage, kind: RouteType) -> Option<IpNet> {
    let header = &route.header;
    if header.kind != kind || !matches!(header.table, LOCAL_TABLE | RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let destination = route.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Destination(destination) = attribute else { return None };
        match destination {
            RouteAddress::Inet(v4) => Some((*v4).into()),
            RouteAddress::Inet6(v6) => Some((*v6).into()),
            RouteAddress::Mpls(_) | RouteAddress::Other(_) | _ => None,
        }
    })?;
    IpNet::new(destination, header.destination_prefix_length).ok()
}

/// The routers that this box sends through, by all its tables.
pub fn routers() -> io::Result<Vec<IpAddr>> {
    let mut routers = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        dump(family, RouteType::Unicast, |route| next_hops(&route.attributes, &mut routers))?;
    }
    routers.sort_unstable();
    routers.dedup();
    Ok(routers)
}

fn next_hops(attributes: &[RouteAttribute], routers: &mut Vec<IpAddr>) {
    for attribute in attributes {
        if let RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) = attribute {
            routers.push((*v4).into());
        } else if let RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) =
            attribute
        {
            routers.push((*v6).into());
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            for hop in hops {
                next_hops(&hop.attributes, routers);
            }
        }
    }
}

/// Asks for all routes of a family and kind. A kernel before 4.20 does not sort them out, and tells all.
fn dump(family: AddressFamily, kind: RouteType, mut each: impl FnMut(&RouteMessage)) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_netlink_get_strict_chk(true).unwrap_or_default();
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut route = RouteMessage::default();
    route.header.address_family = family;
    route.header.kind = kind;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(route)));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut datagram = vec![0; DATAGRAM];
    for _ in 0..DATAGRAMS {
        let size = socket.recv(&mut datagram.as_mut_slice(), 0)?;
        let mut rest = datagram.get(..size).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = &message.payload {
                each(route);
            } else if let NetlinkPayload::Error(error) = &message.payload {
                return Err(error.to_io());
            } else if let NetlinkPayload::Done(done) = &message.payload {
                // A dump that fails half-way ends with its error here.
                return if done.code < 0 { Err(io::Error::from_raw_os_error(-done.code)) } else { Ok(()) };
            }
            // Messages are aligned to 4 bytes (netlink(7)).
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4).max(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    Err(io::Error::other("more local routes than can be read"))
}
