//! The chunked transfer coding (RFC 9112 section 7.1), both ways.
//!
//! Owns: its grammar, to the letter; extensions and trailers are checked, bounded and dropped. Called by: the body decoder, and
//! the journey when it words a body anew. Never: passes on a byte of framing that it received.

#[cfg(test)]
mod tests;

use super::body::{BodyError, Step};
use super::head::MAX_FIELDS;
use super::{is_control, is_tchar};

/// The chunk that ends a body, and an empty trailer section.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Bytes of chunk extensions in a whole body: nobody uses them, and unbounded they are a way to keep a proxy busy with nothing.
const MAX_EXTENSIONS: u16 = 4096;

/// Bytes of the trailer section; its fields are limited as those of a head are.
const MAX_TRAILERS: u16 = 8192;

/// Digits of a chunk size: as many as a u64 has.
const MAX_DIGITS: u8 = 16;

/// What the next byte may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a trailer line, or of the empty line that ends the body.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
    Failed(&'static str),
}

/// Inside `*( ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` of section 7.1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extension {
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    Closed,
    AfterValue,
}

/// Decodes a chunked body; holds no data.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// The size being read, then the data still to come.
    left: u64,
    digits: u8,
    extensions: u16,
    trailers: u16,
    trailer_fields: usize,
}

impl Decoder {
    /// A decoder at the first chunk size.
    pub const fn new() -> Self {
        Self { state: State::Size, left: 0, digits: 0, extensions: 0, trailers: 0, trailer_fields: 0 }
    }

    /// Whether the last chunk and the trailer section were read.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// One piece of data with the framing around it; the contract is that of [`super::body::Decoder::step`].
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut consumed = 0;
        let mut data = 0..0;
        while let Some(&byte) = input.get(consumed) {
            match self.state {
                State::Done => break,
                State::Data if !data.is_empty() => break,
                State::Data => {
                    let rest = input.len() - consumed;
                    let take = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                    data = consumed..consumed + take;
                    consumed += take;
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                }
                state @ (State::Size
                | State::Extension(_)
                | State::SizeLf
                | State::DataCr
                | State::DataLf
                | State::Line
                | State::Name
                | State::Value
                | State::ValueLf
                | State::EndLf
                | State::Failed(_)) => {
                    self.state = self.framing(state, byte).unwrap_or_else(State::Failed);
                    if let State::Failed(reason) = self.state {
                        return Err(BodyError(reason));
                    }
                    consumed += 1;
                }
            }
        }
        Ok(Step { consumed, data, done: self.is_done() })
    }

    /// The state after one byte that is not data.
    fn framing(&mut self, state: State, byte: u8) -> Result<State, &'static str> {
        match (state, byte) {
            (State::Size, _) => self.size(byte),
            (State::Extension(part), _) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err("too many chunk extensions");
                }
                extension(part, byte)
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.left == 0 { State::Line } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::Line, b'\r') => Ok(State::EndLf),
            (State::Line | State::Name | State::Value | State::ValueLf, _) => {
                self.trailers += 1;
                self.trailer_fields += usize::from(state == State::Line);
                if self.trailers > MAX_TRAILERS || self.trailer_fields > MAX_FIELDS {
                    return Err("trailers too large");
                }
                trailer(state, byte)
            }
            (State::Failed(reason), _) => Err(reason),
            (State::SizeLf | State::DataCr | State::DataLf | State::EndLf | State::Data | State::Done, _) => {
                Err("chunk without CRLF")
            }
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, &'static str> {
        match byte {
            b'\r' if self.digits > 0 => return Ok(State::SizeLf),
            b';' if self.digits > 0 => return Ok(State::Extension(Extension::BeforeName)),
            _ => {}
        }
        let digit = char::from(byte).to_digit(16).ok_or("chunk size")?;
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err("chunk size too large");
        }
        // Between two chunks `left` is 0.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The state after one byte of a chunk extension. No CR or LF inside a quoted-string: parsers that stop there and parsers that do
/// not see different chunks.
fn extension(part: Extension, byte: u8) -> Result<State, &'static str> {
    use Extension::{AfterName, AfterValue, BeforeName, BeforeValue, Closed, Escaped, Name, Quoted, Token};
    let next = match (part, byte) {
        (Quoted, b'"') => Closed,
        (Quoted, b'\\') => Escaped,
        (Quoted | Escaped, byte) if !is_control(byte) => Quoted,
        (Name | Token | Closed, b'\r') => return Ok(State::SizeLf),
        (Name | AfterName | Token | Closed | AfterValue, b';') => BeforeName,
        (Name | AfterName, b'=') => BeforeValue,
        (BeforeName | AfterName | BeforeValue | AfterValue, b' ' | b'\t') => part,
        (Name, b' ' | b'\t') => AfterName,
        (Token | Closed, b' ' | b'\t') => AfterValue,
        (BeforeName | Name, byte) if is_tchar(byte) => Name,
        (BeforeValue | Token, byte) if is_tchar(byte) => Token,
        (BeforeValue, b'"') => Quoted,
        _ => return Err("chunk extension"),
    };
    Ok(State::Extension(next))
}

/// The state after one byte of a trailer line: a field line of a head, obs-fold excluded.
fn trailer(state: State, byte: u8) -> Result<State, &'static str> {
    match (state, byte) {
        (State::Line | State::Name, byte) if is_tchar(byte) => Ok(State::Name),
        (State::Name, b':') => Ok(State::Value),
        (State::Value, b'\r') => Ok(State::ValueLf),
        (State::Value, byte) if !is_control(byte) => Ok(State::Value),
        (State::ValueLf, b'\n') => Ok(State::Line),
        _ => Err("trailer"),
    }
}

/// Appends `data` as one chunk; nothing for no data, since an empty chunk would end the body.
pub fn encode(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (data.len() >> (place * 4)) & 0xf;
        out.extend(b"0123456789abcdef".get(digit));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}
