//! Who has files open, and which sockets are whose.

use ahash::AHashMap;
use rustix::fs::{Dir, readlinkat};

use super::super::evidence::{Process, Processes};
use super::parse;
use super::tree::Tree;
use crate::figures::real;

/// Processes that are looked at.
const PROCESSES: usize = 32_768;
/// Files of one process that are counted, and of all that are looked at.
const FILES: u64 = 1 << 20;
const LINKS: usize = 1 << 18;
/// Processes that are told.
const ROWS: usize = 8;

/// All processes, and the name of the process behind each socket's inode.
pub(super) fn all(tree: &mut Tree) -> (Option<Processes>, AHashMap<u32, String>) {
    let mut owners = AHashMap::new();
    let names = match tree.names("proc", PROCESSES) {
        Ok(names) => names,
        Err(error) => {
            tree.miss("proc", error.to_string());
            return (None, owners);
        }
    };
    let mut processes = Processes::default();
    let mut links = 0;
    for pid in names.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let folder = format!("proc/{pid}");
        let Ok(files) = tree.folder(&format!("{folder}/fd")) else {
            processes.hidden += 1;
            continue;
        };
        let Ok(entries) = Dir::read_from(&files) else {
            processes.hidden += 1;
            continue;
        };
        let comm = tree.bytes(&format!("{folder}/comm"), 64).map(|(comm, _)| comm).unwrap_or_default();
        let name = String::from_utf8_lossy(comm.trim_ascii()).into_owned();
        let mut open = 0;
        for entry in entries.map_while(Result::ok) {
            if open >= FILES || !entry.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            open += 1;
            links += 1;
            if links <= LINKS
                && let Ok(link) = readlinkat(&files, entry.file_name(), Vec::new())
                && let Some(inode) = parse::inode(link.to_bytes())
            {
                owners.insert(inode, format!("{name} ({pid})"));
            }
        }
        let limits = tree.bytes(&format!("{folder}/limits"), 8_192).map(|(limits, _)| limits).unwrap_or_default();
        processes.seen += 1;
        processes.fullest.push(Process { name, pid, open, limit: parse::open_files(&limits) });
        if processes.fullest.len() >= 4 * ROWS {
            shorten(&mut processes.fullest);
        }
    }
    shorten(&mut processes.fullest);
    if links > LINKS {
        tree.miss("proc/PID/fd", format!("more than {LINKS} files are open: not every socket has its owner"));
    }
    if processes.hidden > 0 {
        tree.miss("proc/PID/fd", format!("{} processes of other users: run this as root", processes.hidden));
    }
    ((processes.seen > 0).then_some(processes), owners)
}

/// Keeps those nearest to their limit.
fn shorten(processes: &mut Vec<Process>) {
    let used = |process: &Process| process.limit.map_or(0.0, |limit| real(process.open) / real(limit.max(1)));
    processes.sort_by(|a, b| used(b).total_cmp(&used(a)).then(b.open.cmp(&a.open)).then(a.pid.cmp(&b.pid)));
    processes.truncate(ROWS);
}
