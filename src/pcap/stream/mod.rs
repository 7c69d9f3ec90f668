//! Segments into conversations, and their bytes in order.
//!
//! Owns: the table of conversations, and the segments that came too early. Called by: [`super::analyze`], [`super::replay`], with
//! a [`Listener`]. Never: knows what the bytes mean; keeps a byte that has been told; grows beyond its limits.

use std::net::SocketAddr;

use super::Time;

/// One TCP connection, as far as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// Counted from 0, in the order of first packets.
    pub number: u64,
    /// Who opened it, as far as can be told: the sender of the SYN; without one, whoever the listener takes for it.
    pub client: SocketAddr,
    /// Who was called.
    pub server: SocketAddr,
    /// When its first packet was captured.
    pub opened: Time,
    /// It was under way already when the capture began: no SYN was seen.
    pub midstream: bool,
    /// Whether the server's SYN (or, mid-stream, anything of the server) was seen.
    pub accepted: bool,
    /// Packets of the client and of the server.
    pub packets: [u64; 2],
    /// Payload bytes of the client and of the server, without repetitions.
    pub bytes: [u64; 2],
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The one that opened the conversation.
    Client,
    /// The other.
    Server,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// Both sides said FIN; this one first.
    Finished(Side),
    /// This side reset it.
    Reset(Side),
    /// The capture ended first.
    Open,
    /// The table was full, and it had been silent the longest.
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

    /// The last that is heard of a conversation.
    fn closed(&mut self, conversation: &Conversation, state: Self::State, at: Time, end: End);
}
