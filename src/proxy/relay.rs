//! One exchange over two open connections: the request's body there, the answer back, at the same time.
//!
//! An answer may come before the body is through (RFC 9112 section 9.3); the body may wait for a 100 (RFC 9110 section
//! 10.1.1). Both work by themselves because neither direction waits for the other.

use std::borrow::Cow;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::settings::Timeouts;
use crate::http1::body::{Body, BodyError, Decoder};
use crate::http1::chunked;
use crate::http1::head::{HeadLimits, Response, Scan, Version, offered};
use crate::http1::rewrite::{self, ToClient};
use crate::outcome::RequestEnd;
use crate::proxy::buffer::{BLOCK, Buffer};
use crate::proxy::ledger::RequestEntry;
use crate::proxy::request::Asked;
use crate::proxy::tunnel::Activity;
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
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) first_byte: Duration,
    /// The gateway is stopping: this is the connection's last answer.
    pub(crate) last: bool,
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
    /// The client's bytes behind a request that switched.
    pub(crate) unread: Buffer,
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

/// How sending the request's body ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Upload {
    Complete,
    /// The upstream takes no more; it may have answered already.
    Refused,
    ClientGone,
    Malformed,
    Stalled,
}

impl Exchange<'_> {
    /// Sends the request, relays the answer.
    pub(crate) async fn run(&self, inbound: &mut Buffer) -> Result<Done, Broken> {
        let activity = Activity::new();
        let mut decoder = Decoder::new(self.asked.body);
        let mut outbound = Cow::Borrowed(&*self.asked.forwarded);
        let mut gathered = Ok(());
        if !decoder.is_done() {
            // The head and what has already come of the body leave in one write.
            gathered = gather(outbound.to_mut(), inbound, &mut decoder, self.asked.body);
        }
        let sent = self.send(self.upstream, &outbound, |n| self.entry.passed_on(n)).await;
        drop(outbound);
        let mut upload = match (gathered, sent) {
            (Err(_), _) => return Err(self.broken(RequestEnd::BodyMalformed)),
            (Ok(()), Err(_)) => Some(Upload::Refused),
            (Ok(()), Ok(())) if decoder.is_done() => Some(Upload::Complete),
            (Ok(()), Ok(())) => None,
        };
        let mut done = if upload.is_some() {
            self.download(&activity).await?
        } else {
            let mut there = pin!(self.upload(inbound, decoder, &activity));
            let mut back = pin!(self.download(&activity));
            loop {
                tokio::select! {
                    biased;
                    done = &mut back => break done?,
                    ended = &mut there, if upload.is_none() => match ended {
                        Upload::Complete | Upload::Refused => upload = Some(ended),
                        Upload::ClientGone => return Err(self.broken(RequestEnd::ClientGone)),
                        Upload::Malformed => return Err(self.broken(RequestEnd::BodyMalformed)),
                        Upload::Stalled => return Err(self.broken(RequestEnd::Stalled)),
                    },
                }
            }
        };
        // Unsent or unread parts of a body must never be taken for a message.
        if upload != Some(Upload::Complete) {
            done.keep_client = false;
            done.keep_upstream = false;
        }
        Ok(done)
    }

    async fn upload(&self, inbound: &mut Buffer, mut decoder: Decoder, activity: &Activity) -> Upload {
        let mut outbound = Vec::new();
        loop {
            outbound.clear();
            if gather(&mut outbound, inbound, &mut decoder, self.asked.body).is_err() {
                return Upload::Malformed;
            }
            if !outbound.is_empty() {
                if self.send(self.upstream, &outbound, |n| self.entry.passed_on(n)).await.is_err() {
                    return Upload::Refused;
                }
                activity.touch();
            }
            if decoder.is_done() {
                return Upload::Complete;
            }
            match inbound.fill(BLOCK, |free| self.client.try_read(free)) {
                Ok(0) => return Upload::ClientGone,
                Ok(n) => self.entry.received(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    inbound.rest();
                    outbound = Vec::new();
                    match timeout(self.timeouts.body, self.client.readable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Upload::ClientGone,
                        Err(_) => return Upload::Stalled,
                    }
                }
                Err(_) => return Upload::ClientGone,
            }
        }
    }

    async fn download(&self, activity: &Activity) -> Result<Done, Broken> {
        let mut answer = Buffer::default();
        let mut outbound = Vec::new();
        for _ in 0..=INTERIM {
            let length = self.answer_head(&mut answer, activity).await?;
            let head = answer.bytes().get(..length).unwrap_or_default();
            let response = Response::parse(head, self.limits, self.asked.to_head).map_err(|_| self.malformed())?;
            let switches = response.status == 101;
            if switches && !self.may_switch(&response) {
                return Err(self.malformed());
            }
            if response.status < 200 && !switches {
                if self.asked.version == Version::Http11 {
                    let to = ToClient { body: Body::Empty, keep_alive: true, upgrade: false };
                    rewrite::response(&mut outbound, &response, to, self.via, "");
                    self.tell(&outbound).await?;
                    outbound.clear();
                }
                answer.consume(length);
                continue;
            }
            let to = self.framing(&response);
            clock::with_imf_fixdate(|date| {
                rewrite::response(&mut outbound, &response, to, self.via, date);
            });
            let (status, keep_upstream) = (response.status, response.keep_alive);
            let body = response.body;
            answer.consume(length);
            self.entry.upstream_answered(status);
            self.entry.status(status);
            if switches {
                self.tell(&outbound).await?;
                return Ok(Done {
                    keep_client: false,
                    keep_upstream: false,
                    switched: Some(answer),
                    unread: Buffer::default(),
                });
            }
            self.body(outbound, &mut answer, body, to.body).await?;
            let keep_upstream = keep_upstream && answer.is_empty();
            return Ok(Done { keep_client: to.keep_alive, keep_upstream, switched: None, unread: Buffer::default() });
        }
        Err(self.malformed())
    }

    /// Waits for a head from the upstream. While the request's body still moves, the clock does not run.
    async fn answer_head(&self, answer: &mut Buffer, activity: &Activity) -> Result<usize, Broken> {
        let mut scan = Scan::response();
        loop {
            if !answer.is_empty()
                && let Some(length) = scan.advance(answer.bytes(), self.limits).map_err(|_| self.malformed())?
            {
                return Ok(length);
            }
            match answer.fill(BLOCK, |free| self.upstream.try_read(free)) {
                Ok(0) => return Err(self.closed_early(answer)),
                Ok(n) => self.entry.fetched(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    answer.rest();
                    let left = self.first_byte.saturating_sub(activity.idle());
                    if left.is_zero() {
                        return Err(self.broken(RequestEnd::FirstByteTimeout));
                    }
                    if let Ok(Err(_)) = timeout(left, self.upstream.readable()).await {
                        return Err(self.closed_early(answer));
                    }
                }
                Err(_) => return Err(self.closed_early(answer)),
            }
        }
    }

    /// Relays the body; `outbound` holds the head, which leaves with the first part of it.
    async fn body(&self, mut outbound: Vec<u8>, answer: &mut Buffer, body: Body, to: Body) -> Result<(), Broken> {
        let mut decoder = Decoder::new(body);
        loop {
            gather(&mut outbound, answer, &mut decoder, to).map_err(|_| self.broken(RequestEnd::UpstreamMalformed))?;
            if !outbound.is_empty() {
                self.tell(&outbound).await?;
                outbound.clear();
            }
            if decoder.is_done() {
                return Ok(());
            }
            match answer.fill(BLOCK, |free| self.upstream.try_read(free)) {
                Ok(0) if body == Body::UntilClose => {
                    if to == Body::Chunked {
                        self.tell(chunked::LAST).await?;
                    }
                    return Ok(());
                }
                Ok(n) if n > 0 => self.entry.fetched(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    answer.rest();
                    outbound = Vec::new();
                    match timeout(self.timeouts.body, self.upstream.readable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(self.broken(RequestEnd::UpstreamTruncated)),
                        Err(_) => return Err(self.broken(RequestEnd::Stalled)),
                    }
                }
                _ => return Err(self.broken(RequestEnd::UpstreamTruncated)),
            }
        }
    }

    /// How an answer is framed for this client (RFC 9112 section 6.3): no chunks for HTTP/1.0, and chunks for an answer
    /// that its origin ends by closing, so that the client's connection may live on.
    fn framing(&self, response: &Response<'_>) -> ToClient {
        let http11 = self.asked.version == Version::Http11;
        let body = match response.body {
            Body::Chunked | Body::UntilClose if http11 => Body::Chunked,
            Body::Chunked | Body::UntilClose => Body::UntilClose,
            Body::Empty | Body::Length(_) => response.body,
        };
        let keep_alive = self.asked.keep_alive && !self.last && body != Body::UntilClose;
        ToClient { body, keep_alive, upgrade: response.status == 101 }
    }

    /// RFC 9110 section 7.8: only a protocol that was offered.
    fn may_switch(&self, response: &Response<'_>) -> bool {
        let offer = self.asked.upgrade.as_deref().zip(response.upgrade);
        offer.is_some_and(|(offer, chosen)| offered(offer, chosen))
    }

    async fn tell(&self, bytes: &[u8]) -> Result<(), Broken> {
        self.send(self.client, bytes, |n| self.entry.sent(n)).await.map_err(|error| {
            let late = error.kind() == io::ErrorKind::TimedOut;
            Broken::After(if late { RequestEnd::Stalled } else { RequestEnd::ClientGone })
        })
    }

    /// Writes everything, as long as something moves.
    async fn send(&self, to: &TcpStream, mut bytes: &[u8], count: impl Fn(usize)) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.try_write(bytes) {
                Ok(n) => {
                    count(n);
                    bytes = bytes.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout(self.timeouts.body, to.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn broken(&self, end: RequestEnd) -> Broken {
        if self.entry.is_answered() { Broken::After(end) } else { Broken::Before(end) }
    }

    fn malformed(&self) -> Broken {
        self.broken(RequestEnd::UpstreamMalformed)
    }

    fn closed_early(&self, answer: &Buffer) -> Broken {
        if answer.is_empty() { Broken::Unheard } else { self.broken(RequestEnd::UpstreamReset) }
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
