//! One side of a conversation: what is due next, and the bytes of a head that came in pieces.
//!
//! Owns: the only copies that are made. Called by: [`super::interpreter`]. Never: keeps a body.

use super::Time;
use super::line::Trust;
use crate::http1::body::Body;
use crate::http1::chunked;
use crate::pcap::stream::Interest;

/// What the next bytes of a side are.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// A message begins.
    #[default]
    Between,
    /// Nobody knows; a message may begin where a segment does.
    Lost,
    /// A body.
    Body {
        rest: Rest,
        /// None of it was captured yet.
        untouched: bool,
    },
    /// Of no interest any more.
    Deaf,
}

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Rest {
    Length(u64),
    Chunked(chunked::Decoder),
    UntilClose,
}

impl Rest {
    /// How many of `bytes` belong to the body; none if it breaks its framing. Only framing is looked at.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Length(left) => {
                let take = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left = left.saturating_sub(take as u64);
                Some(take)
            }
            Self::Chunked(decoder) => {
                let mut taken = 0;
                while let Some(bytes) = bytes.get(taken..).filter(|bytes| !bytes.is_empty() && !decoder.is_done()) {
                    taken += decoder.step(bytes).ok()?.consumed;
                }
                Some(taken)
            }
            Self::UntilClose => Some(bytes.len()),
        }
    }

    const fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }
}

/// One side.
#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) mode: Mode,
    /// The beginning of a head that came in pieces.
    pub(super) held: Option<Box<Held>>,
}

/// The beginning of a head.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// When its first byte was captured.
    pub(super) began: Time,
    /// Its end is not before this.
    pub(super) searched: usize,
    /// Its first line is complete, and has been looked at.
    pub(super) settled: bool,
}

impl Half {
    /// After a head: its body is due.
    pub(super) fn expect(&mut self, body: Body) {
        let rest = match body {
            Body::Empty | Body::Length(0) => {
                self.mode = Mode::Between;
                return;
            }
            Body::Length(length) => Rest::Length(length),
            Body::Chunked => Rest::Chunked(chunked::Decoder::new()),
            Body::UntilClose => Rest::UntilClose,
        };
        self.mode = Mode::Body { rest, untouched: true };
    }

    /// Takes what belongs to a body off `bytes`, and what follows it; none if it breaks its framing.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let Mode::Body { rest, untouched } = &mut self.mode else { return Some((b"", bytes)) };
        *untouched = false;
        let taken = rest.take(bytes);
        if taken.is_none() {
            self.mode = Mode::Lost;
        } else if rest.is_done() {
            self.mode = Mode::Between;
        }
        bytes.split_at_checked(taken?)
    }

    /// So many bytes are missing. Whether it is still known what is due: bodies are not looked at anyway.
    pub(super) fn skip(&mut self, missing: u64) -> bool {
        let Mode::Body { rest, untouched } = &mut self.mode else { return self.is_deaf() };
        *untouched = false;
        match rest {
            Rest::Length(left) if missing <= *left => *left -= missing,
            Rest::UntilClose => {}
            Rest::Length(_) | Rest::Chunked(_) => return false,
        }
        if rest.is_done() {
            self.mode = Mode::Between;
        }
        true
    }

    /// How much the line that begins here must have of a request line.
    pub(super) fn trust(&self) -> Trust {
        if matches!(self.mode, Mode::Lost) { Trust::Anywhere } else { Trust::Due }
    }

    pub(super) fn interest(&self) -> Interest {
        if self.is_deaf() { Interest::Ignore } else { Interest::Listen }
    }

    pub(super) fn is_deaf(&self) -> bool {
        matches!(self.mode, Mode::Deaf)
    }
}
