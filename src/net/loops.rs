//! Our own open outgoing connections, so that one which comes back to us is known as a loop.
//!
//! Owns: [`Loops`]. Called by: the journey, which registers before the first byte is written and asks when a head has
//! arrived. Never: asks the kernel; blind behind a NAT that rewrites our address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::RandomState;
use dashmap::DashMap;

/// The local ends of our outgoing connections. Bounded by their number: every entry belongs to an [`Outgoing`].
#[derive(Debug, Default)]
pub struct Loops {
    // One local end may serve several remotes at once (IP_BIND_ADDRESS_NO_PORT, or a port reused after close): counted.
    ends: DashMap<End, u32, RandomState>,
}

/// A local end: canonical address and port. Scope and flow label are left out, as the two sides may see different ones.
type End = (IpAddr, u16);

fn end(address: SocketAddr) -> End {
    (address.ip().to_canonical(), address.port())
}

impl Loops {
    /// Notes an outgoing connection by its local address, for as long as the guard lives.
    #[must_use = "dropping the guard forgets the connection"]
    pub fn register(self: &Arc<Self>, local: SocketAddr) -> Outgoing {
        let end = end(local);
        let mut count = self.ends.entry(end).or_default();
        *count = count.saturating_add(1);
        drop(count);
        Outgoing {
            loops: Arc::clone(self),
            end,
        }
    }

    /// Whether an accepted connection from `peer` is one of our own.
    pub fn contains(&self, peer: SocketAddr) -> bool {
        self.ends.contains_key(&end(peer))
    }

    /// How many local ends are noted.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// An outgoing connection that is noted in [`Loops`] until this is dropped. Drop it after the socket.
#[derive(Debug)]
pub struct Outgoing {
    loops: Arc<Loops>,
    end: End,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.loops.ends.remove_if_mut(&self.end, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    #[test]
    fn a_connection_to_ourselves_is_known_by_its_peer() {
        let loops = Arc::new(Loops::default());
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();

        // Dialled over IPv4, accepted on a dual-stack listener: the peer is ::ffff:127.0.0.1.
        let ours = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let guard = loops.register(ours.local_addr().unwrap());
        let (accepted, peer) = listener.accept().unwrap();
        assert!(peer.is_ipv6());
        assert!(loops.contains(peer));
        assert!(!loops.contains(accepted.local_addr().unwrap()));

        drop((ours, guard));
        assert!(!loops.contains(peer));
        assert!(loops.is_empty());
    }

    #[test]
    fn an_end_is_known_until_its_last_connection_ends() {
        let loops = Arc::new(Loops::default());
        let end = "192.0.2.1:4000".parse().unwrap();
        let first = loops.register(end);
        let second = loops.register("[::ffff:192.0.2.1]:4000".parse().unwrap());
        assert_eq!(loops.len(), 1);
        drop(first);
        assert!(loops.contains(end));
        assert!(!loops.contains("192.0.2.1:4001".parse().unwrap()));
        drop(second);
        assert!(!loops.contains(end));
    }

    #[test]
    fn the_scope_of_a_link_local_address_is_no_part_of_it() {
        let loops = Arc::new(Loops::default());
        let _guard = loops.register("[fe80::1%3]:4000".parse().unwrap());
        assert!(loops.contains("[fe80::1]:4000".parse().unwrap()));
    }

    #[test]
    fn nothing_is_left_behind_by_many_threads() {
        let loops = Arc::new(Loops::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for port in 0..2000 {
                        let end = SocketAddr::from(([10, 0, 0, 1], port % 16));
                        let _guard = loops.register(end);
                        assert!(loops.contains(end));
                    }
                });
            }
        });
        assert!(loops.is_empty());
    }
}
