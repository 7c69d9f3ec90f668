//! What there is to judge, as plain data.
//!
//! Owns: [`Evidence`] and what it consists of. Called by: [`super::gather`], which fills it, [`super::steps`] and
//! [`super::causes`], which read it. Never: reads anything; what could not be seen is `None` and stands in
//! [`Evidence::unseen`].

mod census;
mod reading;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Verdict;
use crate::kernel::view::Sockets;

pub use census::{Census, Counting, Destination, Listener, Peer, Socket, state_label};
pub use reading::{Change, Disk, Reading, Vm};

/// All that was seen of a box.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Of this box, while it lives; not a recorded tree.
    pub live: bool,
    /// `/proc/loadavg`.
    pub load: Option<Load>,
    /// The counters since boot: the newest reading.
    pub now: Reading,
    /// An earlier reading of them.
    pub before: Option<Reading>,
    /// `/proc/pressure`.
    pub stalls: Stalls,
    /// `/proc/meminfo`.
    pub memory: Memory,
    /// Every cache of `/proc/slabinfo`, the largest first.
    pub slab: Option<Vec<Cache>>,
    /// `/proc/net/sockstat` and `sockstat6`.
    pub sockets: Sockets,
    /// Memory of socket buffers (`mem` of sockstat), in bytes.
    pub tcp_memory: Option<u64>,
    /// Bytes of a page.
    pub page_size: u64,
    /// The numbers of each sysctl that could be read, by its name with dots.
    pub sysctls: BTreeMap<&'static str, Vec<u64>>,
    /// Open files of the whole box and their limit (`fs.file-nr`).
    pub files: Option<(u64, u64)>,
    /// Who has files open.
    pub processes: Option<Processes>,
    /// Entries in the table of connection tracking.
    pub tracked: Option<u64>,
    /// The TCP sockets, counted.
    pub census: Option<Census>,
    /// What a running gateway says.
    pub gateway: Option<Gateway>,
    /// What was heard in a capture.
    pub heard: Option<Heard>,
    /// What could not be seen, and why.
    pub unseen: Vec<Unseen>,
}

impl Evidence {
    /// A sysctl of one number.
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.sysctls.get(name)?.first().copied()
    }

    /// A sysctl of three numbers.
    pub fn sysctl3(&self, name: &str) -> Option<[u64; 3]> {
        self.sysctls.get(name)?.get(..3)?.try_into().ok()
    }

    /// `net.ipv4.tcp_mem` in bytes: low, pressure, high.
    pub fn tcp_memory_limits(&self) -> Option<[u64; 3]> {
        Some(self.sysctl3("net.ipv4.tcp_mem")?.map(|pages| pages.saturating_mul(self.page_size)))
    }

    /// How many local ports there are for connections to one destination.
    pub fn ports(&self) -> Option<u64> {
        match *self.sysctls.get("net.ipv4.ip_local_port_range")?.as_slice() {
            [first, last] => last.checked_sub(first)?.checked_add(1),
            _ => None,
        }
    }

    /// How the counters changed, if there is any time they changed in.
    pub fn change(&self) -> Option<Change<'_>> {
        Change::new(&self.now, self.before.as_ref())
    }

    /// The memory that the socket objects of TCP take, and whether that is estimated from their number.
    pub fn tcp_slab(&self) -> Option<(u64, bool)> {
        if let Some(caches) = &self.slab {
            let of = |cache: &&Cache| matches!(&*cache.name, "TCP" | "TCPv6");
            return Some((caches.iter().filter(of).map(|cache| cache.bytes).sum(), false));
        }
        Some((self.sockets.alloc?.saturating_mul(SOCKET_BYTES), true))
    }
}

/// What an object of the caches `TCP` and `TCPv6` takes, slack included (measured, Linux 6.18).
pub const SOCKET_BYTES: u64 = 2_521;

/// `/proc/loadavg`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Over 1, 5 and 15 minutes.
    pub averages: [f64; 3],
}

