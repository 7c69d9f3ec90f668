//! Our own open outgoing connections, so that one of them that comes back to us is known as a loop.
//!
//! Owns: the table of (local address → remote addresses). Called by: the journey, which registers a connection before the
//! first byte is written on it, and asks once a head has arrived. Never: grows beyond the open outgoing connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dashmap::{DashMap, Entry};

use crate::net::ClientKey;

/// Outgoing connections by their local address and port; several may share one towards different remotes.
#[derive(Debug, Default)]
pub struct Loops {
    open: DashMap<SocketAddr, Vec<Remote>, ahash::RandomState>,
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
        Outgoing { table: Arc::clone(self), local, remote }
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
