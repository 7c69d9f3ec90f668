//! Where the kernel would deliver.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Whether a connection to this address would arrive on this box: also by a local route that no interface shows
/// (`ip route add local`).
///
/// Asked with an unbound datagram socket, which sends nothing. For a local route the kernel takes the destination's own
/// address as the source (IPv4) or one of the loopback device (IPv6), unless the route names another (`src`), which cannot
/// be told from a route into the world this way. Costs four system calls.
pub fn arrives_here(address: SocketAddr) -> bool {
    let source = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).ok()?;
        socket.connect(&address.into()).ok()?;
        socket.local_addr().ok()?.as_socket()
    };
    source().is_some_and(|source| source.ip() == address.ip() || source.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::arrives_here;

    #[test]
    fn loopback_arrives_here_and_the_world_does_not() {
        for (address, here) in [("127.0.0.1:80", true), ("127.8.9.1:443", true), ("192.0.32.8:80", false)] {
            assert_eq!(arrives_here(address.parse().unwrap()), here, "{address}");
        }
    }
}