/// `some avg10` of the files of `/proc/pressure`, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stalls {
    /// Waiting for a core.
    pub cpu: Option<u32>,
    /// Waiting for a disk.
    pub io: Option<u32>,
    /// Waiting for memory.
    pub memory: Option<u32>,
}

/// Lines of `/proc/meminfo`, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// `MemTotal`.
    pub total: Option<u64>,
    /// `MemFree`.
    pub free: Option<u64>,
    /// `MemAvailable` (Linux 3.14).
    pub available: Option<u64>,
    /// `Buffers` and `Cached`: the page cache.
    pub cache: Option<u64>,
    /// `AnonPages`: what processes hold.
    pub processes: Option<u64>,
    /// `Slab`.
    pub slab: Option<u64>,
    /// `SUnreclaim`: of that, what cannot be taken back.
    pub unreclaimable: Option<u64>,
    /// `SwapTotal`.
    pub swap_total: Option<u64>,
    /// `SwapFree`.
    pub swap_free: Option<u64>,
}

/// A cache of `/proc/slabinfo`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// Active objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Who has files open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Processes {
    /// Processes whose files could be counted.
    pub seen: u64,
    /// Processes whose files may not be looked at.
    pub hidden: u64,
    /// Those nearest to their limit, the nearest first.
    pub fullest: Vec<Process>,
}

/// A process and its files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Its name (`comm`).
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// Files it has open.
    pub open: u64,
    /// How many it may have (soft).
    pub limit: Option<u64>,
}

/// What a running gateway says in `/api/v1/status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gateway {
    /// Where it was asked.
    pub at: String,
    /// Its version.
    pub version: String,
    /// Its level of pressure, 0 to 3.
    pub pressure: Option<u64>,
    /// Clients that are fenced.
    pub fenced: u64,
    /// Its clients worth a look, the worst first.
    pub clients: Vec<Client>,
}

/// A client as the gateway sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// An address, or a network of IPv6.
    pub address: String,
    /// Kernel memory its sockets take.
    pub kernel_bytes: Option<u64>,
    /// Open connections.
    pub sockets: Option<u64>,
    /// Requests refused, per minute.
    pub refusals_per_minute: f64,
    /// How its last refusal is labelled.
    pub outcome: Option<String>,
    /// What the guard does about it: `answer`, `stall` or `fence`.
    pub step: String,
    /// Why.
    pub why: Option<String>,
    /// A request that was refused.
    pub sample: Option<String>,
}

/// What was heard in a capture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Where: a file, or an interface.
    pub source: String,
    /// HTTP requests.
    pub requests: u64,
    /// Packets.
    pub packets: u64,
    /// What the analysis says.
    pub said: Vec<Said>,
    /// Who asks a proxy for the proxy itself, the most first.
    pub askers: Vec<Asker>,
    /// Who tries again and again in vain, the most first.
    pub stormers: Vec<Stormer>,
}

/// A verdict of the analysis.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// How bad.
    pub verdict: Verdict,
    /// What, in a sentence.
    pub cause: String,
    /// The figures.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
}

/// A client that asks a proxy for the proxy itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asker {
    /// Who.
    pub client: IpAddr,
    /// The proxy, as `ADDRESS:PORT`.
    pub proxy: std::net::SocketAddr,
    /// How often.
    pub count: u64,
    /// The request line of the first, a stranger's text.
    pub request: String,
}

/// A client that tries again and again in vain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stormer {
    /// Who.
    pub client: IpAddr,
    /// The proxy, as `ADDRESS:PORT`.
    pub proxy: std::net::SocketAddr,
    /// Attempts in vain.
    pub attempts: u64,
    /// In the busiest second.
    pub peak_per_s: u64,
    /// What it asked for most recently, a stranger's text.
    pub request: String,
}

/// Something that could not be seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unseen {
    /// A file, or where it would have come from.
    pub source: String,
    /// Why, and what would help.
    pub why: String,
}
