//! Many sockets, counted in little memory.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use ahash::{AHashMap, AHashSet};

use crate::kernel::diag::State;

/// Addresses, pairs and owners that are told apart; what comes beyond is counted in [`Census::untold`].
const KEYS: usize = 65_536;
/// Rows of a list.
const ROWS: usize = 16;
/// Listening sockets that are known.
const LISTENERS: usize = 4_096;

/// A TCP socket, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// 0 where no process has it open.
    pub inode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// Bytes in its queues.
    pub queued: u64,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    /// Where.
    pub local: SocketAddr,
    /// Connections that wait for accept(2).
    pub waiting: u64,
}

/// The sockets of a box.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// All but the listening ones.
    pub total: u64,
    /// By state, the most first.
    pub states: Vec<(State, u64)>,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Connections from others, to listening ports.
    pub inbound: u64,
    /// Whose they are, the most first.
    pub clients: Vec<Peer>,
    /// Where our own connections go, the most first.
    pub destinations: Vec<Destination>,
    /// Connections of the box to an address of its own, other than loopback.
    pub to_itself: u64,
    /// Where most of these go.
    pub own_target: Option<SocketAddr>,
    /// Who has them open, the most first.
    pub owners: Vec<(String, u64)>,
    /// Sockets that found no place in a table.
    pub untold: u64,
    /// The time was over, or the table was cut, before all were counted.
    pub cut: bool,
}

impl Census {
    /// How many are in this state.
    pub fn of(&self, state: State) -> u64 {
        self.states.iter().find(|(of, _)| *of == state).map_or(0, |(_, count)| *count)
    }
}

/// A client, and its connections to one port of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Who.
    pub address: IpAddr,
    /// Our port.
    pub port: u16,
    /// Sockets, those in `TIME_WAIT` included.
    pub sockets: u64,
    /// Bytes in their queues.
    pub queued: u64,
}

/// A destination of our own connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Destination {
    /// Our address.
    pub from: IpAddr,
    /// The peer's end.
    pub to: SocketAddr,
    /// Sockets, those in `TIME_WAIT` included: each takes a port.
    pub sockets: u64,
    /// Of these, in `TIME_WAIT`.
    pub time_wait: u64,
}

/// A state as ss(8) and RFC 9293 write it.
pub const fn state_label(state: State) -> &'static str {
    match state {
        State::Established => "ESTABLISHED",
        State::SynSent => "SYN_SENT",
        State::SynReceived => "SYN_RECV",
        State::FinWait1 => "FIN_WAIT1",
        State::FinWait2 => "FIN_WAIT2",
        State::TimeWait => "TIME_WAIT",
        State::Closed => "CLOSE",
        State::CloseWait => "CLOSE_WAIT",
        State::LastAck => "LAST_ACK",
        State::Listen => "LISTEN",
        State::Closing => "CLOSING",
    }
}

/// A census under way.
#[derive(Debug)]
pub struct Counting {
    listeners: Vec<Listener>,
    /// Their ports; none known: those below the range of outgoing ones.
    ports: AHashSet<u16>,
    /// The first port of outgoing connections.
    outgoing: u16,
    owners: AHashMap<u32, String>,
    own: AHashSet<IpAddr>,
    total: u64,
    untold: u64,
    states: AHashMap<State, u64>,
    inbound: AHashMap<(IpAddr, u16), (u64, u64)>,
    outbound: AHashMap<(IpAddr, SocketAddr), (u64, u64)>,
    held: AHashMap<String, u64>,
}

impl Counting {
    /// With the listening sockets, the first port of outgoing connections, and the names of the processes behind inodes.
    pub fn new(mut listeners: Vec<Listener>, outgoing: u16, owners: AHashMap<u32, String>) -> Self {
        listeners.truncate(LISTENERS);
        Self {
            ports: listeners.iter().map(|listener| listener.local.port()).collect(),
            listeners,
            outgoing,
            owners,
            own: AHashSet::new(),
            total: 0,
            untold: 0,
            states: AHashMap::new(),
            inbound: AHashMap::new(),
            outbound: AHashMap::new(),
            held: AHashMap::new(),
        }
    }

    /// One more, `name` being that of its user.
    pub fn add(&mut self, socket: &Socket, user: impl FnOnce(u32) -> String) {
        if socket.state == State::Listen {
            return;
        }
        self.total += 1;
        *self.states.entry(socket.state).or_default() += 1;
        if self.own.len() < KEYS {
            self.own.insert(socket.local.ip());
        }
        let port = socket.local.port();
        let is_inbound = if self.ports.is_empty() { port < self.outgoing } else { self.ports.contains(&port) };
        let counts = if is_inbound {
            room(&mut self.inbound, (socket.remote.ip(), port))
        } else {
            room(&mut self.outbound, (socket.local.ip(), socket.remote))
        };
        match counts {
            None => self.untold += 1,
            Some((sockets, more)) => {
                *sockets += 1;
                *more = more.saturating_add(match (is_inbound, socket.state) {
                    (true, _) => socket.queued,
                    (false, State::TimeWait) => 1,
                    (false, _) => 0,
                });
            }
        }
        let owner = match socket.inode {
            0 => "nobody (closed, or not yet accepted)".to_owned(),
            inode => self.owners.get(&inode).cloned().unwrap_or_else(|| user(socket.uid)),
        };
        if let Some(held) = room(&mut self.held, owner) {
            *held += 1;
        }
    }

    /// All of them were counted, or it was `cut` short.
    pub fn finish(self, cut: bool) -> Census {
        let own = self.own;
        let is_own = |address: IpAddr| !address.is_loopback() && own.contains(&address);
        let mut from_itself = 0;
        let mut clients = Vec::new();
        for ((address, port), (sockets, queued)) in self.inbound {
            if is_own(address) {
                from_itself += sockets;
            } else if !address.is_loopback() {
                clients.push(Peer { address, port, sockets, queued });
            }
        }
        let mut destinations: Vec<_> = self
            .outbound
            .into_iter()
            .map(|((from, to), (sockets, time_wait))| Destination { from, to, sockets, time_wait })
            .collect();
        destinations.sort_unstable_by_key(|one| (Reverse(one.sockets), one.to));
        let itself = destinations.iter().filter(|one| is_own(one.to.ip()));
        let own_target = itself.clone().next().map(|one| one.to);
        // Each such connection has both its ends here.
        let to_itself = itself.map(|one| one.sockets).sum::<u64>().max(from_itself);
        let inbound = clients.iter().map(|client| client.sockets).sum();
        clients.sort_unstable_by_key(|one| (Reverse(one.sockets), one.address, one.port));
        clients.truncate(ROWS);
        destinations.truncate(ROWS);
        let mut states: Vec<_> = self.states.into_iter().collect();
        states.sort_unstable_by_key(|(state, count)| (Reverse(*count), state_label(*state)));
        let mut owners: Vec<_> = self.held.into_iter().collect();
        owners.sort_unstable_by(|(a_name, a), (b_name, b)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
        owners.truncate(ROWS);
        Census {
            total: self.total,
            states,
            listeners: self.listeners,
            inbound,
            clients,
            destinations,
            to_itself,
            own_target,
            owners,
            untold: self.untold,
            cut,
        }
    }
}

/// The place of a key, unless the table is full of others.
fn room<K: Eq + std::hash::Hash, V: Default>(table: &mut AHashMap<K, V>, key: K) -> Option<&mut V> {
    if table.len() >= KEYS && !table.contains_key(&key) {
        return None;
    }
    Some(table.entry(key).or_default())
}
