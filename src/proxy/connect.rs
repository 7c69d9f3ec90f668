//! From a destination to an open connection: pooled, or resolved, filtered and dialled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::http1::target::Host;
use crate::net::close;
use crate::net::loops::{Loops, Outgoing};
use crate::outcome::RequestEnd;
use crate::proxy::dial::{Dialled, dial};
use crate::proxy::policy::Destination;
use crate::proxy::shared::{Shared, Visitor, Worker};

/// An open connection to an origin. While it lives, its local address is known as ours.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    outgoing: Outgoing,
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

    /// Closes with a reset: see [`close::abort`].
    pub(crate) fn abort(self) {
        close::abort(self.stream);
    }
}

/// A pooled connection to this destination whose address may still be dialled today: the rules and our own addresses may
/// have changed since it was opened.
pub(crate) fn pooled(to: &Destination, worker: &Worker, visitor: &Visitor) -> Option<Upstream> {
    let shared = &worker.shared;
    let upstream = worker.pool.take(&to.host, to.port, &shared.counters)?;
    let own = shared.own.load();
    if visitor.policy(&own, shared).judge_address(to, upstream.address().ip()).is_err() {
        upstream.abort();
        return None;
    }
    Some(upstream)
}

/// Resolves, filters every address, dials what passed, and registers the connection before a byte is written on it.
pub(crate) async fn open(
    to: &Destination,
    shared: &Arc<Shared>,
    visitor: &Visitor,
) -> Result<(Upstream, Duration), RequestEnd> {
    let candidates = candidates(to, shared, visitor).await?;
    if !shared.capacity.fits_upstream(&shared.counters) {
        return Err(RequestEnd::Overload);
    }
    shared.counters.upstreams_open.fetch_add(1, Relaxed);
    let open = Open(Arc::clone(shared));
    let begun = Instant::now();
    // Boxed, like the look-up: what the few need who are connected is not carried by the many who are refused.
    let dialled = Box::pin(dial(&candidates, &visitor.rules.settings.upstream)).await?;
    let took = begun.elapsed();
    shared.counters.connect_seconds.record(took);
    if arrives_here(&dialled) && !visitor.policy(&shared.own.load(), shared).is_own_service(to, dialled.address) {
        close::abort(dialled.stream);
        return Err(RequestEnd::SelfTarget);
    }
    let outgoing = Loops::register(&shared.loops, dialled.local, dialled.address);
    Ok((Upstream { stream: dialled.stream, outgoing, _open: open }, took))
}

/// For what it delivers on this box the kernel takes the destination's own address as the source, or one of loopback: an
/// address has become ours since the list was read.
fn arrives_here(dialled: &Dialled) -> bool {
    let source = dialled.local.ip();
    source == dialled.address.ip() || source.is_loopback()
}

/// The addresses that may be dialled. Mixed answers are used as far as they are allowed.
async fn candidates(to: &Destination, shared: &Arc<Shared>, visitor: &Visitor) -> Result<Vec<SocketAddr>, RequestEnd> {
    let resolved = match &to.host {
        Host::Address(ip) => vec![*ip],
        Host::Name(name) => Box::pin(visitor.rules.resolver.resolve(name)).await?,
    };
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
