//! Forwarding a request: take or open an upstream, exchange, keep both connections for the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::net::close;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::Next;
use crate::proxy::buffer::Buffer;
use crate::proxy::connect::{self, Upstream};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::policy::Destination;
use crate::proxy::refuse;
use crate::proxy::relay::{Broken, Done, Exchange};
use crate::proxy::request::{self, Asked};
use crate::proxy::shared::Visitor;
use crate::proxy::tunnel::Tunnel;

/// A request that may not be sent twice takes a pooled connection only when it was used this recently: the race with the
/// origin's own idle time-out (RFC 9112 section 9.6) is then all but impossible.
const FRESH: Duration = Duration::from_secs(1);

/// One request and its answer.
pub(crate) async fn exchange(
    client: TcpStream,
    asked: Asked,
    to: Destination,
    entry: RequestEntry,
    visitor: &Visitor,
    buffer: &mut Buffer,
) -> Next {
    let worker = Arc::clone(&entry.worker);
    let (shared, settings) = (&worker.shared, &visitor.rules.settings);
    entry.line(asked.line.clone());
    entry.received(buffer.bytes().len());
    buffer.consume(asked.head_length);
    let rest = if asked.repeatable { settings.upstream.idle_timeout } else { FRESH };
    let mut pooled = worker.pool.take(&to.host, to.port, rest, &shared.counters);
    loop {
        let reused = pooled.is_some();
        let upstream = match pooled.take() {
            Some(upstream) => upstream,
            None => match connect::open(&to, shared, visitor).await {
                Ok((upstream, took)) => {
                    entry.upstream(upstream.address, Some(took));
                    upstream
                }
                Err(end) => return refuse::answer(client, end, asked.to_head, entry, buffer).await,
            },
        };
        if reused {
            entry.upstream(upstream.address, None);
        }
        let exchange = Exchange {
            client: &client,
            upstream: &upstream.stream,
            asked: &asked,
            entry: &entry,
            via: &shared.via,
            limits: request::head_limits(visitor),
            timeouts: &settings.timeouts,
            first_byte: settings.upstream.first_byte_timeout,
            last: shared.drain.begun(),
        };
        match exchange.run(buffer).await {
            Ok(mut done) => {
                if done.switched.is_some() {
                    done.unread = std::mem::take(buffer);
                }
                return finished(client, upstream, done, to, entry, visitor).await;
            }
            // The one retry (RFC 9112 section 9.3.1): the origin closed an idle connection as we took it.
            Err(Broken::Unheard) if reused && asked.repeatable => upstream.abort(),
            Err(broken) => {
                upstream.abort();
                return failed(client, broken, &asked, entry, buffer).await;
            }
        }
    }
}

/// Books the request, and decides what becomes of the two connections.
async fn finished(
    client: TcpStream,
    upstream: Upstream,
    done: Done,
    to: Destination,
    entry: RequestEntry,
    visitor: &Visitor,
) -> Next {
    let worker = Arc::clone(&entry.worker);
    let (shared, settings) = (&worker.shared, &visitor.rules.settings);
    if let Some(first_answer) = done.switched {
        let (idle, half_closed) = (settings.timeouts.tunnel_idle, settings.timeouts.half_closed);
        let early = done.unread;
        let end = RequestEnd::Upgraded;
        return Next::Carry(Tunnel { client, upstream, early, first_answer, idle, half_closed, end }, entry);
    }
    if done.keep_upstream && !shared.drain.begun() {
        worker.pool.keep(to.host, to.port, upstream, &settings.upstream, &shared.counters);
    } else {
        upstream.abort();
    }
    entry.end(RequestEnd::Forwarded);
    if done.keep_client {
        return Next::Again(client);
    }
    close::after_answer(client, close::LONG_ANSWER, shared.lean_close.load(Relaxed)).await;
    Next::Over(ConnectionEnd::Served)
}

async fn failed(client: TcpStream, broken: Broken, asked: &Asked, entry: RequestEntry, buffer: &mut Buffer) -> Next {
    let end = match broken {
        Broken::Unheard => RequestEnd::UpstreamReset,
        Broken::Before(end) | Broken::After(end) => end,
    };
    if matches!(broken, Broken::After(_)) {
        // The client has a part of the answer: a reset tells it that it is not the whole.
        close::abort(client);
        entry.end(end);
        return Next::Over(ConnectionEnd::Failed);
    }
    refuse::answer(client, end, asked.to_head, entry, buffer).await
}
