//! Counters since boot, and how they changed.

use crate::figures::real;
use crate::kernel::view::{CpuShares, TcpExt};

/// What counts since boot, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// `/proc/uptime`, seconds.
    pub uptime: Option<f64>,
    /// The line `cpu` of `/proc/stat`: ticks, in the order of `proc_stat(5)`.
    pub cpu: Option<[u64; 8]>,
    /// How many cores there are.
    pub cores: Option<u64>,
    /// Tasks that run or could run (`procs_running`): no counter.
    pub running: Option<u64>,
    /// Tasks that wait for a disk (`procs_blocked`): no counter.
    pub blocked: Option<u64>,
    /// `/proc/vmstat`.
    pub vm: Vm,
    /// `/proc/net/netstat`.
    pub tcp: TcpExt,
    /// `/proc/diskstats`: disks that were used at all.
    pub disks: Vec<Disk>,
    /// Packets that connection tracking dropped, since its table was full or otherwise (`drop`, `early_drop`, `insert_failed`).
    pub tracking_losses: Option<u64>,
    /// Packets the kernel dropped since its queue of received ones was full (`/proc/net/softnet_stat`, second column).
    pub backlog_drops: Option<u64>,
}

/// Counters of `/proc/vmstat`, in pages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vm {
    /// Looked at in search of memory to take back (`pgscan_*`).
    pub scanned: Option<u64>,
    /// Taken back (`pgsteal_*`).
    pub stolen: Option<u64>,
    /// Of those looked at, by tasks that had to wait for it (`pgscan_direct*`).
    pub direct: Option<u64>,
    /// Read again soon after they were taken back (`workingset_refault*`).
    pub refaults: Option<u64>,
    /// `pswpin`.
    pub swapped_in: Option<u64>,
    /// `pswpout`.
    pub swapped_out: Option<u64>,
    /// `oom_kill` (Linux 4.13): processes, no pages.
    pub oom_kills: Option<u64>,
}

/// A disk.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Reads and writes that ended.
    pub operations: u64,
    /// The time they took all together, ms.
    pub waited_ms: u64,
    /// The time in which any was under way, ms.
    pub busy_ms: u64,
}

/// How the counters changed between two readings, or since boot.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    now: &'a Reading,
    before: Option<&'a Reading>,
    /// Seconds that passed.
    pub seconds: f64,
}

/// Readings nearer to each other than this tell nothing, seconds.
const SHORTEST: f64 = 0.05;

impl<'a> Change<'a> {
    /// None if no time passed, or an unknown one.
    pub(super) fn new(now: &'a Reading, before: Option<&'a Reading>) -> Option<Self> {
        let until = now.uptime?;
        let seconds = until - before.map_or(Some(0.0), |before| before.uptime)?;
        (seconds.is_finite() && seconds >= SHORTEST).then_some(Self { now, before, seconds })
    }

    /// "in 1.0 s", "since boot 3.2 days ago".
    pub fn when(&self) -> String {
        let seconds = self.seconds;
        if self.before.is_some() {
            return format!("in {seconds:.1} s");
        }
        let (value, unit) = match seconds {
            ..7_200.0 => (seconds / 60.0, "min"),
            7_200.0..172_800.0 => (seconds / 3_600.0, "h"),
            _ => (seconds / 86_400.0, "days"),
        };
        format!("on average since boot {value:.1} {unit} ago")
    }

    /// Whether it is between two readings.
    pub const fn is_recent(&self) -> bool {
        self.before.is_some()
    }

    /// How much a counter grew; none if it is not known at both ends, or ran backwards.
    pub fn grown(&self, figure: impl Fn(&Reading) -> Option<u64>) -> Option<u64> {
        let then = self.before.map_or(Some(0), &figure)?;
        figure(self.now)?.checked_sub(then)
    }

    /// The same per second.
    pub fn rate(&self, figure: impl Fn(&Reading) -> Option<u64>) -> Option<f64> {
        Some(real(self.grown(figure)?) / self.seconds)
    }

    /// What the cores spent their time on.
    pub fn cpu(&self) -> Option<CpuShares> {
        CpuShares::between(self.before.map_or(Some([0; 8]), |before| before.cpu)?, self.now.cpu?)
    }

    /// Each disk: its name, the share of the time it was busy, and how long an operation took, ms.
    pub fn disks(&self) -> impl Iterator<Item = (&'a str, f64, f64)> {
        let seconds = self.seconds;
        let before = self.before;
        self.now.disks.iter().filter_map(move |disk| {
            let then = match before {
                None => Disk::default(),
                Some(before) => before.disks.iter().find(|other| other.name == disk.name).cloned()?,
            };
            let busy = real(disk.busy_ms.checked_sub(then.busy_ms)?) / 1e3 / seconds;
            let operations = disk.operations.checked_sub(then.operations)?;
            let waited = disk.waited_ms.checked_sub(then.waited_ms)?;
            Some((disk.name.as_str(), busy.min(1.0), real(waited) / real(operations.max(1))))
        })
    }
}
