//! Clients with addresses of their own, and a listener with a fence before it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use floodgate::kernel::fence::{Choice, Fence, Listening, Mode, probe};
use ipnet::IpNet;
use socket2::{Domain, Socket, Type};

pub(crate) use crate::toolkit::{eventually, in_a_network_of_its_own, skipped};

/// As long as no test takes.
pub(crate) const LONG: Duration = Duration::from_hours(1);

/// Runs a program of the system, `None` if it is not there.
pub(crate) fn run(program: &str, arguments: &str) -> Option<String> {
    let output = Command::new(program).args(arguments.split_whitespace()).output().ok()?;
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A listener that nobody accepts from: the kernel completes connections by itself.
pub(crate) fn listener(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

pub(crate) fn listening(listeners: &[TcpListener]) -> Vec<Listening> {
    let explicit = |listener: &TcpListener| Listening { address: listener.local_addr().unwrap(), mode: Mode::Explicit };
    listeners.iter().map(explicit).collect()
}

/// A fence of this kind before these listeners.
pub(crate) fn fence(choice: Choice, listeners: &[TcpListener]) -> Box<dyn Fence> {
    let (fence, why_not) = probe(choice, &listening(listeners), listeners);
    fence.unwrap_or_else(|| panic!("{why_not:?}"))
}

pub(crate) fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A connection that a client has begun. On a loopback device the kernel has handled the SYN when the call returns.
#[derive(Debug)]
pub(crate) struct Attempt(Socket);

impl Attempt {
    pub(crate) fn new(source: &str, to: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        if let Err(error) = socket.connect(&to.into()) {
            assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{source} to {to}: {error}");
        }
        Self(socket)
    }

    pub(crate) fn stands(&self) -> bool {
        self.0.peer_addr().is_ok()
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.0
    }

    pub(crate) fn wait(&self) {
        eventually("the connection stands", || self.stands());
    }
}

/// A client that may connect.
pub(crate) fn passes(source: &str, to: SocketAddr) {
    Attempt::new(source, to).wait();
}

/// A client whose SYN is dropped, as the counter says, and has no answer.
pub(crate) fn is_dropped(fence: &mut dyn Fence, source: &str, to: SocketAddr) {
    let before = fence.dropped().unwrap().total;
    let attempt = Attempt::new(source, to);
    let what = format!("{} drops the SYN of {source} to {to}", fence.name());
    eventually(&what, || fence.dropped().unwrap().total > before);
    assert!(!attempt.stands(), "{what}");
}
