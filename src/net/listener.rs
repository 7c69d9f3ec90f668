//! Listener sockets: bound one per worker, with everything set that accepted sockets inherit.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections the kernel completes while we are busy: 1.4 MB of request sockets at most.
pub const BACKLOG: usize = 4096;
/// Unsent bytes the kernel holds for a slow reader; measured, a stalled transfer pins 45 KB instead of 4 MB. What is sent
/// and not yet acknowledged is not limited, so throughput is not.
const NOTSENT_LOWAT: u32 = 24 * 1024;

/// A listener that shares its port with others of ours (`SO_REUSEPORT`): the kernel spreads connections over them.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by what is accepted (tcp_create_openreq_child in the kernel), at no call per connection: small messages
    // leave at once, and little is buffered for slow readers.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    let probes = TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&probes.with_retries(6))?;
    // How to probe is inherited too, but not that it is done: a refusal need not pay for a timer (`tcp_keepalive_timer`).
    socket.set_keepalive(false)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// An error if somebody else listens there. Sharing a port among our own sockets would otherwise share it with a second
/// gateway too, which would silently take half of the connections.
pub fn in_use(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

/// Whether the address cannot be had because this box has no IPv6: the default listeners include `[::]`.
pub fn no_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let absent = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];
    address.is_ipv6()
        && address.ip().is_unspecified()
        && error.raw_os_error().is_some_and(|code| absent.contains(&code))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has sockets of its own: mapped addresses would be a second spelling of every client.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use socket2::SockRef;

    use super::{NOTSENT_LOWAT, in_use, listen};
    use crate::kernel::sys::silent_for;

    #[test]
    fn accepted_sockets_inherit_what_was_set() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
    }

    #[test]
    fn an_accepted_socket_tells_how_long_it_has_waited() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let waited = |millis| {
            while silent_for(&accepted).unwrap() < Duration::from_millis(millis) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        waited(100);
        (&client).write_all(b"head").unwrap();
        while accepted.peek(&mut [0]).unwrap() == 0 {}
        assert!(silent_for(&accepted).unwrap() < Duration::from_secs(10), "counted from its first data");
        waited(50);
    }

    #[test]
    fn a_port_is_shared_with_ourselves_and_known_to_be_in_use() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        assert!(listen(address).is_ok());
        assert_eq!(in_use(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
}
