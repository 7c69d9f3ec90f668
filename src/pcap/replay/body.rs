//! The body of a request while it is told, and what will be sent of it.
//!
//! Owns: its framing. Called by: the recorder. Never: keeps more of it than it is told to.

use memchr::memchr;

use crate::http1::chunked::{self, Decoder};

/// A request whose body is still being told.
#[derive(Debug)]
pub(super) struct Body {
    /// The head, and behind it what is kept of the body, without its framing.
    bytes: Vec<u8>,
    head: usize,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes, the first of which may be kept.
    Length(u64),
    /// None once it was torn: what comes then is not understood.
    Chunked(Option<Decoder>),
}

impl Body {
    /// None if this head announces none.
    pub(super) fn announced(head: &[u8]) -> Option<Self> {
        let mut framing = None;
        for line in head.split(|&byte| byte == b'\n').skip(1) {
            let Some((name, value)) = memchr(b':', line).and_then(|at| line.split_at_checked(at)) else { continue };
            let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"transfer-encoding") && value.to_ascii_lowercase().ends_with(b"chunked") {
                // It overrides a length (RFC 9112 section 6.3).
                framing = Some(Framing::Chunked(Some(Decoder::new())));
                break;
            }
            if name.eq_ignore_ascii_case(b"content-length")
                && let Some(length) = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok())
            {
                framing = Some(Framing::Length(length));
            }
        }
        let framing = framing.filter(|framing| !matches!(framing, Framing::Length(0)))?;
        Some(Self { bytes: head.to_vec(), head: head.len(), framing })
    }

    /// Takes the next piece, still encoded, and keeps at most `room` bytes of it.
    pub(super) fn take(&mut self, mut piece: &[u8], mut room: usize) {
        let Framing::Chunked(decoder) = &mut self.framing else {
            self.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
            return;
        };
        while let Some(at_work) = decoder {
            let Ok(step) = at_work.step(piece) else {
                *decoder = None;
                return;
            };
            let data = piece.get(step.data).unwrap_or_default();
            let kept = data.get(..room).unwrap_or(data);
            self.bytes.extend_from_slice(kept);
            room = room.saturating_sub(kept.len());
            piece = piece.get(step.consumed..).unwrap_or_default();
            if step.done || step.consumed == 0 {
                return;
            }
        }
    }

    /// The length of the head.
    pub(super) const fn head(&self) -> usize {
        self.head
    }

    /// How much it holds.
    pub(super) const fn held(&self) -> usize {
        self.bytes.len()
    }

    /// What is sent, and how many bytes must follow to make the length true.
    pub(super) fn complete(mut self) -> (Vec<u8>, u64) {
        let kept = self.bytes.len().saturating_sub(self.head);
        match self.framing {
            Framing::Length(length) => {
                let kept = usize::try_from(length).map_or(kept, |length| kept.min(length));
                self.bytes.truncate(self.head.saturating_add(kept));
                (self.bytes, length.saturating_sub(kept as u64))
            }
            Framing::Chunked(_) => {
                let data = self.bytes.split_off(self.head);
                if !data.is_empty() {
                    self.bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    self.bytes.extend_from_slice(&data);
                    self.bytes.extend_from_slice(b"\r\n");
                }
                self.bytes.extend_from_slice(chunked::LAST);
                (self.bytes, 0)
            }
        }
    }
}
