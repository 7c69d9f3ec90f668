//! What the messenger does when nothing is wrong, and what it does past the proxy.

use super::super::cast::{MESSENGER, Origin, pc};
use super::super::exchange::{Pc, messenger_tunnel, short_post};
use super::super::message::{Body, Message};
use super::super::stage::{Actor, Cast, MICROSECOND, MILLISECOND, SECOND, Stage};
use super::super::tls;
use super::super::words::MESSENGER_AGENT;
use crate::pcap::stream::Side;

/// Connections of a start, how many of them within its first second, and for how long it goes on.
const CONNECTIONS: u64 = 35;
const AT_ONCE: u64 = 10;
const START: u64 = 26 * SECOND;

/// A PC whose messenger starts: tunnels to literal addresses, and short requests.
#[derive(Debug)]
struct Start {
    pc: Pc,
    begun: u64,
    /// Connections so far.
    made: u64,
}

impl Actor for Start {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        if stage.is_over(now) {
            return None;
        }
        if self.made == 0 {
            self.begun = now;
        }
        let origin = stage.chance.pick(MESSENGER)?;
        if self.made.is_multiple_of(3) {
            let port = if self.made.is_multiple_of(2) { 443 } else { 80 };
            let life = stage.chance.within(2..=12) * SECOND;
            messenger_tunnel(stage, now, self.pc, origin, port, life);
        } else {
            short_post(stage, now, self.pc, origin, false);
        }
        self.made += 1;
        // The first ten fill most of a second; the others keep a second from them and more than half a second between each
        // other.
        let next = match self.made {
            ..AT_ONCE => self.begun + self.made * 97 * MILLISECOND,
            AT_ONCE..CONNECTIONS => {
                let step = (START - 2 * SECOND) / (CONNECTIONS - AT_ONCE);
                self.begun + 2 * SECOND + (self.made - AT_ONCE) * step + stage.chance.within(0..=400) * MILLISECOND
            }
            _ => {
                self.made = 0;
                self.begun + START + stage.chance.within(30..=60) * SECOND
            }
        };
        Some(next)
    }
}

/// PCs that are switched on one after the other.
pub(super) fn startups(stage: &mut Stage, clients: u32) -> Cast {
    (0..clients)
        .map(|number| {
            let first = SECOND + stage.chance.within(0..=u64::from(number)) * SECOND;
            let pc = Pc::new(stage, pc(number));
            (first, Box::new(Start { pc, begun: 0, made: 0 }) as Box<dyn Actor>)
        })
        .collect()
}

/// Servers next to those that the messenger is proxied to: for files, and for video.
const SIBLINGS: &[Origin] = &[
    Origin { name: "szfile.weixin.qq.com", ..sibling(140, 31) },
    Origin { name: "szvideo.weixin.qq.com", ..sibling(141, 35) },
];

const fn sibling(last: u8, milliseconds: u64) -> Origin {
    super::super::cast::v4("", [203, 0, 113, last], milliseconds)
}

/// A PC whose messenger asks the proxy for keep-alive and closes after each answer, and sends its files straight to the
/// servers.
#[derive(Debug)]
struct Bypass {
    pc: Pc,
    turn: u64,
}

impl Bypass {
    /// An upload past the proxy; what is more than 20 MB on a real day is a thousandth of that here.
    fn upload(&self, stage: &mut Stage, now: u64, origin: &Origin) -> u64 {
        let (host, size) = (origin.name, stage.chance.within(20_500..=26_000));
        let head = format!(
            "POST /cdn/upload/{} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: Keep-Alive\r\n\
             Content-Type: application/octet-stream\r\nUser-Agent: {MESSENGER_AGENT}\r\nContent-Length: {size}\r\n\r\n",
            stage.chance.hex(8)
        );
        let request = Message::with_body(head, Body::Noise, stage.chance.within(0..=0xffff), size);
        let answer =
            Message::text("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
        let mut flow = self.pc.call_directly(stage, origin, 80);
        let at = flow.open(stage, now);
        let at = flow.say(stage, Side::Client, at + 60 * MICROSECOND, &request);
        let at = flow.say(stage, Side::Server, at + origin.leg + 9 * MILLISECOND, &answer);
        flow.close(stage, Side::Client, at + self.pc.leg + 300 * MICROSECOND)
    }

    /// TLS straight to a server.
    fn encrypted(&self, stage: &mut Stage, now: u64, origin: &Origin) -> u64 {
        let mut flow = self.pc.call_directly(stage, origin, 443);
        let start = stage.chance.within(0..=0xffff);
        let mut at = flow.open(stage, now) + 60 * MICROSECOND;
        let said = [
            (Side::Client, tls::client_hello(&mut stage.chance, origin.name)),
            (Side::Server, tls::server_hello(&mut stage.chance, 2_900)),
            (Side::Client, Message::tls(start, stage.chance.within(400..=2_000))),
            (Side::Server, Message::tls(start, stage.chance.within(900..=3_000))),
        ];
        for (side, message) in said {
            let round = flow.leg(Side::Client) + flow.leg(Side::Server);
            at = flow.say(stage, side, at, &message) + round + MILLISECOND;
        }
        flow.close(stage, Side::Client, at)
    }
}

impl Actor for Bypass {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        if stage.is_over(now) {
            return None;
        }
        let (proxied, other) = (stage.chance.pick(MESSENGER)?, stage.chance.pick(SIBLINGS)?);
        self.turn += 1;
        let done = match self.turn % 8 {
            // Once to the very server that it is proxied to, once to one beside it.
            0 => self.encrypted(stage, now, proxied),
            4 => self.upload(stage, now, other),
            _ => short_post(stage, now, self.pc, proxied, true),
        };
        Some(done + stage.chance.within(100..=500) * MILLISECOND)
    }
}

/// PCs that use the proxy and also go past it.
pub(super) fn bypasses(stage: &mut Stage, clients: u32) -> Cast {
    (0..clients)
        .map(|number| {
            let first = stage.chance.within(0..=800) * MILLISECOND;
            let pc = Pc::new(stage, pc(number));
            (first, Box::new(Bypass { pc, turn: u64::from(number) }) as Box<dyn Actor>)
        })
        .collect()
}
