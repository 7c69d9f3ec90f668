//! Drops the new SYNs of a network to our own listeners in the kernel, before a socket exists for them.
//!
//! Owns: [`Fence`] and its two back ends, [`nftables`] and [`socket_filter`]. Called by: control, off the data path.
//! Never: decides whom to fence; touches a connection that stands, another service of this box or forwarded traffic.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ahash::AHashMap;
use ipnet::IpNet;

mod nftables;
mod socket_filter;
#[cfg(test)]
mod tests;

/// The least time a fence may last: the kernel counts in jiffies of up to 10 ms, and none at all would be for ever.
const LEAST_TIMEOUT: Duration = Duration::from_millis(50);

/// What to do with the new SYNs of one network: an IPv4 /32, an IPv6 /64 or /48. The duration is after what time it is
/// forgotten by itself; with nftables that holds even if we hang.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// Drop them. Of what is shut already, the time begins anew.
    Shut(IpNet, Duration),
    /// Drop all but a trickle: nftables lets 5 a second of each network pass after the first 10, the socket filter one
    /// of 16.
    HalfOpen(IpNet, Duration),
    /// Let them pass.
    Open(IpNet),
}

impl Change {
    /// Whose SYNs.
    pub fn network(&self) -> IpNet {
        match *self {
            Self::Shut(network, _) | Self::HalfOpen(network, _) | Self::Open(network) => network,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// How long, if it is not to be opened.
    fn timeout(&self) -> Option<Duration> {
        match *self {
            Self::Shut(_, timeout) | Self::HalfOpen(_, timeout) => Some(timeout.max(LEAST_TIMEOUT)),
            Self::Open(_) => None,
        }
    }
}

/// SYNs dropped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dropped {
    /// Since the fence was put up. With the socket filter an upper bound: SYNs that a full listener drops are among them.
    pub total: u64,
    /// Of each network that is shut or half open, since it was first shut. Empty where the kernel does not tell (the
    /// socket filter). When a network is shut anew, what was dropped since the last reading is lost to it, but not to
    /// the total.
    pub networks: AHashMap<IpNet, u64>,
}

/// A back end. All calls talk to the kernel and may take milliseconds; none waits longer than two seconds for a reply.
///
/// When it is dropped, or the process dies in any way, nothing is left in the kernel.
pub trait Fence: fmt::Debug + Send {
    /// `nftables` or `socket-filter`.
    fn name(&self) -> &'static str;

    /// Makes these changes, the last word on a network being the one that counts.
    ///
    /// Returns what there was no room for: such a network may be open. `InvalidInput` when a network is none that can be
    /// fenced, and then nothing has changed. After any other error what has changed is unknown; all of it may be asked
    /// for again.
    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Change>>;

    /// What has been dropped until now.
    fn dropped(&mut self) -> io::Result<Dropped>;

    /// Whether it is still in force. If not, put up another one with [`probe`].
    fn is_intact(&mut self) -> io::Result<bool>;
}

/// How connections reach a listener, which says where in the kernel its SYNs can be told from others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Clients name its address.
    Explicit,
    /// NAT rules of this box lead them there: the address they named is replaced on the way.
    Redirect,
}

/// A listener whose SYNs are to be dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listening {
    /// What it is bound to. `0.0.0.0` is IPv4 alone, `[::]` IPv6 alone, as our listeners are.
    pub address: SocketAddr,
    /// How connections reach it.
    pub mode: Mode,
}

/// Which back ends may be tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Choice {
    /// nftables, then the socket filter.
    #[default]
    Auto,
    /// nftables alone.
    NfTables,
    /// The socket filter alone.
    SocketFilter,
}

/// The first back end that works here, and of those tried before it why they do not.
///
/// `listeners` are all sockets behind `listening`, each one of a shared port. The socket filter keeps duplicates of them:
/// a port stays bound until the fence is dropped too.
pub fn probe(
    choice: Choice,
    listening: &[Listening],
    listeners: &[TcpListener],
) -> (Option<Box<dyn Fence>>, Vec<String>) {
    let mut why_not = Vec::new();
    if matches!(choice, Choice::Auto | Choice::NfTables) {
        match nftables::NfTables::put_up(listening) {
            Ok(fence) => return (Some(Box::new(fence)), why_not),
            Err(error) => why_not.push(format!("nftables: {error}")),
        }
    }
    if matches!(choice, Choice::Auto | Choice::SocketFilter) {
        match socket_filter::SocketFilter::put_up(listeners) {
            Ok(fence) => return (Some(Box::new(fence)), why_not),
            Err(error) => why_not.push(format!("socket filter: {error}")),
        }
    }
    (None, why_not)
}

/// The last word on each network, in a fixed order, or `InvalidInput`.
fn last_words(changes: &[Change]) -> io::Result<Vec<Change>> {
    let mut last = std::collections::BTreeMap::new();
    for change in changes {
        let network = change.network().trunc();
        if !matches!(network, IpNet::V4(v4) if v4.prefix_len() == 32)
            && !matches!(network, IpNet::V6(v6) if matches!(v6.prefix_len(), 48 | 64))
        {
            let why = format!("{network} is neither an IPv4 /32 nor an IPv6 /64 or /48");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        last.insert(network, *change);
    }
    // Opening makes room for the others.
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|change| !change.is_open());
    Ok(last)
}
