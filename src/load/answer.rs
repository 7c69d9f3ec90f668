//! Reading one answer.
//!
//! Owns: where an answer ends. Called by: a client with whatever it read. Never: keeps a body.

use crate::http1::body::{Body, Decoder};
use crate::http1::head::{HeadLimits, Response, Scan};

use super::report::Failure;

/// More than any peer sends.
const LIMITS: HeadLimits = HeadLimits { size: 64 * 1024, target: 64 * 1024, fields: 128 };

/// What an answer amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Whether the connection may be used again.
    pub(super) keep: bool,
}

/// The request that is answered, as far as it matters for where the answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum To {
    Connect,
    Head,
    Other,
}

/// An answer while it arrives.
#[derive(Debug)]
pub(super) struct Answer {
    to: To,
    scan: Scan,
    /// The head so far, if it did not arrive in one piece.
    partial: Vec<u8>,
    body: Option<(Reply, Decoder, Body)>,
}

impl Answer {
    pub(super) fn new(to: To) -> Self {
        Self { to, scan: Scan::response(), partial: Vec::new(), body: None }
    }

    /// Takes what was read; the reply as soon as it is complete.
    pub(super) fn feed(&mut self, mut input: &[u8]) -> Result<Option<Reply>, Failure> {
        while self.body.is_none() {
            if self.partial.is_empty() {
                let Some(size) = self.scan.advance(input, LIMITS)? else {
                    self.partial.extend_from_slice(input);
                    return Ok(None);
                };
                let (head, rest) = input.split_at_checked(size).unwrap_or_default();
                self.body = self.begin(head)?;
                input = rest;
            } else {
                let before = self.partial.len();
                self.partial.extend_from_slice(input);
                let Some(size) = self.scan.advance(&self.partial, LIMITS)? else {
                    return Ok(None);
                };
                let partial = std::mem::take(&mut self.partial);
                self.body = self.begin(partial.get(..size).unwrap_or_default())?;
                input = input.get(size.saturating_sub(before)..).unwrap_or_default();
            }
        }
        let Some((reply, decoder, _)) = &mut self.body else { return Ok(None) };
        while !decoder.is_done() {
            let step = decoder.step(input).map_err(|_| Failure::Malformed)?;
            input = input.get(step.consumed..).unwrap_or_default();
            if step.consumed == 0 {
                return Ok(None);
            }
        }
        // Nothing was asked for yet that could follow.
        if input.is_empty() { Ok(Some(*reply)) } else { Err(Failure::Malformed) }
    }

    /// The other side has closed.
    pub(super) fn end(&self) -> Result<Reply, Failure> {
        match &self.body {
            Some((reply, _, Body::UntilClose)) => Ok(*reply),
            _ => Err(Failure::Closed),
        }
    }

    /// Judges a head; none for an interim answer (RFC 9110 section 15.2), after which another head follows.
    fn begin(&mut self, head: &[u8]) -> Result<Option<(Reply, Decoder, Body)>, Failure> {
        let response = Response::parse(head, LIMITS, self.to == To::Head)?;
        self.scan = Scan::response();
        if matches!(response.status, 100..=199) && response.status != 101 {
            return Ok(None);
        }
        // RFC 9110 section 9.3.6: a 2xx to CONNECT has no body, whatever it says.
        let tunnel = self.to == To::Connect && matches!(response.status, 200..=299);
        let body = if tunnel { Body::Empty } else { response.body };
        let reply = Reply { status: response.status, keep: tunnel || response.keep_alive };
        Ok(Some((reply, Decoder::new(body), body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of every size; the reply must come with the last piece and not before.
    fn reply(to: To, bytes: &[u8]) -> Result<Reply, Failure> {
        let mut seen = Vec::new();
        for size in 1..=bytes.len() {
            let mut answer = Answer::new(to);
            let mut last = None;
            let pieces = bytes.chunks(size).count();
            for (n, piece) in bytes.chunks(size).enumerate() {
                match answer.feed(piece) {
                    Ok(Some(reply)) => {
                        assert_eq!(n + 1, pieces, "complete before the last byte");
                        last = Some(Ok(reply));
                    }
                    Ok(None) => {}
                    Err(failure) => {
                        last = Some(Err(failure));
                        break;
                    }
                }
            }
            seen.push(last.unwrap_or_else(|| answer.end()));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        seen[0]
    }

    #[test]
    fn an_answer_ends_where_its_framing_says() {
        let ok = |keep| Ok(Reply { status: 200, keep });
        assert_eq!(reply(To::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), ok(true));
        assert_eq!(
            reply(To::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
            ok(true)
        );
        assert_eq!(reply(To::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na"), ok(false));
        assert_eq!(
            reply(To::Other, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ok(true)
        );
        assert_eq!(reply(To::Other, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"), ok(false));
        assert_eq!(reply(To::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), ok(true));
        assert_eq!(reply(To::Connect, b"HTTP/1.0 200 Connection established\r\n\r\n"), ok(true));
    }

    #[test]
    fn an_answer_that_breaks_off_or_runs_on_is_told_apart() {
        assert_eq!(reply(To::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), Err(Failure::Closed));
        assert_eq!(reply(To::Other, b"HTTP/1.1 200 OK\r\n"), Err(Failure::Closed));
        assert_eq!(reply(To::Other, b"220 smtp.example.net\r\n\r\n"), Err(Failure::Malformed));
        let mut answer = Answer::new(To::Other);
        assert_eq!(answer.feed(b"HTTP/1.1 204 No Content\r\n\r\nmore"), Err(Failure::Malformed));
    }
}
