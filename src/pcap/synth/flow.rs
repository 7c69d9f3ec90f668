//! One TCP connection: its sides, their sequence numbers, and when the gateway sees what they say.

use std::net::SocketAddr;
use std::rc::Rc;

use super::cast::{GATEWAY, GATEWAY_V6};
use super::message::Message;
use super::packet::{PSH, Packet};
use super::stage::{MICROSECOND, SECOND, Stage};
use crate::pcap::decode::{ACK, FIN, RST, SYN};
use crate::pcap::stream::Side;

/// Segments of the first flight (RFC 6928), and of the largest.
const FIRST_FLIGHT: u32 = 10;
const LARGEST_FLIGHT: u32 = 64;
/// Between two full segments: 100 Mbit/s.
const SEGMENT_GAP: u64 = 122 * MICROSECOND;
/// What a host takes to answer a packet.
const STACK: u64 = 6 * MICROSECOND;

#[derive(Debug)]
struct End {
    address: SocketAddr,
    /// From the gateway to this end and back, nanoseconds.
    leg: u64,
    /// The sequence number of the next byte that it sends.
    next: u32,
    /// The next byte that it expects of the other.
    expects: u32,
    /// Segments that it has not acknowledged yet.
    unacknowledged: u8,
    /// Segments that it sends at once.
    flight: u32,
}

/// A connection. Its methods take the time at which the gateway sees the first packet, and return the time at which it sees
/// the last one that the speaker sent.
#[derive(Debug)]
pub(super) struct Flow {
    client: End,
    server: End,
    mss: u16,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    message: Rc<Message>,
    sent: u64,
}

impl Transfer {
    pub(super) fn new(message: &Rc<Message>) -> Self {
        Self { message: Rc::clone(message), sent: 0 }
    }

    fn left(&self) -> u64 {
        self.message.len() - self.sent
    }
}

impl Flow {
    /// A connection that is yet to be opened; `legs`: from the gateway to the client and back, and to the server.
    pub(super) fn new(stage: &mut Stage, client: SocketAddr, server: SocketAddr, legs: (u64, u64)) -> Self {
        let mut end = |address, leg: u64| {
            let next = u32::try_from(stage.chance.within(0..=u64::from(u32::MAX))).unwrap_or_default();
            End { address, leg: leg + STACK, next, expects: 0, unacknowledged: 0, flight: FIRST_FLIGHT }
        };
        let (client, server) = (end(client, legs.0), end(server, legs.1));
        let ours = |end: &End| matches!(end.address.ip(), GATEWAY | GATEWAY_V6);
        let mss = match (client.address, ours(&client) && ours(&server)) {
            (_, true) => 65_495,
            (SocketAddr::V4(_), false) => 1_460,
            (SocketAddr::V6(_), false) => 1_440,
        };
        Self { client, server, mss }
    }

    /// From the gateway to this side and back, nanoseconds.
    pub(super) fn leg(&self, side: Side) -> u64 {
        match side {
            Side::Client => self.client.leg,
            Side::Server => self.server.leg,
        }
    }

    fn ends(&mut self, speaker: Side) -> (&mut End, &mut End) {
        match speaker {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        }
    }

    fn put(&mut self, stage: &mut Stage, speaker: Side, at: u64, flags: u8, payload: Option<(Rc<Message>, u64, u16)>) {
        let mss = self.mss;
        let (speaker, hearer) = self.ends(speaker);
        let length = payload.as_ref().map_or(0, |(_, _, length)| u32::from(*length));
        let acknowledgement = if flags & ACK == 0 { 0 } else { speaker.expects };
        let (source, destination, sequence) = (speaker.address, hearer.address, speaker.next);
        stage.put(at, Packet { source, destination, sequence, acknowledgement, flags, mss, payload });
        let extra = u32::from(flags & (SYN | FIN) != 0);
        speaker.next = sequence.wrapping_add(length + extra);
        speaker.unacknowledged = 0;
        if flags & RST == 0 {
            hearer.expects = speaker.next;
        }
    }

    /// The handshake, from the SYN at `at`; when the client's ACK is seen.
    pub(super) fn open(&mut self, stage: &mut Stage, at: u64) -> u64 {
        self.put(stage, Side::Client, at, SYN, None);
        let accepted = at + self.server.leg;
        self.put(stage, Side::Server, accepted, SYN | ACK, None);
        let open = accepted + self.client.leg;
        self.put(stage, Side::Client, open, ACK, None);
        open
    }

