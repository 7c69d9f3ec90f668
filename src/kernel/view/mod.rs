//! The kernel's view of TCP, and of the box it runs on, read once a second.
//!
//! Owns: [`KernelView`], the open files behind it ([`Sources`]) and their parsers. Called by: control.
//! Never: invents a number; what cannot be read is `None`, and says why in [`KernelView::absent`].

mod cpu;
mod disks;
mod machine;
pub(crate) mod parse;
mod sources;
#[cfg(test)]
mod tests;

pub use cpu::CpuShares;
pub use disks::Disk;
pub use sources::Sources;

/// One slab cache of `/proc/slabinfo` (slabinfo(5)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slab {
    /// Active objects. SLUB counts objects on per-CPU and partial slabs as active: an upper bound.
    pub objects: u64,
    /// Memory the cache holds: slabs × pages per slab × page size.
    pub bytes: u64,
}

/// The caches that TCP fills, in the order of the metrics.
pub const CACHES: [&str; 7] =
    ["TCP", "TCPv6", "tw_sock_TCP", "tw_sock_TCPv6", "request_sock_TCP", "request_sock_TCPv6", "sock_inode_cache"];

/// `/proc/net/sockstat` and `sockstat6`. `inuse` and `time_wait` are of our network namespace, the others of the whole box.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sockets {
    /// IPv4 TCP sockets in use.
    pub inuse_v4: Option<u64>,
    /// IPv6 TCP sockets in use.
    pub inuse_v6: Option<u64>,
    /// Sockets no process owns any more, still with data or a FIN to deliver.
    pub orphan: Option<u64>,
    /// Sockets in TIME_WAIT.
    pub time_wait: Option<u64>,
    /// Allocated TCP sockets of any state.
    pub alloc: Option<u64>,
}

/// Counters of `/proc/net/netstat`, `TcpExt`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpExt {
    /// `ListenOverflows`: connections dropped because an accept queue was full.
    pub listen_overflows: Option<u64>,
    /// `ListenDrops`.
    pub listen_drops: Option<u64>,
    /// `TCPAbortOnMemory`: connections reset for lack of memory or for too many orphans.
    pub aborts_on_memory: Option<u64>,
    /// `TCPMemoryPressures`: times the kernel entered memory pressure.
    pub memory_pressures: Option<u64>,
    /// `TCPTimeWaitOverflow`.
    pub time_wait_overflows: Option<u64>,
    /// `TCPReqQFullDoCookies`: SYN cookies sent because a SYN queue was full.
    pub syn_cookies: Option<u64>,
}

/// Something that could not be read, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Absent {
    /// The file.
    pub source: &'static str,
    /// The reason, and what would help.
    pub why: String,
}

/// What the kernel says, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelView {
    /// The caches of [`CACHES`] that exist, in that order; empty when slabinfo cannot be read.
    pub slab: Vec<(&'static str, Slab)>,
    /// Sockets by state.
    pub sockets: Sockets,
    /// `net.ipv4.tcp_max_orphans`.
    pub orphan_limit: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub time_wait_limit: Option<u64>,
    /// Memory of socket buffers (`mem` of sockstat), in bytes.
    pub tcp_memory: Option<u64>,
    /// `net.ipv4.tcp_mem`: low, pressure, high, in bytes.
    pub tcp_memory_limits: Option<[u64; 3]>,
    /// Counters since boot.
    pub tcp_ext: TcpExt,
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub ram: Option<u64>,
    /// `MemAvailable`, in bytes: what programs can have before the box swaps (Linux 3.14).
    pub memory_available: Option<u64>,
    /// How many local ports there are for connections to one destination (`net.ipv4.ip_local_port_range`; of IPv6 too).
    pub ephemeral_ports: Option<u64>,
    /// Share of the last ten seconds in which somebody waited for memory, in hundredths of a percent (`some avg10` of
    /// `/proc/pressure/memory`, Linux 4.20).
    pub memory_stall: Option<u32>,
    /// The same for the CPU.
    pub cpu_stall: Option<u32>,
    /// The same for disks.
    pub io_stall: Option<u32>,
    /// What the cores did since the look before (`/proc/stat`); the first look has none.
    pub cpu: Option<CpuShares>,
    /// Tasks that ran, could have run or waited for a disk, averaged over a minute (`/proc/loadavg`).
    pub load: Option<f64>,
    /// Connections that connection tracking knows in our network namespace, and how many it may know in each (0: as many as
    /// come).
    pub conntrack: Option<(u64, u64)>,
    /// The disks that we write to.
    pub disks: Vec<Disk>,
    /// Open descriptors of this process.
    pub descriptors: Option<u64>,
    /// `RLIMIT_NOFILE` of this process (soft).
    pub descriptor_limit: Option<u64>,
    /// What could not be read.
    pub absent: Vec<Absent>,
}
