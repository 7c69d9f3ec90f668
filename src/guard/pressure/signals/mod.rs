//! What can run out, each as a number from 0 (nothing is used up) to 1 (all is). What cannot be read has no number.
//!
//! Only what gets better when nobody new comes in may call for the last level by itself. The others end below it: a flood of
//! forged SYNs, a foreign listener that overflows, or a neighbour who takes the memory must not shut the gateway.

use std::time::Duration;

use crate::guard::pressure::Level;
use crate::kernel::view::{KernelView, TcpExt};

/// The greatest value of a signal that may call for [`Level::High`] and no more.
const HIGH: f64 = 0.85;
/// The greatest value of one that may call for [`Level::Elevated`] and no more.
const ELEVATED: f64 = 0.6;
/// The greatest value of one that calls for nothing, and is shown.
const SHOWN: f64 = 0.45;

/// The share of RAM at which TCP's slab caches count as full. The boxes of 2 GB that fell over had 300 MB in them; twenty
/// thousand idle tunnels have 166 MB (8.3 KB each).
pub const SLAB_SHARE: f64 = 0.15;
/// Lost handshakes a second that count as all: what forty pages of six connections ask for.
const LOST: f64 = 240.0;
/// The memory stall that counts as full: for so much of ten seconds somebody waited for memory. The kernel's reclaim is
/// invisible below 5 %, a box that thrashes has 50 % and more.
const MEMORY_STALL: f64 = 0.5;

/// What the signals are made of.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// The kernel's view.
    pub kernel: &'a KernelView,
    /// The counters of the view before, and how long ago it was read.
    pub before: Option<(TcpExt, Duration)>,
    /// Client connections that are open.
    pub connections: u64,
    /// `limits.connections`.
    pub connection_limit: u64,
    /// Places in the accept queues of all our listeners.
    pub backlog: u64,
    /// The delay of the slowest accept loop, if enough came to tell.
    pub delay: Option<Duration>,
    /// Connections to the destination that has most of ours.
    pub busiest: u64,
}

/// A signal: its stable name, and how it is made.
type Signal = (&'static str, fn(&Load<'_>) -> Option<f64>);

/// Every signal, in the order it is shown.
pub const SIGNALS: [Signal; 12] = [
    ("slab", slab),
    ("tcp_memory", tcp_memory),
    ("orphans", orphans),
    ("time_wait", time_wait),
    ("request_sockets", request_sockets),
    ("listen_overflows", listen_overflows),
    ("descriptors", descriptors),
    ("ports", ports),
    ("connections", connections),
    ("accept_delay", accept_delay),
    ("psi_memory", psi_memory),
    ("psi_cpu", psi_cpu),
];

/// All that can be told.
pub fn read(load: &Load<'_>) -> Vec<(&'static str, f64)> {
    SIGNALS.iter().filter_map(|(name, signal)| Some((*name, signal(load)?.clamp(0.0, 1.0)))).collect()
}

