//! The storm of the incident: clients that ask the proxy for the gateway itself, and ask again at once.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::pcap::stream::Side;
use crate::pcap::synth::cast::{GATEWAY, PORTAL, PROXY, pc};
use crate::pcap::synth::flow::Flow;
use crate::pcap::synth::stage::{Actor, Cast, MICROSECOND, MILLISECOND, SECOND, Stage};
use crate::pcap::synth::words::{self, MESSENGER_AGENT};

/// Connections that one client has at a time.
pub(super) const WORKERS: u32 = 12;
/// What the proxy's process needs for an attempt.
const WORK: u64 = 29 * MICROSECOND;
/// How long the starved process gets to work at least, and how long it waits for the disk in between.
const AWAKE: u64 = 1_500 * MICROSECOND;
const STARVED: (u64, u64) = (450 * MILLISECOND, 740 * MILLISECOND);

/// The proxy's process on a box that waits for its disk: the kernel accepts at once, but answers come in bunches.
#[derive(Debug)]
pub(super) struct Process {
    /// How long it gets to work: each who waits has a turn.
    turn: u64,
    /// From when on it works, until when, and until when it is busy.
    awake: u64,
    asleep: u64,
    busy: u64,
}

impl Process {
    /// One that so many connections wait for.
    pub(super) fn shared_by(workers: u32) -> Rc<RefCell<Self>> {
        let turn = (u64::from(workers) * (WORK + 12 * MICROSECOND)).max(AWAKE);
        Rc::new(RefCell::new(Self { turn, awake: 0, asleep: 0, busy: 0 }))
    }

    /// When it gets to a request that came at this time.
    fn serve(&mut self, stage: &mut Stage, at: u64) -> u64 {
        let mut begin = at.max(self.busy).max(self.awake);
        while begin >= self.asleep {
            let (least, most) = STARVED;
            self.awake = self.asleep + stage.chance.within(least..=most);
            self.asleep = self.awake + self.turn;
            begin = begin.max(self.awake);
        }
        self.busy = begin + WORK + stage.chance.within(0..=9) * MICROSECOND;
        self.busy
    }
}

/// One connection after the other that asks for the gateway itself.
#[derive(Debug)]
pub(super) struct Worker {
    client: IpAddr,
    leg: u64,
    path: Rc<str>,
    process: Rc<RefCell<Process>>,
}

impl Actor for Worker {
    fn act(&mut self, now: u64, stage: &mut Stage) -> Option<u64> {
        if stage.is_over(now) {
            return None;
        }
        let client = SocketAddr::new(self.client, stage.port(self.client));
        let host = GATEWAY.to_string();
        let fields =
            format!("Accept: */*\r\nCache-Control: no-cache\r\nUser-Agent: {MESSENGER_AGENT}\r\nConnection: close\r\n");
        let request = words::request(&mut stage.chance, self.client, ("GET", &host, &self.path), &fields, 0);
        let kind = "Content-Type: text/html\r\nConnection: close\r\n";
        let answer = words::answer(&mut stage.chance, "404 Not Found", kind, 162);

        let mut flow = Flow::new(stage, client, PROXY, (self.leg, 0));
        let open = flow.open(stage, now);
        let asked = flow.say(stage, Side::Client, open + 15 * MICROSECOND, &request.asked);
        let mut at = self.process.borrow_mut().serve(stage, asked);

        let ours = SocketAddr::new(GATEWAY, stage.port(GATEWAY));
        let mut onward = Flow::new(stage, ours, PORTAL, (0, 0));
        at = onward.open(stage, at);
        at = onward.say(stage, Side::Client, at + 4 * MICROSECOND, &request.onward);
        at = onward.say(stage, Side::Server, at + 14 * MICROSECOND, &answer.given);
        onward.close(stage, Side::Server, at + 9 * MICROSECOND);

        at = flow.say(stage, Side::Server, at + 12 * MICROSECOND, &answer.passed);
        flow.close(stage, Side::Server, at + 9 * MICROSECOND);
        Some(at + self.leg + stage.chance.within(20..=60) * MICROSECOND)
    }
}

/// The workers of one client, from this time on; all of them begin within half a millisecond.
pub(super) fn workers(
    stage: &mut Stage,
    process: &Rc<RefCell<Process>>,
    client: IpAddr,
    count: u32,
    from: u64,
) -> Cast {
    let leg = stage.chance.within(200..=380) * MICROSECOND;
    let path: Rc<str> = format!("/mmtls/{}", stage.chance.hex(8)).into();
    (0..count)
        .map(|number| {
            let first = from + u64::from(number) * 37 * MICROSECOND;
            let worker = Worker { client, leg, path: Rc::clone(&path), process: Rc::clone(process) };
            (first, Box::new(worker) as Box<dyn Actor>)
        })
        .collect()
}

/// Each PC joins a while after the one before.
pub(super) fn cast(stage: &mut Stage, clients: u32) -> Cast {
    let process = Process::shared_by(clients.saturating_mul(WORKERS));
    let spread = (stage.end / 10).min(SECOND);
    (0..clients)
        .flat_map(|number| {
            let from =
                spread * u64::from(number) / u64::from(clients.max(1)) + stage.chance.within(0..=50) * MILLISECOND;
            workers(stage, &process, pc(number), WORKERS, from)
        })
        .collect()
}
