//! One exchange over two open connections: the request's body there, the answer back, at the same time.
//!
//! An answer may come before the body is through (RFC 9112 section 9.3); the body may wait for a 100 (RFC 9110 section
//! 10.1.1). Both work by themselves because neither direction waits for the other.

use std::borrow::Cow;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::http1::body::{Body, BodyError, Decoder};
use crate::http1::chunked;
use crate::http1::head::{HeadLimits, Response, Scan, Version, offered};
use crate::http1::rewrite::{self, ToClient};
use crate::net::buffers::Shown;
use crate::outcome::RequestEnd;
use crate::proxy::activity::{Activity, Turn, read};
use crate::proxy::buffer::{BLOCK, Buffer, SMALL_READ};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::presence;
use crate::proxy::request::Asked;
use crate::proxy::shared::Shared;
use crate::telemetry::clock;

/// Interim answers (1xx) passed on before one that is final.
const INTERIM: usize = 16;

/// The two connections and what limits an exchange over them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) client: &'a TcpStream,
    pub(crate) upstream: &'a TcpStream,
    pub(crate) asked: &'a Asked,
    pub(crate) entry: &'a RequestEntry,
    pub(crate) via: &'a str,
    pub(crate) limits: HeadLimits,
    /// Nothing moves in either direction for so long: it is over.
    pub(crate) stall: Duration,
    /// From the end of the request to the first byte of the answer.
    pub(crate) first_byte: Duration,
    /// From then on the operator is told that it waits.
    pub(crate) slow: Duration,
    /// When the gateway stops, this is the connection's last answer; when its time is over, it is cut. Under pressure it
    /// may be either too.
    pub(crate) shared: &'a Shared,
}

/// How far an exchange has come; both directions look at it.
#[derive(Debug)]
struct Progress {
    activity: Activity,
    /// The request's body has been sent to its end.
    uploaded: AtomicBool,
    /// Told when it has.
    upload_ended: Notify,
}

impl Progress {
    fn new() -> Self {
        Self { activity: Activity::new(), uploaded: AtomicBool::new(false), upload_ended: Notify::new() }
    }
}

/// What a finished exchange leaves.
#[derive(Debug)]
pub(crate) struct Done {
    /// The client may send another request.
    pub(crate) keep_client: bool,
    /// The upstream may be given another one.
    pub(crate) keep_upstream: bool,
    /// The protocol was switched: the upstream's bytes behind its 101.
    pub(crate) switched: Option<Buffer>,
}

/// Why an exchange broke.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broken {
    /// The upstream had closed before it said a word.
    Unheard,
    /// The client has seen nothing of the answer yet.
    Before(RequestEnd),
    /// The client has seen a part.
    After(RequestEnd),
}

impl Broken {
    /// How the request ends, if it ends with that.
    pub(crate) const fn end(self) -> RequestEnd {
        match self {
            Self::Unheard => RequestEnd::UpstreamReset,
            Self::Before(end) | Self::After(end) => end,
        }
    }
}

