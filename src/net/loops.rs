//! Our own open outgoing connections, so that one of them that comes back to us is known as a loop.
//!
//! Owns: the table of (local address → remote addresses), and how many lead to each remote. Called by: the journey, which
//! registers a connection before the first byte is written on it, asks once a head has arrived, and before it dials; control,
//! for the busiest. Never: grows beyond the open outgoing connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use dashmap::{DashMap, Entry};

use crate::net::ClientKey;

/// Outgoing connections by their local address and port; several may share one towards different remotes.
#[derive(Debug, Default)]
pub struct Loops {
    open: DashMap<SocketAddr, Vec<Remote>, ahash::RandomState>,
    /// How many lead to each remote.
    towards: DashMap<SocketAddr, u32, ahash::RandomState>,
    /// The most that may lead to one; 0 for any number.
    most: AtomicU32,
}

#[derive(Debug)]
struct Remote {
    address: SocketAddr,
    serves: Serves,
}

/// Whom an open outgoing connection serves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Serves {
    /// Nobody at present: it waits in the pool.
    #[default]
    Nobody,
    /// This client.
    Client(ClientKey),
}

impl Loops {
    /// Remembers a connection until the guard is dropped; drop it after the socket.
    pub fn register(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr) -> Outgoing {
        let (local, remote) = (canonical(local), canonical(remote));
        // Room for one: two connections seldom share a local port.
        let entry = Remote { address: remote, serves: Serves::Nobody };
        self.open.entry(local).or_insert_with(|| Vec::with_capacity(1)).push(entry);
        *self.towards.entry(remote).or_default() += 1;
        Outgoing { table: Arc::clone(self), local, remote }
    }

