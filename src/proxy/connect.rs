//! From a destination to an open connection: pooled, or resolved, filtered and dialled; or not, if it keeps failing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::config::settings::{GuardMode, LadderMode, Limits};
use crate::guard::clients::Place;
use crate::guard::failing::{self, Outcome};
use crate::guard::{Client, Guard};
use crate::http1::target::Host;
use crate::net::loops::{Loops, Outgoing, Serves};
use crate::net::{buffers, close};
use crate::outcome::RequestEnd;
use crate::proxy::dial::{Dialled, dial};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::policy::Destination;
use crate::proxy::shared::{Shared, Visitor, Worker};

/// An open connection to an origin. While it lives, its local address is known as ours.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    outgoing: Outgoing,
    /// It began with little room ([`buffers::begin`]).
    narrow: bool,
    _open: Open,
}

/// Counts an upstream as open while it lives.
#[derive(Debug)]
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.upstreams_open.fetch_sub(1, Relaxed);
    }
}

impl Upstream {
    /// Where it leads.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.outgoing.remote
    }

    /// Whose it is from now on.
    pub(crate) fn serves(&self, whom: Serves) {
        self.outgoing.serves(whom);
    }

    /// Closes with a reset: see [`close::abort`].
    pub(crate) fn abort(self) {
        close::abort(self.stream);
    }
}

/// A pooled connection to this destination whose address may still be dialled today: the rules and our own addresses may
/// have changed since it was opened.
pub(crate) fn pooled(to: &Destination, worker: &Worker, visitor: &Visitor) -> Option<Upstream> {
    let shared = &worker.shared;
    let mut upstream = worker.pool.take(&to.host, to.port, &shared.counters)?;
    let own = shared.own.load();
    if visitor.policy(&own, shared).judge_address(to, upstream.address().ip()).is_err() {
        upstream.abort();
        return None;
    }
    // Not much stands still any more: short answers alone would never earn it more room.
    if upstream.narrow && !shared.guard.pressure.many_are_stuck() {
        buffers::set_free(&upstream.stream, shared.guard.pressure.relief().buffer);
        upstream.narrow = false;
    }
    upstream.serves(Serves::Client(visitor.key()));
    Some(upstream)
}

/// A connection to a destination: from memory, if that says it is not to be had, or newly opened.
///
/// # Errors
/// What the client is to be told.
pub(crate) async fn open(
    to: &Destination,
    entry: &RequestEntry,
    visitor: &Visitor,
) -> Result<(Upstream, Duration), RequestEnd> {
    let shared = &entry.worker.shared;
    let _place = place(visitor, |limits, client| client.opens(limits.client_openings))?;
    let opened = match Attempt::begin(to, shared, visitor) {
        Ok(mut attempt) => {
            let opened = establish(to, shared, visitor, &mut attempt).await;
            match &opened {
                // As good as timed out, for the operator.
                Ok((upstream, took)) if *took >= visitor.rules.settings.alarm.slow => {
                    entry.failed(RequestEnd::ConnectTimeout, to, Some(upstream.address()), &[]);
                }
                Ok(_) => {}
                Err(end) => entry.failed(*end, to, attempt.tried, &[]),
            }
            attempt.end(match &opened {
                Ok(_) => Outcome::Stands,
                Err(end) => Outcome::Failed(*end),
            });
            opened
        }
        Err(end) => Err(end),
    };
    if opened.is_err() {
        visitor.client.failed_on(&to.host, to.port);
    }
    opened
}

/// A place among what one client may have under way; the exempt need none.
fn place<'a>(
    visitor: &'a Visitor,
    take: impl FnOnce(&Limits, &'a Client) -> Option<Place<'a>>,
) -> Result<Option<Place<'a>>, RequestEnd> {
    match take(&visitor.rules.settings.limits, &visitor.client) {
        None if !visitor.is_exempt() => Err(RequestEnd::OpeningLimited),
        place => Ok(place),
    }
}

/// An attempt that the guard has let through, and learns from.
struct Attempt<'a> {
    to: &'a Destination,
    guard: &'a Guard,
    running: Option<failing::Attempt>,
    /// What it would fail with now.
    waits_for: RequestEnd,
    /// The address that could not be connected to.
    tried: Option<SocketAddr>,
}

impl<'a> Attempt<'a> {
    fn begin(to: &'a Destination, shared: &'a Shared, visitor: &Visitor) -> Result<Self, RequestEnd> {
        let (guard, settings) = (&shared.guard, &visitor.rules.settings.guard);
        let now = guard.clock.now();
        let free = visitor.is_exempt() || settings.ladder == LadderMode::Answer;
        let observed = settings.mode == GuardMode::Observe;
        let running = match guard.failing.begin(&to.host, to.port, now, free) {
            Err(_) if observed => {
                guard.observed.fetch_add(1, Relaxed);
                guard.failing.begin(&to.host, to.port, now, true)?
            }
            begun => begun?,
        };
        Ok(Self { to, guard, running: Some(running), waits_for: RequestEnd::DnsTimeout, tried: None })
    }

