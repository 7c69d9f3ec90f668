//! Bytes in order into requests and answers.
//!
//! Owns: when a head is complete, and what follows it. Called by: [`super::super::stream`], as its listener. Never: copies a head
//! that came in one segment; gives up a conversation because of one message.

use memchr::memchr;

use super::asked::{Asked, Kind};
use super::dialogue::Dialogue;
use super::half::{Held, Mode, Rest};
use super::head::{self, Head};
use super::line::{self, RequestLine, Trust};
use super::{Answer, Counts, Request, Witness};
use crate::http1::body::Body;
use crate::pcap::Time;
use crate::pcap::stream::{Conversation, End, Interest, Listener, Side};

/// The longest head that is put together from pieces, in bytes; servers refuse shorter ones.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

/// What such a head costs besides its bytes: its record, and the allocator's.
const HELD_RECORD: usize = 96;

/// Memory of all heads that are being put together, of all conversations, in bytes.
pub(super) const MOST_HELD: usize = 16 * 1024 * 1024;

/// Listens to conversations, and tells a [`Witness`] what was said.
#[derive(Debug, Default)]
pub struct Interpreter<W> {
    witness: W,
    counts: Counts,
    /// Memory of all heads that are being put together.
    pub(super) held: usize,
}

/// A head, or what there is of it, and when it came.
#[derive(Clone, Copy)]
struct Told<'b> {
    bytes: &'b [u8],
    head: Head<'b>,
    began: Time,
    at: Time,
}

impl<W: Witness> Interpreter<W> {
    /// One that tells `witness`.
    pub fn new(witness: W) -> Self {
        Self { witness, counts: Counts::default(), held: 0 }
    }

    /// What it met so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The witness.
    pub const fn witness(&self) -> &W {
        &self.witness
    }

    /// The witness, to change it.
    pub const fn witness_mut(&mut self) -> &mut W {
        &mut self.witness
    }

    /// The witness and the counts, at the end.
    pub fn into_parts(self) -> (W, Counts) {
        (self.witness, self.counts)
    }

