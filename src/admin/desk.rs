//! Where everything is, and who gets it.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request, StatusCode};
use prometheus_client::registry::Registry;

use super::answer::{Answer, dress, json, later, line, method_not_allowed, respond, with};
use super::changes::{self, RELEASE};
use super::connection::Visitor;
use super::exposition::{self, Format};
use super::guesses::Guesses;
use super::limits::CONNECTIONS;
use super::places::Places;
use super::press::Press;
use super::readers::Readers;
use super::{Board, assets, hosts, metrics, percent, status};
use crate::net::ClientKey;

/// Below it, the address of a client.
const CLIENTS: &str = "/api/v1/clients/";

/// What was turned away, since the start.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    /// Connections, since too many were open.
    pub(super) connections: AtomicU64,
    /// Wrong tokens, and those that were not looked at.
    pub(super) credentials: AtomicU64,
    /// Connections, since their peer took nothing.
    pub(super) given_up: AtomicU64,
}

/// What the connections share.
#[derive(Debug)]
pub struct Desk {
    pub(super) board: Arc<Board>,
    /// Places of those who ask.
    pub(super) places: Arc<Places>,
    pub(super) turned_away: Arc<TurnedAway>,
    registry: Registry,
    readers: Readers,
    guesses: Guesses,
    status: Press,
    metrics: Press<Format>,
    history: Press<Option<u64>>,
    clients: Press<ClientKey>,
}

