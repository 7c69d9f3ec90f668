//! Who is never fenced, whatever it does: this box, those it lives by, and those the operator wants in.

use std::net::IpAddr;

use hickory_resolver::system_conf;
use ipnet::IpNet;
use tracing::warn;

use crate::config::Settings;
use crate::net::own::{self, OwnAddresses};

/// The routers this box sends through (one of them may hide a whole branch behind its address) and the name servers of
/// /etc/resolv.conf. It takes a look at the routing table; `None` if that cannot be had: then those hold that were known.
pub(super) fn look_up() -> Option<Vec<IpAddr>> {
    let routers = own::routers().inspect_err(|error| {
        warn!(%error, "the routers could not be read: one that is new and storms may be fenced");
    });
    let mut found = routers.ok()?;
    // No such file is no name server.
    if let Ok((config, _)) = system_conf::read_system_conf() {
        found.extend(config.name_servers().iter().map(|server| server.ip.to_canonical()));
    }
    Some(found)
}

/// Whether a network holds anybody who is never fenced.
///
/// A network of IPv6 in which this box has an address itself is one in which others have theirs too: on a LAN all share a
/// /64, and link-local addresses all links.
pub(super) fn is_never(network: IpNet, settings: &Settings, own: &OwnAddresses, sacred: &[IpAddr]) -> bool {
    let overlaps = |other: &IpNet| other.contains(&network) || network.contains(other);
    let one = |address: IpAddr| network.contains(&address.to_canonical());
    // Whole networks that may see the dashboard are often the whole LAN.
    let is_host = |allowed: &&IpNet| allowed.prefix_len() == allowed.max_prefix_len();
    let link_local = matches!(network, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
    link_local
        || own.touches(&network)
        || sacred.iter().copied().any(one)
        || settings.own.addresses.iter().copied().any(one)
        || settings.upstream.dns_servers.iter().any(|server| one(server.ip()))
        || settings.clients.exempt.iter().any(overlaps)
        || settings.admin.allow.iter().filter(is_host).any(overlaps)
}
