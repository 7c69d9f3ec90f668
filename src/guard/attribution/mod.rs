//! Whose kernel memory it is: the sockets of a dump, added up per client.
//!
//! Owns: [`Attribution`], what a socket costs ([`cost`]), and which of ours are given up first ([`Reclaim`]). Called by:
//! control, with what [`crate::kernel::diag`] tells. Never: asks the kernel; takes a socket for ours that it does not know.

pub mod cost;
mod reclaim;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::AHashMap;
use arc_swap::ArcSwapOption;

use super::Moment;

use crate::kernel::diag::{Entry, Kind};
use crate::kernel::view::KernelView;
use crate::net::ClientKey;
use crate::net::loops::{Loops, Serves};
pub use reclaim::{AT_ONCE, Reclaim};

/// Whoever looks at the status looks again, mostly.
pub const WANTED: Duration = Duration::from_secs(30);
/// Clients that are told apart. Those met later share one row.
const CLIENTS: usize = 65_536;

/// Which end of a connection a socket of ours is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// The one accepted from this client.
    Accepted(ClientKey),
    /// One to an origin, on behalf of this client.
    Dialled(ClientKey),
    /// One to an origin that serves nobody now: it waits in the pool.
    Pool,
}

/// How to know our sockets: by the listener they came through, or by the table of those we dialled.
///
/// Blind spots: a connection still being dialled, and one to an origin that has been closed and lingers in the kernel, are
/// in no table; a transparent listener's (`tproxy`) carry the origin's address instead of the listener's.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Where we listen; an unspecified address stands for all.
    pub listeners: &'a [SocketAddr],
    /// What we dialled.
    pub loops: &'a Loops,
}

impl Ours<'_> {
    /// Whose this socket is, `None` if it is none of ours as far as is known.
    pub fn owner(&self, entry: &Entry) -> Option<Owner> {
        if self.came_in(entry) {
            return Some(Owner::Accepted(ClientKey::new(entry.remote.ip())));
        }
        match self.loops.serves(entry.local, entry.remote)? {
            Serves::Client(client) => Some(Owner::Dialled(client)),
            Serves::Nobody => Some(Owner::Pool),
        }
    }

    /// Whether it came through one of our listeners.
    pub fn came_in(&self, entry: &Entry) -> bool {
        self.listeners.iter().any(|listener| {
            let ip = listener.ip().to_canonical();
            listener.port() == entry.local.port() && (ip.is_unspecified() || ip == entry.local.ip())
        })
    }
}

/// Sockets and bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Sockets that are open.
    pub live: u64,
    /// Connections not yet accepted.
    pub queued: u64,
    /// Closed sockets that still have something to deliver.
    pub orphans: u64,
    /// Remnants: `TIME_WAIT`, and `FIN_WAIT2` after close.
    pub time_wait: u64,
    /// Handshakes not yet complete.
    pub half_open: u64,
    /// Kernel memory of the connections with clients: objects and buffers.
    pub client_side: u64,
    /// Kernel memory of the connections with origins.
    pub upstream_side: u64,
    /// The buffers among these two.
    pub buffers: u64,
}

impl Held {
    /// Sockets of any kind.
    pub const fn sockets(&self) -> u64 {
        self.live
            .saturating_add(self.queued)
            .saturating_add(self.orphans)
            .saturating_add(self.time_wait)
            .saturating_add(self.half_open)
    }

    /// Kernel memory in all.
    pub const fn bytes(&self) -> u64 {
        self.client_side.saturating_add(self.upstream_side)
    }

    /// Of these bytes, those in the slab caches of [`crate::kernel::view::CACHES`].
    pub fn slab(&self) -> u64 {
        let sockets = self.live.saturating_add(self.queued).saturating_add(self.orphans);
        [
            (sockets, cost::SOCK),
            (self.live, cost::INODE),
            (self.time_wait, cost::TIME_WAIT),
            (self.half_open.saturating_add(self.queued), cost::REQUEST),
        ]
        .into_iter()
        .fold(0, |sum, (count, each)| sum.saturating_add(count.saturating_mul(each)))
    }

