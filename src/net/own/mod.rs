//! Our own addresses and names, live.
//!
//! Owns: [`OwnAddresses`] and the notices of the kernel behind it. Called by: the self-target rule; main starts [`watch`].
//! Never: resolves a name, knows the configured aliases, or forgets an address because the list could not be read.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashSet;
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use pnet::ipnetwork::IpNetwork;
use tracing::warn;

mod routes;
pub use routes::routers;
#[cfg(test)]
mod tests;

/// Which addresses and names were ours at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnAddresses {
    addresses: AHashSet<IpAddr>,
    /// Whole networks that are delivered here.
    networks: Vec<IpNet>,
    broadcasts: AHashSet<Ipv4Addr>,
    names: AHashSet<String>,
}

/// The names of the loopback addresses in the hosts files of the distributions; `localhost` by RFC 6761 section 6.3.
const LOOPBACK_NAMES: [&str; 8] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

impl OwnAddresses {
    /// From addresses, each with the directed broadcast of its network if there is one, and host names.
    pub fn new(
        addresses: impl IntoIterator<Item = (IpAddr, Option<Ipv4Addr>)>,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut own = Self::default();
        for (address, broadcast) in addresses {
            own.addresses.insert(address.to_canonical());
            own.broadcasts.extend(broadcast);
        }
        for mut name in names {
            name.make_ascii_lowercase();
            own.names.insert(name.trim_end_matches('.').to_owned());
        }
        own
    }

    /// The same, and everything in these networks.
    #[must_use]
    pub fn with_networks(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        for network in networks {
            if network.prefix_len() == network.max_prefix_len() {
                self.addresses.insert(network.addr().to_canonical());
            } else {
                self.networks.push(network);
            }
        }
        self.networks.sort_unstable();
        self.networks.dedup();
        self
    }

    /// What the kernel lists now: the addresses of every interface, up or down, what it delivers here by its routes, and the
    /// host name, whole and without its domain.
    ///
    /// # Errors
    /// When there is no list, as when no descriptor is left to ask for it. Keep the previous one then: an empty one would
    /// let requests to ourselves pass.
    pub fn read() -> io::Result<Self> {
        Self::read_after(&Self::default())
    }

    /// The same. If the routes cannot be read, the networks known before stay.
    fn read_after(before: &Self) -> io::Result<Self> {
        let interfaces = pnet::datalink::interfaces();
        // Even an empty network namespace has its loopback interface; pnet returns nothing when getifaddrs(3) fails.
        if interfaces.is_empty() {
            return Err(io::Error::other("the interfaces could not be listed"));
        }
        let networks = interfaces.into_iter().flat_map(|interface| interface.ips);
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let short = host.split('.').next().unwrap_or_default();
        // "(none)" is the kernel's name for a host that was never given one.
        let names = [&*host, short].into_iter();
        let names = names.filter(|name| !name.is_empty() && *name != "(none)");
        let own =
            Self::new(networks.map(|network| (network.ip(), directed_broadcast(network))), names.map(str::to_owned));
        let networks = routes::delivered_here().unwrap_or_else(|error| {
            warn!(%error, "the local routes could not be read: what was known of them stays");
            before.networks.clone()
        });
        Ok(own.with_networks(networks))
    }

    /// Whether a connection to this address would arrive here. IPv4-mapped addresses count as IPv4. Always ours: the whole of
    /// 127.0.0.0/8, `::1`, and 0.0.0.0 and `::`, which Linux (and so a client's stack) connects to itself. The rest of 0.0.0.0/8
    /// it routes to the default gateway: not ours, though reserved.
    pub fn owns(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let always = match ip {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified(),
        };
        always || self.addresses.contains(&ip) || self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether any address of this network is ours.
    pub fn touches(&self, network: &IpNet) -> bool {
        self.owns(network.addr())
            || self.addresses().any(|address| network.contains(&address))
            || self.networks.iter().any(|own| network.contains(own))
    }

    /// Whether this is `255.255.255.255` or the broadcast address of one of our networks.
    pub fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        ip.is_broadcast() || self.broadcasts.contains(&ip)
    }

    /// Whether this is a host name of ours or a name of loopback. `name` is lower case and has no trailing dot.
    pub fn names(&self, name: &str) -> bool {
        LOOPBACK_NAMES.contains(&name) || name.ends_with(".localhost") || self.names.contains(name)
    }

