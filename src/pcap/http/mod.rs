//! What clients said to servers: requests and answers, found leniently, for a capture shows what broken clients send.
//!
//! Owns: where a message of a captured stream begins and ends. Called by: [`super::stream`], as its listener. Never: rejects a
//! message as `http1` would; keeps more of one than its head.

mod asked;
mod dialogue;
mod half;
mod head;
mod interpreter;
mod line;
#[cfg(test)]
mod tests;

pub use dialogue::Dialogue;
pub use interpreter::Interpreter;

use super::Time;
use super::stream::{Conversation, End};

/// A request as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    /// Its number within the conversation, from 0.
    pub number: u32,
    /// When its first byte was captured, and when the last of its head.
    pub began: Time,
    /// See `began`.
    pub at: Time,
    /// The whole head as sent, up to and including the empty line; what there is of it, if it is incomplete.
    pub head: &'b [u8],
    /// The method.
    pub method: &'b [u8],
    /// The target, as sent.
    pub target: &'b [u8],
    /// `HTTP/1.1`; empty if there is none.
    pub version: &'b [u8],
    /// The first `Host`, without the white space around it.
    pub host: Option<&'b [u8]>,
    /// The first `User-Agent`.
    pub user_agent: Option<&'b [u8]>,
    /// There is a `Proxy-Connection` or `Proxy-Authorization` field: the client means a proxy.
    pub to_a_proxy: bool,
    /// The client wants the connection to stay (its version, `Connection`, `Proxy-Connection`).
    pub keep_alive: bool,
    /// It was sent inside a CONNECT tunnel: not to the server of the conversation.
    pub tunnelled: bool,
}

impl Request<'_> {
    /// Whether all of its head was captured.
    pub fn is_complete(&self) -> bool {
        self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n")
    }
}

/// An answer as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'b> {
    /// The number of the request that it answers; none if that was not captured.
    pub to: Option<u32>,
    /// When the head of that request was complete.
    pub asked: Option<Time>,
    /// When the last of its head was captured.
    pub at: Time,
    /// The whole head.
    pub head: &'b [u8],
    /// Its status; interim answers (1xx) are told too.
    pub status: u16,
    /// The server wants the connection to stay.
    pub keep_alive: bool,
    /// It was sent inside a tunnel.
    pub tunnelled: bool,
}

/// Hears what was said. All of it is optional.
pub trait Witness {
    /// The first packet of a conversation.
    fn opened(&mut self, conversation: &Conversation) {
        let _ = conversation;
    }

    /// A request, when its head is complete (or will never be).
    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        let _ = (conversation, request);
    }

    /// A piece of the body of the last request, still encoded.
    fn body(&mut self, conversation: &Conversation, piece: &[u8]) {
        let _ = (conversation, piece);
    }

    /// An answer, when its head is complete.
    fn answer(&mut self, conversation: &Conversation, answer: &Answer<'_>) {
        let _ = (conversation, answer);
    }

    /// A conversation was reset. Its end may be told much later; rarely, it goes on.
    fn reset(&mut self, conversation: &Conversation, at: Time) {
        let _ = (conversation, at);
    }

    /// The end of a conversation; `unanswered`: so many of its requests got no final answer.
    fn closed(&mut self, conversation: &Conversation, at: Time, end: End, unanswered: u32) {
        let _ = (conversation, at, end, unanswered);
    }
}

/// Nobody.
impl Witness for () {}

/// Two who hear the same, one after the other.
impl<A: Witness, B: Witness> Witness for (A, B) {
    fn opened(&mut self, conversation: &Conversation) {
        self.0.opened(conversation);
        self.1.opened(conversation);
    }

    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        self.0.request(conversation, request);
        self.1.request(conversation, request);
    }

    fn body(&mut self, conversation: &Conversation, piece: &[u8]) {
        self.0.body(conversation, piece);
        self.1.body(conversation, piece);
    }

    fn answer(&mut self, conversation: &Conversation, answer: &Answer<'_>) {
        self.0.answer(conversation, answer);
        self.1.answer(conversation, answer);
    }

    fn reset(&mut self, conversation: &Conversation, at: Time) {
        self.0.reset(conversation, at);
        self.1.reset(conversation, at);
    }

    fn closed(&mut self, conversation: &Conversation, at: Time, end: End, unanswered: u32) {
        self.0.closed(conversation, at, end, unanswered);
        self.1.closed(conversation, at, end, unanswered);
    }
}

/// What was met, of all conversations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Requests told.
    pub requests: u64,
    /// Answers told, interim ones too.
    pub answers: u64,
    /// Requests and answers told although the end of their head was not captured, or never sent.
    pub incomplete: u64,
    /// Heads longer than 64 KiB; the rest of such a head is passed over.
    pub heads_too_long: u64,
    /// Heads cut short because those in pieces, of all conversations, came to 16 MiB.
    pub heads_crowded_out: u64,
    /// Gaps in a side's bytes after which it was not known what is due.
    pub torn: u64,
    /// Messages that did not begin where one was due, or bodies that broke their framing: the next is looked for at the
    /// beginnings of segments.
    pub resynchronised: u64,
    /// Requests whose answers may have been among bytes that were not captured: they count neither as answered nor as unanswered.
    pub lost_track: u64,
    /// Answers that were captured before their requests; they are told as answers to none, and the requests as answered.
    pub early: u64,
    /// CONNECT tunnels.
    pub tunnels: u64,
    /// Conversations whose start was not captured, and whose client turned out to be the other side.
    pub swapped: u64,
}
