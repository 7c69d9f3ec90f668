//! A gateway, an origin and clients on loopback; every port is chosen by the kernel.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use floodgate::config::Settings;
use floodgate::gateway::Gateway;
use floodgate::outcome::{Form, Reason, RequestEnd};

/// A safety net against a hanging test, not a limit of anything tested.
pub(crate) const NET: Duration = Duration::from_secs(30);

/// A gateway on loopback that may reach the given origins.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    /// Where its token is.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) proxy: SocketAddr,
}

impl Rig {
    /// With the defaults, a port chosen by the kernel, and these own services allowed.
    pub(crate) fn new(origins: &[SocketAddr]) -> Self {
        Self::with(origins, "")
    }

    /// The same with more lines of configuration; `[self]` is taken by the origins.
    ///
    /// Everybody is answered, however often they are refused, if these lines have no `[guard]`.
    pub(crate) fn with(origins: &[SocketAddr], more: &str) -> Self {
        Self::on(Path::new("/"), origins, more)
    }

    /// The same on a box whose kernel's figures are below `root`.
    pub(crate) fn on(root: &Path, origins: &[SocketAddr], more: &str) -> Self {
        let ladder = if more.contains("[guard]") { "" } else { "[guard]\nladder = \"answer\"\n" };
        let allow: Vec<_> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        let token = token.display();
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = '{token}'\n[runtime]\nworkers = 2\n\
             [self]\nallow = [{}]\n{ladder}{more}\n",
            allow.join(", ")
        );
        let settings = Settings::from_toml(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let gateway = Gateway::start_on(settings, root).unwrap();
        let proxy = gateway.listeners[0];
        Self { gateway, folder, proxy }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.proxy)
    }

    /// A client whose kernel takes as little unread as it can.
    pub(crate) fn client_without_room(&self) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect(&self.proxy.into()).unwrap();
        Client(socket.into())
    }

    /// Sends a request on a new connection and reads everything up to the end.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(request);
        client.read_to_end()
    }

    /// Sends a request on a new connection, reads one answer by its length, and closes first.
    pub(crate) fn ask_one(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(request);
        let (head, body) = client.answer();
        head + &String::from_utf8_lossy(&body)
    }

    /// A tunnel that stands. The ports of test origins are not on the built-in list; pairs on `[self] allow` need not be.
    pub(crate) fn tunnel(&self, to: SocketAddr) -> Client {
        let mut client = self.client();
        client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(client.head(), "HTTP/1.1 200 Connection established\r\n\r\n");
        client
    }

    /// GET in absolute form with `Connection: close`.
    pub(crate) fn get(&self, origin: SocketAddr, path: &str) -> String {
        self.ask(format!("GET http://{origin}{path} HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn ends(&self, end: RequestEnd) -> u64 {
        self.gateway.counters.request_ends.get(end.index())
    }

    pub(crate) fn refusals(&self, reason: Reason) -> u64 {
        Form::ALL.iter().map(|form| self.gateway.counters.refusals(reason, *form)).sum()
    }

    pub(crate) fn open(&self) -> i64 {
        self.gateway.counters.connections_open.load(Relaxed)
    }

    /// Connections that have been taken out of the kernel's queue: a client may be connected before that.
    pub(crate) fn accepted(&self) -> u64 {
        self.gateway.counters.connections.iter().map(|(_, n)| n.load(Relaxed)).sum()
    }

    /// Waits until all connections to origins are closed, pooled ones included.
    #[track_caller]
    pub(crate) fn no_upstream_is_left(&self) {
        eventually("every upstream is closed", || self.gateway.counters.upstreams_open.load(Relaxed) == 0);
    }

    /// A GET on the admin.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut client = Client::connect(self.gateway.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.gateway.admin));
        client.read_to_end()
    }

    /// Everything closed and booked: arrivals equal outcomes. Call it at the end of a test, when no client is open any more.
    #[track_caller]
    pub(crate) fn settled(&self) {
        let counters = &self.gateway.counters;
        eventually("every connection is over", || self.open() == 0);
        eventually("no tunnel is left", || counters.tunnels_open.load(Relaxed) == 0);
        assert_eq!(self.accepted(), counters.connection_ends.sum(), "connections = sum of their outcomes");
        assert_eq!(counters.requests.load(Relaxed), counters.request_ends.sum(), "requests = sum of their outcomes");
        assert_eq!(counters.panics.load(Relaxed), 0, "nothing panicked");
    }
}

/// Waits for a condition; panics with `what` when the safety net is reached.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + NET;
    while !condition() {
        assert!(Instant::now() < until, "not reached: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A raw client.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(NET)).unwrap();
        stream.set_write_timeout(Some(NET)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one head, byte by byte, so that nothing behind it is taken.
    pub(crate) fn head(&mut self) -> String {
        String::from_utf8_lossy(&read_head(&mut self.0)).into_owned()
    }

    /// Reads exactly `n` bytes.
    pub(crate) fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads a head and the body its Content-Length announces.
    pub(crate) fn answer(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let length = field(&head, "content-length").map_or(0, |value| value.parse().unwrap());
        let body = self.exactly(length);
        (head, body)
    }

    /// Everything up to the end of the stream; a reset is an error and panics.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn half_close(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the next read meets the end of the stream.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.0.read(&mut [0; 1]).is_ok_and(|n| n == 0)
    }
}

/// Reads up to and including the empty line; short if the stream ends first.
pub(crate) fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => break,
        }
    }
    bytes
}

/// The value of a field, whatever the case of its name.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// An origin that runs a script on every connection, and records what it received.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Origin {
    /// Runs `script` on each connection with its number, and a place for what it received.
    pub(crate) fn scripted(script: impl Fn(usize, TcpStream, &mut Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let records = Arc::clone(&received);
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (script, records) = (Arc::clone(&script), Arc::clone(&records));
                thread::spawn(move || {
                    stream.set_read_timeout(Some(NET)).unwrap();
                    let mut received = Vec::new();
                    script(number, stream, &mut received);
                    records.lock().unwrap().push(received);
                });
            }
        });
        Self { address, received }
    }

    /// Answers every head on every connection with these bytes; requests have no body.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(move |_, mut stream, received| {
            loop {
                let head = read_head(&mut stream);
                if head.is_empty() || stream.write_all(&answer).is_err() {
                    return;
                }
                received.extend(head);
            }
        })
    }

    /// `200` with this body, kept alive.
    pub(crate) fn ok(body: &str) -> Self {
        Self::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Sends every byte back.
    pub(crate) fn echo() -> Self {
        Self::scripted(|_, mut stream, _| {
            let mut from = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut from, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// What the connections that have ended received, in the order of their ends.
    pub(crate) fn received(&self) -> Vec<String> {
        let records = self.received.lock().unwrap();
        records.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

/// An address on which nothing listens.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
