//! The process as the kernel sees it, for the standard `process_*` metrics. What cannot be read is `None`.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Clock ticks per second in /proc: `USER_HZ`, 100 on every architecture but the long gone (asm-generic/param.h).
const USER_HZ: f64 = 100.0;

/// One look at /proc/self.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system time, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// `VmRSS`, in bytes.
    pub(super) resident: Option<u64>,
    /// `VmSize`, in bytes.
    pub(super) mapped: Option<u64>,
    /// Open descriptors.
    pub(super) open_fds: Option<u64>,
    /// `RLIMIT_NOFILE`, soft; absent if unlimited.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// Some microseconds: /proc never waits for a disk.
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").ok();
        let status = status.as_deref().unwrap_or_default();
        Self {
            cpu_seconds: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)),
            resident: kilobytes(status, "VmRSS:"),
            mapped: kilobytes(status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Fields 14 and 15 of `proc_pid_stat(5)`; the second field, a name, may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / USER_HZ)
}

fn kilobytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn open_fds() -> Option<u64> {
    // Since Linux 6.2 the size of the directory is the count (f1f1f2569901): no walk over thousands of entries.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, cpu_seconds, kilobytes};

    #[test]
    fn reads_proc() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some());
        assert!(process.resident.unwrap() > 100_000);
        assert!(process.mapped >= process.resident);
        assert!(process.open_fds.unwrap() >= 3);
    }

    #[test]
    fn a_name_may_contain_anything() {
        let stat = "7 (a) R 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 123 4 5";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        assert_eq!(kilobytes("VmSize:\t  9 kB\nVmRSS:\t  2 kB\n", "VmRSS:"), Some(2_048));
        assert_eq!(kilobytes("VmRSS:\tx kB\n", "VmRSS:"), None);
    }
}
