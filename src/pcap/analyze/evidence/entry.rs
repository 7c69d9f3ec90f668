//! Entering: each conversation to its rows in the tables.

use std::net::SocketAddr;

use super::super::super::stream::Conversation;
use super::super::findings::{Form, SelfKind};
use super::super::limits::{ADDRESSES, ENDPOINTS, PAIRS, SERIES, TARGET, TARGETS, WATCHED};
use super::Evidence;
use super::asked::Asked;
use super::journey::Live;
use super::pace::Bins;
use super::tables::{Address, Asking, Endpoint, Pair};
use super::watched::Watched;
use crate::http1::target::{Authority, Host};

impl Evidence {
    /// Enters a conversation in the tables; `brought`: it brought a request.
    pub(super) fn enter(&mut self, conversation: &Conversation, brought: bool) -> Option<Live> {
        let limit = |rows: usize| if brought { rows } else { rows / 4 * 3 };
        let (client, at) = (conversation.client.ip().to_canonical(), canonical(conversation.server));
        let client = self.addresses.enter(client, limit(ADDRESSES), || Address::new(client))?;
        let endpoint = if let Some(endpoint) = self.endpoints.number(&at) {
            endpoint
        } else {
            let server = self.addresses.enter(at.ip(), limit(ADDRESSES), || Address::new(at.ip()))?;
            let told = self.options.proxies.iter().any(|told| told.names(at));
            self.endpoints.enter(at, limit(ENDPOINTS), || Endpoint::new(at, server, told))?
        };
        let pair =
            self.pairs.enter((client, endpoint), limit(PAIRS), || Pair::new(client, endpoint, conversation.opened))?;
        let endpoint_row = self.endpoints.get_mut(endpoint)?;
        endpoint_row.connections.up();
        endpoint_row.connected += 1;
        let (candidate, server) = (endpoint_row.candidate, endpoint_row.address);
        let pair_row = self.pairs.get_mut(pair)?;
        pair_row.total = pair_row.total.saturating_add(1);
        pair_row.connections.up();
        let box_row = self.addresses.get_mut(server)?;
        box_row.sockets.up();
        if candidate {
            box_row.time_wait.get_or_insert_default();
        }
        let caller = self.addresses.get_mut(client)?;
        caller.sockets.up();
        caller.outgoing.up();
        caller.called += 1;
        caller.onward_in_flight += u64::from(caller.in_flight > 0 && client != server);
        self.fetch(client, at);
        let mut live = Live::new(pair, conversation);
        if candidate {
            self.count_attempt(&mut live, WATCHED);
        }
        Some(live)
    }

    /// Whether a conversation fetches what is being asked for at an endpoint: then its client may be another address of that box.
    fn fetch(&mut self, client: u32, at: SocketAddr) -> Option<()> {
        let endpoint = *self.wanted.get(&at)?;
        let asked = self.endpoints.get(endpoint)?.address;
        let in_flight = self.addresses.get(asked)?.in_flight > 0;
        let caller = self.addresses.get_mut(client).filter(|_| in_flight && client != asked)?;
        let first = *caller.fetched_for.get_or_insert(endpoint);
        caller.fetched += u64::from(first == endpoint);
        Some(())
    }

    /// The pair of a conversation, watched from now on if it was not, as far as `limit` goes.
    pub(super) fn watch(&mut self, pair: u32, limit: usize) -> Option<&mut Watched> {
        let row = self.pairs.get_mut(pair)?;
        let number = if let Some(number) = row.watched {
            number
        } else {
            let number = u32::try_from(self.watched.len()).ok().filter(|_| self.watched.len() < limit)?;
            self.watched.push(Watched::default());
            *row.watched.insert(number)
        };
        self.watched.get_mut(number as usize)
    }

    /// Counts the attempt under way among those of its pair.
    pub(super) fn count_attempt(&mut self, live: &mut Live, limit: usize) {
        if live.attempt.counted || !live.attempt.under_way {
            return;
        }
        let (mut grid, mut series) = (self.grid, self.series);
        let Some(watched) = self.watch(live.pair, limit) else { return };
        live.attempt.counted = true;
        watched.attempts.add(live.attempt.began);
        if watched.bins.is_none() && series < SERIES {
            watched.bins = Some(Bins::new(&grid));
            series += 1;
        }
        if let Some(bins) = &mut watched.bins {
            bins.add(&mut grid, live.attempt.began);
        }
        (self.grid, self.series) = (grid, series);
    }

    /// What an endpoint was asked for, and how that names its box.
    pub(super) fn ask(&mut self, endpoint: u32, asked: &Asked<'_>) -> Meant {
        let Some(row) = self.endpoints.get(endpoint) else { return Meant::default() };
        let meant = |asked: &Asked<'_>| {
            let authority = asked.parsed();
            let kind = authority.as_ref().and_then(|authority| asked.self_kind(authority, row.at, &self.own));
            let port = authority.as_ref().map_or(0, |authority| asked.port(authority));
            (authority, kind, port)
        };
        let key = self.keys.hash_one((endpoint, asked.form, asked.authority));
        let known = self.askings.enter(key, TARGETS, || {
            let (authority, kind, port) = meant(asked);
            let text = asked.authority.get(..TARGET).unwrap_or(asked.authority);
            let text = String::from_utf8_lossy(text).into_owned().into_boxed_str();
            Asking { endpoint, form: asked.form, count: 0, failed: 0, text, authority, port, kind }
        });
        if let Some(number) = known
            && let Some(asking) = self.askings.get_mut(number)
        {
            asking.count += 1;
            if asking.count == 1
                && asking.form != Form::Origin
                && asking.kind.is_none()
                && let Some(Authority { host: Host::Address(ip), .. }) = asking.authority
            {
                self.wanted.entry(SocketAddr::new(ip, asking.port)).or_insert(endpoint);
            }
            return Meant { kind: asking.kind, port: asking.port, told: known };
        }
        let (_, kind, port) = meant(asked);
        Meant { kind, port, told: None }
    }

    /// Whether a conversation still has the server it was entered with.
    pub(super) fn is_of(&self, live: &Live, conversation: &Conversation) -> bool {
        let endpoint = self.pairs.get(live.pair).and_then(|pair| self.endpoints.get(pair.endpoint));
        endpoint.is_some_and(|endpoint| endpoint.at == canonical(conversation.server))
    }

    /// Takes back what entering a conversation has counted.
    pub(super) fn leave(&mut self, mut live: Live) -> Option<()> {
        self.gone(&mut live);
        let pair = self.pairs.get_mut(live.pair)?;
        pair.total = pair.total.saturating_sub(1);
        let endpoint = self.endpoints.get_mut(pair.endpoint)?;
        endpoint.connected = endpoint.connected.saturating_sub(1);
        let caller = self.addresses.get_mut(pair.client)?;
        caller.called = caller.called.saturating_sub(1);
        Some(())
    }
}

/// An IPv4-mapped address is its IPv4 address.
fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// What a request means by what it names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meant {
    pub(super) kind: Option<SelfKind>,
    pub(super) port: u16,
    /// Its row.
    pub(super) told: Option<u32>,
}