    /// From now on, this many local ports are there for connections to one destination, if that is known.
    pub fn limit(&self, ports: Option<u64>) {
        let most = ports.map_or(0, |ports| (ports / 10 * 9).max(1));
        self.most.store(u32::try_from(most).unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether nine tenths of the local ports for this destination are in use. Near the end connect(2) tries them one by one
    /// (`__inet_hash_connect` in the kernel): tens of thousands of probes for a connection that mostly fails.
    pub fn crowds(&self, remote: SocketAddr) -> bool {
        let most = self.most.load(Relaxed);
        most > 0 && self.towards.get(&canonical(remote)).is_some_and(|open| *open >= most)
    }

    /// The destination that has most connections, and how many.
    pub fn busiest(&self) -> Option<(SocketAddr, u32)> {
        self.towards.iter().map(|open| (*open.key(), *open)).max_by_key(|(remote, open)| (*open, *remote))
    }

    /// Whether a connection accepted from `peer` is one of ours.
    ///
    /// `arrived_at` is asked for the accepted socket's own address, and only if the peer's is known. A connection that we
    /// dialled to one of our own addresses (an allowed service) arrives there or nowhere: if it is not the one that was
    /// accepted, somebody else on this host shares its port number. One that we dialled to a foreign address and that
    /// arrives here was led back by address translation.
    pub fn leads_back(
        &self,
        peer: SocketAddr,
        arrived_at: impl FnOnce() -> Option<SocketAddr>,
        owns: impl Fn(IpAddr) -> bool,
    ) -> bool {
        let Some(remotes) = self.open.get(&canonical(peer)) else {
            return false;
        };
        let arrived_at = arrived_at().map(canonical);
        remotes.iter().any(|remote| arrived_at.is_none_or(|here| remote.address == here) || !owns(remote.address.ip()))
    }

    /// Whom the connection between these two serves; `None` if it is not an open one of ours.
    pub fn serves(&self, local: SocketAddr, remote: SocketAddr) -> Option<Serves> {
        let (local, remote) = (canonical(local), canonical(remote));
        self.open.get(&local)?.iter().find(|entry| entry.address == remote).map(|entry| entry.serves)
    }
}

/// An open outgoing connection in the table.
#[must_use]
#[derive(Debug)]
pub struct Outgoing {
    table: Arc<Loops>,
    local: SocketAddr,
    /// Where it leads, never IPv4-mapped.
    pub remote: SocketAddr,
}

impl Outgoing {
    /// Tells whom it serves from now on. No allocation: one look-up, below 0.1 µs.
    pub fn serves(&self, whom: Serves) {
        if let Some(mut remotes) = self.table.open.get_mut(&self.local)
            && let Some(entry) = remotes.iter_mut().find(|entry| entry.address == self.remote)
        {
            entry.serves = whom;
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.table.open.entry(self.local) {
            let remotes = entry.get_mut();
            if let Some(at) = remotes.iter().position(|entry| entry.address == self.remote) {
                remotes.swap_remove(at);
            }
            if remotes.is_empty() {
                entry.remove();
            }
        }
        if let Entry::Occupied(mut open) = self.table.towards.entry(self.remote) {
            *open.get_mut() = open.get().saturating_sub(1);
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;

    use super::{Loops, Serves};
    use crate::net::ClientKey;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ours(ip: IpAddr) -> bool {
        ip == at("10.0.0.1:0").ip()
    }

    #[test]
    fn what_we_dialled_and_accepted_is_a_loop() {
        let loops = Arc::new(Loops::default());
        let open = loops.register(at("10.0.0.1:40000"), at("10.0.0.1:3128"));
        let accepted = || Some(at("[::ffff:10.0.0.1]:3128"));
        assert!(loops.leads_back(at("[::ffff:10.0.0.1]:40000"), accepted, ours));
        assert!(!loops.leads_back(at("10.0.0.1:40001"), accepted, ours));
        assert!(!loops.leads_back(at("10.0.0.2:40000"), accepted, ours));
        drop(open);
        assert!(!loops.leads_back(at("10.0.0.1:40000"), accepted, ours));
        assert!(loops.open.is_empty());
    }

    #[test]
    fn nine_tenths_of_the_ports_to_a_destination_may_be_used() {
        let loops = Arc::new(Loops::default());
        let (busy, other) = (at("203.0.113.7:443"), at("203.0.113.7:80"));
        let open = |n: u16| loops.register(at(&format!("10.0.0.1:{}", 40_000 + n)), at("[::ffff:203.0.113.7]:443"));
        let mut held: Vec<_> = (0..89).map(open).collect();
        loops.limit(Some(100));
        assert!(!loops.crowds(busy), "89 are open");
        held.push(open(89));
        assert!(loops.crowds(busy) && !loops.crowds(other));
        assert_eq!(loops.busiest().map(|(_, open)| open), Some(90));
        loops.limit(None);
        assert!(!loops.crowds(busy), "nobody knows how many there are");
        loops.limit(Some(100));
        held.pop();
        assert!(!loops.crowds(busy));
        drop(held);
        assert_eq!((loops.busiest(), loops.towards.len()), (None, 0));
    }

    #[test]
    fn a_foreign_address_that_leads_back_is_a_loop_and_a_shared_port_number_is_not() {
        let loops = Arc::new(Loops::default());
        let accepted = || Some(at("10.0.0.1:3128"));
        let service = loops.register(at("10.0.0.1:40000"), at("10.0.0.1:8443"));
        assert!(!loops.leads_back(at("10.0.0.1:40000"), accepted, ours), "somebody with the same port number");
        let hairpin = loops.register(at("10.0.0.1:40000"), at("203.0.113.7:80"));
        assert!(loops.leads_back(at("10.0.0.1:40000"), accepted, ours));
        drop(hairpin);
        assert!(!loops.leads_back(at("10.0.0.1:40000"), accepted, ours));
        assert_eq!(loops.open.len(), 1);
        drop(service);
        assert!(loops.open.is_empty());
    }

    #[test]
    fn a_connection_serves_one_client_after_another() {
        let loops = Arc::new(Loops::default());
        let (local, remote) = (at("10.0.0.1:40000"), at("203.0.113.7:80"));
        let serves = || loops.serves(at("[::ffff:10.0.0.1]:40000"), remote);
        assert_eq!(serves(), None);
        let other = loops.register(local, at("203.0.113.8:80"));
        assert_eq!(serves(), None);
        let open = loops.register(local, at("[::ffff:203.0.113.7]:80"));
        assert_eq!(serves(), Some(Serves::Nobody));
        for client in ["10.0.0.5", "2001:db8::5"] {
            let client = Serves::Client(ClientKey::new(client.parse().unwrap()));
            open.serves(client);
            assert_eq!(serves(), Some(client));
        }
        assert_eq!(loops.serves(local, at("203.0.113.8:80")), Some(Serves::Nobody));
        drop(other);
        open.serves(Serves::Nobody);
        assert_eq!(serves(), Some(Serves::Nobody));
        drop(open);
        assert_eq!(serves(), None);
    }
}
