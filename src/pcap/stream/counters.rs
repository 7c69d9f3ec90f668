//! What was odd about the segments, counted, and how much may be kept of them.

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open conversations. Beyond: one that has long been silent is closed as evicted ([`Counters::evicted`]).
    pub conversations: usize,
    /// Closed conversations whose late segments are still known as theirs. Beyond: the first closed is forgotten
    /// ([`Counters::forgotten`]), and a late segment of it would be a conversation of its own.
    pub closed: usize,
    /// Conversations that may wait after an RST, which was not believed if its sender goes on. Beyond: the first is closed.
    pub reset: usize,
    /// Pieces that one side may have waiting behind a hole. Beyond: the hole is given up ([`Counters::overruns`]).
    pub pieces: usize,
    /// Bytes of memory (64 of them for each piece, and 160 for the side) that one side may have waiting. Beyond: as with `pieces`.
    pub side_bytes: usize,
    /// Bytes of memory that all may have waiting. Beyond: the side that wants to add gives its holes up.
    pub bytes: usize,
}

impl Default for Limits {
    /// Full, the table takes about 50 MiB, without what the listener keeps of each conversation and what waits.
    fn default() -> Self {
        Self {
            conversations: 1 << 17,
            closed: 1 << 16,
            reset: 1 << 10,
            pieces: 64,
            side_bytes: 256 << 10,
            bytes: 16 << 20,
        }
    }
}

/// What was seen. Segments are counted once each in the first group; the rest says what was odd about some.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Segments, of whatever kind.
    pub segments: u64,
    /// Conversations that began.
    pub conversations: u64,

    /// Conversations that were under way when first seen: their SYN was never captured.
    pub midstream: u64,
    /// Conversations on addresses and ports that an earlier one in the table had: a new SYN after its end, or with another
    /// initial sequence number.
    pub reused_ports: u64,
    /// Conversations that ended with FIN from both sides.
    pub finished: u64,
    /// Conversations that ended with an RST.
    pub resets: u64,
    /// Conversations closed because the table was full.
    pub evicted: u64,
    /// Closed conversations of which nothing is known any more, to make room for those closed later.
    pub forgotten: u64,

    /// Segments after the end of their conversation, not looked at.
    pub late: u64,
    /// Segments that cannot belong where they came: out of any window, beyond a FIN, a second SYN that contradicts the first.
    pub strays: u64,
    /// Segments that said nothing new: all of their bytes, their SYN or their FIN had been seen.
    pub retransmissions: u64,
    /// Segments of whose bytes some had been seen; those of the first count.
    pub overlaps: u64,
    /// Segments that came before their turn.
    pub out_of_order: u64,
    /// Keep-alive probes: the byte before the next, once more, or no byte in its place (RFC 9293 section 3.8.4).
    pub keep_alives: u64,

    /// Holes that were given up: runs of bytes that were sent, but never captured.
    pub gaps: u64,
    /// The bytes in them.
    pub missing: u64,
    /// Of the gaps, those that had to be given up because too much waited behind them.
    pub overruns: u64,
    /// Bytes that a snap length cut off; they are no gaps here.
    pub cut: u64,
}
