//! What all connections share; nothing else is global.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::Settings;
use crate::config::settings::{Limits, Rate};
use crate::guard::{Capacity, Client, Guard, Limiter, Manner, Refusal};
use crate::kernel::conntrack::Forgetter;
use crate::net::ClientKey;
use crate::net::lingering::Lingering;
use crate::net::loops::Loops;
use crate::net::own::OwnAddresses;
use crate::outcome::RequestEnd;
use crate::proxy::accept::Spare;
use crate::proxy::hold::Holding;
use crate::proxy::policy::Policy;
use crate::proxy::pool::Pool;
use crate::proxy::refuse::{Answers, Refused, Reply};
use crate::proxy::resolve::Resolver;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counters::Counters;
use crate::telemetry::errors::Errors;
use crate::telemetry::history::History;
use crate::telemetry::refusals::Refusals;

/// The snapshot a connection is born with and keeps: a reload reaches new connections only.
#[derive(Debug)]
pub struct Rules {
    /// The operator's settings.
    pub settings: Arc<Settings>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Connections per second and client.
    pub connection_rate: Arc<Limiter>,
    /// Requests per second and client.
    pub request_rate: Arc<Limiter>,
}

impl Rules {
    /// The rules these settings make. A limiter whose rate has not changed is taken over, with what every client has used
    /// up; one whose rate has changed begins anew, since governor's state cannot be moved to another rate.
    pub fn new(
        settings: Arc<Settings>,
        old: Option<&Self>,
        capacity: &Capacity,
        counters: Arc<Counters>,
    ) -> std::io::Result<Self> {
        let limiter = |rate: fn(&Limits) -> Rate, built: fn(&Self) -> &Arc<Limiter>| {
            let limits = &settings.limits;
            let same = |limits: &Limits| (rate(limits), limits.clients_tracked);
            match old {
                Some(old) if same(&old.settings.limits) == same(limits) => Arc::clone(built(old)),
                _ => Arc::new(Limiter::new(rate(limits), limits.clients_tracked)),
            }
        };
        Ok(Self {
            resolver: Resolver::new(&settings.upstream, capacity.lookups(), counters)?,
            connection_rate: limiter(|limits| limits.client_connection_rate, |rules| &rules.connection_rate),
            request_rate: limiter(|limits| limits.client_request_rate, |rules| &rules.request_rate),
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
    /// Who is inside, who storms, how much is left.
    pub guard: Arc<Guard>,
    /// How many sockets we may hold.
    pub capacity: Capacity,
    /// Makes connection tracking forget what was dropped; `None` where nothing may be dropped.
    pub forgetter: Option<Forgetter>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Refusals per client and second.
    pub refusals: Arc<Refusals>,
    /// Requests that failed at their destination, per second.
    pub errors: Errors,
    /// What the last quarter of an hour was like.
    pub history: Arc<Mutex<History>>,
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
    /// For the moment when no descriptor is left.
    pub spare: Spare,
    /// Accept loops that run.
    pub accepting: AtomicUsize,
}

impl Shared {
    /// Whether closes should cost no `TIME_WAIT` (see [`crate::net::close`]).
    pub(crate) fn is_lean(&self) -> bool {
        self.lean_close.load(Relaxed)
    }

    /// Whether pressure ends what has stood still for so long, and counts it if so. Exempt clients are not its business.
    pub(crate) fn reaps(&self, stood: Duration, allowed: Option<Duration>, peer: IpAddr) -> bool {
        let reaps = allowed.is_some_and(|allowed| stood >= allowed)
            && !self.rules.load().settings.clients.exempts(peer.to_canonical());
        if reaps {
            self.guard.pressure.reaped.fetch_add(1, Relaxed);
        }
        reaps
    }
}

/// A worker: a thread with its own runtime, its own listener sockets and its own idle upstreams.
#[derive(Debug)]
pub struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Idle connections to origins, opened by this worker.
    pub pool: Pool,
    /// Refused connections that wait for their client's FIN.
    pub lingering: Lingering<Refused>,
    /// Refused connections whose answer is late on purpose.
    pub holding: Holding,
}

impl Worker {
    /// One that has nothing yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, pool: Pool::default(), lingering: Lingering::default(), holding: Holding::default() }
    }
}

#[cfg(test)]
impl Worker {
    /// One without a gateway around it.
    pub(crate) fn alone(settings: Settings) -> Arc<Self> {
        let (counters, capacity) = (Arc::new(Counters::new([])), Capacity::new(1_000));
        let rules = Rules::new(Arc::new(settings), None, &capacity, Arc::clone(&counters)).unwrap();
        Arc::new(Self::new(Arc::new(Shared {
            rules: ArcSwap::from_pointee(rules),
            own: Arc::new(ArcSwap::from_pointee(OwnAddresses::read().unwrap())),
            loops: Arc::default(),
            guard: Arc::new(Guard::new(1_000, false)),
            capacity,
            forgetter: None,
            counters,
            refusals: Arc::default(),
            errors: Errors::default(),
            history: Arc::default(),
            access: AccessLog::off(),
            answers: Answers::default(),
            via: "alone".into(),
            lean_close: false.into(),
            drain: Drain::default(),
            spare: Spare::default(),
            accepting: 0.into(),
        })))
    }
}

/// Who a connection comes from and what it is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// The snapshot the connection was born with.
    pub(crate) rules: Arc<Rules>,
    /// The client's address and port, never IPv4-mapped.
    pub(crate) peer: SocketAddr,
    /// Its entry in the client book.
    pub(crate) client: Arc<Client>,
    /// The client was over its limit when it came: its request is answered with this end.
    pub(crate) over_limit: Option<RequestEnd>,
}

