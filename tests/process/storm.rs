//! A storm from another machine of the network, kept out in the kernel; a good neighbour, who notices nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use floodgate::config::Settings;
use floodgate::gateway::Gateway;
use floodgate::guard::fence::Terms;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};

use crate::network::ip;
use crate::rig::{BINARY, Client, Floodgate, NET, eventually, in_a_network_of_its_own, skipped};

/// The box that the gateway runs on, and two machines of its network.
const BOX: &str = "198.18.0.1";
const BAD: &str = "198.18.0.2";
const GOOD: &str = "198.18.0.3";
/// Connections per second of the storm.
const RATE: u32 = 400;
const CONFIG: &str = "[[listener]]\naddress = '0.0.0.0:0'\n[admin]\naddress = '127.0.0.1:0'\n\
                      [clients]\nallow = ['198.18.0.0/24']\n[runtime]\nworkers = 2\n";

/// The machines of the network, in a namespace of their own.
struct Lan(Child);

impl Lan {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo up && read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        holder.stdout.take().unwrap().read_exact(&mut [0; 3]).unwrap();
        ip(&format!("link add box type veth peer name lan netns {}", holder.id()));
        ip(&format!("address add {BOX}/24 dev box"));
        ip("link set box up");
        let lan = Self(holder);
        lan.inside(|| {
            ip(&format!("address add {BAD}/24 dev lan"));
            ip(&format!("address add {GOOD}/24 dev lan"));
            ip("link set lan up");
        });
        lan
    }

    /// Moves the calling thread there.
    fn entered(namespace: &str) {
        let namespace = File::open(namespace).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Does something there.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace();
        let done = thread::scope(|scope| {
            let there = scope.spawn(move || {
                Self::entered(&namespace);
                work()
            });
            there.join()
        });
        done.unwrap()
    }

    /// A connection that a machine has begun.
    fn attempt(&self, from: &str, to: SocketAddr) -> Socket {
        self.inside(|| attempt(from.parse().unwrap(), to))
    }

    /// The good neighbour gets what it asks for, through the gateway.
    fn serves_the_good(&self, proxy: SocketAddr, origin: SocketAddr) {
        let answer = self.inside(|| {
            let socket = attempt(GOOD.parse().unwrap(), proxy);
            eventually("the good client is connected", || socket.peer_addr().is_ok());
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(NET)).unwrap();
            let mut client = Client(socket.into());
            client.get(origin, "/")
        });
        assert!(answer.ends_with("good"), "{answer}");
    }

    /// Whether a SYN of the bad one is still unanswered when the good one, who came later, has been served.
    fn is_kept_out(&self, proxy: SocketAddr, origin: SocketAddr) -> bool {
        let bad = self.attempt(BAD, proxy);
        self.serves_the_good(proxy, origin);
        bad.peer_addr().is_err()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn attempt(from: IpAddr, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    // Closed by a reset: no state of thousands of connections, no port is left behind.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    if let Err(error) = socket.connect(&to.into()) {
        assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{from} to {to}: {error}");
    }
    socket
}