    /// Deals with the next bytes of a body; what is left of them.
    fn body<'b>(&mut self, on: &Conversation, state: &mut Dialogue, side: Side, bytes: &'b [u8]) -> &'b [u8] {
        let Some((piece, rest)) = state.half(side).take(bytes) else {
            self.counts.resynchronised += 1;
            state.patchy |= side == Side::Client;
            return b"";
        };
        if side == Side::Client {
            self.witness.body(on, piece);
        }
        rest
    }

    /// Deals with the next bytes of a head, or of what should be one; what is left of them.
    fn head<'b>(&mut self, on: &Conversation, state: &mut Dialogue, side: Side, at: Time, bytes: &'b [u8]) -> &'b [u8] {
        if let Some(held) = state.half(side).held.take() {
            return self.more_of_head(on, state, side, at, held, bytes);
        }
        // Empty lines between messages (RFC 9112 section 2.2).
        let skip = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = bytes.get(skip..).unwrap_or_default();
        if bytes.is_empty() {
            return bytes;
        }
        let likely = match side {
            Side::Client => line::may_be_request(bytes),
            Side::Server => line::may_be_status(bytes),
        };
        if !likely {
            self.strange(state, side, bytes);
            return b"";
        }
        let head = Head::read(bytes);
        let told = Told { bytes: bytes.get(..head.end.unwrap_or(bytes.len())).unwrap_or(bytes), head, began: at, at };
        match head.end {
            Some(_) if !self.tell(on, state, side, &told) => {
                self.strange(state, side, bytes);
                b""
            }
            Some(end) => bytes.get(end..).unwrap_or_default(),
            None => {
                self.held = self.held.saturating_add(HELD_RECORD);
                let held = Box::new(Held { bytes: Vec::new(), began: at, searched: 0, settled: false });
                self.more_of_head(on, state, side, at, held, bytes)
            }
        }
    }

    /// Adds to a head that came in pieces; what is left of `bytes`.
    fn more_of_head<'b>(
        &mut self,
        on: &Conversation,
        state: &mut Dialogue,
        side: Side,
        at: Time,
        mut held: Box<Held>,
        bytes: &'b [u8],
    ) -> &'b [u8] {
        let before = held.bytes.len();
        let room = LONGEST_HEAD.saturating_sub(before);
        let taken = bytes.get(..room).unwrap_or(bytes);
        let capacity = held.bytes.capacity();
        held.bytes.extend_from_slice(taken);
        self.held = self.held.saturating_add(held.bytes.capacity() - capacity);
        if let Some(end) = head::end(&held.bytes, held.searched) {
            let head = Head::read(held.bytes.get(..end).unwrap_or_default());
            let told = Told { bytes: held.bytes.get(..end).unwrap_or_default(), head, began: held.began, at };
            let understood = self.tell(on, state, side, &told);
            self.release(&held);
            if understood {
                return bytes.get(end.saturating_sub(before)..).unwrap_or_default();
            }
            self.strange(state, side, bytes);
            return b"";
        }
        // The line end before an empty line may be the last of these bytes.
        held.searched = held.bytes.len().saturating_sub(2);
        let too_long = taken.len() < bytes.len() || held.bytes.len() == LONGEST_HEAD;
        let mut hopeless = false;
        if !held.settled {
            // A long line is looked at again only when it is complete: pieces may be single bytes.
            let complete = memchr(b'\n', taken).is_some();
            hopeless = (complete || before <= line::ENOUGH) && !may_begin(side, state.half(side).trust(), &held.bytes);
            held.settled = complete;
        }
        let crowded = self.held > MOST_HELD;
        state.half(side).held = Some(held);
        if hopeless {
            self.drop_held(state, side);
            self.strange(state, side, bytes);
        } else if too_long || crowded {
            self.counts.heads_too_long += u64::from(too_long);
            self.counts.heads_crowded_out += u64::from(!too_long);
            self.tear(on, state, side, at);
        }
        b""
    }

    /// The rest of what `side` was saying is not to be had: tells what there is of a head.
    fn tear(&mut self, on: &Conversation, state: &mut Dialogue, side: Side, at: Time) {
        if let Some(held) = state.half(side).held.take() {
            let told = Told { bytes: &held.bytes, head: Head::read(&held.bytes), began: held.began, at };
            self.counts.incomplete += u64::from(self.tell(on, state, side, &told));
            self.release(&held);
        }
        state.patchy |= side == Side::Client;
        let half = state.half(side);
        if !half.is_deaf() {
            half.mode = Mode::Lost;
        }
    }

    fn drop_held(&mut self, state: &mut Dialogue, side: Side) {
        if let Some(held) = state.half(side).held.take() {
            self.release(&held);
        }
    }

    fn release(&mut self, held: &Held) {
        self.held = self.held.saturating_sub(held.bytes.capacity().saturating_add(HELD_RECORD));
    }

    /// Bytes that are no message, where one was due or might have begun.
    fn strange(&mut self, state: &mut Dialogue, side: Side, bytes: &[u8]) {
        let tls = line::is_tls(bytes) && (!state.heard || state.connecting());
        if tls && side == Side::Client {
            state.leave();
            return;
        }
        if tls && state.connecting() {
            // The answer to CONNECT was not captured, but this says what it was.
            state.asked.doubt();
            self.counts.lost_track += u64::from(state.asked.give_up());
        }
        state.patchy |= side == Side::Client;
        let half = state.half(side);
        if matches!(half.mode, Mode::Between) {
            half.mode = Mode::Lost;
            self.counts.resynchronised += u64::from(state.heard);
        }
        if tls || state.endure(bytes.len()) {
            state.leave();
        }
    }

    /// Tells a head. False if it is none.
    fn tell(&mut self, on: &Conversation, state: &mut Dialogue, side: Side, told: &Told<'_>) -> bool {
        match side {
            Side::Client => self.tell_request(on, state, told),
            Side::Server => self.tell_answer(on, state, told),
        }
    }

    fn tell_request(&mut self, on: &Conversation, state: &mut Dialogue, told: &Told<'_>) -> bool {
        let Told { bytes, head, began, at } = *told;
        let line = if head.begun {
            RequestLine::parse(head.line, state.client.trust())
        } else {
            RequestLine::parse_cut(head.line)
        };
        let fields = head.fields;
        // A single word is a request only if there is more that says so.
        let Some(RequestLine { method, target, version }) =
            line.filter(|line| !line.target.is_empty() || fields.host.is_some())
        else {
            return false;
        };
        let kind = match method {
            b"HEAD" => Kind::Head,
            b"CONNECT" => Kind::Connect,
            _ => Kind::Other,
        };
        // Nobody sends origin-form to a proxy: this client did not wait for the answer to its CONNECT, or we missed it.
        let tunnelled = state.tunnel || state.connecting() && target.starts_with(b"/");
        self.counts.lost_track += u64::from(state.asked.give_up());
        let number = state.asked.push(Asked { at, kind, tunnelled });
        state.heard = true;
        self.counts.requests += 1;
        let request = Request {
            number,
            began,
            at,
            head: bytes,
            method,
            target,
            version,
            host: fields.host,
            user_agent: fields.user_agent,
            to_a_proxy: fields.to_a_proxy,
            keep_alive: fields.keep_alive(version),
            tunnelled,
        };
        self.witness.request(on, &request);
        // What follows a CONNECT is the tunnel's, whatever its fields say (RFC 9110 section 9.3.6).
        state.client.expect(if kind == Kind::Connect { Body::Empty } else { fields.body_of_request() });
        if let (early @ 1.., status) = state.early {
            state.early.0 = early - 1;
            state.asked.pop();
            if kind == Kind::Connect && (200..300).contains(&status) {
                self.counts.tunnels += 1;
                state.enter_tunnel();
            }
        }
        true
    }

    fn tell_answer(&mut self, on: &Conversation, state: &mut Dialogue, told: &Told<'_>) -> bool {
        let Told { bytes, head, at, .. } = *told;
        let Some(status) = line::status(head.line) else { return false };
        let interim = (100..200).contains(&status) && status != 101;
        if !interim && state.asked.waiting() == 0 && state.client.held.is_some() {
            // The server answers a request that is not complete, and will not be.
            self.tear(on, state, Side::Client, at);
        }
        let asked = if interim { state.asked.oldest() } else { state.asked.pop() };
        let known = asked.and_then(|(_, asked)| asked);
        let kind = known.map_or(Kind::Other, |asked| asked.kind);
        // A server that waited in vain says 408 unasked (RFC 9110 section 15.5.9).
        if asked.is_none() && !interim && !state.patchy && status != 408 {
            state.early = (state.early.0.saturating_add(1), status);
            self.counts.early += 1;
        }
        let version = head.line.split(|&byte| byte == b' ').next().unwrap_or_default();
        state.heard = true;
        self.counts.answers += 1;
        let answer = Answer {
            to: asked.map(|(number, _)| number),
            asked: known.map(|asked| asked.at),
            at,
            head: bytes,
            status,
            keep_alive: head.fields.keep_alive(version),
            tunnelled: known.map_or(state.tunnel, |asked| asked.tunnelled),
        };
        self.witness.answer(on, &answer);
        match (kind, status) {
            (_, 101) => {
                // Whatever comes now, it is not HTTP/1.1.
                state.client.mode = Mode::Deaf;
                state.server.mode = Mode::Deaf;
            }
            (Kind::Connect, 200..300) => {
                self.counts.tunnels += 1;
                state.enter_tunnel();
            }
            (Kind::Head, _) | (_, 100..200 | 204 | 304) => state.server.expect(Body::Empty),
            _ => state.server.expect(head.fields.body_of_answer()),
        }
        true
    }

    /// A segment begins, where a message may begin although something else is due.
    fn at_segment(&mut self, conversation: &mut Conversation, state: &mut Dialogue, side: Side, bytes: &[u8]) -> Side {
        if conversation.midstream && !state.heard {
            let swapped = match side {
                Side::Client => begins_with_status(bytes),
                Side::Server => begins_with_request(bytes),
            };
            if swapped {
                conversation.swap_sides();
                state.swap();
                self.counts.swapped += 1;
                return if side == Side::Client { Side::Server } else { Side::Client };
            }
        }
        let waiting = state.asked.waiting();
        let half = state.half(side);
        let Mode::Body { rest, untouched } = &half.mode else { return side };
        let over = match side {
            // It was refused before it began to send its body, and leaves it out (RFC 9110 section 10.1.1).
            Side::Client => *untouched && waiting == 0 && begins_with_request(bytes),
            // An answer without an end that was not the last.
            Side::Server => waiting > 0 && matches!(rest, Rest::UntilClose) && begins_with_status(bytes),
        };
        if over {
            half.mode = Mode::Between;
            self.counts.resynchronised += 1;
        }
        side
    }
}

