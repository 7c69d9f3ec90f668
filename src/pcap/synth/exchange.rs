//! Connections through the proxy: the client's to it, its own to the server, and what passes between them.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::cast::{GATEWAY, GATEWAY_V6, Origin, PROXY, PROXY_V6};
use super::flow::{Flow, Transfer};
use super::message::{Body, Message};
use super::stage::{MICROSECOND, MILLISECOND, Stage};
use super::tls;
use super::words::{self, Answer, Request};
use crate::pcap::stream::Side;

/// What the proxy needs for a request.
pub(super) const WORK: u64 = 60 * MICROSECOND;

/// A PC, as the gateway sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pc {
    pub address: IpAddr,
    /// From the gateway to it and back, nanoseconds.
    pub leg: u64,
}

impl Pc {
    /// It is as far away as the LAN is wide.
    pub(super) fn new(stage: &mut Stage, address: IpAddr) -> Self {
        Self { address, leg: stage.chance.within(200..=500) * MICROSECOND }
    }

    /// The connection that it is about to open to the proxy.
    pub(super) fn call(&self, stage: &mut Stage) -> Flow {
        let proxy = if self.address.is_ipv4() { PROXY } else { PROXY_V6 };
        let client = SocketAddr::new(self.address, stage.port(self.address));
        Flow::new(stage, client, proxy, (self.leg, 0))
    }

    /// The connection that it is about to open past the proxy.
    pub(super) fn call_directly(&self, stage: &mut Stage, origin: &Origin, port: u16) -> Flow {
        let client = SocketAddr::new(self.address, stage.port(self.address));
        Flow::new(stage, client, SocketAddr::new(origin.address, port), (self.leg, origin.leg))
    }
}

/// The connection that the proxy is about to open.
pub(super) fn onward(stage: &mut Stage, origin: &Origin, port: u16) -> Flow {
    let ours = if origin.address.is_ipv4() { GATEWAY } else { GATEWAY_V6 };
    let client = SocketAddr::new(ours, stage.port(ours));
    Flow::new(stage, client, SocketAddr::new(origin.address, port), (0, origin.leg))
}

/// A client's connection and the proxy's own for it.
#[derive(Debug)]
pub(super) struct Pair {
    near: Flow,
    far: Flow,
    /// Whether the proxy has dialled yet: it does when it has read the head.
    dialled: bool,
}

/// An answer on its way through the proxy.
#[derive(Debug)]
pub(super) struct Passing {
    given: Transfer,
    passed: Transfer,
}

impl Passing {
    pub(super) fn new(answer: &Answer) -> Self {
        Self { given: Transfer::new(&answer.given), passed: Transfer::new(&answer.passed) }
    }
}

impl Pair {
    /// The client opens its connection, as the proxy will to this server; when the client can speak.
    pub(super) fn open(stage: &mut Stage, now: u64, pc: Pc, origin: &Origin, port: u16) -> (Self, u64) {
        let (mut near, far) = (pc.call(stage), onward(stage, origin, port));
        let open = near.open(stage, now);
        (Self { near, far, dialled: false }, open + 40 * MICROSECOND)
    }

    /// The next flight of an answer; when its last segment is seen, and when the next flight, if any.
    pub(super) fn pass(&mut self, stage: &mut Stage, at: u64, passing: &mut Passing) -> (u64, Option<u64>) {
        self.far.flight(stage, Side::Server, at, &mut passing.given, Some((&mut self.near, &mut passing.passed)))
    }

    /// All of an answer; when the last of it is seen.
    pub(super) fn pass_all(&mut self, stage: &mut Stage, mut at: u64, answer: &Answer) -> u64 {
        let mut passing = Passing::new(answer);
        loop {
            match self.pass(stage, at, &mut passing) {
                (_, Some(next)) => at = next,
                (last, None) => return last,
            }
        }
    }

    /// A request, passed on; when the server's answer can begin.
    pub(super) fn ask(&mut self, stage: &mut Stage, at: u64, request: &Request) -> u64 {
        let mut at = self.near.say(stage, Side::Client, at, &request.asked);
        if !self.dialled {
            at = self.far.open(stage, at + WORK);
            self.dialled = true;
        }
        at = self.far.say(stage, Side::Client, at + WORK, &request.onward);
        at + self.far.leg(Side::Server) + stage.chance.within(1..=20) * MILLISECOND / 2
    }

