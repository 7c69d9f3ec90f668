//! A part of the file, moved along as it is used up.

use std::io::{self, Read};

/// What is read at once, and held when no record is longer.
const ROOM: usize = 256 * 1024;

/// The bytes that have been read and not yet used.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    memory: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    ended: bool,
    failure: Option<io::Error>,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, memory: vec![0; ROOM], start: 0, end: 0, offset: 0, ended: false, failure: None }
    }

    /// Whether `wanted` bytes are at hand; reads on until they are, or nothing follows.
    #[inline]
    pub(super) fn has(&mut self, wanted: usize) -> bool {
        self.len() >= wanted || self.fill(wanted)
    }

    #[cold]
    fn fill(&mut self, wanted: usize) -> bool {
        while self.len() < wanted && !self.ended {
            if self.end == self.memory.len() {
                self.make_room();
            }
            let Some(room) = self.memory.get_mut(self.end..) else { return false };
            match self.input.read(room) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n.min(room.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
            }
        }
        self.len() >= wanted
    }

    /// Moves what is left to the front if at least as much has been used: so each byte pays for at most one move. Otherwise
    /// more than half is left, and still less than is wanted: memory doubles. It never exceeds twice the most that is ever
    /// wanted, rounded up to a power of two.
    fn make_room(&mut self) {
        let left = self.len();
        if self.start > 0 && self.start >= left {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, left);
        } else {
            self.memory.resize(self.memory.len().saturating_mul(2), 0);
        }
    }

    /// Uses up `n` bytes. They stay where they are until the next [`Self::has`].
    #[inline]
    pub(super) fn advance(&mut self, n: usize) {
        let n = n.min(self.len());
        self.start += n;
        self.offset += n as u64;
    }
}

impl<R> Window<R> {
    /// What is at hand.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// The `length` bytes that end `back` bytes before the next one: of what was just used up.
    #[inline]
    pub(super) fn used(&self, back: usize, length: usize) -> &[u8] {
        let start = self.start.wrapping_sub(back);
        self.memory.get(start..start.wrapping_add(length)).unwrap_or_default()
    }

    /// Where the next byte stands in the file.
    #[inline]
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Nothing follows what is at hand.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Why nothing follows, if not because the file ends there. Told once.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    #[cfg(test)]
    pub(super) const fn memory(&self) -> usize {
        self.memory.len()
    }
}