impl Desk {
    /// One that shows this.
    pub fn new(board: Arc<Board>) -> Self {
        let turned_away = Arc::new(TurnedAway::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics::Exporter::new(Arc::clone(&board), Arc::clone(&turned_away))));
        Self {
            readers: Readers::new(&board),
            guesses: Guesses::new(Arc::clone(&turned_away)),
            places: Places::new(CONNECTIONS),
            board,
            registry,
            turned_away,
            status: Press::new(),
            metrics: Press::new(),
            history: Press::new(),
            clients: Press::new(),
        }
    }

    /// Everything the page shows, as JSON on one line.
    pub fn status(&self) -> String {
        status::status(self).to_string()
    }

    /// The metrics, as `OpenMetrics`; empty if they cannot be written.
    pub fn metrics(&self) -> String {
        self.exposition(Format::OpenMetrics)
    }

    fn exposition(&self, format: Format) -> String {
        let histograms = self.board.counters.histograms();
        let wanted = self.board.settings.load().admin.exemplars;
        // Nothing is kept before somebody scrapes, or what nobody can be shown.
        for (_, histogram) in histograms {
            histogram.exemplars.want(wanted);
        }
        // Before the counts: what is an example has been counted then.
        let exemplars = histograms.map(|(name, histogram)| (name, histogram.exemplars.read()));
        let mut page = String::with_capacity(32 << 10);
        if prometheus_client::encoding::text::encode(&mut page, &self.registry).is_err() {
            return String::new();
        }
        match format {
            Format::OpenMetrics if wanted => exposition::with_exemplars(&page, &exemplars),
            Format::OpenMetrics => page,
            Format::Text => exposition::text(&page),
        }
    }

    /// Connections that ask.
    pub(super) fn connections(&self) -> usize {
        self.places.taken()
    }

    pub(super) fn admits(&self, peer: IpAddr) -> bool {
        admits(&self.board, peer)
    }

    pub(super) async fn answer(&self, visitor: &Visitor, request: Request<Incoming>) -> Answer {
        // Asked again for each request: a kept connection must not outlive a change of the settings.
        if !self.admits(visitor.peer) {
            return line(StatusCode::FORBIDDEN, "This address is not in allow of [admin] in the configuration.\n");
        }
        let own = [self.board.admin_address, visitor.local];
        if !hosts::accepted(&request, own, &self.board.settings.load().admin.hosts) {
            return line(
                StatusCode::FORBIDDEN,
                "This host name is not accepted. Add it to hosts of [admin] in the configuration.\n",
            );
        }
        if let Some(answer) = self.readers.judge(&self.board, &self.guesses, visitor, &request) {
            return answer;
        }
        if request.uri().path() == RELEASE {
            return changes::release(&self.board, &self.guesses, visitor, request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed("Only GET and HEAD.\n", "GET, HEAD");
        }
        self.show(visitor, &request)
    }

    fn show<B>(&self, visitor: &Visitor, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        if let Some((kind, content)) = assets::at(path) {
            return respond(StatusCode::OK, kind, Bytes::from_static(content.as_bytes()));
        }
        match path {
            "/healthz" => line(StatusCode::OK, "ok\n"),
            "/readyz" if self.board.draining.load(Relaxed) => line(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => line(StatusCode::OK, "ready\n"),
            "/metrics" => self.show_metrics(Format::accepted(request.headers())),
            "/api/v1/status" => self.status.get((), || self.status().into()).map_or_else(busy, json),
            "/api/v1/history" => self.show_history(request.uri().query()),
            "/api/v1/events" => self.show_events(visitor, request),
            _ => match path.strip_prefix(CLIENTS) {
                Some(address) => self.show_client(address),
                None => line(StatusCode::NOT_FOUND, "There is no such page.\n"),
            },
        }
    }

    fn show_metrics(&self, format: Format) -> Answer {
        match self.metrics.get(format, || self.exposition(format).into()) {
            Some(text) if text.is_empty() => {
                line(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n")
            }
            Some(text) => respond(StatusCode::OK, format.kind(), text),
            None => busy(),
        }
    }

    fn show_history(&self, query: Option<&str>) -> Answer {
        let Ok(since) = parameter(query, "since").map(u64::from_str).transpose() else {
            return line(StatusCode::BAD_REQUEST, "since is no time: whole seconds since 1970.\n");
        };
        match self.history.get(since, || written(&(self.board.history)(since))) {
            Some(document) if document.is_empty() => line(StatusCode::NOT_FOUND, "No history is kept.\n"),
            Some(document) => json(document),
            None => busy(),
        }
    }

    fn show_client(&self, address: &str) -> Answer {
        let Some(client) = percent::ascii(address).as_deref().and_then(client) else {
            let why = "This is no client: an IPv4 address, an IPv6 address or its /64, such as 10.0.0.1 or 2001:db8::%2F64.\n";
            return line(StatusCode::BAD_REQUEST, why);
        };
        match self.clients.get(client, || status::client(&self.board, client).as_ref().map_or_else(Bytes::new, written))
        {
            Some(document) if document.is_empty() => line(
                StatusCode::NOT_FOUND,
                format!("Nothing is known of {client}: it has nothing open, and was not refused lately.\n"),
            ),
            Some(document) => json(document),
            None => busy(),
        }
    }

    fn show_events<B>(&self, visitor: &Visitor, request: &Request<B>) -> Answer {
        // It could not read them, but it would take the places.
        if changes::is_cross_site(request.headers(), &self.board.settings.load().admin.hosts) {
            return line(StatusCode::FORBIDDEN, "A page of another site asked for this.\n");
        }
        let kind = "text/event-stream";
        if *request.method() == Method::HEAD {
            return dress(StatusCode::OK, kind, Empty::new().boxed_unsync());
        }
        let (board, peer) = (Arc::clone(&self.board), visitor.peer);
        let Some(events) = self.board.events.listen(visitor.from, move || admits(&board, peer)) else {
            return later(StatusCode::SERVICE_UNAVAILABLE, "Too many listen already, or the gateway drains.\n");
        };
        visitor.listens();
        // nginx in between would keep events back until it has a page full of them.
        let buffering = header::HeaderName::from_static("x-accel-buffering");
        let answer = with(dress(StatusCode::OK, kind, events), buffering, "no");
        with(answer, header::CONNECTION, "close")
    }
}

fn admits(board: &Board, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    board.settings.load().admin.allow.iter().any(|net| net.contains(&peer))
}

/// So many ask that this cannot be made for all of them.
fn busy() -> Answer {
    later(StatusCode::SERVICE_UNAVAILABLE, "Too many ask for this.\n")
}

/// A JSON document; nothing for null.
fn written(value: &serde_json::Value) -> Bytes {
    if value.is_null() { Bytes::new() } else { value.to_string().into() }
}

/// The first of this name in a query, as it is written there.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// The client of this name: an address, or a network that is a client, as the lists show it.
fn client(text: &str) -> Option<ClientKey> {
    if let Ok(address) = text.parse() {
        return Some(ClientKey::new(address));
    }
    let network = changes::network(text)?;
    let client = ClientKey::new(network.addr());
    [Some(client), client.site()].into_iter().flatten().find(|client| client.network() == network)
}

#[cfg(test)]
mod tests {
    use super::{client, parameter};

    #[test]
    fn a_client_has_the_names_it_is_shown_by() {
        let shown = |text: &str| client(text).map(|client| client.to_string());
        for (text, name) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("2001:db8:5::/48", "2001:db8:5::/48"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", "10.0.0.0/24", "2001:db8::/32", "2001:db8::/128", "localhost", "10.0.0.1 ", "1", "::1%lo"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(parameter(None, "since"), None);
        assert_eq!(parameter(Some("a=1&since=7&since=8"), "since"), Some("7"));
        assert_eq!(parameter(Some("since"), "since"), None);
        assert_eq!(parameter(Some("since="), "since"), Some(""));
    }
}
