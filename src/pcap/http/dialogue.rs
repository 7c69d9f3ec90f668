//! What is known of one conversation.
//!
//! Owns: two sides, and the requests between them. Called by: [`super::interpreter`]; kept by [`super::super::stream`]. Never: more
//! than 216 bytes, besides heads in pieces and up to 16 requests that wait.

use super::super::stream::Side;
use super::asked::{Kind, Queue};
use super::half::{Half, Mode};

/// Bytes that are no HTTP at the start of a conversation or tunnel, until nobody listens any more.
const PATIENCE: usize = 1024;

/// What an [`Interpreter`](super::Interpreter) keeps about a conversation.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub struct Dialogue {
    pub(super) client: Half,
    pub(super) server: Half,
    pub(super) asked: Queue,
    /// HTTP was heard since its start, or since the tunnel's.
    pub(super) heard: bool,
    /// Bytes at its start may be missing: what follows may be the middle of something.
    pub(super) torn: bool,
    /// Bytes of the client are missing, or were not understood: an answer without a request is the answer to those.
    pub(super) patchy: bool,
    /// Answers that were captured before their requests, and the status of the last: captures mix up directions.
    pub(super) early: (u8, u16),
    /// It is a CONNECT tunnel now.
    pub(super) tunnel: bool,
    /// Bytes since its start that were no HTTP.
    strange: usize,
}

const _: () = assert!(size_of::<Dialogue>() <= 216, "it is multiplied by the conversations that are open");

impl Dialogue {
    pub(super) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// The sides change their roles.
    pub(super) fn swap(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
    }

    /// The last request is a CONNECT, and is not answered.
    pub(super) fn connecting(&self) -> bool {
        self.asked.youngest().is_some_and(|asked| asked.kind == Kind::Connect)
    }

    /// What follows was sent through a tunnel. A client that did not wait for the answer may have begun already.
    pub(super) fn enter_tunnel(&mut self) {
        self.tunnel = true;
        self.heard = self.asked.waiting() > 0;
        self.torn = false;
        self.strange = 0;
        self.server.mode = if self.client.is_deaf() { Mode::Deaf } else { Mode::Between };
    }

    /// Nothing that follows is HTTP; an answer may still be due.
    pub(super) fn leave(&mut self) {
        self.client.mode = Mode::Deaf;
        if self.asked.waiting() == 0 {
            self.server.mode = Mode::Deaf;
        }
    }

    /// So many bytes were no HTTP. True if that was the last straw.
    pub(super) fn endure(&mut self, bytes: usize) -> bool {
        self.strange = self.strange.saturating_add(bytes);
        !self.heard && !self.torn && self.strange > PATIENCE
    }
}
