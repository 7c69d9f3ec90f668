use std::fmt::Write as _;

use super::super::decode::{ACK, FIN, RST, SYN, Segment};
use super::*;

mod conversations;
mod oracle;
mod order;

/// Writes down what it hears: `C` and `S` are the sides, quotes hold bytes, `(3)` is a gap, `!` a reset.
#[derive(Debug, Default)]
struct Log {
    heard: String,
    /// From which byte on a side is of no interest.
    ignore: Option<&'static str>,
    /// Whoever says this is the client.
    request: Option<&'static str>,
}

impl Log {
    fn add(&mut self, number: u64, what: std::fmt::Arguments<'_>) {
        let space = if self.heard.is_empty() { "" } else { " " };
        let number = if number == 0 { String::new() } else { number.to_string() };
        write!(self.heard, "{space}{number}{what}").expect("a string");
    }
}

fn letter(side: Side) -> char {
    match side {
        Side::Client => 'C',
        Side::Server => 'S',
    }
}

impl Listener for Log {
    type State = u32;

    fn opened(&mut self, conversation: &Conversation, state: &mut u32) {
        *state += 1;
        let kind = if conversation.midstream { "midstream" } else { "opened" };
        self.add(conversation.number, format_args!("{kind}"));
    }

    fn bytes(
        &mut self,
        conversation: &mut Conversation,
        state: &mut u32,
        mut side: Side,
        _: Time,
        bytes: &[u8],
    ) -> Interest {
        *state += 1;
        let text = bytes.escape_ascii().to_string();
        if side == Side::Server && self.request.is_some_and(|request| text == request) {
            conversation.swap_sides();
            side = Side::Client;
        }
        self.add(conversation.number, format_args!("{}'{text}'", letter(side)));
        if self.ignore == Some(&*text) { Interest::Ignore } else { Interest::Listen }
    }

    fn gap(&mut self, conversation: &mut Conversation, state: &mut u32, side: Side, _: Time, missing: u64) -> Interest {
        *state += 1;
        self.add(conversation.number, format_args!("{}({missing})", letter(side)));
        Interest::Listen
    }

    fn reset(&mut self, conversation: &Conversation, _: Time) {
        self.add(conversation.number, format_args!("!"));
    }

    fn finished(&mut self, conversation: &Conversation, state: &mut u32, side: Side, _: Time) {
        *state += 1;
        self.add(conversation.number, format_args!("{}.", letter(side)));
    }

    fn closed(&mut self, conversation: &Conversation, state: u32, _: Time, end: End) {
        assert!(state > 0, "the state is another's");
        self.add(conversation.number, format_args!("{end:?}"));
    }
}

/// A capture of one client and one server. Sequence and acknowledgement numbers are relative to the initial ones.
struct Capture {
    streams: Streams<Log>,
    log: Log,
    time: u64,
    client: SocketAddr,
    server: SocketAddr,
    /// Initial sequence numbers: those of the client are about to wrap.
    isn: [u32; 2],
}

impl Capture {
    fn new() -> Self {
        Self::with(Limits { reset: 0, ..Limits::default() })
    }

    fn with(limits: Limits) -> Self {
        Self {
            streams: Streams::new(limits),
            log: Log::default(),
            time: 0,
            client: "10.0.0.9:40000".parse().expect("an address"),
            server: "10.0.0.1:3128".parse().expect("an address"),
            isn: [u32::MAX - 2, 5000],
        }
    }

    fn send(&mut self, from: Side, flags: u8, sequence: u32, acknowledgement: u32, payload: &str, cut: u32) {
        let [client, server] = self.isn;
        let (source, destination, own, other) = match from {
            Side::Client => (self.client, self.server, client, server),
            Side::Server => (self.server, self.client, server, client),
        };
        let segment = Segment {
            source,
            destination,
            sequence: own.wrapping_add(sequence),
            acknowledgement: if flags & ACK == 0 { 0 } else { other.wrapping_add(acknowledgement) },
            flags,
            payload: payload.as_bytes(),
            cut,
        };
        self.time += 1_000_000;
        self.streams.segment(&mut self.log, Time(self.time), &segment);
    }

    /// The client sends.
    fn c(&mut self, flags: u8, sequence: u32, acknowledgement: u32, payload: &str) -> &mut Self {
        self.send(Side::Client, flags, sequence, acknowledgement, payload, 0);
        self
    }

    /// The server sends.
    fn s(&mut self, flags: u8, sequence: u32, acknowledgement: u32, payload: &str) -> &mut Self {
        self.send(Side::Server, flags, sequence, acknowledgement, payload, 0);
        self
    }

    fn handshake(&mut self) -> &mut Self {
        self.c(SYN, 0, 0, "").s(SYN | ACK, 0, 1, "").c(ACK, 1, 1, "")
    }

    /// What was heard since the last time.
    fn heard(&mut self) -> String {
        mem::take(&mut self.log.heard)
    }

    fn finish(&mut self) -> String {
        self.streams.finish(&mut self.log, Time(self.time));
        assert_eq!((self.streams.open(), self.streams.waiting()), (0, 0), "something is left");
        self.heard()
    }

    fn counters(&self) -> Counters {
        *self.streams.counters()
    }
}
