//! The proxy's own connections.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use super::super::evidence::{Address, Endpoint, Evidence, Pair};
use super::super::findings::Onward;
use super::super::limits::ROWS;
use super::Case;

/// The addresses of the box of a proxy: its own, those that `--proxy` gives, and those that call what is asked for at it while it is
/// asked for, call little else, and are no clients of it.
pub(super) fn addresses(evidence: &Evidence, proxy: u32) -> Vec<IpAddr> {
    let Some(endpoint) = evidence.endpoints.get(proxy) else { return Vec::new() };
    let helps = |number: u32, address: &Address| {
        let is_client = || evidence.pairs.number(&(number, proxy)).is_some();
        address.fetched_for == Some(proxy) && address.fetched * 2 >= address.called && !is_client()
    };
    let rows = (0..).zip(&evidence.addresses.rows);
    let own = rows.filter(|(number, address)| evidence.is_box(endpoint.at.ip(), address.ip) || helps(*number, address));
    own.map(|(_, address)| address.ip).collect()
}

impl Case<'_> {
    /// What the box of the proxy opened. On a loopback address nobody can say whose connections they are: those to proxies are left
    /// out as their clients', the others told.
    fn outgoing(&self) -> impl Iterator<Item = (&Pair, &Endpoint)> {
        let evidence = self.evidence;
        let loopback = self.endpoint.at.ip().is_loopback();
        evidence.pairs.rows.iter().filter_map(move |pair| {
            let client = evidence.addresses.get(pair.client)?;
            let to = evidence.endpoints.get(pair.endpoint)?;
            let theirs = loopback && self.proxies.contains(&pair.endpoint);
            (self.own.contains(&client.ip) && !theirs).then_some((pair, to))
        })
    }

    /// Whether the box called itself. Loopback addresses call nobody else.
    fn is_circle(&self, to: &Endpoint) -> bool {
        !self.endpoint.at.ip().is_loopback() && self.own.contains(&to.at.ip())
    }

    /// Connections of the box to itself that no proxy of it got, and their packets: they come on top of those of its clients.
    pub(super) fn circles(&self) -> (u64, u64) {
        let own = self.outgoing().filter(|(pair, to)| self.is_circle(to) && !self.proxies.contains(&pair.endpoint));
        own.fold((0, 0), |(connections, packets), (pair, _)| {
            (connections.saturating_add(pair.total.into()), packets.saturating_add(pair.packets))
        })
    }

    pub(super) fn onward(&self) -> Onward {
        let mut onward = Onward {
            addresses: self.own.iter().copied().filter(|&ip| ip != self.endpoint.at.ip()).collect(),
            ..Onward::default()
        };
        let mut destinations: Vec<(SocketAddr, u64, u64)> = Vec::new();
        for (pair, to) in self.outgoing() {
            let (total, failed) = (u64::from(pair.total), u64::from(pair.refused) + u64::from(pair.unanswered));
            onward.connections += total;
            onward.refused += u64::from(pair.refused);
            onward.unanswered += u64::from(pair.unanswered);
            if self.is_circle(to) {
                onward.to_itself += total;
                onward.to_own_proxy += if self.proxies.contains(&pair.endpoint) { total } else { 0 };
            }
            destinations.push((to.at, total, failed));
        }
        let own = self.evidence.addresses.rows.iter().filter(|address| self.own.contains(&address.ip));
        onward.peak = own.map(|address| u64::from(address.outgoing.peak)).sum();
        destinations.sort_by_key(|(to, total, _)| (Reverse(*total), *to));
        destinations.truncate(ROWS);
        onward.destinations = destinations;
        onward
    }
}
