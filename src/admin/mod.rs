//! What the operator and Prometheus see over HTTP: the page, the status, the metrics, the health checks; and what the
//! operator may change.
//!
//! Owns: the admin listener's connections ([`connection`]) and answers ([`desk`]), the tokens. Called by: the gateway, on
//! control's runtime ([`serve`]). Never: changes anything without the token, waits for anything but its own sockets, or answers
//! a client or a host name it was not told about.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::alarm::book::Register;
use crate::alarm::deliver::Report;
use crate::config::Settings;
use crate::guard::Guard;
use crate::kernel::view::KernelView;
use crate::net::ClientKey;
use crate::telemetry::Counters;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::refusals::Refusals;

mod allowance;
mod answer;
mod assets;
mod changes;
mod connection;
mod desk;
mod events;
mod exposition;
mod guesses;
mod hosts;
mod limits;
mod metrics;
mod percent;
mod places;
mod press;
mod process;
mod readers;
mod status;
pub mod token;
pub(crate) mod words;

pub(crate) use changes::{RELEASE, network};
use connection::Visitor;
pub use desk::Desk;
pub use events::Events;
use limits::{FIRST_PAUSE, LONGEST_PAUSE, TELL_AGAIN};
use token::Token;

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
    /// Which alarms stand.
    pub alarms: Arc<Register>,
    /// What a change must carry, or why nothing can be changed.
    pub token: Result<Token, String>,
    /// What whoever is not on this box must show to see anything, or why it cannot be used; `None` if it is not asked for.
    pub read_token: Option<Result<Token, String>>,
    /// Who listens to what happens.
    pub events: Arc<Events>,
    /// The last minutes as JSON, from this second since 1970 on or all of them; null if none are kept.
    pub history: Arc<dyn Fn(Option<u64>) -> Value + Send + Sync>,
    /// Kernel memory of a client's sockets, in bytes, where it is known.
    pub kernel_bytes: Arc<dyn Fn(ClientKey) -> Option<u64> + Send + Sync>,
    /// Limits whose use the board cannot see by itself.
    pub limits: Arc<dyn Fn() -> Vec<Limit> + Send + Sync>,
    /// How alarms are delivered.
    pub deliveries: Arc<Report>,
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

/// Serves the admin interface on a bound listener, for ever; dropping the future closes every connection.
pub async fn serve(listener: TcpListener, board: Arc<Board>) -> Infallible {
    let desk = Arc::new(Desk::new(board));
    tokio::select! {
        never = accept(listener, Arc::clone(&desk)) => never,
        never = desk.board.events.run(|| desk.status()) => never,
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) -> Infallible {
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
                let Ok(local) = stream.local_addr() else { continue };
                if !desk.admits(peer.ip()) {
                    tracing::debug!(%peer, "admin: closed, the address is not in [admin] allow");
                } else if let Some(visitor) = Visitor::new(peer.ip(), local, &desk.places) {
                    connections.spawn(connection::serve(Arc::clone(&desk), stream, visitor));
                } else {
                    desk.turned_away.connections.fetch_add(1, Relaxed);
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

#[cfg(test)]
mod tests;
