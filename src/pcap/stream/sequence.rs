//! Sequence numbers, which wrap (RFC 9293 section 3.4).

/// The farthest that a segment may lie ahead and still be of this conversation: no window is wider (RFC 7323 section 2.3).
pub(super) const WINDOW: u32 = 1 << 30;

/// How far `a` is after `b`; negative if it is before.
pub(super) const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// Consecutive bytes of one side: what was captured of them, and how many more were sent but cut by a snap length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'b> {
    pub(super) start: u32,
    pub(super) data: &'b [u8],
    pub(super) cut: u32,
}

impl<'b> Span<'b> {
    /// None if it is longer than any window: no segment is.
    pub(super) fn new(start: u32, data: &'b [u8], cut: u32) -> Option<Self> {
        let length = u32::try_from(data.len()).ok()?.checked_add(cut)?;
        (length <= WINDOW).then_some(Self { start, data, cut })
    }

    /// At most [`WINDOW`].
    pub(super) fn length(&self) -> u32 {
        u32::try_from(self.data.len()).unwrap_or(WINDOW).saturating_add(self.cut)
    }

    pub(super) fn end(&self) -> u32 {
        self.start.wrapping_add(self.length())
    }

    /// The first `count` bytes, and the rest.
    pub(super) fn split(self, count: u32) -> (Self, Self) {
        let count = count.min(self.length());
        let start = self.start.wrapping_add(count);
        let captured = usize::try_from(count).unwrap_or(usize::MAX);
        if let Some((data, rest)) = self.data.split_at_checked(captured) {
            return (Self { data, cut: 0, ..self }, Self { start, data: rest, cut: self.cut });
        }
        let cut = self.length().saturating_sub(count);
        (Self { cut: self.cut.saturating_sub(cut), ..self }, Self { start, data: &[], cut })
    }
}
