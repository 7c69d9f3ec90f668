//! The fence as a classic BPF program on each of our listeners (socket(7), `SO_ATTACH_FILTER`).
//!
//! Owns: duplicates of the listeners, the list of networks and its time-outs. Called by: control, as a [`Fence`].
//! Never: touches a segment that is not a SYN. It needs `CAP_NET_ADMIN` on kernels since June 2026, none before.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use ipnet::IpNet;
use socket2::{SockFilter, SockRef};

use self::program::{Instruction, MOST_INSTRUCTIONS};
use super::{Change, Dropped, Fence, last_words};
use crate::kernel::sys;

mod program;
#[cfg(test)]
mod tests;

/// A network that is shut or half open.
#[derive(Clone, Copy, Debug)]
struct Member {
    change: Change,
    until: Instant,
    /// The how many-eth it is: of too many the latest have to go.
    number: u64,
}

/// See the module. Accepted sockets inherit the program of the moment, and keep it in memory: who accepts should detach it.
#[derive(Debug)]
pub(super) struct SocketFilter {
    listeners: Vec<Listener>,
    members: AHashMap<IpNet, Member>,
    numbered: u64,
    dropped: u64,
    /// Whether the kernel still runs something else than what the members are.
    is_stale: bool,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// What the kernel had counted when it was last asked.
    drops: u32,
}

impl SocketFilter {
    /// Tries whether filters can be set here.
    pub(super) fn put_up(listeners: &[TcpListener]) -> io::Result<Self> {
        if listeners.is_empty() {
            return Err(io::Error::other("there is no listener to set it on"));
        }
        let duplicate = |socket: &TcpListener| {
            let socket = socket.try_clone()?;
            Ok(Listener { drops: sys::drops(&socket)?, socket })
        };
        let listeners = listeners.iter().map(duplicate).collect::<io::Result<_>>()?;
        let fence = Self { listeners, members: AHashMap::new(), numbered: 0, dropped: 0, is_stale: false };
        fence.attach(&program::compile([])).map_err(explained)?;
        fence.detach()?;
        Ok(fence)
    }

    /// Forgets what is over, makes these changes, and has the kernel know of it if anything is different.
    fn change(&mut self, changes: &[Change], now: Instant) -> io::Result<Vec<Change>> {
        let before = self.members.len();
        self.members.retain(|_, member| member.until > now);
        self.is_stale |= self.members.len() != before;
        for change in changes {
            let network = change.network().trunc();
            let Some(timeout) = change.timeout() else {
                self.is_stale |= self.members.remove(&network).is_some();
                continue;
            };
            let number = self.members.get(&network).map_or(self.numbered, |member| member.number);
            self.numbered += 1;
            let until = now + timeout.min(Duration::from_hours(24));
            let old = self.members.insert(network, Member { change: *change, until, number });
            self.is_stale |= old.is_none_or(|old| is_half_open(old.change) != is_half_open(*change));
        }
        if !self.is_stale {
            return Ok(Vec::new());
        }
        let left_out = self.install()?;
        self.is_stale = false;
        Ok(left_out)
    }

    /// As many of the members as fit, the first to come before the others; those that do not are members no more.
    fn install(&mut self) -> io::Result<Vec<Change>> {
        let mut members: Vec<_> = self.members.values().copied().collect();
        members.sort_unstable_by_key(|member| member.number);
        let compiled = |members: &[Member]| {
            program::compile(
                members.iter().map(|member| (member.change.network().trunc(), is_half_open(member.change))),
            )
        };
        // An instruction each is the least.
        let mut left_out = members.split_off(members.len().min(MOST_INSTRUCTIONS));
        loop {
            let program = compiled(&members);
            let attached = match program.len() {
                _ if members.is_empty() => self.detach(),
                0..=MOST_INSTRUCTIONS => self.attach(&program),
                _ => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
            };
            match attached {
                // Above net.core.optmem_max, 20 KiB before Linux 6.8: some 1,000 to 2,000 addresses, since the kernel
                // translates comparisons with high ones into two instructions.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    left_out.extend(members.split_off(members.len() - members.len().div_ceil(FEWER)));
                }
                ended => break ended.map_err(explained)?,
            }
        }
        let left_out: Vec<_> = left_out.into_iter().map(|member| member.change).collect();
        for change in &left_out {
            self.members.remove(&change.network().trunc());
        }
        Ok(left_out)
    }

    fn attach(&self, program: &[Instruction]) -> io::Result<()> {
        let program: Vec<_> = program
            .iter()
            .map(|instruction| {
                let Instruction { code, if_true, if_false, operand } = *instruction;
                SockFilter::new(code, if_true, if_false, operand)
            })
            .collect();
        self.listeners.iter().try_for_each(|listener| SockRef::from(&listener.socket).attach_filter(&program))
    }

    fn detach(&self) -> io::Result<()> {
        for listener in &self.listeners {
            match SockRef::from(&listener.socket).detach_filter() {
                // There is none.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                ended => ended?,
            }
        }
        Ok(())
    }
}

/// When there is no room, one of so many has to go at a time.
const FEWER: usize = 16;

impl Fence for SocketFilter {
    fn name(&self) -> &'static str {
        "socket-filter"
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Change>> {
        self.change(&last_words(changes)?, Instant::now())
    }

    fn dropped(&mut self) -> io::Result<Dropped> {
        self.change(&[], Instant::now())?;
        for listener in &mut self.listeners {
            let drops = sys::drops(&listener.socket)?;
            self.dropped += u64::from(drops.wrapping_sub(listener.drops));
            listener.drops = drops;
        }
        Ok(Dropped { total: self.dropped, networks: AHashMap::new() })
    }

    /// Nobody else has the listeners.
    fn is_intact(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The accepted sockets' part stays, and passes everything; the listeners may live on without us.
impl Drop for SocketFilter {
    fn drop(&mut self) {
        self.detach().unwrap_or_default();
    }
}

fn is_half_open(change: Change) -> bool {
    matches!(change, Change::HalfOpen(..))
}

fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => io::Error::new(error.kind(), format!("it needs CAP_NET_ADMIN ({error})")),
        _ => error,
    }
}
