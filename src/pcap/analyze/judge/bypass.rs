//! Clients that use the proxy and also go past it.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ahash::{AHashMap, AHashSet};

use crate::http1::target::Host;
use crate::net::class::{Class, class};

use super::super::findings::{Bypass, Form, Onward, Relation};
use super::super::limits::ROWS;
use super::Case;

/// What a host has in common with its siblings: of a name the last two labels, three where the second-last looks like a public
/// suffix (`co.uk`, `com.cn`); of an address the /24 or /48.
pub(super) fn site(host: &Host) -> Host {
    match host {
        Host::Address(IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            Host::Address(Ipv4Addr::new(a, b, c, 0).into())
        }
        Host::Address(IpAddr::V6(v6)) => {
            let [a, b, c, ..] = v6.segments();
            Host::Address(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())
        }
        Host::Name(name) => {
            let mut labels = name.rsplitn(4, '.');
            let (top, second, third) = (labels.next(), labels.next(), labels.next());
            let suffix = top.is_some_and(|top| top.len() == 2) && second.is_some_and(|second| second.len() <= 3);
            let kept = [top, second, third.filter(|_| suffix)];
            let length = kept.iter().flatten().map(|label| label.len() + 1).sum::<usize>().saturating_sub(1);
            let start = name.len().saturating_sub(length);
            Host::Name(name.get(start..).unwrap_or(name).into())
        }
    }
}

/// Whether the neighbours of a host are its siblings: those of a private address are anybody.
fn near(host: &Host) -> bool {
    match host {
        Host::Address(ip) => is_outside(*ip),
        Host::Name(_) => true,
    }
}

/// Whether an address is somewhere on the internet, or stands for that in an example.
fn is_outside(ip: IpAddr) -> bool {
    matches!(class(ip), Class::Public | Class::Reserved)
}

/// What is asked for through a proxy.
#[derive(Default)]
struct Asked {
    hosts: AHashSet<Host>,
    sites: AHashSet<Host>,
}

impl Asked {
    fn add(&mut self, host: &Host) {
        self.sites.insert(site(host));
        self.hosts.insert(host.clone());
    }

    fn relation(&self, host: &Host) -> Relation {
        if self.hosts.contains(host) {
            Relation::Same
        } else if near(host) && self.sites.contains(&site(host)) {
            Relation::Sibling
        } else {
            Relation::Other
        }
    }
}

impl Case<'_> {
    pub(super) fn bypass(&self, onward: &Onward) -> Vec<Bypass> {
        let evidence = self.evidence;
        let clients: AHashSet<u32> = self.pairs.iter().map(|pair| pair.client).collect();
        let of_a_box = |ip: IpAddr| self.boxes.contains(&ip);
        let past = evidence.pairs.rows.iter().filter(|pair| clients.contains(&pair.client)).filter_map(|pair| {
            let to = evidence.endpoints.get(pair.endpoint)?;
            let client = self.client(pair);
            (!of_a_box(to.at.ip()) && !of_a_box(client)).then_some((pair, client, to))
        });
        let past: Vec<_> = past.collect();
        if past.is_empty() {
            return Vec::new();
        }
        let asked = self.asked(onward);
        let mut names: AHashMap<u32, Vec<&Host>> = past.iter().map(|(pair, ..)| (pair.endpoint, Vec::new())).collect();
        // CONNECT names whom a server is to call, not the server.
        for asking in evidence.askings.rows.iter().filter(|asking| asking.form != Form::Authority) {
            if let (Some(names), Some(authority)) = (names.get_mut(&asking.endpoint), &asking.authority)
                && matches!(authority.host, Host::Name(_))
            {
                names.push(&authority.host);
            }
        }
        let mut found: Vec<Bypass> = past
            .into_iter()
            .map(|(pair, client, to)| {
                let by_address = (asked.relation(&Host::Address(to.at.ip())), None);
                let names = names.get(&pair.endpoint).into_iter().flatten();
                let by_name = names.map(|name| (asked.relation(name), Some(*name)));
                // The first of the most telling; a name tells more than an address.
                let (relation, host) =
                    by_name.chain([by_address]).min_by_key(|(relation, _)| *relation).unwrap_or(by_address);
                Bypass {
                    client,
                    destination: to.at,
                    host: host.map(ToString::to_string),
                    relation,
                    private: !is_outside(to.at.ip()),
                    connections: pair.total.into(),
                    bytes: pair.bytes,
                    first: pair.first,
                }
            })
            .collect();
        found.sort_by_key(|one| (one.relation, one.private, Reverse(one.connections), one.client, one.destination));
        found.truncate(ROWS);
        found
    }

    /// Hosts that were asked for through this proxy, and addresses that it called.
    fn asked(&self, onward: &Onward) -> Asked {
        let mut asked = Asked::default();
        let proxied = self.askings.iter().filter(|asking| matches!(asking.form, Form::Absolute | Form::Authority));
        for authority in proxied.filter(|asking| asking.kind.is_none()).filter_map(|asking| asking.authority.as_ref()) {
            asked.add(&authority.host);
        }
        for (to, ..) in &onward.destinations {
            asked.add(&Host::Address(to.ip()));
        }
        asked
    }
}
