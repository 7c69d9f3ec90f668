//! From the files of a box to evidence.
//!
//! Owns: which files are read, and how much of them. Called by: the command line. Never: leaves the folder it was given
//! ([`tree`]), or asks the living box when it reads a recorded one.

mod parse;
mod processes;
mod sockets;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use super::evidence::{Cache, Evidence, Memory, Reading, Stalls};
use crate::kernel::view::{Sockets, TcpExt, parse as kernel};
use tree::Tree;

/// The sysctls that matter on a small box: those the steps look at.
pub const SYSCTLS: &[&str] = &[
    "fs.file-max",
    "fs.nr_open",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
];

/// Caches of slabinfo that are kept.
const CACHES: usize = 512;

/// Where the second reading of a recorded tree is.
const SECOND: &str = "second";

/// A tree that somebody recorded: `DIR/proc/…`, and perhaps later counters in `DIR/second/proc/…`.
///
/// # Errors
/// The folder cannot be read, or holds nothing of what is looked for; in words.
pub fn recorded(root: &Path) -> Result<Evidence, String> {
    let mut tree = Tree::open(root, false)?;
    let mut evidence = everything(&mut tree);
    let first = reading(&mut tree);
    if tree.folder(SECOND).is_ok() {
        let mut later = tree.below(SECOND)?;
        evidence.before = Some(first);
        evidence.now = reading(&mut later);
        tree.unseen.extend(later.unseen);
    } else {
        evidence.now = first;
    }
    evidence.census = sockets::of_files(&mut tree, &mut evidence);
    if tree.read == 0 {
        return Err(format!("{}: no file of /proc is in it; it must hold proc/stat and the like", root.display()));
    }
    evidence.unseen = tree.unseen;
    Ok(evidence)
}

/// The living box. `pause` is what happens between two readings of the counters.
///
/// # Errors
/// The root folder cannot be opened; in words.
pub fn live(pause: impl FnOnce()) -> Result<Evidence, String> {
    let mut tree = Tree::open(Path::new("/"), true)?;
    let first = reading(&mut tree);
    // What is missing is told once.
    let told = std::mem::take(&mut tree.unseen);
    pause();
    let now = reading(&mut tree);
    tree.unseen = told;
    let mut evidence = everything(&mut tree);
    evidence.live = true;
    evidence.before = Some(first);
    evidence.now = now;
    evidence.census = sockets::live(&mut tree, &mut evidence);
    evidence.unseen = tree.unseen;
    Ok(evidence)
}

/// What is no counter.
fn everything(tree: &mut Tree) -> Evidence {
    let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let slab = tree.read("proc/slabinfo", "it is mode 0400: run this as root", |text| {
        let mut caches: Vec<Cache> = kernel::slabs(text, page_size)?
            .take(CACHES)
            .map(|(name, slab)| Cache {
                name: String::from_utf8_lossy(name).into_owned(),
                objects: slab.objects,
                bytes: slab.bytes,
            })
            .collect();
        caches.sort_unstable_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        Some(caches)
    });
    let sockstat = |key: &'static str| move |text: &[u8]| kernel::pair(text, "TCP:", key);
    let mut sockets = Sockets::default();
    let mut tcp_memory = None;
    tree.read("proc/net/sockstat", "is /proc mounted with subset=pid?", |text| {
        sockets.inuse_v4 = sockstat("inuse")(text);
        sockets.orphan = sockstat("orphan")(text);
        sockets.time_wait = sockstat("tw")(text);
        sockets.alloc = sockstat("alloc")(text);
        tcp_memory = sockstat("mem")(text).and_then(|pages| pages.checked_mul(page_size));
        sockets.inuse_v4
    });
    sockets.inuse_v6 = tree.quietly("proc/net/sockstat6", |text| kernel::pair(text, "TCP6:", "inuse"));
    let pressure = "a kernel before 4.20, without CONFIG_PSI or with psi=0 has none";
    Evidence {
        load: tree.read("proc/loadavg", "", parse::load),
        stalls: Stalls {
            cpu: tree.read("proc/pressure/cpu", pressure, kernel::stall),
            io: tree.read("proc/pressure/io", pressure, kernel::stall),
            memory: tree.read("proc/pressure/memory", pressure, kernel::stall),
        },
        memory: tree.read("proc/meminfo", "", memory).unwrap_or_default(),
        slab,
        sockets,
        tcp_memory,
        page_size,
        sysctls: sysctls(tree),
        files: tree.read("proc/sys/fs/file-nr", "", |text| {
            let [used, free, most] = kernel::sysctl(text)?;
            Some((used.saturating_sub(free), most))
        }),
        tracked: tree.quietly("proc/sys/net/netfilter/nf_conntrack_count", |text| {
            kernel::sysctl::<1>(text).map(|[count]| count)
        }),
        ..Evidence::default()
    }
}

/// Those of [`SYSCTLS`] that are there. Connection tracking may not be loaded: its absence is told by its step.
fn sysctls(tree: &mut Tree) -> std::collections::BTreeMap<&'static str, Vec<u64>> {
    let mut found = std::collections::BTreeMap::new();
    for name in SYSCTLS.iter().copied() {
        let path = format!("proc/sys/{}", name.replace('.', "/"));
        let numbers = if name.starts_with("net.netfilter.") {
            tree.quietly(&path, parse::numbers)
        } else {
            tree.read(&path, "the kernel shows it in the initial network namespace only", parse::numbers)
        };
        if let Some(numbers) = numbers {
            found.insert(name, numbers);
        }
    }
    found
}

fn memory(text: &[u8]) -> Option<Memory> {
    let line = |label| kernel::memory(text, label);
    let total = Some(line("MemTotal")?);
    Some(Memory {
        total,
        free: line("MemFree"),
        available: line("MemAvailable"),
        cache: line("Cached").map(|cached| cached.saturating_add(line("Buffers").unwrap_or(0))),
        processes: line("AnonPages"),
        slab: line("Slab"),
        unreclaimable: line("SUnreclaim"),
        swap_total: line("SwapTotal"),
        swap_free: line("SwapFree"),
    })
}

/// The counters.
fn reading(tree: &mut Tree) -> Reading {
    let stat = tree.read("proc/stat", "", parse::stat).unwrap_or_default();
    let tcp = |text: &[u8], name| kernel::column(text, "TcpExt:", name);
    Reading {
        uptime: tree.read("proc/uptime", "without it no rate can be told", parse::uptime),
        cpu: stat.cpu,
        cores: stat.cores,
        running: stat.running,
        blocked: stat.blocked,
        vm: tree.read("proc/vmstat", "", parse::vmstat).unwrap_or_default(),
        tcp: tree
            .read("proc/net/netstat", "is /proc mounted with subset=pid?", |text| {
                Some(TcpExt {
                    listen_overflows: Some(tcp(text, "ListenOverflows")?),
                    listen_drops: tcp(text, "ListenDrops"),
                    aborts_on_memory: tcp(text, "TCPAbortOnMemory"),
                    memory_pressures: tcp(text, "TCPMemoryPressures"),
                    time_wait_overflows: tcp(text, "TCPTimeWaitOverflow"),
                    syn_cookies: tcp(text, "TCPReqQFullDoCookies"),
                })
            })
            .unwrap_or_default(),
        disks: tree.read("proc/diskstats", "", parse::disks).unwrap_or_default(),
        tracking_losses: tree.quietly("proc/net/stat/nf_conntrack", parse::tracking_losses),
        backlog_drops: tree.quietly("proc/net/softnet_stat", parse::backlog_drops),
    }
}
