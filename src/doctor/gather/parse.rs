//! The formats of files that only the doctor reads; [`crate::kernel::view::parse`] has the others.
//!
//! Like there: nothing panics, nothing is invented, and what is named is found by its name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::evidence::{Disk, Load, Socket, Vm};
use crate::kernel::diag::State;
use crate::kernel::view::parse::{lines, number, ticks, words};

/// Numbers of a sysctl that are kept.
const NUMBERS: usize = 8;
/// Disks that are kept.
const DISKS: usize = 256;

/// A sysctl: only numbers, at least one.
pub(super) fn numbers(text: &[u8]) -> Option<Vec<u64>> {
    let numbers = words(text).take(NUMBERS).map(number).collect::<Option<Vec<_>>>()?;
    (!numbers.is_empty()).then_some(numbers)
}

/// A number with a fraction that is neither negative nor endless.
fn real(word: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// loadavg (`proc_loadavg(5)`).
pub(super) fn load(text: &[u8]) -> Option<Load> {
    let mut words = words(text).map(real);
    Some(Load { averages: [words.next()??, words.next()??, words.next()??] })
}

/// The first number of uptime (`proc_uptime(5)`), seconds.
pub(super) fn uptime(text: &[u8]) -> Option<f64> {
    real(words(text).next()?)
}

/// What is used of stat.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stat {
    pub(super) cpu: Option<[u64; 8]>,
    pub(super) cores: Option<u64>,
    pub(super) running: Option<u64>,
    pub(super) blocked: Option<u64>,
}

/// stat (`proc_stat(5)`).
pub(super) fn stat(text: &[u8]) -> Option<Stat> {
    let mut stat = Stat::default();
    let mut cores = 0;
    for line in lines(text) {
        let mut words = words(line);
        match words.next() {
            Some(b"cpu") => stat.cpu = ticks(line),
            Some(b"procs_running") => stat.running = words.next().and_then(number),
            Some(b"procs_blocked") => stat.blocked = words.next().and_then(number),
            Some(name) if name.strip_prefix(b"cpu").is_some_and(|n| number(n).is_some()) => cores += 1,
            _ => {}
        }
    }
    stat.cores = (cores > 0).then_some(cores);
    (stat.cpu.is_some() || stat.cores.is_some()).then_some(stat)
}

/// vmstat (Documentation/admin-guide/mm, mm/vmstat.c). Before 4.8 there was a counter for each zone: those of a kind are added.
pub(super) fn vmstat(text: &[u8]) -> Option<Vm> {
    let sum = |wanted: fn(&[u8]) -> bool| {
        let mut found = lines(text).filter_map(|line| {
            let mut words = words(line);
            words.next().filter(|name| wanted(name))?;
            words.next().and_then(number)
        });
        let first = found.next()?;
        Some(found.fold(first, u64::saturating_add))
    };
    let vm = Vm {
        scanned: sum(|name| {
            (name.starts_with(b"pgscan_kswapd") || name.starts_with(b"pgscan_direct")) && !name.ends_with(b"throttle")
        }),
        stolen: sum(|name| name.starts_with(b"pgsteal_kswapd") || name.starts_with(b"pgsteal_direct")),
        direct: sum(|name| name.starts_with(b"pgscan_direct") && !name.ends_with(b"throttle")),
        refaults: sum(|name| name.starts_with(b"workingset_refault")),
        swapped_in: sum(|name| name == b"pswpin"),
        swapped_out: sum(|name| name == b"pswpout"),
        oom_kills: sum(|name| name == b"oom_kill"),
    };
    (vm != Vm::default()).then_some(vm)
}

