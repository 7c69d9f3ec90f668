//! From where on it is too much: every threshold of the doctor, in one place.

use super::super::Verdict;

/// From where on something is a warning, and from where on it is critical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// A warning from here on.
    pub warning: f64,
    /// Critical from here on.
    pub critical: f64,
}

impl Mark {
    const fn new(warning: f64, critical: f64) -> Self {
        Self { warning, critical }
    }

    /// How bad this value is.
    pub fn of(self, value: f64) -> Verdict {
        if value >= self.critical {
            Verdict::Critical
        } else if value >= self.warning {
            Verdict::Warning
        } else {
            Verdict::Ok
        }
    }
}

/// Never, for what is a warning at most.
const NEVER: f64 = f64::INFINITY;

/// Load per core. The box of 2020 had more than 10 on two.
pub const LOAD: Mark = Mark::new(2.0, 4.0);
/// Share of the cores' time in `iowait`.
pub const IOWAIT: Mark = Mark::new(0.2, 0.5);
/// … in `softirq`: above, the network alone fills a core.
pub const SOFTIRQ: Mark = Mark::new(0.25, 0.5);
/// … not idle.
pub const BUSY: Mark = Mark::new(0.9, NEVER);
/// … taken by the host.
pub const STEAL: Mark = Mark::new(0.1, 0.3);
/// Share of ten seconds in which somebody waited, by pressure stall information, in hundredths of a percent: for a core…
pub const CPU_STALL: Mark = Mark::new(6_000.0, NEVER);
/// … for a disk…
pub const IO_STALL: Mark = Mark::new(3_000.0, 6_000.0);
/// … for memory.
pub const MEMORY_STALL: Mark = Mark::new(1_000.0, 3_000.0);
/// Share of the time a disk is busy, if an operation takes longer than [`SLOW_MS`].
pub const DISK: Mark = Mark::new(0.8, 0.95);
/// A disk that takes longer per operation than this is slow, ms: a rotating one needs 10.
pub const SLOW_MS: f64 = 20.0;
/// Share of the memory that is not available.
pub const MEMORY: Mark = Mark::new(0.9, 0.95);
/// With this share of the memory available, nobody is short of it, whatever is read again.
pub const AMPLE: f64 = 0.25;
/// Pages per second that are read again soon after they were taken back: 2,000 are 8 MB/s that need not be read.
pub const REFAULTS: Mark = Mark::new(200.0, 2_000.0);
/// Pages per second that are looked at to find some to take back.
pub const SCANNED: Mark = Mark::new(20_000.0, NEVER);
/// Pages per second swapped in or out.
pub const SWAPPED: Mark = Mark::new(100.0, 1_000.0);
/// Share of the memory in socket objects of TCP: 15 % in 2020.
pub const TCP_SLAB: Mark = Mark::new(0.05, 0.1);
/// Share of the memory in slab that cannot be taken back.
pub const SLAB: Mark = Mark::new(0.25, 0.5);
/// Share of the limit of orphans. From half of it on, those without progress are killed.
pub const ORPHANS: Mark = Mark::new(0.5, 0.9);
/// Share of the places of TIME_WAIT. Beyond all of them the kernel forgets connections early, which hurts little.
pub const TIME_WAIT: Mark = Mark::new(0.5, NEVER);
/// Share of the sockets that are connections of the box to itself, if there are [`TO_ITSELF_LEAST`] of them.
pub const TO_ITSELF: Mark = Mark::new(0.05, 0.2);
/// So few connections to itself are those of a portal page or a monitor.
pub const TO_ITSELF_LEAST: u64 = 200;
/// Sockets in `CLOSE_WAIT`.
pub const CLOSE_WAIT: Mark = Mark::new(1_000.0, NEVER);
/// Connections per second reset for lack of memory, or for too many orphans.
pub const ABORTS: Mark = Mark::new(0.1, 10.0);
/// Share of `tcp_mem`'s pressure that buffers take.
pub const BUFFERS_PRESSURE: Mark = Mark::new(0.8, NEVER);
/// Share of `tcp_mem`'s high: beyond all of it nothing is received any more.
pub const BUFFERS: Mark = Mark::new(0.75, 0.9);
/// Share of a limit of open files.
pub const FILES: Mark = Mark::new(0.8, 0.95);
/// Share of the local ports towards one destination.
pub const PORTS: Mark = Mark::new(0.6, 0.9);
/// Connections per second lost since an accept queue was full.
pub const OVERFLOWS: Mark = Mark::new(0.05, 10.0);
/// Connections that wait to be accepted at one socket, as a share of what may wait there.
pub const WAITING: Mark = Mark::new(0.5, 0.9);
/// So few that wait are accepted within milliseconds.
pub const WAITING_LEAST: u64 = 64;
/// Share of the table of connection tracking.
pub const TRACKED: Mark = Mark::new(0.75, 0.95);
/// Packets per second that connection tracking dropped.
pub const TRACKING_LOSSES: Mark = Mark::new(0.1, 10.0);
/// Share of all clients' sockets that one of them has, if there are [`CLIENT_LEAST`] of his.
pub const CLIENT: Mark = Mark::new(0.3, 0.6);
/// So few sockets are those of an office behind one address.
pub const CLIENT_LEAST: u64 = 500;
/// Requests of one client refused per minute by a gateway.
pub const REFUSALS: Mark = Mark::new(60.0, NEVER);