    /// Something the client says inside a tunnel, passed on as it is; when the server's answer can begin.
    pub(super) fn ask_inside(&mut self, stage: &mut Stage, at: u64, message: &Rc<Message>) -> u64 {
        let request = Request { asked: Rc::clone(message), onward: Rc::clone(message) };
        self.ask(stage, at, &request)
    }

    /// The client closes, then the proxy; when both have.
    pub(super) fn close(&mut self, stage: &mut Stage, at: u64) -> u64 {
        let at = self.near.close(stage, Side::Client, at + self.near.leg(Side::Client) + 150 * MICROSECOND);
        self.far.close(stage, Side::Client, at + WORK)
    }
}

/// What the server says inside a tunnel.
pub(super) fn inside(message: &Rc<Message>) -> Answer {
    Answer { given: Rc::clone(message), passed: Rc::clone(message) }
}

/// A tunnel to `authority`, from the client's SYN at `now` on; when the client can speak in it.
pub(super) fn tunnel(
    stage: &mut Stage,
    now: u64,
    pc: Pc,
    origin: &Origin,
    (authority, port): (&str, u16),
    agent: &str,
) -> (Pair, u64) {
    let (mut pair, at) = Pair::open(stage, now, pc, origin, port);
    let asked = pair.near.say(stage, Side::Client, at, &words::connect(authority, agent));
    let open = pair.far.open(stage, asked + WORK);
    pair.dialled = true;
    let told = pair.near.say(stage, Side::Server, open + WORK / 2, &words::connected());
    (pair, told + pc.leg + 90 * MICROSECOND)
}

/// The beginning of TLS in a tunnel: the hellos, and the client's Finished; when the client can speak.
pub(super) fn handshake(stage: &mut Stage, now: u64, pair: &mut Pair, server: &str) -> u64 {
    let hello = tls::client_hello(&mut stage.chance, server);
    let mut at = pair.ask_inside(stage, now, &hello);
    let certificates = stage.chance.within(2_400..=4_200);
    let hello = tls::server_hello(&mut stage.chance, certificates);
    at = pair.pass_all(stage, at, &inside(&hello));
    let finished = Message::tls(stage.chance.within(0..=0xffff), 80);
    at = pair.near.say(stage, Side::Client, at + pair.near.leg(Side::Client) + MILLISECOND, &finished);
    at = pair.far.say(stage, Side::Client, at + WORK / 2, &finished);
    at + MILLISECOND
}

/// A short request of the messenger and its answer, on connections of their own, that the client closes; when it has.
pub(super) fn short_post(stage: &mut Stage, now: u64, pc: Pc, origin: &Origin, keep_alive: bool) -> u64 {
    let (mut pair, open) = Pair::open(stage, now, pc, origin, 80);
    let wish = if keep_alive { "Keep-Alive" } else { "close" };
    let agent = words::MESSENGER_AGENT;
    let fields = format!(
        "Accept: */*\r\nCache-Control: no-cache\r\nConnection: {wish}\r\nContent-Type: application/octet-stream\r\n\
         Upgrade: mmtls\r\nUser-Agent: {agent}\r\n"
    );
    let path = format!("/mmtls/{}", stage.chance.hex(8));
    let body = stage.chance.within(371..=829);
    let request = words::request(&mut stage.chance, pc.address, ("POST", origin.name, &path), &fields, body);
    let fields = format!("Content-Type: application/octet-stream\r\nConnection: {}\r\n", wish.to_lowercase());
    let size = stage.chance.within(120..=900);
    let answer = words::answer(&mut stage.chance, "200 OK", &fields, size);
    let at = pair.ask(stage, open, &request);
    let at = pair.pass_all(stage, at, &answer);
    pair.close(stage, at)
}

/// A tunnel of the messenger to a literal address, with its own protocol inside, for so long (nanoseconds); when the client
/// closed it.
pub(super) fn messenger_tunnel(stage: &mut Stage, now: u64, pc: Pc, origin: &Origin, port: u16, life: u64) -> u64 {
    let authority = SocketAddr::new(origin.address, port).to_string();
    let (mut pair, at) = tunnel(stage, now, pc, origin, (&authority, port), words::MESSENGER_AGENT);
    let record = |stage: &mut Stage, bytes: u8| {
        Message::with_body([0x16, 0xf1, 3, 0, bytes], Body::Noise, stage.chance.within(0..=0xffff), bytes.into())
    };
    let (hello, reply) = (record(stage, 251), record(stage, 178));
    let at = pair.ask_inside(stage, at, &hello);
    let at = pair.pass_all(stage, at, &inside(&reply));
    pair.close(stage, at.max(now + life))
}
