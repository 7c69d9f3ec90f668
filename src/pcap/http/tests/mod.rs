//! A witness that writes down what it hears, and conversations that are told directly, without packets.

mod dialogues;
mod lines;
mod pieces;
mod torn;
mod tunnels;

use std::net::SocketAddr;

use super::{Answer, Dialogue, Interpreter, Request, Witness};
use crate::pcap::Time;
use crate::pcap::stream::{Conversation, End, Interest, Listener, Side};

/// One line for each thing told; bodies are put together.
#[derive(Debug, Default)]
pub(super) struct Notes {
    lines: Vec<String>,
    /// Heads as told, one after the other.
    heads: Vec<u8>,
    body: Vec<u8>,
}

impl Notes {
    fn end_of_body(&mut self) {
        if !self.body.is_empty() {
            self.lines.push(format!("  body {}", std::mem::take(&mut self.body).escape_ascii()));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Witness for Notes {
    fn request(&mut self, _: &Conversation, request: &Request<'_>) {
        self.end_of_body();
        let mut line =
            format!("{} {} {} {}", request.number, text(request.method), text(request.target), text(request.version));
        for (name, value) in [(" host=", request.host), (" agent=", request.user_agent)] {
            if let Some(value) = value {
                line += name;
                line += &text(value);
            }
        }
        for (name, on) in [
            (" proxy", request.to_a_proxy),
            (" stay", request.keep_alive),
            (" tunnelled", request.tunnelled),
            (" cut", !request.is_complete()),
        ] {
            if on {
                line += name;
            }
        }
        self.lines.push(line);
        self.heads.extend_from_slice(request.head);
    }

    fn body(&mut self, _: &Conversation, piece: &[u8]) {
        self.body.extend_from_slice(piece);
    }

    fn answer(&mut self, _: &Conversation, answer: &Answer<'_>) {
        self.end_of_body();
        let to = answer.to.map_or_else(|| "?".to_owned(), |to| to.to_string());
        let stay = if answer.keep_alive { " stay" } else { "" };
        let tunnelled = if answer.tunnelled { " tunnelled" } else { "" };
        self.lines.push(format!("  {} to {to}{stay}{tunnelled}", answer.status));
        self.heads.extend_from_slice(answer.head);
    }

    fn closed(&mut self, _: &Conversation, _: Time, _: End, unanswered: u32) {
        self.end_of_body();
        self.lines.push(format!("closed, {unanswered} unanswered"));
    }
}

/// A conversation that is told piece by piece.
#[derive(Debug)]
pub(super) struct Tape {
    interpreter: Interpreter<Notes>,
    conversation: Conversation,
    state: Dialogue,
    clock: u64,
}

impl Tape {
    fn start(midstream: bool) -> Self {
        let address = |port| SocketAddr::from(([198, 18, 0, 1], port));
        let conversation = Conversation {
            number: 0,
            client: address(40000),
            server: address(80),
            opened: Time(0),
            midstream,
            accepted: true,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let mut tape = Self {
            interpreter: Interpreter::new(Notes::default()),
            conversation,
            state: Dialogue::default(),
            clock: 0,
        };
        tape.interpreter.opened(&tape.conversation, &mut tape.state);
        tape
    }

    /// A conversation from its SYN on.
    pub(super) fn new() -> Self {
        Self::start(false)
    }

    /// One whose beginning was not captured.
    pub(super) fn midstream() -> Self {
        Self::start(true)
    }

    fn say(&mut self, side: Side, bytes: &[u8]) -> Interest {
        self.clock += 1;
        self.interpreter.bytes(&mut self.conversation, &mut self.state, side, Time(self.clock), bytes)
    }

    fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.say(Side::Client, bytes.as_ref());
        self
    }

    fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.say(Side::Server, bytes.as_ref());
        self
    }

    fn gap(&mut self, side: Side, missing: u64) -> &mut Self {
        self.clock += 1;
        self.interpreter.gap(&mut self.conversation, &mut self.state, side, Time(self.clock), missing);
        self
    }

    fn counts(&self) -> super::Counts {
        *self.interpreter.counts()
    }

    /// What was told, the close included, and what was counted.
    fn end(self) -> (Notes, super::Counts) {
        let Self { mut interpreter, conversation, state, clock } = self;
        interpreter.closed(&conversation, state, Time(clock), End::Open);
        assert_eq!(interpreter.held, 0, "every held head is given back");
        interpreter.into_parts()
    }
}

/// What a whole conversation tells: `(client?, bytes)`.
fn told(pieces: &[(bool, &str)]) -> Vec<String> {
    let mut tape = Tape::new();
    for &(client, bytes) in pieces {
        tape.say(if client { Side::Client } else { Side::Server }, bytes.as_bytes());
    }
    tape.end().0.lines
}