/// The worst, which counts. The first of equals.
pub fn worst(signals: &[(&'static str, f64)]) -> Option<(&'static str, f64)> {
    signals.iter().copied().reduce(|worst, signal| if signal.1 > worst.1 { signal } else { worst })
}

/// `used` of `limit`. What would shut the door takes a limit of 0 for one that is not known: see [`known`].
#[expect(clippy::cast_precision_loss, reason = "a share, to a few digits")]
fn share(used: u64, limit: u64) -> f64 {
    if used == 0 { 0.0 } else { used as f64 / limit as f64 }
}

/// A limit of 0 is an odd file (a container's), or an operator's way to say that there shall be none of it: no shortage.
fn known(limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| *limit > 0)
}

/// Socket objects of TCP against [`SLAB_SHARE`] of the RAM: nothing else limits them (`tcp_mem` counts buffers alone).
pub(super) fn slab(load: &Load<'_>) -> Option<f64> {
    let kernel = load.kernel;
    let bytes: Option<u64> = kernel.slab.iter().map(|(_, slab)| slab.bytes).reduce(u64::saturating_add);
    Some(share(bytes?, known(kernel.ram)?) / SLAB_SHARE)
}

/// Buffers of TCP against `tcp_mem`. At its second number the kernel begins to shrink everybody's windows: 0.8. At the third
/// it throws received data away: 1. (`__sk_mem_raise_allocated` in net/core/sock.c.)
pub(super) fn tcp_memory(load: &Load<'_>) -> Option<f64> {
    let limits = load.kernel.tcp_memory_limits.filter(|[.., high]| *high > 0);
    let (used, [_, pressure, high]) = load.kernel.tcp_memory.zip(limits)?;
    Some(if used <= pressure {
        0.8 * share(used, pressure)
    } else {
        0.8 + 0.2 * share(used - pressure, high.saturating_sub(pressure))
    })
}

/// Orphans against `tcp_max_orphans`. From half of it on the kernel resets those whose peer does not answer, from all of it
/// on every one at its close, answer unsent or not (`tcp_check_oom` and `tcp_out_of_resources` in net/ipv4).
pub(super) fn orphans(load: &Load<'_>) -> Option<f64> {
    Some(share(load.kernel.sockets.orphan?, known(load.kernel.orphan_limit)?))
}

/// `TIME_WAIT` against `tcp_max_tw_buckets`. One costs 256 bytes and no more; beyond the limit the kernel does without. So a
/// full table makes room for itself, and calls for no more than the first level.
pub(super) fn time_wait(load: &Load<'_>) -> Option<f64> {
    Some(ELEVATED * share(load.kernel.sockets.time_wait?, load.kernel.time_wait_limit?).min(1.0))
}

/// Handshakes and connections that wait to be accepted, against the places of our queues. SYN cookies take over when these
/// are full, and whoever forges SYNs is not kept away by our refusing others.
pub(super) fn request_sockets(load: &Load<'_>) -> Option<f64> {
    let caches = load.kernel.slab.iter().filter(|(cache, _)| cache.starts_with("request_sock_"));
    let objects: Option<u64> = caches.map(|(_, slab)| slab.objects).reduce(u64::saturating_add);
    Some(ELEVATED * share(objects?, load.backlog).min(1.0))
}

/// Handshakes the kernel dropped a second (`ListenOverflows`, `ListenDrops`) against [`LOST`]. The counters are of the whole
/// network namespace: it may have been somebody else's listener.
pub(super) fn listen_overflows(load: &Load<'_>) -> Option<f64> {
    let (before, passed) = load.before.as_ref()?;
    let now = &load.kernel.tcp_ext;
    let lost = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
    let overflows = lost(now.listen_overflows, before.listen_overflows);
    // Overflows are drops too, where these are counted.
    let lost = lost(now.listen_drops, before.listen_drops).max(overflows)?;
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    Some(HIGH * (share(lost.saturating_mul(1_000), millis) / LOST).min(1.0))
}

/// Open descriptors against `RLIMIT_NOFILE`. The last tenth is the admin's and what upstreams still need.
pub(super) fn descriptors(load: &Load<'_>) -> Option<f64> {
    Some(share(load.kernel.descriptors?, known(load.kernel.descriptor_limit)?))
}

/// Connections to the busiest destination against the local ports there are for each. That one is refused more at 0.9 by
/// itself (`net/loops.rs`); the others are not concerned.
pub(super) fn ports(load: &Load<'_>) -> Option<f64> {
    Some(ELEVATED * share(load.busiest, load.kernel.ephemeral_ports?).min(1.0))
}

/// Client connections against `limits.connections`. From 0.82 of it on the heaviest are shed, so that the last places are
/// for the others; at the limit itself admission refuses.
#[expect(clippy::unnecessary_wraps, reason = "one of the signals, though it can always be read")]
pub(super) fn connections(load: &Load<'_>) -> Option<f64> {
    Some(HIGH * share(load.connections, load.connection_limit).min(1.0))
}

/// The time a connection waits until it is looked at, on a logarithmic scale: 20 ms, from which on DAGOR takes a service for
/// overloaded, is 0.5; 100 ms, which users notice, 0.7; 500 ms, half of what a SYN that is lost costs, 0.9.
pub(super) fn accept_delay(load: &Load<'_>) -> Option<f64> {
    let times = load.delay?.as_secs_f64() / 0.020;
    Some(0.5 + 0.2 * times.log(5.0))
}

/// Memory stalls (`some avg10` of /proc/pressure/memory) against [`MEMORY_STALL`]. They may be a neighbour's.
pub(super) fn psi_memory(load: &Load<'_>) -> Option<f64> {
    Some(HIGH * (f64::from(load.kernel.memory_stall?) / 10_000.0 / MEMORY_STALL).min(1.0))
}

/// The share of time in which somebody waited for the CPU (`some avg10` of /proc/pressure/cpu). A box that works has much of
/// it; what it does to connections is the accept delay, so that this calls for nothing by itself.
pub(super) fn psi_cpu(load: &Load<'_>) -> Option<f64> {
    Some(SHOWN * (f64::from(load.kernel.cpu_stall?) / 10_000.0).min(1.0))
}

const _: () = assert!(HIGH < Level::Critical.begins_at() && HIGH > Level::High.begins_at());
const _: () = assert!(ELEVATED < Level::High.begins_at() && ELEVATED > Level::Elevated.begins_at());
const _: () = assert!(SHOWN < Level::Elevated.begins_at());

#[cfg(test)]
mod tests;
