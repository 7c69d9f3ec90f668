//! What all connections share; nothing else is global.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::config::Settings;
use crate::guard::{Capacity, ClientBook, Limiter};
use crate::net::ClientKey;
use crate::net::loops::Loops;
use crate::net::own::OwnAddresses;
use crate::outcome::RequestEnd;
use crate::proxy::policy::Policy;
use crate::proxy::pool::Pool;
use crate::proxy::refuse::Answers;
use crate::proxy::resolve::Resolver;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counters::Counters;
use crate::telemetry::refusals::Refusals;

/// The snapshot a connection is born with and keeps: a reload reaches new connections only.
#[derive(Debug)]
pub struct Rules {
    /// The operator's settings.
    pub settings: Arc<Settings>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Connections per second and client.
    pub connection_rate: Limiter,
    /// Requests per second and client.
    pub request_rate: Limiter,
}

impl Rules {
    /// The rules these settings make. Limiters begin full: governor's state cannot be moved to another rate.
    pub fn new(settings: Arc<Settings>, counters: Arc<Counters>) -> std::io::Result<Self> {
        let limits = &settings.limits;
        Ok(Self {
            resolver: Resolver::new(&settings.upstream, counters)?,
            connection_rate: Limiter::new(limits.client_connection_rate, limits.clients_tracked),
            request_rate: Limiter::new(limits.client_request_rate, limits.clients_tracked),
            settings,
        })
    }
}

/// The rooms' handles.
#[derive(Debug)]
pub struct Shared {
    /// What new connections are judged by.
    pub rules: ArcSwap<Rules>,
    /// Our own addresses and names, live.
    pub own: Arc<ArcSwap<OwnAddresses>>,
    /// Our own outgoing connections.
    pub loops: Arc<Loops>,
    /// Who is inside.
    pub book: Arc<ClientBook>,
    /// How many sockets we may hold.
    pub capacity: Capacity,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Refusals per client and second.
    pub refusals: Arc<Refusals>,
    /// One line per request or tunnel.
    pub access: AccessLog,
    /// Prebuilt answers.
    pub answers: Answers,
    /// Our pseudonym in `Via`: unique per process, so that two gateways in a row are not taken for a loop.
    pub via: Box<str>,
    /// The kernel is short of `TIME_WAIT` places (set by control once a second).
    pub lean_close: AtomicBool,
    /// Whether the gateway is stopping.
    pub drain: Drain,
}

/// A worker: a thread with its own runtime, its own listener sockets and its own idle upstreams.
#[derive(Debug)]
pub struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Idle connections to origins, opened by this worker.
    pub pool: Pool,
}

/// Who a connection comes from and what it is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// The snapshot the connection was born with.
    pub(crate) rules: Arc<Rules>,
    /// The client's address and port, never IPv4-mapped.
    pub(crate) peer: SocketAddr,
    /// The client was over its limit when it came: its request is answered with this end.
    pub(crate) over_limit: Option<RequestEnd>,
}

impl Visitor {
    pub(crate) fn client(&self) -> ClientKey {
        ClientKey::new(self.peer.ip())
    }

    pub(crate) fn policy<'a>(&'a self, own: &'a OwnAddresses, shared: &'a Shared) -> Policy<'a> {
        Policy { settings: &self.rules.settings, own, via: &shared.via }
    }

    /// The limit that one more request of this client breaks.
    pub(crate) fn request_limit(&self) -> Option<RequestEnd> {
        if self.over_limit.is_some() {
            return self.over_limit;
        }
        let exempt = |ip: IpAddr| self.rules.settings.clients.exempt.iter().any(|net| net.contains(&ip));
        let allowed = self.rules.request_rate.allows(self.client()) || exempt(self.peer.ip());
        (!allowed).then_some(RequestEnd::RateLimited)
    }
}

/// The wish to stop: connections finish what runs and take nothing new.
#[derive(Debug, Default)]
pub struct Drain {
    begun: Arc<AtomicBool>,
    changed: Notify,
}

impl Drain {
    /// Begins it.
    pub fn begin(&self) {
        self.begun.store(true, Relaxed);
        self.changed.notify_waiters();
    }

    /// Whether it has begun.
    pub fn begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// The flag itself, for the admin.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.begun)
    }

    /// Waits until it begins.
    pub async fn wait(&self) {
        let changed = self.changed.notified();
        if !self.begun() {
            changed.await;
        }
    }
}
