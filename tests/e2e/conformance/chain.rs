//! The shortest request chain (RFC 9110 section 3.7): a raw client, the gateway, and an origin that writes down every
//! byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use floodgate::outcome::RequestEnd;
use memchr::memmem;

use crate::rig::{Rig, eventually, field};

/// What an origin answers unless it is told otherwise, and what a client gets of it.
const OK: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok";
const KEPT: &str =
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\nVia: 1.1 <us>\r\n\r\nok";
const CLOSED: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\
                      Connection: close\r\nVia: 1.1 <us>\r\n\r\nok";

/// An answer of our own: the contract, not the program's own table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    status: &'static str,
    error: &'static str,
    end: RequestEnd,
}

macro_rules! refusals {
    ($($name:ident = $status:literal, $error:literal, $end:ident;)+) => {
        $(pub(super) const $name: Refusal = Refusal { status: $status, error: $error, end: RequestEnd::$end };)+
    };
}

refusals! {
    MALFORMED = "400 Bad Request", "http_request_error", Malformed;
    SELF_TARGET = "403 Forbidden", "proxy_loop_detected", SelfTarget;
    PORT_DENIED = "403 Forbidden", "http_request_denied", PortDenied;
    METHOD_DENIED = "405 Method Not Allowed", "http_request_denied", MethodDenied;
    TARGET_TOO_LONG = "414 URI Too Long", "http_request_error", TargetTooLong;
    RATE_LIMITED = "429 Too Many Requests", "http_request_denied", RateLimited;
    HEAD_TOO_LARGE = "431 Request Header Fields Too Large", "http_request_error", HeadTooLarge;
    DNS_FAILURE = "502 Bad Gateway", "dns_error", DnsFailure;
    CONNECT_REFUSED = "502 Bad Gateway", "connection_refused", ConnectRefused;
    UPSTREAM_MALFORMED = "502 Bad Gateway", "http_protocol_error", UpstreamMalformed;
    VERSION_UNKNOWN = "505 HTTP Version Not Supported", "http_request_error", VersionUnknown;
}

impl Refusal {
    /// A complete answer: framed by its length, and the last on its connection.
    pub(super) fn assert_is(self, answer: &str, to: &[u8]) {
        let to = to.escape_ascii();
        assert!(answer.starts_with(&format!("HTTP/1.1 {}\r\n", self.status)), "{to}\n{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(field(head, "proxy-status"), Some(&*format!("floodgate; error={}", self.error)), "{to}");
        assert_eq!(field(head, "content-length"), Some(&*body.len().to_string()), "{to}\n{answer}");
        assert_eq!(field(head, "connection"), Some("close"), "{to}\n{answer}");
        assert_eq!(field(head, "keep-alive"), None, "{to}\n{answer}");
        assert_eq!(body.find('\n'), Some(body.len() - 1), "one short line, nothing behind it: {to}\n{answer}");
    }
}

/// A gateway between a client and a [`Witness`]. In the bytes given to it `<origin>` stands for the origin's address,
/// `<proxy>` for the gateway's, and `<us>` for the gateway's pseudonym in `Via`.
pub(super) struct Chain {
    pub(super) rig: Rig,
    pub(super) origin: Witness,
    us: String,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// With more lines of configuration, except for `[self]`.
    pub(super) fn with(configuration: &str) -> Self {
        Self::beside(&[], configuration)
    }