/// A machine that names the gateway itself as the destination, and waits for no answer.
struct Storm {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Storm {
    fn new(lan: &Lan, proxy: SocketAddr) -> Self {
        let over: Arc<AtomicBool> = Arc::default();
        let (namespace, until) = (lan.namespace(), Arc::clone(&over));
        let thread = thread::spawn(move || {
            Lan::entered(&namespace);
            let request = format!("GET http://{BOX}/ HTTP/1.1\r\nHost: {BOX}\r\n\r\n");
            let from = BAD.parse().unwrap();
            let mut open: VecDeque<(Instant, Socket, bool)> = VecDeque::new();
            let (begun, mut made) = (Instant::now(), 0);
            while !until.load(Relaxed) {
                while made < RATE * u32::try_from(begun.elapsed().as_millis()).unwrap() / 1_000 {
                    open.push_back((Instant::now(), attempt(from, proxy), false));
                    made += 1;
                }
                for (_, socket, asked) in open.iter_mut().filter(|(_, _, asked)| !asked) {
                    *asked = socket.peer_addr().is_ok() && socket.send(request.as_bytes()).is_ok();
                }
                while open.front().is_some_and(|(begun, ..)| begun.elapsed() > Duration::from_secs(1)) {
                    open.pop_front();
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { over, thread }
    }

    fn end(self) {
        self.over.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

/// An origin on the box.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((BOX, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut client = Client(stream);
                while !client.head().is_empty() {
                    client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
                }
            });
        }
    });
    address
}

fn on_the_box(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(BOX.parse().unwrap(), address.port())
}

/// nft(8), if it is there.
fn nft(arguments: &[&str]) -> Option<String> {
    let output = Command::new("nft").args(arguments).output().ok()?;
    assert!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_storm_is_kept_out_and_nothing_is_left_when_the_gateway_is_killed() {
    in_a_network_of_its_own(|| {
        let lan = Lan::new();
        let origin = origin();
        let config = format!("{CONFIG}[self]\nallow = ['{origin}']\n");
        let mut floodgate = Floodgate::with(&config, Command::new(BINARY));
        let proxy = on_the_box(floodgate.proxy);
        floodgate.says("fences can be built", 1);
        lan.serves_the_good(proxy, origin);

        let storm = Storm::new(&lan, proxy);
        let line = floodgate.says("client fenced", 1);
        assert!(line.contains(&format!("client={BAD}")) && line.contains("reason=\"self_target\""), "{line}");
        eventually("the storm is kept out", || lan.is_kept_out(proxy, origin));
        assert!(floodgate.said("client fenced").len() == 1, "nobody else is");

        // Somebody empties the whole packet filter.
        if nft(&["flush", "ruleset"]).is_none() {
            skipped("nft(8) is missing: nobody flushes");
        }
        eventually("it is still kept out, or again", || lan.is_kept_out(proxy, origin));

        floodgate.signal(Signal::KILL);
        floodgate.wait();
        storm.end();
        if let Some(tables) = nft(&["list", "tables"]) {
            assert_eq!(tables, "", "left behind");
        }
    });
}

/// In a tenth of the time, and as a part of this process.
#[test]
fn who_has_stopped_is_let_in_and_who_has_not_is_not() {
    in_a_network_of_its_own(|| {
        let lan = Lan::new();
        let origin = origin();
        for fence in ["nftables", "socket-filter"] {
            let text = format!("{CONFIG}[self]\nallow = ['{origin}']\n[guard]\nfence = '{fence}'\n");
            let mut settings = Settings::from_toml(&text).unwrap();
            settings.guard.terms = Terms {
                stalled: Duration::from_secs(1),
                first: Duration::from_secs(3),
                trickle: Duration::from_secs(3),
                settling: Duration::from_secs(1),
                ..Terms::default()
            };
            let gateway = Gateway::start(settings).unwrap();
            let proxy = on_the_box(gateway.listeners[0]);
            let backend = gateway.fences().backend.load_full();
            if backend.name.is_none() {
                skipped(&backend.why_not.join("; "));
                continue;
            }
            let row = || gateway.fences().list().first().cloned();
            lan.serves_the_good(proxy, origin);

            let storm = Storm::new(&lan, proxy);
            eventually("fenced", || row().is_some());
            eventually("half open", || row().is_some_and(|row| row.half_open));
            lan.serves_the_good(proxy, origin);
            eventually("shut again", || row().is_some_and(|row| row.times == 2 && !row.half_open));
            eventually("the storm is kept out", || lan.is_kept_out(proxy, origin));
            // The kernel's counters are read once a second.
            eventually("what is dropped is counted", || gateway.fences().syns.load(Relaxed) > 0);
            let counts = fence == "nftables";
            eventually("for whom, too, if the fence can tell", || {
                row().is_some_and(|row| row.syns.is_some() == counts)
            });
            storm.end();

            eventually("let in", || row().is_none());
            let bad = lan.attempt(BAD, proxy);
            eventually("the machine that was repaired is connected", || bad.peer_addr().is_ok());
            drop(bad);
            gateway.drain(|| true);
        }
    });
}
