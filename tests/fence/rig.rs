//! A network namespace for a test, clients with addresses of their own, and a listener with a fence before it.

use std::any::type_name;
use std::env;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use floodgate::kernel::fence::{Choice, Fence, Listening, Mode, probe};
use ipnet::IpNet;
use socket2::{Domain, Socket, Type};

/// A safety net against a hanging test, not a limit of anything tested.
const NET: Duration = Duration::from_secs(30);
/// As long as no test takes.
pub(crate) const LONG: Duration = Duration::from_hours(1);

/// Waits for a condition; panics with `what` when the safety net is reached.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + NET;
    while !condition() {
        assert!(Instant::now() < until, "not reached: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells that a test did not run, past the harness, which would keep it to itself.
pub(crate) fn skipped(why: &str) {
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

const INSIDE: &str = "FLOODGATE_TEST_INSIDE_NETNS";

/// Runs a test in a network of its own, as root of it: by running this program anew there, for this test alone.
///
/// The test is the one that calls this with a closure of its own.
pub(crate) fn in_a_network_of_its_own<T: FnOnce()>(test: T) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    // As root, or as root of a user namespace of our own.
    let unshare = [["--net"].as_slice(), &["--net", "--user", "--map-root-user"]];
    let unshared = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(arguments).args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        command
    };
    let works =
        |arguments: &&[&str]| unshared(arguments).arg("true").output().is_ok_and(|output| output.status.success());
    let Some(arguments) = unshare.into_iter().find(works) else {
        return skipped("no network namespace may be made here, or ip(8) is missing");
    };
    let (_, name) = type_name::<T>().trim_end_matches("::{{closure}}").split_once("::").unwrap();
    let output = unshared(arguments)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    complained.lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
}

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