    /// The name has been resolved; `asked`: by the name servers, as far as can be told.
    fn resolved(&mut self, asked: bool) {
        self.waits_for = RequestEnd::ConnectTimeout;
        if asked {
            self.guard.failing.name_resolved(self.guard.clock.now());
        }
    }

    fn end(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(running) = self.running.take() {
            let Destination { host, port, .. } = self.to;
            self.guard.failing.ended(host, *port, running, outcome, self.guard.clock.now());
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.close(Outcome::Left(self.waits_for));
    }
}

/// Resolves, filters every address, dials what passed, and registers the connection before a byte is written on it.
async fn establish(
    to: &Destination,
    shared: &Arc<Shared>,
    visitor: &Visitor,
    attempt: &mut Attempt<'_>,
) -> Result<(Upstream, Duration), RequestEnd> {
    let mut candidates = candidates(to, shared, visitor, attempt).await?;
    candidates.retain(|address| !shared.loops.crowds(*address));
    if candidates.is_empty() || !shared.capacity.fits_upstream(&shared.counters) {
        return Err(RequestEnd::Overload);
    }
    shared.counters.upstreams_open.fetch_add(1, Relaxed);
    let open = Open(Arc::clone(shared));
    let begun = Instant::now();
    // Boxed, like the look-up: what the few need who are connected is not carried by the many who are refused.
    let dialled = Box::pin(dial(&candidates, &visitor.rules.settings.upstream)).await.map_err(|failed| {
        attempt.tried = failed.address;
        failed.end
    })?;
    let took = begun.elapsed();
    shared.counters.connect_seconds.record(took);
    if arrives_here(&dialled) && !visitor.policy(&shared.own.load(), shared).is_own_service(to, dialled.address) {
        close::abort(dialled.stream);
        return Err(RequestEnd::SelfTarget);
    }
    let narrow = shared.guard.pressure.many_are_stuck();
    if narrow {
        buffers::begin(&dialled.stream);
    }
    if let Some(most) = shared.guard.pressure.relief().buffer {
        buffers::limit_sent(&dialled.stream, most);
    }
    let outgoing = Loops::register(&shared.loops, dialled.local, dialled.address);
    outgoing.serves(Serves::Client(visitor.key()));
    Ok((Upstream { stream: dialled.stream, outgoing, narrow, _open: open }, took))
}

/// For what it delivers on this box the kernel takes the destination's own address as the source, or one of loopback: an
/// address has become ours since the list was read.
fn arrives_here(dialled: &Dialled) -> bool {
    let source = dialled.local.ip();
    source == dialled.address.ip() || source.is_loopback()
}

/// The addresses that may be dialled. Mixed answers are used as far as they are allowed.
async fn candidates(
    to: &Destination,
    shared: &Arc<Shared>,
    visitor: &Visitor,
    attempt: &mut Attempt<'_>,
) -> Result<Vec<SocketAddr>, RequestEnd> {
    let (resolved, asked) = match &to.host {
        Host::Address(ip) => (vec![*ip], false),
        Host::Name(name) => look_up(name, shared, visitor).await?,
    };
    attempt.resolved(asked);
    let own = shared.own.load();
    let policy = visitor.policy(&own, shared);
    let mut refused = RequestEnd::DnsFailure;
    let mut candidates = Vec::with_capacity(resolved.len());
    for ip in resolved {
        match policy.judge_address(to, ip) {
            Ok(address) => candidates.push(address),
            // That it is us weighs more than that it is private.
            Err(end) if refused != RequestEnd::SelfTarget => refused = end,
            Err(_) => {}
        }
    }
    if candidates.is_empty() { Err(refused) } else { Ok(candidates) }
}

/// The addresses of a name, and whether they had to be waited for: the cache and /etc/hosts answer at once, and whatever the
/// client has in flight.
async fn look_up(name: &str, shared: &Shared, visitor: &Visitor) -> Result<(Vec<IpAddr>, bool), RequestEnd> {
    let mut asking = Box::pin(visitor.rules.resolver.resolve(name));
    if let Poll::Ready(known) = futures_util::poll!(asking.as_mut()) {
        return Ok((known?, false));
    }
    let limit = |limits: &Limits| shared.capacity.client_lookups(limits.client_lookups);
    let _place = place(visitor, |limits, client| client.asks(limit(limits)))?;
    Ok((asking.await?, true))
}
