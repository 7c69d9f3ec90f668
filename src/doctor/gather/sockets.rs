//! The TCP sockets: from `sock_diag` on the living box, from `/proc/net/tcp` and `tcp6` of a recorded one.

use std::time::Duration;

use ahash::AHashMap;

use super::super::evidence::{Census, Counting, Evidence, Listener, Socket, Unseen};
use super::tree::Tree;
use super::{parse, processes};
use crate::kernel::diag::{Diag, State};
use crate::kernel::view::parse::lines;

/// The tables of sockets: of each so many bytes are read, 400,000 sockets.
const TABLES: [&str; 2] = ["proc/net/tcp", "proc/net/tcp6"];
const TABLE: usize = 64 << 20;
/// Listening sockets come first in them: all of these are in so many bytes.
const BEGINNING: usize = 1 << 20;
/// How long the kernel may take to tell of its sockets.
const BUDGET: Duration = Duration::from_secs(3);
/// The first port of outgoing connections, where it is not known (`ip-sysctl.rst`).
const OUTGOING: u16 = 32_768;
/// Users that have a name.
const USERS: usize = 4_096;

/// From the tables of a recorded box.
pub(super) fn of_files(tree: &mut Tree, evidence: &mut Evidence) -> Option<Census> {
    let (processes, owners) = processes::all(tree);
    evidence.processes = processes;
    let users = users(tree);
    let tables = tables(tree, TABLE)?;
    let cut = tables.iter().any(|(_, is_whole)| !is_whole);
    let mut counting = Counting::new(listeners(&tables), outgoing(evidence), owners);
    for socket in tables.iter().flat_map(|(text, _)| lines(text)).filter_map(parse::socket) {
        counting.add(&socket, |uid| user(&users, uid));
    }
    if cut {
        tree.miss("proc/net/tcp", format!("longer than {} MiB: the rest was not counted", TABLE >> 20));
    }
    Some(counting.finish(cut))
}

/// From `sock_diag`; the listening sockets, of which it does not tell, from the tables.
pub(super) fn live(tree: &mut Tree, evidence: &mut Evidence) -> Option<Census> {
    let (processes, owners) = processes::all(tree);
    evidence.processes = processes;
    let users = users(tree);
    let listeners = listeners(&tables(tree, BEGINNING)?);
    let mut counting = Counting::new(listeners, outgoing(evidence), owners);
    let dump = Diag::open().and_then(|mut diag| {
        diag.dump(BUDGET, |entry| {
            let queued = u64::from(entry.receive_queue).saturating_add(entry.send_queue.into());
            let socket = Socket {
                local: entry.local,
                remote: entry.remote,
                state: entry.state,
                inode: entry.inode,
                uid: entry.uid,
                queued,
            };
            counting.add(&socket, |uid| user(&users, uid));
        })
    });
    match dump {
        Ok(dump) => {
            if !dump.complete {
                let why = format!("not done within {BUDGET:?}: the rest was not counted");
                tree.unseen.push(Unseen { source: "sock_diag".to_owned(), why });
            }
            Some(counting.finish(!dump.complete))
        }
        Err(error) => {
            let why = format!("{error}; a kernel without CONFIG_INET_DIAG has none");
            tree.unseen.push(Unseen { source: "sock_diag".to_owned(), why });
            None
        }
    }
}

/// The tables that are there, each with whether it is whole.
fn tables(tree: &mut Tree, most: usize) -> Option<Vec<(Vec<u8>, bool)>> {
    let mut tables = Vec::new();
    for path in TABLES {
        match tree.bytes(path, most) {
            Ok(table) if table.0.trim_ascii_start().starts_with(b"sl ") => tables.push(table),
            Ok(_) => tree.miss(path, "its format is not known".to_owned()),
            // A box without IPv6 has no second one.
            Err(error) if tables.is_empty() => tree.miss(path, error.to_string()),
            Err(_) => {}
        }
    }
    tree.read += tables.len() as u64;
    (!tables.is_empty()).then_some(tables)
}

fn listeners(tables: &[(Vec<u8>, bool)]) -> Vec<Listener> {
    let rows = tables.iter().flat_map(|(text, _)| lines(text)).filter_map(parse::socket);
    let listening = rows.filter(|socket| socket.state == State::Listen);
    listening.map(|socket| Listener { local: socket.local, waiting: socket.queued }).collect()
}

fn outgoing(evidence: &Evidence) -> u16 {
    let first = evidence.sysctl("net.ipv4.ip_local_port_range");
    first.and_then(|port| u16::try_from(port).ok()).unwrap_or(OUTGOING)
}

fn users(tree: &mut Tree) -> AHashMap<u32, String> {
    tree.quietly("etc/passwd", |text| Some(parse::users(text).take(USERS).collect())).unwrap_or_default()
}

fn user(users: &AHashMap<u32, String>, uid: u32) -> String {
    users.get(&uid).map_or_else(|| format!("user {uid}"), |name| format!("user {name}"))
}