impl<W: Witness> Listener for Interpreter<W> {
    type State = Dialogue;

    fn opened(&mut self, conversation: &Conversation, state: &mut Dialogue) {
        if conversation.midstream {
            state.torn = true;
            state.patchy = true;
            state.client.mode = Mode::Lost;
            state.server.mode = Mode::Lost;
        }
        self.witness.opened(conversation);
    }

    fn bytes(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Dialogue,
        side: Side,
        at: Time,
        bytes: &[u8],
    ) -> Interest {
        let side = self.at_segment(conversation, state, side, bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match state.half(side).mode {
                Mode::Deaf => return Interest::Ignore,
                Mode::Body { .. } => self.body(conversation, state, side, rest),
                Mode::Between | Mode::Lost => self.head(conversation, state, side, at, rest),
            };
        }
        state.half(side).interest()
    }

    fn gap(
        &mut self,
        conversation: &mut Conversation,
        state: &mut Dialogue,
        side: Side,
        at: Time,
        missing: u64,
    ) -> Interest {
        state.patchy |= side == Side::Client;
        if !state.half(side).skip(missing) {
            self.counts.torn += 1;
            self.tear(conversation, state, side, at);
            state.torn |= !state.heard;
            if side == Side::Server {
                state.asked.doubt();
            }
        }
        state.half(side).interest()
    }

