//! Which endpoints are proxies.

use ahash::{AHashMap, AHashSet};

use crate::http1::target::Host;
use crate::net::class::{Class, class};

use super::super::evidence::{Asking, Endpoint, Evidence};
use super::super::findings::{Because, Form};
use super::super::limits::{CLIENTS, SITES};
use super::bypass::site;

/// The proxies, with what gives them away.
pub(super) fn find(evidence: &Evidence) -> Vec<(u32, Because)> {
    let mut asked: AHashMap<u32, Vec<&Asking>> = AHashMap::new();
    for asking in evidence.askings.rows.iter().filter(|asking| asking.form == Form::Absolute) {
        asked.entry(asking.endpoint).or_default().push(asking);
    }
    let mut clients: AHashMap<u32, usize> = AHashMap::new();
    for pair in evidence.pairs.rows.iter().filter(|pair| pair.requests > 0) {
        *clients.entry(pair.endpoint).or_default() += 1;
    }
    let rows = (0..).zip(&evidence.endpoints.rows).filter(|(_, endpoint)| endpoint.candidate);
    let mut found: Vec<(u32, Because)> = rows
        .filter_map(|(number, endpoint)| {
            let asked = asked.get(&number).map(Vec::as_slice).unwrap_or_default();
            because(evidence, endpoint, asked, clients.get(&number).copied().unwrap_or_default())
                .map(|because| (number, because))
        })
        .collect();
    // Nothing that was told got a request: then the port of it that was called most.
    if !found.iter().any(|(_, because)| *because == Because::Told) {
        let told = (0..).zip(&evidence.endpoints.rows).filter(|(_, endpoint)| endpoint.told);
        found.extend(told.max_by_key(|(_, endpoint)| endpoint.connected).map(|(number, _)| (number, Because::Told)));
    }
    found
}

fn because(evidence: &Evidence, endpoint: &Endpoint, asked: &[&Asking], clients: usize) -> Option<Because> {
    if endpoint.told && (endpoint.requests > 0 || evidence.is_told(endpoint.at)) {
        return Some(Because::Told);
    }
    let talk = endpoint.talk.as_deref()?;
    // Somebody who looks for open proxies sends CONNECT to web servers, which say that they do not know it.
    if talk.forms_of(Form::Authority) > talk.connects_not_spoken {
        return Some(Because::Connect);
    }
    if talk.forms_of(Form::Absolute) == 0 {
        return None;
    }
    if talk.proxy_fields_answered > 0 {
        return Some(Because::ProxyConnection);
    }
    if talk.own_other_port > 0 {
        return Some(Because::OtherPort);
    }
    // A server may be one of many names, and some clients send absolute-form straight to servers: so sites, not names.
    let foreign = asked.iter().filter(|asking| asking.kind.is_none());
    let sites: AHashSet<Host> =
        foreign.filter_map(|asking| Some(site(&asking.authority.as_ref()?.host))).take(SITES * 64).collect();
    let enough = if class(endpoint.at.ip()) == Class::Public { SITES } else { SITES - 1 };
    if sites.len() >= enough {
        return Some(Because::ManyHosts);
    }
    let onward = evidence.addresses.get(endpoint.address).is_some_and(|address| address.onward_in_flight > 0);
    if sites.is_empty() {
        return None;
    }
    if onward {
        return Some(Because::Onward);
    }
    let private = class(endpoint.at.ip()) == Class::Private;
    (private && clients >= CLIENTS).then_some(Because::FanIn)
}
