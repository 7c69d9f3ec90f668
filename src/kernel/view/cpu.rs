//! What the cores spend their time on, from the kernel's counts of ticks.

/// How the cores spent their time since the look before, each from 0 to 1 and together 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuShares {
    /// Programs, niced ones and guests included.
    pub user: f64,
    /// The kernel on their behalf.
    pub system: f64,
    /// Interrupts, soft and hard: on a gateway, packets.
    pub softirq: f64,
    /// Idle, with somebody waiting for a disk. The kernel's own guess (`proc_stat(5)`): it tells that a disk is slow, not how
    /// slow.
    pub iowait: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
    /// Idle.
    pub idle: f64,
}

impl CpuShares {
    /// From the ticks at two moments, in the order of `proc_stat(5)`: user, nice, system, idle, iowait, irq, softirq, steal.
    /// `None` if none has passed.
    pub fn between(before: [u64; 8], now: [u64; 8]) -> Option<Self> {
        let mut passed = now;
        for (passed, before) in passed.iter_mut().zip(before) {
            // iowait and idle may run backwards, says proc_stat(5); and a container's may begin anew.
            *passed = passed.saturating_sub(before);
        }
        #[expect(clippy::cast_precision_loss, reason = "a share, to a few digits")]
        let passed = passed.map(|ticks| ticks as f64);
        let [user, nice, system, idle, iowait, irq, softirq, steal] = passed;
        let all: f64 = passed.iter().sum();
        (all > 0.0).then(|| Self {
            user: (user + nice) / all,
            system: system / all,
            softirq: (irq + softirq) / all,
            iowait: iowait / all,
            steal: steal / all,
            idle: idle / all,
        })
    }

    /// All that is neither idle nor waiting.
    pub fn busy(&self) -> f64 {
        self.user + self.system + self.softirq + self.steal
    }
}
