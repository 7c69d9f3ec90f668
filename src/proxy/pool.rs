//! Idle connections to origins, kept for the next request: few, not for long, and gone as soon as the origin closes.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::sync::Notify;

use crate::config::settings::Upstream as Limits;
use crate::guard::pressure::Pressure;
use crate::http1::target::Host;
use crate::net::loops::Serves;
use crate::proxy::connect::Upstream;
use crate::telemetry::Counters;

/// How often idle connections are looked at. Looking costs no system call unless the kernel has said something.
const SWEEP: Duration = Duration::from_millis(100);

type Key = (Host, u16);

/// The idle connections of one worker.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<Shelves>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Shelves {
    by_destination: AHashMap<Key, Vec<Idle>>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    upstream: Upstream,
    until: Instant,
}

impl Pool {
    /// The most recently used connection to this destination, if it is still open.
    pub(crate) fn take(&self, host: &Host, port: u16, counters: &Counters) -> Option<Upstream> {
        let now = Instant::now();
        let mut shelves = self.idle.lock();
        let key = (host.clone(), port);
        let shelf = shelves.by_destination.get_mut(&key)?;
        let mut taken = 0;
        let mut found = None;
        while let Some(idle) = shelf.pop() {
            taken += 1;
            if now < idle.until && is_silent(&idle.upstream) {
                found = Some(idle.upstream);
                break;
            }
            idle.upstream.abort();
        }
        if shelf.is_empty() {
            shelves.by_destination.remove(&key);
        }
        shelves.count = shelves.count.saturating_sub(taken);
        counters.upstreams_idle.fetch_sub(i64::try_from(taken).unwrap_or(0), Relaxed);
        found
    }

    /// Keeps a connection for later; one that finds no place is closed.
    pub(crate) fn keep(&self, host: Host, port: u16, upstream: Upstream, limits: &Limits, counters: &Counters) {
        let mut shelves = self.idle.lock();
        if shelves.count >= limits.idle_connections {
            upstream.abort();
            return;
        }
        upstream.serves(Serves::Nobody);
        let shelf = shelves.by_destination.entry((host, port)).or_default();
        if shelf.len() >= limits.idle_per_host {
            upstream.abort();
            return;
        }
        shelf.push(Idle { upstream, until: Instant::now() + limits.idle_timeout });
        shelves.count += 1;
        drop(shelves);
        counters.upstreams_idle.fetch_add(1, Relaxed);
        self.filled.notify_one();
    }

    /// Closes what the origin has closed, what has been idle for too long, and under pressure everything. Runs for ever;
    /// sleeps while the pool is empty.
    pub(crate) async fn sweep(&self, counters: &Counters, pressure: &Pressure) {
        loop {
            if self.idle.lock().count == 0 {
                self.filled.notified().await;
            }
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            let keeps = pressure.relief().pool;
            let mut closed = Vec::new();
            let mut shelves = self.idle.lock();
            shelves.by_destination.retain(|_, shelf| {
                closed.extend(shelf.extract_if(.., |idle| !keeps || now >= idle.until || !is_quiet(&idle.upstream)));
                !shelf.is_empty()
            });
            shelves.count = shelves.count.saturating_sub(closed.len());
            drop(shelves);
            counters.upstreams_idle.fetch_sub(i64::try_from(closed.len()).unwrap_or(0), Relaxed);
            for idle in closed {
                idle.upstream.abort();
            }
        }
    }
}

/// Nothing to read and not closed, as far as the reactor has heard.
fn is_quiet(upstream: &Upstream) -> bool {
    matches!(upstream.stream.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The same, asked of the kernel. Bytes nobody asked for must never become the next answer (RFC 9112 section 9.2), and an
/// end that has come costs no request.
fn is_silent(upstream: &Upstream) -> bool {
    recv(&upstream.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) == Err(Errno::AGAIN)
}
