//! Clients that are slow, and clients that ask for what is not there.

use super::super::cast::{self, Origin, pc};
use super::super::exchange::{Pc, WORK, onward};
use super::super::flow::Flow;
use super::super::message::Message;
use super::super::stage::{Actor, Cast, MICROSECOND, MILLISECOND, SECOND, Stage};
use super::super::words::{self, BROWSER_AGENT};
use crate::pcap::stream::Side;

/// How long the proxy waits for a head.
const HEAD_TIMEOUT: u64 = 30 * SECOND;
/// Connections of one slow client.
const SLOW_CONNECTIONS: usize = 4;

/// A connection that sends a head a line at a time, and never all of it.
#[derive(Debug)]
struct Slow {
    pc: Pc,
    /// The connection and when the proxy gives it up.
    open: Option<(Flow, u64)>,
}

impl Actor for Slow {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        if stage.is_over(now) {
            return None;
        }
        let Some((flow, deadline)) = &mut self.open else {
            let mut flow = self.pc.call(stage);
            let at = flow.open(stage, now) + 50 * MICROSECOND;
            let head = format!(
                "GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: {BROWSER_AGENT}\r\n"
            );
            flow.say(stage, Side::Client, at, &Message::text(head));
            self.open = Some((flow, at + HEAD_TIMEOUT));
            return Some(at + stage.chance.within(3..=9) * SECOND);
        };
        if now >= *deadline {
            let answer = words::refusal("408 Request Timeout", "The head of the request did not come in time.");
            let at = flow.say(stage, Side::Server, now, &answer);
            let closed = flow.close(stage, Side::Server, at + 20 * MICROSECOND);
            self.open = None;
            return Some(closed + stage.chance.within(200..=900) * MILLISECOND);
        }
        let line = format!("X-{}: {}\r\n", stage.chance.hex(4), stage.chance.hex(6));
        let at = flow.say(stage, Side::Client, now, &Message::text(line));
        Some((at + stage.chance.within(3..=9) * SECOND).min((*deadline).max(at + SECOND)))
    }
}

/// Clients with some slow connections each.
pub(super) fn slow(stage: &mut Stage, clients: u32) -> Cast {
    (0..clients)
        .flat_map(|number| {
            let pc = Pc::new(stage, pc(number));
            [(); SLOW_CONNECTIONS].map(|()| {
                let first = stage.chance.within(0..=4_000) * MILLISECOND;
                (first, Box::new(Slow { pc, open: None }) as Box<dyn Actor>)
            })
        })
        .collect()
}

/// How long the proxy waits for a connection.
const CONNECT_TIMEOUT: u64 = 10 * SECOND;
/// It answers with a reset.
const REFUSING: Origin = cast::v4("update.example.net", [203, 0, 113, 200], 21);
/// It does not answer.
const SILENT: Origin = cast::v4("telemetry.example.net", [198, 51, 100, 250], 0);

/// A program that wants a destination that is not there.
#[derive(Debug)]
struct Hopeless {
    pc: Pc,
    silent: bool,
}

impl Actor for Hopeless {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        if stage.is_over(now) {
            return None;
        }
        let mut flow = self.pc.call(stage);
        let open = flow.open(stage, now) + 40 * MICROSECOND;
        let (asked, failed, answer) = if self.silent {
            let authority = format!("{}:443", SILENT.name);
            let asked = flow.say(stage, Side::Client, open, &words::connect(&authority, "updater/2.1"));
            onward(stage, &SILENT, 443).unanswered(stage, asked + WORK, CONNECT_TIMEOUT);
            let answer = words::refusal("504 Gateway Timeout", "The server did not answer in time.");
            (asked, asked + CONNECT_TIMEOUT, answer)
        } else {
            let fields = "User-Agent: updater/2.1\r\nAccept: */*\r\nConnection: close\r\n";
            let target = ("GET", REFUSING.name, "/v2/manifest.json");
            let request = words::request(&mut stage.chance, self.pc.address, target, fields, 0);
            let asked = flow.say(stage, Side::Client, open, &request.asked);
            let failed = onward(stage, &REFUSING, 80).refused(stage, asked + WORK);
            (asked, failed, words::refusal("502 Bad Gateway", "The server refused the connection."))
        };
        let at = flow.say(stage, Side::Server, failed.max(asked) + WORK, &answer);
        let closed = flow.close(stage, Side::Server, at + 20 * MICROSECOND);
        Some(closed + stage.chance.within(if self.silent { 20..=80 } else { 400..=1_600 }) * MILLISECOND)
    }
}

/// Each PC has a program that is refused and one that is never answered.
pub(super) fn hopeless(stage: &mut Stage, clients: u32) -> Cast {
    (0..clients)
        .flat_map(|number| {
            let pc = Pc::new(stage, pc(number));
            [false, true].map(|silent| {
                let first = stage.chance.within(0..=1_500) * MILLISECOND;
                (first, Box::new(Hopeless { pc, silent }) as Box<dyn Actor>)
            })
        })
        .collect()
}
