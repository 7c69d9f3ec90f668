//! Segments into conversations, and their bytes in order.
//!
//! Owns: the table of conversations, and the segments that came too early. Called by: [`super::analyze`], [`super::replay`], with
//! a [`Listener`]. Never: knows what the bytes mean; keeps a byte that has been told; grows beyond its limits.

mod assemble;
mod counters;
mod early;
mod flow;
mod sequence;
mod streams;
mod table;
#[cfg(test)]
mod tests;

use std::mem;
use std::net::SocketAddr;

use super::Time;

pub use counters::{Counters, Limits};
pub use streams::Streams;

/// One TCP connection, as far as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// Counted from 0, in the order of first packets.
    pub number: u64,
    /// Who opened it, as far as can be told: the sender of the SYN, or whom a SYN answers. Without one the higher port, until
    /// the listener knows better ([`Self::swap_sides`]).
    pub client: SocketAddr,
    /// Who was called.
    pub server: SocketAddr,
    /// When its first packet was captured.
    pub opened: Time,
    /// It was under way already when the capture began: no SYN was seen.
    pub midstream: bool,
    /// Whether the server's SYN or bytes (mid-stream: anything of the server) were seen.
    pub accepted: bool,
    /// Packets of the client and of the server.
    pub packets: [u64; 2],
    /// Payload bytes of the client and of the server, without repetitions and what is [missing](Counters::missing), but with what
    /// was cut.
    pub bytes: [u64; 2],
}

impl Conversation {
    /// Takes the server for the client, as a listener may do that hears the server ask. Sides are told accordingly from then on.
    /// Only of a mid-stream conversation: where a SYN was seen, nothing changes.
    pub fn swap_sides(&mut self) {
        if self.midstream {
            self.swap();
        }
    }

    fn swap(&mut self) {
        mem::swap(&mut self.client, &mut self.server);
        self.packets.reverse();
        self.bytes.reverse();
        self.accepted = *Side::Server.of(&self.packets) > 0;
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The one that opened the conversation.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// The one that is spoken to.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// This side's of a pair: the client's comes first.
    pub const fn of<T>(self, [client, server]: &[T; 2]) -> &T {
        match self {
            Self::Client => client,
            Self::Server => server,
        }
    }

    /// As [`Self::of`], to change it.
    pub const fn of_mut<T>(self, [client, server]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Client => client,
            Self::Server => server,
        }
    }
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Both sides said FIN; this one first.
    Finished(Side),
    /// This side reset it, and said nothing else after that. It is told with the RST's time, but perhaps later.
    Reset(Side),
    /// Its end was not captured: the capture ended first, or another conversation took its ports.
    Open,
    /// The table was full, and it had been silent for long.
    Evicted,
}

/// What to do with the rest of a side's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interest {
    /// Tell them.
    Listen,
    /// They are of no interest: count them, keep none.
    Ignore,
}

/// Hears every conversation.
pub trait Listener {
    /// What it keeps about each conversation.
    type State: Default;

    /// The first packet of a conversation.
    fn opened(&mut self, conversation: &Conversation, state: &mut Self::State);

    /// The next bytes of a side, in order, none twice. `at`: when the last of them was captured.
    fn bytes(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Self::State,
        side: Side,
        at: Time,
        bytes: &[u8],
    ) -> Interest;

    /// So many bytes of a side were sent but never captured: lost, cut by a snap length, or before a mid-stream start.
    fn gap(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Self::State,
        side: Side,
        at: Time,
        missing: u64,
    ) -> Interest;

    /// A side has said FIN, and all its bytes have been told.
    fn finished(&mut self, conversation: &Conversation, state: &mut Self::State, side: Side, at: Time);

    /// A side has reset the conversation. It is closed once that is believed, which may be much later; rarely, it goes on.
    fn reset(&mut self, conversation: &Conversation, at: Time) {
        let _ = (conversation, at);
    }

    /// The last that is heard of a conversation, after whatever still waited for missing bytes.
    fn closed(&mut self, conversation: &Conversation, state: Self::State, at: Time, end: End);
}