    fn finished(&mut self, conversation: &Conversation, state: &mut Dialogue, side: Side, at: Time) {
        if state.half(side).held.is_some() {
            self.tear(conversation, state, side, at);
        }
    }

    fn reset(&mut self, conversation: &Conversation, at: Time) {
        self.witness.reset(conversation, at);
    }

    fn closed(&mut self, conversation: &Conversation, mut state: Dialogue, at: Time, end: End) {
        self.tear(conversation, &mut state, Side::Client, at);
        self.tear(conversation, &mut state, Side::Server, at);
        self.counts.lost_track += u64::from(state.asked.give_up());
        self.witness.closed(conversation, at, end, state.asked.waiting());
    }
}

/// Whether a head of this side may begin so.
fn may_begin(side: Side, trust: Trust, bytes: &[u8]) -> bool {
    match side {
        Side::Client => {
            line::may_be_request(bytes)
                && first_line(bytes).is_none_or(|line| RequestLine::parse(line, trust).is_some())
        }
        Side::Server => line::may_be_status(bytes) && first_line(bytes).is_none_or(|line| line::status(line).is_some()),
    }
}

fn begins_with_request(bytes: &[u8]) -> bool {
    line::may_be_request(bytes)
        && first_line(bytes).is_some_and(|line| RequestLine::parse(line, Trust::Anywhere).is_some())
}

fn begins_with_status(bytes: &[u8]) -> bool {
    line::may_be_status(bytes) && first_line(bytes).is_some_and(|line| line::status(line).is_some())
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes.get(..memchr(b'\n', bytes)?)?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}
