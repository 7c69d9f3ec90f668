//! Bytes that came before their turn: a hole is open in front of them.

use std::collections::VecDeque;

use super::super::Time;
use super::sequence::{Span, distance};

/// What a piece costs besides its bytes: its record, room for the next, and the allocator's.
const RECORD: usize = 64;
/// What a side costs besides its pieces, once one waits: a single byte behind a hole takes more than its record.
const SIDE: usize = 160;

/// The pieces of one side that wait, in order, none over another.
#[derive(Debug, Default)]
pub(super) struct Early {
    pieces: VecDeque<Piece>,
    /// What they cost together.
    cost: usize,
}

/// Consecutive bytes, copied from their segment.
#[derive(Debug)]
pub(super) struct Piece {
    start: u32,
    data: Box<[u8]>,
    cut: u32,
    /// When they were captured.
    pub(super) at: Time,
}

impl Piece {
    pub(super) fn span(&self) -> Span<'_> {
        Span { start: self.start, data: &self.data, cut: self.cut }
    }

    fn cost(&self) -> usize {
        self.data.len().saturating_add(RECORD)
    }
}

impl Early {
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What all of this costs, in bytes of memory.
    pub(super) fn cost(&self) -> usize {
        if self.is_empty() { 0 } else { self.cost.saturating_add(SIDE) }
    }

    /// Where the first begins, and when it was captured.
    pub(super) fn first(&self) -> Option<(u32, Time)> {
        self.pieces.front().map(|piece| (piece.start, piece.at))
    }

    /// Keeps what is not here yet of `span`: of bytes that were sent twice, the first count. Returns how many are new.
    pub(super) fn insert(&mut self, span: Span<'_>, at: Time) -> u32 {
        let (mut rest, mut index, mut new) = (span, 0, 0);
        while let Some(piece) = self.pieces.get(index) {
            let (start, end) = (piece.start, piece.span().end());
            if distance(rest.end(), start) <= 0 {
                break;
            }
            let before = u32::try_from(distance(start, rest.start)).unwrap_or(0);
            let behind = u32::try_from(distance(end, rest.start)).unwrap_or(0);
            if before > 0 {
                new += before;
                self.place(index, rest.split(before).0, at);
                index += 1;
            }
            rest = rest.split(behind).1;
            index += 1;
        }
        new += rest.length();
        self.place(index, rest, at);
        new
    }

    fn place(&mut self, index: usize, span: Span<'_>, at: Time) {
        if span.length() > 0 {
            let piece = Piece { start: span.start, data: span.data.into(), cut: span.cut, at };
            self.cost = self.cost.saturating_add(piece.cost());
            self.pieces.insert(index, piece);
        }
    }

    /// Takes the first piece, if it is `next`.
    pub(super) fn pop(&mut self, next: u32) -> Option<Piece> {
        let piece = self.pieces.pop_front_if(|piece| piece.start == next)?;
        self.cost = self.cost.saturating_sub(piece.cost());
        Some(piece)
    }

    /// Drops what lies at or beyond `end`.
    pub(super) fn truncate(&mut self, end: u32) {
        while let Some(piece) = self.pieces.pop_back() {
            self.cost = self.cost.saturating_sub(piece.cost());
            if distance(piece.start, end) < 0 {
                let keep = u32::try_from(distance(end, piece.start)).unwrap_or(0);
                let index = self.pieces.len();
                self.place(index, piece.span().split(keep).0, piece.at);
                break;
            }
        }
    }

    /// All of them, in order.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Piece> {
        self.pieces.into_iter()
    }
}