    fn add(&mut self, kind: Kind, is_accepted: bool, buffers: u64) {
        let count = match kind {
            Kind::Live => &mut self.live,
            Kind::Queued => &mut self.queued,
            Kind::Orphan => &mut self.orphans,
            Kind::TimeWait => &mut self.time_wait,
            Kind::HalfOpen => &mut self.half_open,
        };
        *count = count.saturating_add(1);
        let bytes = if is_accepted { &mut self.client_side } else { &mut self.upstream_side };
        *bytes = bytes.saturating_add(cost::of(kind, is_accepted)).saturating_add(buffers);
        self.buffers = self.buffers.saturating_add(buffers);
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sockets = self.sockets();
        let s = if sockets == 1 { "" } else { "s" };
        // Rounded to tenths of a megabyte, of 10^6 bytes.
        let tenths = self.bytes().saturating_add(50_000) / 100_000;
        write!(f, "{} socket{s} and {}.{} MB of kernel memory", Grouped(sockets), Grouped(tenths / 10), tenths % 10)
    }
}

/// A number with a comma before every three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1000 { write!(f, "{},{:03}", Self(self.0 / 1000), self.0 % 1000) } else { self.0.fmt(f) }
    }
}

/// What one client holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientMemory {
    /// Who.
    pub client: ClientKey,
    /// How much.
    pub held: Held,
}

impl fmt::Display for ClientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds {}", self.client, self.held)
    }
}

/// The slab caches of TCP, by whose objects fill them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SlabShare {
    /// Bytes of our sockets' objects.
    pub ours: u64,
    /// All other bytes: other programs', other network namespaces', and what the caches keep free.
    pub others: u64,
}

/// What is known of whose the kernel's memory is, and whether anybody wants to know.
#[derive(Debug, Default)]
pub struct Memory {
    /// The latest dump, added up; `None` while nobody asks.
    pub latest: ArcSwapOption<Attribution>,
    /// When somebody asked last, in milliseconds.
    asked: AtomicU64,
}

impl Memory {
    /// What this client's sockets cost the kernel, in bytes. `None` if that was not looked at lately: it will be, since it was
    /// asked for.
    pub fn of(&self, client: ClientKey, now: Moment) -> Option<u64> {
        self.asked.fetch_max(now.millis(), Relaxed);
        self.latest.load().as_ref().map(|latest| latest.of(client).bytes())
    }

    /// Whether somebody asked within the last [`WANTED`].
    pub fn is_wanted(&self, now: Moment) -> bool {
        let asked = self.asked.load(Relaxed);
        asked > 0 && now.since(Moment::from_millis(asked)) < WANTED
    }
}

/// The sockets of one dump, added up. At most 65,536 clients, about 9 MB.
#[derive(Debug, Default)]
pub struct Attribution {
    clients: AHashMap<ClientKey, Held>,
    /// All of ours.
    pub total: Held,
    /// Of ours, those to origins that serve nobody.
    pub pool: Held,
    /// Of ours, those of clients that found no place in the table.
    pub others: Held,
    /// Sockets in scope that are not known as ours.
    pub unknown: u64,
}

impl Attribution {
    /// Counts one socket.
    pub fn add(&mut self, entry: &Entry, owner: Option<Owner>) {
        let Some(owner) = owner else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        let (client, is_accepted) = match owner {
            Owner::Accepted(client) => (Some(client), true),
            Owner::Dialled(client) => (Some(client), false),
            Owner::Pool => (None, false),
        };
        let is_full = self.clients.len() >= CLIENTS;
        let row = match client {
            None => &mut self.pool,
            Some(client) if is_full => self.clients.get_mut(&client).unwrap_or(&mut self.others),
            Some(client) => self.clients.entry(client).or_default(),
        };
        for sum in [row, &mut self.total] {
            sum.add(entry.kind, is_accepted, entry.buffers());
        }
    }

    /// What this client holds.
    pub fn of(&self, client: ClientKey) -> Held {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    /// Clients that are told apart.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Those who hold most, the greatest first.
    pub fn top(&self, n: usize) -> Vec<ClientMemory> {
        let mut all: Vec<_> =
            self.clients.iter().map(|(client, held)| ClientMemory { client: *client, held: *held }).collect();
        let order = |row: &ClientMemory| (Reverse(row.held.bytes()), row.client);
        if n < all.len() {
            all.select_nth_unstable_by_key(n, order);
            all.truncate(n);
        }
        all.sort_unstable_by_key(order);
        all
    }

    /// How the caches of TCP divide into our objects and others; `None` where the caches are not known.
    pub fn slab(&self, view: &KernelView) -> Option<SlabShare> {
        if view.slab.is_empty() {
            return None;
        }
        let all = view.slab.iter().fold(0_u64, |sum, (_, slab)| sum.saturating_add(slab.bytes));
        let ours = self.total.slab().min(all);
        Some(SlabShare { ours, others: all.saturating_sub(ours) })
    }
}
