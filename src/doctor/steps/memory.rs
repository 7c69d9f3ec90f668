//! Memory: what is left, how hard it is to get, and what the kernel keeps for itself.

use super::super::evidence::{Evidence, SOCKET_BYTES};
use super::super::words::{percent, rate, share};
use super::super::{Verdict, evidence::Change};
use super::{Finding, Step, marks};
use crate::figures::{bytes, count};

pub(super) fn memory(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Memory);
    let memory = &evidence.memory;
    if let Some(total) = memory.total {
        if let Some(available) = memory.available {
            let used = share(total.saturating_sub(available), total).unwrap_or(0.0);
            finding.saw(marks::MEMORY.of(used), format_args!("{} of {} available", bytes(available), bytes(total)));
        }
        let parts: Vec<String> = [("page cache", memory.cache), ("processes", memory.processes), ("slab", memory.slab)]
            .into_iter()
            .filter_map(|(name, part)| Some(format!("{name} {}", bytes(part?))))
            .collect();
        if !parts.is_empty() {
            finding.evidence.push(parts.join(", "));
        }
    }
    if let Some(change) = evidence.change() {
        let left = memory.available.zip(memory.total).and_then(|(available, total)| share(available, total));
        reclaim(&mut finding, &change, left.is_none_or(|left| left < marks::AMPLE));
    }
    if let Some(stall) = evidence.stalls.memory {
        finding.saw(
            marks::MEMORY_STALL.of(f64::from(stall)),
            format_args!("somebody waited for memory in {} of the last 10 s", percent(f64::from(stall) / 10_000.0)),
        );
    }
    if let (Some(total), Some(free)) = (memory.swap_total, memory.swap_free) {
        let figure = match total {
            0 => "no swap".to_owned(),
            total => format!("{} of {} swap used", bytes(total.saturating_sub(free)), bytes(total)),
        };
        finding.evidence.push(figure);
    }
    finding.means(
        "There is memory left.",
        "Memory is short: the kernel takes it back from the page cache, and programs wait while files are read again. Who has it \
         is in the figures: processes, or the kernel's own slab (next step).",
    )
}

/// How hard the kernel looks for memory. Where there is plenty, it takes pages from a control group that has used up its own.
fn reclaim(finding: &mut Finding, change: &Change<'_>, is_scarce: bool) {
    let when = change.when();
    if let Some(refaults) = change.rate(|reading| reading.vm.refaults) {
        let figure = format!("{} read again soon after they were taken back, {when}", rate(refaults, "pages"));
        finding.saw(if is_scarce { marks::REFAULTS.of(refaults) } else { Verdict::Ok }, figure);
    }
    if let (Some(scanned), Some(stolen)) =
        (change.rate(|reading| reading.vm.scanned), change.rate(|reading| reading.vm.stolen))
    {
        let direct = change.rate(|reading| reading.vm.direct).unwrap_or(0.0);
        finding.saw(
            if is_scarce { marks::SCANNED.of(scanned) } else { Verdict::Ok },
            format_args!(
                "page cache reclaimed: {} looked at, {} taken back, {} of these by tasks that had to wait for it",
                rate(scanned, "pages"),
                rate(stolen, "pages"),
                rate(direct, "pages"),
            ),
        );
    }
    if let (Some(inwards), Some(outwards)) =
        (change.rate(|reading| reading.vm.swapped_in), change.rate(|reading| reading.vm.swapped_out))
        && inwards.max(outwards) > 0.0
    {
        let figure = format!("swap: {} in, {} out", rate(inwards, "pages"), rate(outwards, "pages"));
        finding.saw(marks::SWAPPED.of(inwards.max(outwards)), figure);
    }
    if let Some(kills @ 1..) = change.grown(|reading| reading.vm.oom_kills) {
        let figure = format!("the kernel killed {kills} processes for want of memory, {when}");
        finding.saw(if change.is_recent() { Verdict::Critical } else { Verdict::Warning }, figure);
    }
}

/// What creates the objects of a cache.
fn creator(cache: &str) -> Option<&'static str> {
    Some(match cache {
        "TCP" | "TCPv6" => "one for each TCP socket, from accept or connect to its end",
        "tw_sock_TCP" | "tw_sock_TCPv6" => "one for each connection in TIME_WAIT: this box closed first",
        "request_sock_TCP" | "request_sock_TCPv6" => "one for each connection that is not accepted yet",
        "sock_inode_cache" => "one for each socket that a process has open",
        "skbuff_head_cache" | "skbuff_fclone_cache" | "skbuff_small_head" => "one for each packet on its way",
        "filp" => "one for each open file",
        "nf_conntrack" => "one for each tracked connection",
        "dentry" | "inode_cache" | "ext4_inode_cache" | "xfs_inode" | "btrfs_inode" => {
            "names and files that were looked at: given back when memory is short"
        }
        "buffer_head" | "radix_tree_node" => "the page cache: given back when memory is short",
        _ => return None,
    })
}

pub(super) fn slab(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Step::Slab);
    let total = evidence.memory.total;
    if let (Some(total), Some(kept)) = (total, evidence.memory.unreclaimable) {
        let part = share(kept, total).unwrap_or(0.0);
        let figure = format!("{} of slab cannot be taken back: {} of the memory", bytes(kept), percent(part));
        finding.saw(marks::SLAB.of(part), figure);
    }
    if let Some((tcp, is_estimate)) = evidence.tcp_slab() {
        let part = total.and_then(|total| share(tcp, total));
        let how = if is_estimate {
            format!("estimated, {SOCKET_BYTES} B for each allocated socket")
        } else {
            "caches TCP and TCPv6".to_owned()
        };
        let verdict = part.map_or(Verdict::Unknown, |part| marks::TCP_SLAB.of(part));
        let of = part.map(|part| format!(": {} of the memory", percent(part))).unwrap_or_default();
        finding.saw(verdict, format_args!("socket objects of TCP take {} ({how}){of}", bytes(tcp)));
    }
    for cache in evidence.slab.iter().flatten().take(5) {
        let by = creator(&cache.name).map(|by| format!("; {by}")).unwrap_or_default();
        let name = super::super::words::harmless(&cache.name, 64);
        finding.evidence.push(format!("{name}: {}, {} objects{by}", bytes(cache.bytes), count(cache.objects)));
    }
    if evidence.slab.is_none() {
        finding.advise("Run this as root: /proc/slabinfo says which caches hold the memory.");
    }
    finding.means(
        "The kernel keeps little for itself.",
        "The kernel's own memory cannot be swapped or dropped, so the page cache pays for it. Socket objects are freed only when \
         sockets end: fewer of them must be opened, or they must end sooner.",
    )
}
