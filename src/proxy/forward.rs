//! Forwarding a request: take or open an upstream, exchange, keep both connections for the next one.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::http1::body::Body;
use crate::net::close;
use crate::outcome::{ConnectionEnd, RequestEnd};
use crate::proxy::Next;
use crate::proxy::buffer::Buffer;
use crate::proxy::connect::{self, Upstream};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::policy::Destination;
use crate::proxy::refuse::Reply;
use crate::proxy::relay::{Broken, Done, Exchange};
use crate::proxy::request::{self, Asked};
use crate::proxy::shared::Visitor;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::{presence, refuse};

/// One request and its answer.
pub(crate) async fn exchange(
    client: TcpStream,
    mut asked: Box<Asked>,
    entry: RequestEntry,
    visitor: &Visitor,
    buffer: &mut Buffer,
) -> Next {
    let worker = Arc::clone(&entry.worker);
    let (shared, settings) = (&worker.shared, &visitor.rules.settings);
    entry.line(std::mem::take(&mut asked.line));
    entry.received(asked.head_length);
    buffer.consume(asked.head_length);
    buffer.rest();
    // An origin that closes an idle connection as a request comes leaves open whether it was carried out: what may not be
    // sent twice is not given a used connection (RFC 9112 section 9.3.1).
    let mut pooled = if asked.repeatable { connect::pooled(&asked.to, &worker, visitor) } else { None };
    loop {
        let reused = pooled.is_some();
        let upstream = match pooled.take() {
            Some(upstream) => {
                entry.upstream(upstream.address(), None);
                upstream
            }
            None => match presence::unless_left(&client, buffer, connect::open(&asked.to, &entry, visitor)).await {
                Some(Ok((upstream, took))) => {
                    entry.upstream(upstream.address(), Some(took));
                    upstream
                }
                failed => {
                    let end = failed.and_then(Result::err).unwrap_or(RequestEnd::ClientGone);
                    return refuse::answer(client, reply(end, &asked, buffer), entry, visitor, buffer).await;
                }
            },
        };
        let exchange = Exchange {
            client: &client,
            upstream: &upstream.stream,
            asked: &asked,
            entry: &entry,
            via: &shared.via,
            limits: request::head_limits(visitor),
            stall: settings.timeouts.body,
            first_byte: settings.upstream.first_byte_timeout,
            slow: settings.alarm.slow,
            shared,
        };
        let mut answer = Buffer::default();
        match exchange.run(buffer, &mut answer).await {
            Ok(done) => {
                drop(answer);
                return finished(client, upstream, done, asked.to, entry, visitor, buffer).await;
            }
            // The one retry (RFC 9112 section 9.3.1): the origin closed an idle connection as we took it.
            Err(Broken::Unheard) if reused => upstream.abort(),
            Err(broken) => {
                entry.failed(broken.end(), &asked.to, Some(upstream.address()), answer.bytes());
                drop(answer);
                upstream.abort();
                return failed(client, broken, &asked, entry, visitor, buffer).await;
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
    buffer: &mut Buffer,
) -> Next {
    let worker = Arc::clone(&entry.worker);
    let (shared, settings) = (&worker.shared, &visitor.rules.settings);
    if let Some(first_answer) = done.switched {
        entry.received(buffer.len());
        let buffers = [std::mem::take(buffer), first_answer];
        let tunnel = Tunnel::new(client, upstream, buffers, &settings.timeouts, entry, RequestEnd::Upgraded);
        return Next::Carry(tunnel);
    }
    if done.keep_upstream && !shared.drain.begun() && shared.guard.pressure.relief().pool {
        worker.pool.keep(to.host, to.port, upstream, &settings.upstream, &shared.counters);
    } else {
        upstream.abort();
    }
    entry.end(RequestEnd::Forwarded);
    if done.keep_client {
        return Next::Again(client);
    }
    close::after_answer(client, close::LONG_ANSWER, shared.is_lean()).await;
    Next::Over(ConnectionEnd::Served)
}

async fn failed(
    client: TcpStream,
    broken: Broken,
    asked: &Asked,
    entry: RequestEntry,
    visitor: &Visitor,
    buffer: &mut Buffer,
) -> Next {
    let end = broken.end();
    if matches!(broken, Broken::After(_)) {
        // The client has a part of the answer: a reset tells it that it is not the whole.
        close::abort(client);
        entry.end(end);
        return Next::Over(ConnectionEnd::Failed);
    }
    refuse::answer(client, reply(end, asked, buffer), entry, visitor, buffer).await
}

fn reply(end: RequestEnd, asked: &Asked, buffer: &Buffer) -> Reply {
    Reply { end, to_head: asked.to_head, whole: asked.body == Body::Empty && buffer.is_empty() }
}