    /// A SYN that a reset answers; when that is seen.
    pub(super) fn refused(&mut self, stage: &mut Stage, at: u64) -> u64 {
        self.put(stage, Side::Client, at, SYN, None);
        self.reset(stage, Side::Server, at + self.server.leg)
    }

    /// A SYN that nothing answers, repeated after 1 s, 3 s, 7 s and so on, as long as the client has patience (nanoseconds).
    pub(super) fn unanswered(&mut self, stage: &mut Stage, at: u64, patience: u64) {
        let begin = self.client.next;
        let waits = std::iter::successors(Some(0), |waited: &u64| Some(waited * 2 + SECOND));
        for wait in waits.take_while(|wait| *wait < patience) {
            self.client.next = begin;
            self.put(stage, Side::Client, at + wait, SYN, None);
        }
    }

    /// A whole message. The other side acknowledges it.
    pub(super) fn say(&mut self, stage: &mut Stage, speaker: Side, at: u64, message: &Rc<Message>) -> u64 {
        let mut transfer = Transfer::new(message);
        let mut at = at;
        loop {
            let (last, next) = self.flight(stage, speaker, at, &mut transfer, None);
            match next {
                Some(next) => at = next,
                None => return last,
            }
        }
    }

    /// As much of a message as is sent before an acknowledgement returns. `relay`: where it goes on from the gateway, from
    /// the server of that connection to its client. Returns when the last segment is seen, and when the next flight, if
    /// there is anything left.
    pub(super) fn flight(
        &mut self,
        stage: &mut Stage,
        speaker: Side,
        at: u64,
        transfer: &mut Transfer,
        mut relay: Option<(&mut Self, &mut Transfer)>,
    ) -> (u64, Option<u64>) {
        let (speaking, hearing) = self.ends(speaker);
        let round = speaking.leg + hearing.leg;
        let segments = speaking.flight;
        speaking.flight = (segments * 2).min(LARGEST_FLIGHT);
        let mut time = at;
        let mut last = at;
        for number in 1..=segments {
            last = time;
            self.segment(stage, speaker, time, transfer, number == segments);
            time += SEGMENT_GAP + stage.chance.within(0..=2 * MICROSECOND);
            if let Some((onward, copy)) = &mut relay {
                let arrived = (transfer.sent + copy.message.head_len()).saturating_sub(transfer.message.head_len());
                onward.pass(stage, last + 2 * STACK, copy, if transfer.left() == 0 { u64::MAX } else { arrived });
            }
            if transfer.left() == 0 {
                return (last, None);
            }
        }
        (last, Some(time.max(at + round)))
    }

    /// Sends what has arrived of a message that is passed on: full segments only, until all of it is there.
    fn pass(&mut self, stage: &mut Stage, at: u64, copy: &mut Transfer, arrived: u64) {
        let mut at = at;
        while copy.left() > 0 && (arrived == u64::MAX || arrived - copy.sent >= u64::from(self.mss)) {
            self.segment(stage, Side::Server, at, copy, arrived == u64::MAX);
            at += 2 * MICROSECOND;
        }
    }

    /// One segment; every second one, and the last of a flight or a message, is acknowledged at once.
    fn segment(&mut self, stage: &mut Stage, speaker: Side, at: u64, transfer: &mut Transfer, flush: bool) {
        let length = u16::try_from(transfer.left()).unwrap_or(u16::MAX).min(self.mss);
        let payload = Some((Rc::clone(&transfer.message), transfer.sent, length));
        transfer.sent += u64::from(length);
        let last = transfer.left() == 0;
        self.put(stage, speaker, at, if last { PSH | ACK } else { ACK }, payload);
        let (_, hearer) = self.ends(speaker);
        hearer.unacknowledged += 1;
        if last || flush || hearer.unacknowledged >= 2 {
            let at = at + hearer.leg;
            self.put(stage, other(speaker), at, ACK, None);
        }
    }

    /// Both sides say FIN, this one first, and the other at once; when the last ACK is seen.
    pub(super) fn close(&mut self, stage: &mut Stage, first: Side, at: u64) -> u64 {
        self.put(stage, first, at, FIN | ACK, None);
        let (leg, back) = (self.leg(other(first)), self.leg(first));
        self.put(stage, other(first), at + leg, FIN | ACK, None);
        self.put(stage, first, at + leg + back, ACK, None);
        at + leg + back
    }

    /// This side resets the connection.
    pub(super) fn reset(&mut self, stage: &mut Stage, side: Side, at: u64) -> u64 {
        self.put(stage, side, at, RST | ACK, None);
        at
    }
}

/// The side that is spoken to.
fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}