impl Exchange<'_> {
    /// Sends the request, relays the answer. What the client sends behind its request stays in `inbound`, and in `answer`
    /// what could not be made sense of.
    pub(crate) async fn run(&self, inbound: &mut Buffer, answer: &mut Buffer) -> Result<Done, Broken> {
        let progress = Progress::new();
        let mut decoder = Decoder::new(self.asked.body);
        let mut outbound = Cow::Borrowed(&*self.asked.forwarded);
        if !decoder.is_done() {
            // The head and what has already come of the body leave in one write.
            self.gather_request(outbound.to_mut(), inbound, &mut decoder)?;
        }
        progress.uploaded.store(decoder.is_done(), Relaxed);
        let there = pin!(self.there(outbound, inbound, decoder, &progress));
        let back = pin!(self.back(answer, &progress));
        tokio::select! {
            biased;
            end = there => Err(self.broken(end)),
            done = back => done,
            end = self.shared.drain.wait_until(|| self.cut(&progress)) => Err(self.broken(end)),
        }
    }

    /// Whether somebody else ends it, and as what. A wait for the origin's first byte is no standstill.
    fn cut(&self, progress: &Progress) -> Option<RequestEnd> {
        if self.shared.drain.is_over() {
            return Some(RequestEnd::Drained);
        }
        let moves = self.entry.is_answered() || !progress.uploaded.load(Relaxed);
        let allowed = self.shared.guard.pressure.relief().stall.filter(|_| moves);
        self.shared.reaps(progress.activity.idle(), allowed, self.entry.peer().ip()).then_some(RequestEnd::Stalled)
    }

    /// The client's side of the exchange: what has come of the request, the rest of the body, then only whether the client stays. Ends with what breaks
    /// the exchange off; an upstream that takes no more does not, for it may have answered already.
    async fn there(
        &self,
        first: Cow<'_, [u8]>,
        inbound: &mut Buffer,
        mut decoder: Decoder,
        progress: &Progress,
    ) -> RequestEnd {
        let mut sent = self.send_up(&first, inbound, progress).await;
        drop(first);
        let mut outbound = Vec::new();
        let (mut most, mut turn) = (BLOCK, Turn::default());
        loop {
            match sent {
                // A slow reader: what we hold for it stays small from here on.
                Ok(waited) => most = if waited { SMALL_READ } else { (most * 2).min(BLOCK) },
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return RequestEnd::Stalled,
                Err(_) => return pending().await,
            }
            if decoder.is_done() {
                break;
            }
            match inbound.fill(most, |free| read(self.client, free)) {
                Ok(0) => return RequestEnd::ClientGone,
                Ok(n) => turn.moved(n).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    inbound.rest();
                    outbound = Vec::new();
                    match progress.activity.wait(self.stall, self.client, Interest::READABLE).await {
                        Ok(()) => continue,
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => return RequestEnd::BodyTimeout,
                        Err(_) => return RequestEnd::ClientGone,
                    }
                }
                Err(_) => return RequestEnd::ClientGone,
            }
            if self.gather_request(&mut outbound, inbound, &mut decoder).is_err() {
                return RequestEnd::BodyMalformed;
            }
            progress.activity.touch();
            sent = self.send_up(&outbound, inbound, progress).await;
            outbound.clear();
            outbound.shrink_to(most);
        }
        drop(outbound);
        progress.activity.touch();
        progress.uploaded.store(true, Relaxed);
        progress.upload_ended.notify_one();
        presence::left(self.client, inbound, || self.entry.is_answered()).await;
        RequestEnd::ClientGone
    }

    /// The upstream's side: interim answers, the final head, its body.
    async fn back(&self, answer: &mut Buffer, progress: &Progress) -> Result<Done, Broken> {
        let mut outbound = Vec::new();
        for interim in 0..=INTERIM {
            let length = self.answer_head(answer, interim > 0, progress).await?;
            let head = answer.bytes().get(..length).unwrap_or_default();
            let response = Response::parse(head, self.limits, self.asked.to_head).map_err(|_| self.malformed())?;
            let switches = response.status == 101;
            if switches && !self.may_switch(&response) {
                return Err(self.malformed());
            }
            if response.status < 200 && !switches {
                if interim == INTERIM {
                    break;
                }
                if self.asked.version == Version::Http11 {
                    let to = ToClient { body: Body::Empty, keep_alive: true, upgrade: false };
                    rewrite::response(&mut outbound, &response, to, self.via, "");
                }
                answer.consume(length);
                self.send_down(&outbound, answer, progress, Shown::default()).await?;
                outbound.clear();
                continue;
            }
            // RFC 9112 section 6.1: HTTP/1.0 knows no transfer coding, and these we cannot undo.
            if self.asked.version == Version::Http10 && !response.codings.is_empty() {
                return Err(self.malformed());
            }
            let to = self.framing(&response, progress);
            clock::with_imf_fixdate(|date| {
                rewrite::response(&mut outbound, &response, to, self.via, date);
            });
            let (status, body, keep_upstream) = (response.status, response.body, response.keep_alive);
            answer.consume(length);
            // What has come of the body leaves with the head, unless it shows that the answer is none.
            let mut decoder = Decoder::new(body);
            gather(&mut outbound, answer, &mut decoder, to.body).map_err(|_| self.malformed())?;
            self.entry.upstream_answered(status);
            self.entry.status(status);
            if switches {
                self.send_down(&outbound, answer, progress, Shown::default()).await?;
                let switched = Some(std::mem::take(answer));
                return Ok(Done { keep_client: false, keep_upstream: false, switched });
            }
            self.body(outbound, answer, decoder, to.body, progress).await?;
            // Unsent or unread parts of a body must never be taken for a message.
            let uploaded = progress.uploaded.load(Relaxed);
            let keep_upstream = keep_upstream && uploaded && answer.is_empty();
            return Ok(Done { keep_client: to.keep_alive && uploaded, keep_upstream, switched: None });
        }
        Err(self.malformed())
    }

    /// Waits for a head from the upstream. The clock runs from the end of the request: until then it is the client who is
    /// waited for, and [`Self::there`] who limits that.
    async fn answer_head(&self, answer: &mut Buffer, heard: bool, progress: &Progress) -> Result<usize, Broken> {
        let mut scan = Scan::response();
        let mut slow = false;
        loop {
            if !answer.is_empty()
                && let Some(length) = scan.advance(answer.bytes(), self.limits).map_err(|_| self.malformed())?
            {
                progress.activity.touch();
                return Ok(length);
            }
            match answer.fill(BLOCK, |free| read(self.upstream, free)) {
                Ok(n) if n > 0 => self.entry.fetched(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    answer.rest();
                    let uploaded = progress.uploaded.load(Relaxed);
                    let limit = if uploaded { self.first_byte } else { self.first_byte.max(self.stall) };
                    let until_slow = Some(self.slow).filter(|until| uploaded && !slow && *until < limit);
                    let limit = until_slow.unwrap_or(limit);
                    let ready = tokio::select! {
                        biased;
                        () = progress.upload_ended.notified(), if !uploaded => continue,
                        ready = progress.activity.wait(limit, self.upstream, Interest::READABLE) => ready,
                    };
                    match ready {
                        Err(error) if error.kind() == io::ErrorKind::TimedOut && until_slow.is_some() => {
                            self.entry.waits(&self.asked.to);
                            slow = true;
                        }
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                            return Err(self.broken(RequestEnd::FirstByteTimeout));
                        }
                        ready => ready.map_err(|_| self.broken(RequestEnd::UpstreamReset))?,
                    }
                }
                _ if answer.is_empty() && !heard => return Err(Broken::Unheard),
                _ => return Err(self.broken(RequestEnd::UpstreamReset)),
            }
        }
    }

    /// Relays the body; `outbound` holds the head and the first part of it.
    async fn body(
        &self,
        mut outbound: Vec<u8>,
        answer: &mut Buffer,
        mut decoder: Decoder,
        to: Body,
        progress: &Progress,
    ) -> Result<(), Broken> {
        let guard = &self.shared.guard;
        let (mut most, mut turn, mut shown) = (BLOCK, Turn::default(), Shown::default());
        loop {
            if !outbound.is_empty() {
                let waited = self.send_down(&outbound, answer, progress, shown).await?;
                let relief = guard.pressure.relief();
                shown.took(outbound.len(), self.upstream, &guard.pressure.room, relief.buffer, || guard.clock.age());
                outbound.clear();
                // A slow reader: what we hold for it stays small from here on.
                most = if waited { SMALL_READ } else { (most * 2).min(BLOCK) };
                outbound.shrink_to(most);
            }
            if decoder.is_done() {
                return Ok(());
            }
            match answer.fill(most, |free| read(self.upstream, free)) {
                Ok(0) if decoder.ends_by_close() => {
                    if to == Body::Chunked {
                        self.send_down(chunked::LAST, answer, progress, shown).await?;
                    }
                    return Ok(());
                }
                Ok(n) if n > 0 => {
                    self.entry.fetched(n);
                    progress.activity.touch();
                    turn.moved(n).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    answer.rest();
                    outbound = Vec::new();
                    match progress.activity.wait(self.stall, self.upstream, Interest::READABLE).await {
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                            return Err(self.broken(RequestEnd::Stalled));
                        }
                        ready => ready.map_err(|_| self.broken(RequestEnd::UpstreamTruncated))?,
                    }
                }
                _ => return Err(self.broken(RequestEnd::UpstreamTruncated)),
            }
            gather(&mut outbound, answer, &mut decoder, to).map_err(|_| self.malformed())?;
        }
    }

    fn gather_request(&self, out: &mut Vec<u8>, inbound: &mut Buffer, decoder: &mut Decoder) -> Result<(), Broken> {
        let before = inbound.len();
        let gathered = gather(out, inbound, decoder, self.asked.body);
        self.entry.received(before - inbound.len());
        gathered.map_err(|_| self.broken(RequestEnd::BodyMalformed))
    }

    async fn send_up(&self, bytes: &[u8], inbound: &mut Buffer, progress: &Progress) -> io::Result<bool> {
        self.send(self.upstream, bytes, inbound, progress, Shown::default(), |n| self.entry.passed_on(n)).await
    }

    async fn send_down(
        &self,
        bytes: &[u8],
        answer: &mut Buffer,
        progress: &Progress,
        shown: Shown,
    ) -> Result<bool, Broken> {
        self.send(self.client, bytes, answer, progress, shown, |n| self.entry.sent(n)).await.map_err(|error| {
            let stalled = error.kind() == io::ErrorKind::TimedOut;
            Broken::After(if stalled { RequestEnd::Stalled } else { RequestEnd::ClientGone })
        })
    }

    /// Writes everything, as long as something moves; tells whether it had to wait. `rests` gives its block back meanwhile.
    async fn send(
        &self,
        to: &TcpStream,
        mut bytes: &[u8],
        rests: &mut Buffer,
        progress: &Progress,
        shown: Shown,
        count: impl Fn(usize),
    ) -> io::Result<bool> {
        let mut waited = false;
        while !bytes.is_empty() {
            match to.try_write(bytes) {
                Ok(n) => {
                    count(n);
                    progress.activity.touch();
                    bytes = bytes.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    waited = true;
                    rests.rest();
                    let _stands = self.shared.guard.pressure.stands(shown.pins());
                    progress.activity.wait(self.stall, to, Interest::WRITABLE).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(waited)
    }

    /// How an answer is framed for this client (RFC 9112 section 6.3): no chunks for HTTP/1.0, and chunks for an answer
    /// that its origin ends by closing, so that the client's connection may live on.
    fn framing(&self, response: &Response<'_>, progress: &Progress) -> ToClient {
        let http11 = self.asked.version == Version::Http11;
        let body = match response.body {
            Body::Chunked | Body::UntilClose if http11 => Body::Chunked,
            Body::Chunked | Body::UntilClose => Body::UntilClose,
            Body::Empty | Body::Length(_) => response.body,
        };
        // A client that is still sending will not be read to the end: it must know.
        let uploaded = progress.uploaded.load(Relaxed);
        let last = self.shared.drain.begun() || self.shared.guard.pressure.relief().keep_alive == Some(Duration::ZERO);
        let keep_alive = self.asked.keep_alive && uploaded && !last && body != Body::UntilClose;
        ToClient { body, keep_alive, upgrade: response.status == 101 }
    }

    /// RFC 9110 section 7.8: only a protocol that was offered.
    fn may_switch(&self, response: &Response<'_>) -> bool {
        let offer = self.asked.upgrade.as_deref().zip(response.upgrade);
        offer.is_some_and(|(offer, chosen)| offered(offer, chosen))
    }

    fn broken(&self, end: RequestEnd) -> Broken {
        if self.entry.is_answered() { Broken::After(end) } else { Broken::Before(end) }
    }

    fn malformed(&self) -> Broken {
        self.broken(RequestEnd::UpstreamMalformed)
    }
}

/// Moves what has come of a body into `out`, in the framing of the way on.
fn gather(out: &mut Vec<u8>, from: &mut Buffer, decoder: &mut Decoder, to: Body) -> Result<(), BodyError> {
    while !decoder.is_done() {
        let step = decoder.step(from.bytes())?;
        let data = from.bytes().get(step.data.clone()).unwrap_or_default();
        if to == Body::Chunked {
            chunked::encode(out, data);
            if step.done {
                out.extend_from_slice(chunked::LAST);
            }
        } else {
            out.extend_from_slice(data);
        }
        from.consume(step.consumed);
        if step.consumed == 0 {
            break;
        }
    }
    Ok(())
}
