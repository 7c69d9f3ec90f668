//! The box besides its TCP: cores, memory, stalls, connection tracking.

use super::cpu::CpuShares;
use super::sources::{Look, SUBSET, Source};
use super::{KernelView, parse};

const PSI: &str = "a kernel before 4.20, without CONFIG_PSI or with psi=0 has none";
const TRACKING: &str = "without the module nf_conntrack nothing is tracked";

/// The files of `/proc` behind it, and the ticks of the look before.
#[derive(Debug)]
pub(super) struct Machine {
    meminfo: Source,
    memory_pressure: Source,
    cpu_pressure: Source,
    io_pressure: Source,
    stat: Source,
    loadavg: Source,
    tracked: Source,
    tracked_limit: Source,
    ticks: Option<[u64; 8]>,
}

impl Machine {
    pub(super) fn open(source: impl Fn(&'static str, &'static str) -> Source) -> Self {
        Self {
            meminfo: source("/proc/meminfo", SUBSET),
            memory_pressure: source("/proc/pressure/memory", PSI),
            cpu_pressure: source("/proc/pressure/cpu", PSI),
            io_pressure: source("/proc/pressure/io", PSI),
            stat: source("/proc/stat", SUBSET),
            loadavg: source("/proc/loadavg", SUBSET),
            tracked: source("/proc/sys/net/netfilter/nf_conntrack_count", TRACKING),
            tracked_limit: source("/proc/sys/net/netfilter/nf_conntrack_max", TRACKING),
            ticks: None,
        }
    }

    pub(super) fn read(&mut self, look: &mut Look<'_>, view: &mut KernelView) {
        [view.ram, view.memory_available] = look.named(&mut self.meminfo, ["MemTotal", "MemAvailable"], parse::memory);
        view.memory_stall = look.value(&mut self.memory_pressure, parse::stall);
        view.cpu_stall = look.value(&mut self.cpu_pressure, parse::stall);
        view.io_stall = look.value(&mut self.io_pressure, parse::stall);
        let ticks = look.value(&mut self.stat, parse::ticks);
        view.cpu = self.ticks.zip(ticks).and_then(|(before, now)| CpuShares::between(before, now));
        self.ticks = ticks;
        view.load = look.value(&mut self.loadavg, parse::load);
        let tracked = look.value(&mut self.tracked, parse::sysctl);
        let limit = look.value(&mut self.tracked_limit, parse::sysctl);
        view.conntrack = tracked.zip(limit).map(|([tracked], [limit])| (tracked, limit));
    }
}