impl Visitor {
    pub(crate) fn policy<'a>(&'a self, own: &'a OwnAddresses, shared: &'a Shared) -> Policy<'a> {
        Policy { settings: &self.rules.settings, own, via: &shared.via }
    }

    /// The limit that one more request of this client breaks.
    pub(crate) fn request_limit(&self) -> Option<RequestEnd> {
        if self.over_limit.is_some() {
            return self.over_limit;
        }
        let allowed = self.is_exempt() || self.rules.request_rate.allows(self.key());
        (!allowed).then_some(RequestEnd::RateLimited)
    }

    /// Whether its client is never limited.
    /// What it is limited and counted by.
    pub(crate) fn key(&self) -> ClientKey {
        ClientKey::new(self.peer.ip())
    }

    pub(crate) fn is_exempt(&self) -> bool {
        self.rules.settings.clients.exempts(self.peer.ip())
    }

    /// How the guard wants a reply to be made.
    pub(crate) fn manner(&self, reply: Reply, shared: &Shared) -> Manner {
        let Reply { end, whole, .. } = reply;
        let refusal = Refusal { client: &self.client, exempt: self.is_exempt(), end, whole };
        shared.guard.refused(&refusal, &self.rules.settings.guard, shared.guard.clock.now())
    }
}

/// The wish to stop: connections finish what runs and take nothing new; when the time for that is over, they are cut.
#[derive(Debug, Default)]
pub struct Drain {
    begun: Arc<AtomicBool>,
    over: AtomicBool,
    changed: Notify,
}

impl Drain {
    /// Begins it.
    pub fn begin(&self) {
        self.begun.store(true, Relaxed);
        self.changed.notify_waiters();
    }

    /// Ends what has not finished by itself.
    pub fn cut(&self) {
        self.over.store(true, Relaxed);
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

    /// Whether what still runs is to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Wakes everything that waits here: what it waits for may be true now.
    pub fn look_again(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until it begins.
    pub fn wait(&self) -> impl Future<Output = ()> + Send {
        self.wait_until(|| self.begun().then_some(()))
    }

    /// Waits until its time is over.
    pub fn wait_for_cut(&self) -> impl Future<Output = ()> + Send {
        self.wait_until(|| self.is_over().then_some(()))
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn holds its arguments twice, and every connection waits here"
    )]
    /// Waits for an answer to this question, which is asked at every change, and once a second under pressure.
    pub fn wait_until<T>(&self, ready: impl Fn() -> Option<T> + Send) -> impl Future<Output = T> + Send {
        async move {
            loop {
                // Created before the question is asked: a change in between is not missed.
                let changed = self.changed.notified();
                if let Some(answer) = ready() {
                    return answer;
                }
                changed.await;
            }
        }
    }
}
