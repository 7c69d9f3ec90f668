//! The proxy's own connections.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::super::evidence::{Endpoint, Pair};
use super::super::findings::Onward;
use super::super::limits::ROWS;
use super::Case;

impl Case<'_> {
    /// What the box of the proxy opened. On a loopback address nobody can say whose connections they are: those to proxies are left
    /// out as their clients', the others told.
    fn outgoing(&self) -> impl Iterator<Item = (&Pair, &Endpoint)> {
        let evidence = self.evidence;
        let box_ip = self.endpoint.at.ip();
        evidence.pairs.rows.iter().filter_map(move |pair| {
            let client = evidence.addresses.get(pair.client)?;
            let to = evidence.endpoints.get(pair.endpoint)?;
            let circle =
                box_ip.is_loopback() && evidence.is_box(box_ip, to.at.ip()) && self.proxies.contains(&pair.endpoint);
            (evidence.is_box(box_ip, client.ip) && !circle).then_some((pair, to))
        })
    }

    /// Whether the box called itself. Loopback addresses call nobody else.
    fn is_circle(&self, to: &Endpoint) -> bool {
        !self.endpoint.at.ip().is_loopback() && self.evidence.is_box(self.endpoint.at.ip(), to.at.ip())
    }

    /// Connections of the box to itself that no proxy of it got, and their packets: they come on top of those of its clients.
    pub(super) fn circles(&self) -> (u64, u64) {
        let own = self.outgoing().filter(|(pair, to)| self.is_circle(to) && !self.proxies.contains(&pair.endpoint));
        own.fold((0, 0), |(connections, packets), (pair, _)| {
            (connections.saturating_add(pair.total.into()), packets.saturating_add(pair.packets))
        })
    }

    pub(super) fn onward(&self) -> Onward {
        let mut onward = Onward::default();
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
        let address = self.evidence.addresses.get(self.endpoint.address);
        onward.peak = address.map_or(0, |address| address.outgoing.peak.into());
        destinations.sort_by_key(|(to, total, _)| (Reverse(*total), *to));
        destinations.truncate(ROWS);
        onward.destinations = destinations;
        onward
    }
}
