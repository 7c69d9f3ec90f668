//! Files into frames: pcap and pcapng, compressed or not, from a file or a pipe.
//!
//! Owns: the buffer, and what is wrong with a file. Called by: [`super::analyze`], [`super::replay`]. Never: holds more than
//! one block; believes a length.

mod damage;
mod error;
mod legacy;
mod ng;
mod order;
mod source;
#[cfg(test)]
mod tests;
mod window;

use std::io::Read;

use self::damage::{Fault, Ledger};
use self::window::Window;
use super::Time;

pub use self::damage::{Counters, Damage};
pub use self::error::ReadError;
pub use self::source::{decompressed, open};

/// The longest record or block that is read; one that claims to be longer is damage. With the headers around it, it fits into
/// 8 MiB, and so the window into 16 MiB. Longer ones are file transfers over USB and logs of keys, of no use here.
const LONGEST: u32 = 8 * 1024 * 1024 - 64;

/// One captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'b> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// When it was captured; the time of the frame before if its block has none.
    pub time: Time,
    /// What its bytes begin with: a `LINKTYPE_` value (<https://www.tcpdump.org/linktypes.html>).
    pub link: u16,
    /// What was captured of it.
    pub bytes: &'b [u8],
    /// How long it was on the wire; never less than what was captured.
    pub length: u32,
    /// Where its record begins in the (decompressed) file.
    pub offset: u64,
}

/// A packet in the part of the window that was just used up.
#[derive(Debug)]
struct Record {
    offset: u64,
    time: Option<Time>,
    link: u16,
    /// How far before the next unused byte its data begins.
    back: usize,
    captured: u32,
    length: u32,
}

/// What a format finds next.
enum Step {
    Record(Record),
    /// Another capture begins here.
    Restart,
    End,
}

#[derive(Debug)]
enum Format {
    /// A file header is expected.
    Start,
    Legacy(legacy::Legacy),
    Ng(ng::Section),
    /// There is nothing more, or it could not be read at all.
    End,
}

/// Reads the frames of a capture, one after the other.
///
/// Damage does not end it: what cannot be a record is left out up to the next place that can, and noted in [`Self::damage`].
/// The same bytes give the same frames and the same damage in whatever pieces they arrive.
#[derive(Debug)]
pub struct Reader<R> {
    window: Window<R>,
    format: Format,
    ledger: Ledger,
    last: Time,
}

impl<R: Read> Reader<R> {
    /// A reader of `input`, of which nothing is read yet.
    pub fn new(input: R) -> Self {
        Self { window: Window::new(input), format: Format::Start, ledger: Ledger::default(), last: Time::default() }
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// The input is no capture, or not a byte of it can be read. Only the first call fails.
    #[expect(clippy::should_implement_trait, reason = "what is lent cannot be an Iterator's item")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        let Some(record) = self.advance()? else { return Ok(None) };
        let Record { offset, time, link, back, captured, length } = record;
        let counters = &mut self.ledger.counters;
        counters.frames += 1;
        counters.captured += u64::from(captured);
        counters.cut += u64::from(captured < length);
        counters.untimed += u64::from(time.is_none());
        self.last = time.unwrap_or(self.last);
        let bytes = self.window.used(back, captured as usize);
        Ok(Some(Frame { number: counters.frames, time: self.last, link, bytes, length: length.max(captured), offset }))
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<Record>, ReadError> {
        let Self { window, format, ledger, .. } = self;
        loop {
            let step = match format {
                Format::Start => {
                    *format = Format::End;
                    *format = begin(window)?;
                    continue;
                }
                Format::Legacy(legacy) => legacy.next(window, ledger),
                Format::Ng(section) => section.next(window, ledger),
                Format::End => return Ok(None),
            };
            match step {
                Step::Record(record) => return Ok(Some(record)),
                Step::Restart => *format = Format::Start,
                Step::End => {
                    *format = Format::End;
                    if let Some(error) = window.take_failure() {
                        ledger.damage(window.offset(), 0, &Fault::Input(error));
                    }
                }
            }
        }
    }
}

impl<R> Reader<R> {
    /// Where the file makes no sense: the first 64 places; [`Counters::damages`] counts all.
    pub fn damage(&self) -> &[Damage] {
        &self.ledger.damages
    }

    /// What was read so far.
    pub fn counters(&self) -> Counters {
        Counters { bytes: self.window.offset(), ..self.ledger.counters }
    }
}

/// Reads a file header.
fn begin<R: Read>(window: &mut Window<R>) -> Result<Format, ReadError> {
    window.has(legacy::HEADER);
    if let Some(order) = ng::section(window.bytes()) {
        return Ok(Format::Ng(ng::Section::new(order)));
    }
    if let Some(file) = legacy::Legacy::parse(window.bytes()) {
        window.advance(legacy::HEADER);
        return Ok(Format::Legacy(file));
    }
    Err(match window.take_failure() {
        Some(error) => ReadError::Input(error),
        None => ReadError::not_a_capture(window.bytes()),
    })
}

/// Whether a capture of either format begins here.
fn begins<R: Read>(window: &mut Window<R>) -> bool {
    window.has(ng::SECTION);
    capture_begins(window.bytes())
}

/// Whether a pcap file begins here.
fn legacy_begins<R: Read>(window: &mut Window<R>) -> bool {
    window.has(legacy::HEADER);
    legacy::begins(window.bytes())
}

fn capture_begins(bytes: &[u8]) -> bool {
    legacy::begins(bytes) || ng::section(bytes).is_some()
}

/// Goes on after a fault: leaves out what makes no sense, up to where `search` ends. True if another capture begins, in which case
/// there may have been no fault at all.
fn skip<R: Read>(
    window: &mut Window<R>,
    ledger: &mut Ledger,
    fault: &Fault,
    begins: impl Fn(&mut Window<R>) -> bool,
    search: impl FnOnce(&mut Window<R>),
) -> bool {
    if begins(window) {
        return true;
    }
    let offset = window.offset();
    window.advance(1);
    search(window);
    ledger.damage(offset, window.offset() - offset, fault);
    begins(window)
}

/// Moves on to the next place of which `is_place` is true, or to the end. It is told what follows, and whether that is all.
fn search<R: Read>(window: &mut Window<R>, ahead: usize, is_place: impl Fn(&[u8], bool) -> bool) {
    loop {
        window.has(ahead);
        let (bytes, ended) = (window.bytes(), window.ended());
        // Without the bytes ahead, what a place is found to be would depend on how the file arrives.
        let places = if ended { bytes.len() } else { bytes.len().saturating_sub(ahead - 1) };
        let found = (0..places).find(|&at| is_place(bytes.get(at..).unwrap_or_default(), ended));
        window.advance(found.unwrap_or(places));
        if found.is_some() || window.len() == 0 {
            return;
        }
    }
}
