//! What is said in a conversation: a head as it is, and a body that is made when it is written.

use std::rc::Rc;

use super::chance::Chance;

/// Bytes of random filler that bodies are cut from.
const FILLER: usize = 1 << 16;
/// What a TLS record holds at most (RFC 8446 section 5.1), and its header.
const TLS_RECORD: u64 = 16_384;
const TLS_HEADER: u64 = 5;

/// What a body is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Body {
    /// Random bytes.
    Noise,
    /// Random bytes in records of TLS application data.
    Tls,
}

/// One message of one side.
#[derive(Debug)]
pub(super) struct Message {
    head: Vec<u8>,
    body: Body,
    /// Where in the filler the body begins: the same for the same body on both sides of a proxy.
    start: u64,
    /// Bytes of head and body.
    length: u64,
}

impl Message {
    /// A head alone.
    pub(super) fn text(head: impl Into<Vec<u8>>) -> Rc<Self> {
        Self::with_body(head, Body::Noise, 0, 0)
    }

    /// A head, and a body of so many bytes.
    pub(super) fn with_body(head: impl Into<Vec<u8>>, body: Body, start: u64, bytes: u64) -> Rc<Self> {
        let head = head.into();
        let length = u64::try_from(head.len()).unwrap_or(u64::MAX).saturating_add(bytes);
        Rc::new(Self { head, body, start, length })
    }

    /// Records of application data with so many bytes in all, or a few more: none is empty.
    pub(super) fn tls(start: u64, bytes: u64) -> Rc<Self> {
        let least = match bytes % TLS_RECORD {
            0 if bytes > 0 => 0,
            last => (TLS_HEADER + 1).saturating_sub(last),
        };
        Self::with_body([], Body::Tls, start, bytes + least)
    }

    /// Bytes of head and body.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Bytes of the head.
    pub(super) fn head_len(&self) -> u64 {
        self.length - self.body_len()
    }

    fn body_len(&self) -> u64 {
        self.length.saturating_sub(u64::try_from(self.head.len()).unwrap_or(u64::MAX))
    }
}

/// Where the bytes of bodies come from.
#[derive(Debug)]
pub(super) struct Filler(Vec<u8>);

impl Filler {
    /// The same seed, the same bytes.
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = vec![0; FILLER];
        Chance::new(seed ^ 0x6669_6c6c_6572).fill(&mut bytes);
        Self(bytes)
    }

    /// Appends `length` bytes of a message from byte `from`.
    pub(super) fn append(&self, out: &mut Vec<u8>, message: &Message, from: u64, length: u64) {
        let end = from.saturating_add(length).min(message.length);
        let head = message.head_len();
        out.extend(
            message
                .head
                .iter()
                .take(usize::try_from(end).unwrap_or(usize::MAX))
                .skip(usize::try_from(from).unwrap_or(usize::MAX)),
        );
        let (mut at, end) = (from.max(head) - head, end.max(head) - head);
        let total = message.length - head;
        while at < end {
            at += match (message.body, at % TLS_RECORD) {
                (Body::Tls, within @ 0..TLS_HEADER) => {
                    let record = (total - (at - within)).min(TLS_RECORD).saturating_sub(TLS_HEADER);
                    let [high, low] = u16::try_from(record).unwrap_or(u16::MAX).to_be_bytes();
                    let header = [0x17, 3, 3, high, low];
                    out.extend(header.iter().skip(usize::try_from(within).unwrap_or_default()).take(1));
                    1
                }
                (Body::Tls, within) => self.piece(out, message.start + at, (end - at).min(TLS_RECORD - within)),
                (Body::Noise, _) => self.piece(out, message.start + at, end - at),
            };
        }
    }

    /// Appends at most so many bytes from this place on, and tells how many.
    fn piece(&self, out: &mut Vec<u8>, place: u64, most: u64) -> u64 {
        let place = usize::try_from(place).unwrap_or_default() % FILLER;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let piece = self.0.get(place..place.saturating_add(most).min(FILLER)).unwrap_or_default();
        out.extend_from_slice(piece);
        u64::try_from(piece.len()).unwrap_or(u64::MAX)
    }
}