    /// The addresses, in no order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }
}

/// The last address of an IPv4 network (RFC 919); networks of one or two addresses have none (RFC 3021).
fn directed_broadcast(network: IpNetwork) -> Option<Ipv4Addr> {
    match network {
        IpNetwork::V4(v4) => matches!(v4.prefix(), 1..=30).then(|| v4.broadcast()),
        IpNetwork::V6(_) => None,
    }
}

/// How long the list may be stale when the kernel's notices cannot be had, or the list could not be read.
const BLIND: Duration = Duration::from_secs(5);
/// How often the list is read although nothing was heard: nobody tells when the host name changes.
const SWEEP: Duration = Duration::from_mins(1);
/// Between two readings, so that an interface that flaps cannot make us read all the time. The first notice after a calm is
/// followed at once.
const PACE: Duration = Duration::from_millis(5);
/// The same, in multiples of what a reading takes: a box whose routes change all the time has other things to do.
const LEISURE: u32 = 10;
/// Between two attempts to hear the kernel's notices again, at most, in multiples of [`BLIND`].
const PATIENCE: u32 = 12;

/// Keeps `current` true for ever, and calls `changed` after each change. Run it as a task of its own.
///
/// Any notice about an address, a link or a route, or the loss of one, makes it read the whole list again: there is one way to read,
/// and no notice to misread. Where rtnetlink(7) is refused, the list is read every five seconds.
pub async fn watch(current: Arc<ArcSwap<OwnAddresses>>, mut changed: impl FnMut(&OwnAddresses)) {
    let mut patience = 1;
    loop {
        let error = match subscribe() {
            Ok(notices) => {
                patience = 1;
                follow(&notices, &current, &mut changed).await
            }
            Err(error) => error,
        };
        warn!(%error, "no notices of address changes: reading the list every five seconds");
        for _ in 0..patience {
            refresh(&current, &mut changed);
            tokio::time::sleep(BLIND).await;
        }
        patience = PATIENCE.min(patience * 2);
    }
}

/// A socket that hears of every link, address and route of our network namespace.
///
/// Its messages are not decoded, only waited for: so none can be misunderstood, and none is queued but in the socket's own
/// bounded buffer, whose overrun is a notice too.
fn subscribe() -> io::Result<TokioSocket> {
    const GROUPS: u32 = (libc::RTMGRP_LINK
        | libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_ROUTE)
        .unsigned_abs();
    let mut notices = TokioSocket::new(NETLINK_ROUTE)?;
    notices.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    Ok(notices)
}

/// Reads after every notice, until there can be no more: returns why.
async fn follow(
    notices: &TokioSocket,
    current: &ArcSwap<OwnAddresses>,
    changed: &mut impl FnMut(&OwnAddresses),
) -> io::Error {
    loop {
        // Subscribed first, read second: a change in between is a notice that waits for us.
        let begun = Instant::now();
        let wait = if refresh(current, changed) { SWEEP } else { BLIND };
        tokio::time::sleep(PACE.max(begun.elapsed() * LEISURE)).await;
        let mut heard = tokio::select! {
            heard = notice(notices) => Some(heard),
            () = tokio::time::sleep(wait) => None,
        };
        // One reading answers all that has come by now.
        while let Some(notice_or_end) = heard {
            if let Err(error) = notice_or_end {
                return error;
            }
            heard = notice(notices).now_or_never();
        }
    }
}

/// Waits for one datagram, or for the news that some were lost.
async fn notice(notices: &TokioSocket) -> io::Result<()> {
    let mut unread = [0; 16];
    match notices.recv(&mut unread.as_mut_slice()).await {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        heard => heard,
    }
}

/// Reads the list and publishes it if it differs. `false` if it could not be read.
fn refresh(current: &ArcSwap<OwnAddresses>, changed: &mut impl FnMut(&OwnAddresses)) -> bool {
    match OwnAddresses::read_after(&current.load()) {
        Ok(own) => {
            if own != **current.load() {
                let own = Arc::new(own);
                current.store(Arc::clone(&own));
                changed(&own);
            }
            true
        }
        Err(error) => {
            warn!(%error, "own addresses are not up to date");
            false
        }
    }
}