/// diskstats (Documentation/admin-guide/iostats.rst): whole disks that were ever used, not their partitions.
pub(super) fn disks(text: &[u8]) -> Option<Vec<Disk>> {
    let mut understood = false;
    let mut disks: Vec<Disk> = Vec::new();
    for line in lines(text) {
        let mut words = words(line).skip(2);
        let Some(name) = words.next().and_then(|name| std::str::from_utf8(name).ok()) else { continue };
        let mut figure = |skipped: usize| words.nth(skipped).and_then(number);
        // reads, merged, sectors, ms; writes, merged, sectors, ms; under way, ms busy
        let figures = (|| Some((figure(0)?, figure(2)?, figure(0)?, figure(2)?, figure(1)?)))();
        let Some((reads, read_ms, writes, write_ms, busy_ms)) = figures else { continue };
        understood = true;
        let operations = reads.saturating_add(writes);
        let is_part = disks.iter().any(|disk| name.strip_prefix(&*disk.name).is_some_and(is_partition));
        let is_no_disk = ["loop", "ram", "zram", "sr", "fd"].iter().any(|kind| name.starts_with(kind));
        if operations > 0 && !is_part && !is_no_disk && disks.len() < DISKS {
            let waited_ms = read_ms.saturating_add(write_ms);
            disks.push(Disk { name: name.to_owned(), operations, waited_ms, busy_ms });
        }
    }
    understood.then_some(disks)
}

/// `1` of `sda1`, `p1` of `nvme0n1p1`: what stands behind the name of the disk.
fn is_partition(rest: &str) -> bool {
    let digits = rest.strip_prefix('p').unwrap_or(rest);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Hexadecimal columns of `/proc/net/stat/nf_conntrack`, one row per core: `insert_failed`, `drop` and `early_drop`.
pub(super) fn tracking_losses(text: &[u8]) -> Option<u64> {
    let mut rows = lines(text);
    let header: Vec<&[u8]> = words(rows.next()?).collect();
    let mut losses: Option<u64> = None;
    for row in rows {
        for (name, word) in header.iter().zip(words(row)) {
            if matches!(*name, b"insert_failed" | b"drop" | b"early_drop") {
                losses = Some(losses.unwrap_or(0).saturating_add(hexadecimal(word)?));
            }
        }
    }
    losses
}

/// The second hexadecimal column of `softnet_stat`, one row per core.
pub(super) fn backlog_drops(text: &[u8]) -> Option<u64> {
    let mut drops: Option<u64> = None;
    for row in lines(text).filter(|row| !row.is_empty()) {
        drops = Some(drops.unwrap_or(0).saturating_add(hexadecimal(words(row).nth(1)?)?));
    }
    drops
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

/// A row of `/proc/net/tcp` or `tcp6` (`Documentation/networking/proc_net_tcp.rst`); none for a header or what is no row.
pub(super) fn socket(row: &[u8]) -> Option<Socket> {
    let mut words = words(row).skip(1);
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let state = State::numbered(u8::try_from(hexadecimal(words.next()?)?).ok()?)?;
    let queues = words.next()?;
    let (send, receive) = queues.split_at_checked(queues.iter().position(|byte| *byte == b':')?)?;
    let queued = hexadecimal(send)?.saturating_add(hexadecimal(receive.get(1..)?)?);
    let uid = words.nth(2).and_then(number)?;
    let inode = words.nth(1).and_then(number)?;
    Some(Socket { local, remote, state, inode: u32::try_from(inode).ok()?, uid: u32::try_from(uid).ok()?, queued })
}

/// `0205730A:0C38`: words of 32 bits in the order of the machine. An IPv4-mapped address is its IPv4 address.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = text.split_at_checked(text.iter().position(|byte| *byte == b':')?)?;
    let port = u16::try_from(hexadecimal(port.get(1..)?)?).ok()?;
    let word = |text: &[u8]| u32::try_from(hexadecimal(text)?).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(ip)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (place, text) in octets.chunks_mut(4).zip(ip.chunks(8)) {
                place.copy_from_slice(&word(text)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// The soft limit in the line `Max open files` of `/proc/PID/limits`; none if it is unlimited.
pub(super) fn open_files(text: &[u8]) -> Option<u64> {
    let rest = lines(text).find_map(|line| line.strip_prefix(b"Max open files"))?;
    number(words(rest).next()?)
}

/// `socket:[1234]`: what a link in `/proc/PID/fd` says of a socket.
pub(super) fn inode(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    u32::try_from(number(inode)?).ok()
}

/// The user ids and names of passwd(5).
pub(super) fn users(text: &[u8]) -> impl Iterator<Item = (u32, String)> {
    lines(text).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = u32::try_from(number(fields.nth(1)?)?).ok()?;
        Some((uid, String::from_utf8_lossy(name).into_owned()))
    })
}
