//! Where a body ends (RFC 9112 section 6), and taking its data out of the bytes that arrive.
//!
//! Owns: [`Body`], [`Decoder`]. Called by: the journey with whatever it read. Never: buffers; data stays where it was read.

use std::ops::Range;

use super::chunked;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// There is none.
    Empty,
    /// It has so many bytes.
    Length(u64),
    /// It is chunked.
    Chunked,
    /// It ends with the connection; only responses do that.
    UntilClose,
}

/// What one step found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// How many bytes of the input are dealt with. 0 without `done`: more input is needed.
    pub consumed: usize,
    /// Where the data is in the input; may be empty.
    pub data: Range<usize>,
    /// The body is complete; what follows in the input is not part of it.
    pub done: bool,
}

/// A body that breaks its framing, with a short reason for the log. Nothing after it on the connection can be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BodyError(pub &'static str);

/// Takes a body apart, in steps.
#[derive(Clone, Debug)]
pub struct Decoder(State);

#[derive(Clone, Debug)]
enum State {
    Length(u64),
    Chunked(chunked::Decoder),
    UntilClose,
}

impl Decoder {
    /// A decoder at the first byte of a body.
    pub const fn new(body: Body) -> Self {
        Self(match body {
            Body::Empty => State::Length(0),
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Chunked(chunked::Decoder::new()),
            Body::UntilClose => State::UntilClose,
        })
    }

    /// Takes data from the front of `input`: call it again with what was not consumed, until `done` or nothing is consumed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        match &mut self.0 {
            State::Length(left) => {
                let take = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left = left.saturating_sub(take as u64);
                Ok(Step { consumed: take, data: 0..take, done: *left == 0 })
            }
            State::Chunked(decoder) => decoder.step(input),
            State::UntilClose => Ok(Step { consumed: input.len(), data: 0..input.len(), done: false }),
        }
    }

    /// Whether a connection that closes completes the body: otherwise it truncates it, unless it [`is_done`](Self::is_done).
    pub const fn ends_by_close(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// Whether the body is complete.
    pub const fn is_done(&self) -> bool {
        match &self.0 {
            State::Length(left) => *left == 0,
            State::Chunked(decoder) => decoder.is_done(),
            State::UntilClose => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_20_bytes_after_a_body_of_known_length_are_not_touched() {
        let mut decoder = Decoder::new(Body::Length(5));
        assert_eq!(decoder.step(b"hel"), Ok(Step { consumed: 3, data: 0..3, done: false }));
        assert_eq!(decoder.step(b""), Ok(Step { consumed: 0, data: 0..0, done: false }));
        assert!(!decoder.is_done());
        assert_eq!(decoder.step(b"loGET /"), Ok(Step { consumed: 2, data: 0..2, done: true }));
        assert_eq!(decoder.step(b"GET /"), Ok(Step { consumed: 0, data: 0..0, done: true }));
    }

    #[test]
    fn c_60_no_body_is_done_at_once() {
        for body in [Body::Empty, Body::Length(0)] {
            let mut decoder = Decoder::new(body);
            assert!(decoder.is_done());
            assert_eq!(decoder.step(b"x"), Ok(Step { consumed: 0, data: 0..0, done: true }));
        }
    }

    #[test]
    fn c_61_a_body_until_close_never_ends_by_itself() {
        let mut decoder = Decoder::new(Body::UntilClose);
        assert_eq!(decoder.step(b"0\r\n\r\n"), Ok(Step { consumed: 5, data: 0..5, done: false }));
        assert!(!decoder.is_done());
    }

    #[test]
    fn the_largest_length_does_not_overflow() {
        let mut decoder = Decoder::new(Body::Length(u64::MAX));
        assert_eq!(decoder.step(b"abc"), Ok(Step { consumed: 3, data: 0..3, done: false }));
    }
}
