//! What the kernel's view says: sockets and their memory, the machine, the counts since boot.

use std::fmt;

use super::Page;
use crate::kernel::view::{CpuShares, KernelView, TcpExt};

/// Writes all of it; what the kernel does not tell is left out.
pub(super) fn encode(kernel: &KernelView, page: &mut Page<'_, '_>) -> fmt::Result {
    memory(kernel, page)?;
    machine(kernel, page)?;
    events(&kernel.tcp_ext, page)
}

fn memory(kernel: &KernelView, page: &mut Page<'_, '_>) -> fmt::Result {
    page.gauges(
        "floodgate_kernel_slab_objects",
        "Active objects of a slab cache, an upper bound",
        kernel.slab.iter().map(|(cache, slab)| ([("cache", *cache)], Some(slab.objects))),
    )?;
    page.gauges(
        "floodgate_kernel_slab_bytes",
        "Memory a slab cache holds",
        kernel.slab.iter().map(|(cache, slab)| ([("cache", *cache)], Some(slab.bytes))),
    )?;
    let sockets = &kernel.sockets;
    page.gauges(
        "floodgate_kernel_sockets",
        "TCP sockets by state",
        [
            ("ipv4", "inuse", sockets.inuse_v4),
            ("ipv6", "inuse", sockets.inuse_v6),
            ("all", "orphan", sockets.orphan),
            ("all", "time_wait", sockets.time_wait),
            ("all", "alloc", sockets.alloc),
        ]
        .map(|(family, state, count)| ([("family", family), ("state", state)], count)),
    )?;
    for (name, help, value) in [
        ("floodgate_kernel_orphan_limit", "net.ipv4.tcp_max_orphans", kernel.orphan_limit),
        ("floodgate_kernel_time_wait_limit", "net.ipv4.tcp_max_tw_buckets", kernel.time_wait_limit),
        ("floodgate_kernel_tcp_memory_bytes", "Memory of TCP socket buffers", kernel.tcp_memory),
    ] {
        page.gauge(name, help, value)?;
    }
    if let Some(limits) = kernel.tcp_memory_limits {
        page.gauges(
            "floodgate_kernel_tcp_memory_limit_bytes",
            "net.ipv4.tcp_mem",
            ["low", "pressure", "high"].into_iter().zip(limits).map(|(level, bytes)| ([("level", level)], Some(bytes))),
        )?;
    }
    Ok(())
}

fn machine(kernel: &KernelView, page: &mut Page<'_, '_>) -> fmt::Result {
    for (name, help, value) in [
        ("floodgate_kernel_memory_size_bytes", "Memory of the box", kernel.ram),
        ("floodgate_kernel_memory_available_bytes", "What programs can have of it", kernel.memory_available),
        (
            "floodgate_kernel_conntrack_entries",
            "Connections that are tracked",
            kernel.conntrack.map(|(count, _)| count),
        ),
        ("floodgate_kernel_conntrack_limit", "nf_conntrack_max", kernel.conntrack.map(|(_, limit)| limit)),
    ] {
        page.gauge(name, help, value)?;
    }
    page.gauge(
        "floodgate_kernel_load",
        "Tasks that run, could run or wait for a disk, averaged over a minute",
        kernel.load,
    )?;
    let cpu = kernel.cpu.map(|cpu| {
        let CpuShares { user, system, softirq, iowait, steal, idle } = cpu;
        let modes = [("user", user), ("system", system), ("softirq", softirq), ("iowait", iowait), ("steal", steal)];
        modes.into_iter().chain([("idle", idle)]).map(|(mode, share)| ([("mode", mode)], Some(share)))
    });
    page.gauges(
        "floodgate_kernel_cpu_ratio",
        "What the cores spent the last second on, together 1",
        cpu.into_iter().flatten(),
    )?;
    let stalls = [("memory", kernel.memory_stall), ("cpu", kernel.cpu_stall), ("io", kernel.io_stall)];
    page.gauges(
        "floodgate_kernel_stall_ratio",
        "Part of the last ten seconds in which somebody waited for it",
        stalls.map(|(resource, stall)| ([("resource", resource)], stall.map(super::super::status::ratio))),
    )?;
    let disks = || kernel.disks.iter().map(|disk| (disk.path.to_string_lossy(), disk));
    page.gauges(
        "floodgate_kernel_disk_size_bytes",
        "Size of a disk that is written to",
        disks().map(|(path, disk)| ([("path", path)], Some(disk.total))),
    )?;
    page.gauges(
        "floodgate_kernel_disk_free_bytes",
        "What is left on a disk that is written to",
        disks().map(|(path, disk)| ([("path", path)], Some(disk.free))),
    )
}

fn events(tcp: &TcpExt, page: &mut Page<'_, '_>) -> fmt::Result {
    for (name, help, value) in [
        (
            "floodgate_kernel_listen_overflows_total",
            "Connections dropped because an accept queue was full",
            tcp.listen_overflows,
        ),
        ("floodgate_kernel_listen_drops_total", "Connections dropped at a listener for any reason", tcp.listen_drops),
        (
            "floodgate_kernel_aborts_on_memory_total",
            "Connections reset for lack of memory or for too many orphans",
            tcp.aborts_on_memory,
        ),
        ("floodgate_kernel_memory_pressures_total", "Times TCP entered memory pressure", tcp.memory_pressures),
        (
            "floodgate_kernel_time_wait_overflows_total",
            "Sockets that found no place in TIME_WAIT",
            tcp.time_wait_overflows,
        ),
        ("floodgate_kernel_syn_cookies_total", "SYN cookies sent because a SYN queue was full", tcp.syn_cookies),
    ] {
        if let Some(value) = value {
            page.counter(name, help, &value)?;
        }
    }
    Ok(())
}
