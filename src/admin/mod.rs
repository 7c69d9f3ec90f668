//! What the operator and Prometheus see over HTTP: the page, the status, the metrics, the health checks; and what the
//! operator may change.
//!
//! Owns: the admin listener's connections and answers, the token. Called by: the gateway, on control's runtime ([`serve`]).
//! Never: changes anything without the token, waits for anything but its own sockets, or answers a client or a host name it
//! was not told about.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Settings;
use crate::guard::Guard;
use crate::kernel::view::KernelView;
use crate::net::ClientKey;
use crate::telemetry::Counters;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::refusals::Refusals;

mod changes;
mod hosts;
mod metrics;
mod process;
mod status;
pub mod token;
pub(crate) mod words;

pub(crate) use changes::{RELEASE, network};
use token::Token;

/// Connections at once; more are closed unanswered and counted.
const CONNECTIONS: usize = 64;
/// From the start of the wait for a request, idle time included, to its complete head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is kept at most so long, so that nobody holds one of the few by not reading.
const LIFE: Duration = Duration::from_mins(2);
/// How long the last answer of an old connection may take.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// The pause after the first accept that failed for want of a resource; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Failing accepts are logged at most this often.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// Everything the admin interface shows; filled by the gateway.
pub struct Board {
    /// What the gateway counts.
    pub counters: Arc<Counters>,
    /// The kernel's view; `None` until it was first read.
    pub kernel: Arc<ArcSwapOption<KernelView>>,
    /// The settings in force; `[admin] allow` and `hosts` are obeyed as they change.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The proxy's listeners, as bound.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener, as bound.
    pub admin_address: SocketAddr,
    /// When the gateway started.
    pub started: Instant,
    /// Set while the gateway drains: `/readyz` says 503.
    pub draining: Arc<AtomicBool>,
    /// Who was refused.
    pub refusals: Arc<Refusals>,
    /// For its counters.
    pub access: AccessLog,
    /// Clients, holds, pressure, fences.
    pub guard: Arc<Guard>,
    /// What a change must carry, or why nothing can be changed.
    pub token: Result<Token, String>,
    /// Kernel memory of a client's sockets, in bytes, where it is known.
    pub kernel_bytes: Arc<dyn Fn(ClientKey) -> Option<u64> + Send + Sync>,
    /// Limits whose use the board cannot see by itself.
    pub limits: Arc<dyn Fn() -> Vec<Limit> + Send + Sync>,
    /// Rate checks that met a full table and took a bucket that is shared.
    pub buckets_shared: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("listeners", &self.listeners)
            .field("admin_address", &self.admin_address)
            .finish_non_exhaustive()
    }
}

/// A limit and how much of it is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// The stable word for it.
    pub name: &'static str,
    /// The limit.
    pub limit: u64,
    /// What is used of it; for limits of a client, by the one that uses most.
    pub used: Option<u64>,
}

type Answer = Response<Full<Bytes>>;

/// What the connections share.
#[derive(Debug)]
struct Desk {
    board: Arc<Board>,
    registry: Registry,
    turned_away: Arc<AtomicU64>,
}

/// Serves the admin interface on a bound listener, for ever; dropping the future closes every connection.
pub async fn serve(listener: TcpListener, board: Arc<Board>) -> Infallible {
    let desk = Arc::new(Desk::new(board));
    let mut connections = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                if !desk.admits(peer.ip()) {
                    tracing::debug!(%peer, "admin: closed, the address is not in [admin] allow");
                } else if connections.len() < CONNECTIONS {
                    connections.spawn(serve_connection(Arc::clone(&desk), stream, peer));
                } else {
                    desk.turned_away.fetch_add(1, Relaxed);
                }
            }
            Err(error) => {
                desk.board.counters.accept_errors.fetch_add(1, Relaxed);
                if let Some(next) = pause_after(&error, pause) {
                    if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
                        tracing::warn!(%error, "admin: cannot accept; trying again");
                        told = Some(Instant::now());
                    }
                    sleep(pause).await;
                    pause = next;
                }
            }
        }
    }
}

/// The pause that follows `pause`; `None` where the error is that of one connection and the next may be fine (accept(2)).
fn pause_after(error: &io::Error, pause: Duration) -> Option<Duration> {
    let of_the_connection =
        matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted);
    (!of_the_connection).then(|| (pause * 2).min(LONGEST_PAUSE))
}

async fn serve_connection(desk: Arc<Desk>, stream: TcpStream, peer: SocketAddr) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(peer.ip(), local, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    if timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // Whatever it says, the connection is over.
        drop(timeout(LAST_ANSWER, connection).await);
    }
}

impl Desk {
    fn new(board: Arc<Board>) -> Self {
        let turned_away = Arc::new(AtomicU64::new(0));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics::Exporter::new(Arc::clone(&board), Arc::clone(&turned_away))));
        Self { board, registry, turned_away }
    }

    fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let settings = self.board.settings.load();
        settings.admin.allow.iter().any(|net| net.contains(&peer))
    }

    async fn answer(&self, peer: IpAddr, local: SocketAddr, request: Request<Incoming>) -> Answer {
        // Asked again for each request: a kept connection must not outlive a change of the settings.
        if !self.admits(peer) {
            return line(StatusCode::FORBIDDEN, "This address is not in allow of [admin] in the configuration.\n");
        }
        let own = [self.board.admin_address, local];
        if !hosts::accepted(&request, own, &self.board.settings.load().admin.hosts) {
            return line(
                StatusCode::FORBIDDEN,
                "This host name is not accepted. Add it to hosts of [admin] in the configuration.\n",
            );
        }
        if request.uri().path() == RELEASE {
            return changes::release(&self.board, peer, own, request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed("Only GET and HEAD.\n", "GET, HEAD");
        }
        match request.uri().path() {
            "/" => asset("text/html; charset=utf-8", include_str!("page/index.html")),
            "/app.js" => asset("text/javascript; charset=utf-8", include_str!("page/app.js")),
            "/style.css" => asset("text/css; charset=utf-8", include_str!("page/style.css")),
            "/healthz" => line(StatusCode::OK, "ok\n"),
            "/readyz" if self.board.draining.load(Relaxed) => line(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => line(StatusCode::OK, "ready\n"),
            "/metrics" => self.metrics(),
            "/api/v1/status" => {
                respond(StatusCode::OK, "application/json", Bytes::from(status::status(&self.board).to_string()))
            }
            _ => line(StatusCode::NOT_FOUND, "There is no such page.\n"),
        }
    }

    fn metrics(&self) -> Answer {
        let mut text = String::with_capacity(32 << 10);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => {
                respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", Bytes::from(text))
            }
            Err(_) => line(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n"),
        }
    }
}

fn line(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.into())
}

fn method_not_allowed(text: &'static str, allowed: &'static str) -> Answer {
    let mut answer = line(StatusCode::METHOD_NOT_ALLOWED, text);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn asset(kind: &'static str, text: &'static str) -> Answer {
    respond(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()))
}

/// Every answer carries what keeps a browser from framing, guessing, storing or loading anything else.
fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