    /// A gateway that may also reach these addresses.
    pub(super) fn beside(others: &[SocketAddr], configuration: &str) -> Self {
        let origin = Witness::start();
        let rig = Rig::with(&[&[origin.address], others].concat(), configuration);
        let first = rig.ask_one(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
        let us = field(&first, "via").unwrap().strip_prefix("1.1 ").unwrap().to_owned();
        origin.heard();
        Self { rig, origin, us }
    }

    /// The bytes that these stand for.
    pub(super) fn fill(&self, template: impl AsRef<[u8]>) -> Vec<u8> {
        let names = [
            ("<origin>", self.origin.address.to_string()),
            ("<proxy>", self.rig.proxy.to_string()),
            ("<us>", self.us.clone()),
        ];
        names.iter().fold(template.as_ref().to_vec(), |bytes, (name, value)| {
            let mut filled = Vec::with_capacity(bytes.len());
            let mut from = 0;
            for at in memmem::find_iter(&bytes, name) {
                filled.extend_from_slice(&bytes[from..at]);
                filled.extend_from_slice(value.as_bytes());
                from = at + name.len();
            }
            filled.extend_from_slice(&bytes[from..]);
            filled
        })
    }

    /// Sends on a connection of its own, and reads one answer by its length; nothing may follow after the client's end.
    fn ask(&self, request: &[u8]) -> String {
        let mut client = self.rig.client();
        client.send(request);
        let (head, body) = client.answer();
        client.half_close();
        assert_eq!(client.read_to_end(), "", "behind the answer to {}", request.escape_ascii());
        head + &String::from_utf8_lossy(&body)
    }

    /// A GET on a connection of its own.
    fn get(&self) -> String {
        self.ask(&self.fill("GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n"))
    }

    /// The origin gets exactly these bytes, the client its answer, and keeps its connection.
    pub(super) fn passes(&self, request: impl AsRef<[u8]>, at_origin: impl AsRef<[u8]>) {
        self.passes_as(request.as_ref(), at_origin.as_ref(), KEPT);
    }

    /// The same, but the answer is the last on the connection.
    pub(super) fn passes_and_closes(&self, request: impl AsRef<[u8]>, at_origin: impl AsRef<[u8]>) {
        self.passes_as(request.as_ref(), at_origin.as_ref(), CLOSED);
    }

    fn passes_as(&self, request: &[u8], at_origin: &[u8], answer: &str) {
        let request = self.fill(request);
        self.origin.answers(OK.as_bytes());
        let got = self.ask(&request);
        assert_eq!(got.as_bytes().escape_ascii().to_string(), self.fill(answer).escape_ascii().to_string());
        let (heard, expected) = (self.origin.heard(), self.fill(at_origin));
        assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", request.escape_ascii());
    }

    /// Each of these, on a connection of its own, is refused and closed, and the origin hears nothing of it.
    pub(super) fn refuses(&self, refusal: Refusal, requests: &[impl AsRef<[u8]>]) {
        let booked = self.rig.ends(refusal.end);
        let dialled = self.dialled();
        // All at once: the gateway waits a moment for the end of a client that reads to the end.
        let clients: Vec<_> = requests
            .iter()
            .map(|request| {
                let request = self.fill(request);
                let mut client = self.rig.client();
                client.send(&request);
                (client, request)
            })
            .collect();
        for (mut client, request) in clients {
            refusal.assert_is(&client.read_to_end(), &request);
        }
        let refused = || self.rig.ends(refusal.end) - booked == requests.len() as u64;
        eventually("each is booked as what it is", refused);
        assert_eq!(self.dialled(), dialled, "nothing was dialled");
        assert_eq!(self.origin.heard().escape_ascii().to_string(), "", "the origin hears nothing");
    }

    /// The client gets exactly `relayed` of this answer to a GET.
    pub(super) fn relays(&self, answer: impl AsRef<[u8]>, relayed: impl AsRef<[u8]>) {
        let answer = answer.as_ref();
        self.origin.answers(answer);
        let mut client = self.rig.client();
        client.send(self.fill("GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nConnection: close\r\n\r\n"));
        let mut got = Vec::new();
        client.0.read_to_end(&mut got).unwrap();
        let expected = self.fill(relayed);
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", answer.escape_ascii());
        self.origin.heard();
    }

    /// These answers to a GET are no HTTP: the client gets a 502 instead.
    pub(super) fn refuses_answers(&self, answers: &[impl AsRef<[u8]>]) {
        for answer in answers {
            self.origin.answers(answer.as_ref());
            UPSTREAM_MALFORMED.assert_is(&self.get(), answer.as_ref());
            self.origin.heard();
        }
    }

    fn dialled(&self) -> u64 {
        self.rig.gateway.counters.connect_seconds.count()
    }

    /// The sums hold, nobody but the gateway has knocked at the origin, and nothing it heard has gone unseen.
    pub(super) fn finish(self) {
        self.rig.settled();
        let dialled = usize::try_from(self.dialled()).unwrap();
        drop(self.rig);
        // A listener's queue is in order: whoever came before this connection has been seen when it has.
        let last = TcpStream::connect(self.origin.address).unwrap().local_addr().unwrap();
        eventually("the last one is seen", || self.origin.peers.lock().unwrap().last() == Some(&last));
        assert_eq!(self.origin.peers.lock().unwrap().len(), dialled + 1, "connections to the origin");
        eventually("every connection to the origin is over", || self.origin.over.load(SeqCst) == dialled + 1);
        assert_eq!(self.origin.heard().escape_ascii().to_string(), "", "behind what was expected");
    }
}

/// An origin that writes down every byte before it answers, and answers every request alike.
pub(super) struct Witness {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    answer: Arc<Mutex<Vec<u8>>>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    over: Arc<AtomicUsize>,
}

impl Witness {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let witness = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            answer: Arc::new(Mutex::new(OK.into())),
            peers: Arc::default(),
            over: Arc::default(),
        };
        let (heard, answer) = (Arc::clone(&witness.heard), Arc::clone(&witness.answer));
        let (peers, over) = (Arc::clone(&witness.peers), Arc::clone(&witness.over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                peers.lock().unwrap().push(stream.peer_addr().unwrap());
                let (heard, answer, over) = (Arc::clone(&heard), Arc::clone(&answer), Arc::clone(&over));
                thread::spawn(move || {
                    serve(stream, &heard, &answer);
                    over.fetch_add(1, SeqCst);
                });
            }
        });
        witness
    }

    /// From now on. One that says it closes, or is of HTTP/1.0, is followed by the end of the connection.
    pub(super) fn answers(&self, answer: &[u8]) {
        *self.answer.lock().unwrap() = answer.to_vec();
    }

    /// Waits for as many bytes as these; they must be these, and no more.
    pub(super) fn hears(&self, expected: &[u8]) {
        eventually("the bytes come", || self.heard.lock().unwrap().len() >= expected.len());
        assert_eq!(self.heard().escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// What has come since the last question, on all connections.
    pub(super) fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<u8>>, answer: &Mutex<Vec<u8>>) {
    let mut request = Vec::new();
    let mut block = [0; 16 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut block) {
        heard.lock().unwrap().extend_from_slice(&block[..n]);
        request.extend_from_slice(&block[..n]);
        if !is_whole(&request) {
            continue;
        }
        request.clear();
        let answer = answer.lock().unwrap().clone();
        if stream.write_all(&answer).is_err() {
            return;
        }
        if answer.starts_with(b"HTTP/1.0") || memmem::find(&answer, b"Connection: close").is_some() {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Whether a request is complete, as an origin frames it that knows nothing of ours.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = memmem::find(request, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]);
    if field(&head, "transfer-encoding").is_some() {
        return request.ends_with(b"0\r\n\r\n");
    }
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    request.len() >= end + 4 + length
}
