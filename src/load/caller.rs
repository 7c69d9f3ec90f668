//! One attempt: a connection, a request, its answer.
//!
//! Owns: a socket at a time, and the buffer that answers are read into. Called by: the clients of plans and scripts. Never:
//! decides when to try, or again.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Reply, To};
use super::plan::Manner;
use super::report::Failure;
use super::tally::Tally;

/// What is read at once. Nothing of it is kept, so all callers of a thread share it.
const SCRAP: usize = 256 * 1024;
/// How long a caller waits that failed for want of something of its own: trying again at once would not help.
const OWN_FAULT: Duration = Duration::from_millis(10);
/// What bodies are filled with.
const FILLER: &[u8] = &[b'.'; 16 * 1024];

thread_local! {
    static SCRAP_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRAP].into_boxed_slice());
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'r> {
    /// The head that asks for a tunnel, if the connection is new.
    pub(super) tunnel: Option<&'r [u8]>,
    pub(super) request: &'r [u8],
    /// So many more bytes of its body.
    pub(super) filler: u64,
    pub(super) manner: Manner,
    /// Whether the connection is wanted again.
    pub(super) keep: bool,
}

/// Somebody who asks, on one connection at a time.
#[derive(Debug)]
pub(super) struct Caller {
    target: SocketAddr,
    source: Option<IpAddr>,
    patience: Duration,
    kept: Option<TcpStream>,
}

impl Caller {
    pub(super) const fn new(target: SocketAddr, source: Option<IpAddr>, patience: Duration) -> Self {
        Self { target, source, patience, kept: None }
    }

    /// Whether it has a connection.
    pub(super) const fn is_connected(&self) -> bool {
        self.kept.is_some()
    }

    /// Asks; `since` is when that was due.
    pub(super) async fn ask(&mut self, question: Question<'_>, since: Instant, tally: &Tally) -> Result<u16, Failure> {
        let attempt = tally.attempt(since);
        let result = timeout(self.patience, self.exchange(question, tally)).await.unwrap_or(Err(Failure::Timeout));
        tally.outcome(&attempt, result);
        result
    }

    /// Waits for the other side to end the connection.
    pub(super) async fn ended(&self) {
        let Some(stream) = &self.kept else { return };
        loop {
            let ended = match stream.readable().await {
                Ok(()) => match SCRAP_BUFFER.with_borrow_mut(|scrap| stream.try_read(scrap)) {
                    Ok(n) => n == 0,
                    Err(error) => error.kind() != io::ErrorKind::WouldBlock,
                },
                Err(_) => true,
            };
            if ended {
                return;
            }
            consume_budget().await;
        }
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        self.kept = None;
    }

    async fn exchange(&mut self, question: Question<'_>, tally: &Tally) -> Result<u16, Failure> {
        if let Some(stream) = self.kept.take() {
            match converse(&stream, question.request, question.filler, tally).await {
                // The other side may have ended it meanwhile, which is its right (RFC 9112 section 9.5).
                Err((true, Failure::Closed | Failure::Reset)) => {}
                Err((_, failure)) => return Err(failure),
                Ok(reply) => return Ok(self.done(stream, reply, question.keep)),
            }
        }
        let stream = self.open()?;
        if let Some(connect) = question.tunnel {
            let reply = converse(&stream, connect, 0, tally).await.map_err(|(_, failure)| failure)?;
            if !matches!(reply.status, 200..=299) {
                return Ok(reply.status);
            }
        }
        let reply = match question.manner {
            Manner::Prompt => converse(&stream, question.request, question.filler, tally).await,
            Manner::Drip(pause) => {
                drip(&stream, question.request, pause, tally).await;
                converse(&stream, b"", 0, tally).await
            }
            Manner::Stall { after } => return Err(stall(&stream, question.request, after, tally).await),
        };
        Ok(self.done(stream, reply.map_err(|(_, failure)| failure)?, question.keep))
    }

    fn done(&mut self, stream: TcpStream, reply: Reply, keep: bool) -> u16 {
        self.kept = (keep && reply.keep).then_some(stream);
        reply.status
    }

    /// Begins a connection; whether it stands shows when something is written.
    fn open(&self) -> Result<TcpStream, Failure> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(self.target), kind, Some(Protocol::TCP))?;
        if let Some(source) = self.source {
            // The port is chosen at connect, when the kernel knows the other end: else the ports of an address would run
            // out over all destinations together.
            setsockopt(&socket.as_fd(), IpBindAddressNoPort, &true).map_err(io::Error::from)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.into()),
            _ => Ok(TcpStream::from_std(socket.into())?),
        }
    }
}

/// Gives others a turn after a failure that may have come at once, without waiting for anything.
pub(super) async fn recover(result: Result<u16, Failure>) {
    match result {
        Ok(_) => {}
        Err(Failure::Local) => sleep(OWN_FAULT).await,
        Err(_) => yield_now().await,
    }
}

/// Sends a request byte by byte, each after a pause, until all is sent or something comes back.
async fn drip(stream: &TcpStream, request: &[u8], pause: Duration, tally: &Tally) {
    for byte in request.chunks(1) {
        if timeout(pause, stream.readable()).await.is_ok() {
            return;
        }
        // What a socket does not take yet is missing then: it is never a whole request that is wanted here.
        tally.sent(stream.try_write(byte).unwrap_or_default());
    }
}

/// Sends a request, reads so much of the answer, and no more; how that ended.
async fn stall(stream: &TcpStream, request: &[u8], after: u64, tally: &Tally) -> Failure {
    let mut unsent = Unsent { request, filler: 0 };
    let mut left = usize::try_from(after).unwrap_or(usize::MAX);
    while left > 0 {
        let interest = if unsent.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let read = async {
            stream.ready(interest).await?;
            unsent.send(stream, tally)?;
            SCRAP_BUFFER.with_borrow_mut(|scrap| {
                let most = scrap.len().min(left);
                stream.try_read(scrap.get_mut(..most).unwrap_or_default())
            })
        };
        match read.await {
            Ok(0) => return Failure::Closed,
            Ok(n) => {
                tally.received(n);
                left = left.saturating_sub(n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error.into(),
        }
        consume_budget().await;
    }
    // An end of the answer would have to be read to be seen.
    match stream.ready(Interest::ERROR).await {
        Ok(_) => Failure::Reset,
        Err(error) => error.into(),
    }
}

/// Sends a request and reads its answer, which may come before all is sent. A failure comes with whether nothing of an answer
/// had arrived.
async fn converse(stream: &TcpStream, request: &[u8], filler: u64, tally: &Tally) -> Result<Reply, (bool, Failure)> {
    let to = if request.starts_with(b"HEAD ") {
        To::Head
    } else if request.starts_with(b"CONNECT ") {
        To::Connect
    } else {
        To::Other
    };
    let mut answer = Answer::new(to);
    let (mut unheard, mut unsent) = (true, Unsent { request, filler });
    loop {
        let broken = unsent.send(stream, tally).err();
        if broken.is_some() {
            // The answer may have arrived, and the other side closed on the rest: read past the runtime, which may not know yet.
            unsent = Unsent { request: b"", filler: 0 };
        } else {
            let interest = if unsent.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            stream.ready(interest).await.map_err(|error| (unheard, error.into()))?;
        }
        let mut full = false;
        let reply = SCRAP_BUFFER.with_borrow_mut(|scrap| {
            let read = if broken.is_some() {
                rustix::io::read(stream, &mut **scrap).map_err(io::Error::from)
            } else {
                stream.try_read(scrap)
            };
            match read {
                Ok(0) => answer.end().map(Some),
                Ok(n) => {
                    unheard = false;
                    full = n == scrap.len();
                    tally.received(n);
                    answer.feed(scrap.get(..n).unwrap_or_default())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        match (reply, broken) {
            (Ok(Some(reply)), _) => return Ok(reply),
            (_, Some(error)) => return Err((unheard, error.into())),
            (Err(failure), None) => return Err((unheard, failure)),
            // An answer without an end is always there to be read: without this nobody else, no timer and no signal gets a turn.
            (Ok(None), None) if full => yield_now().await,
            (Ok(None), None) => consume_budget().await,
        }
    }
}

/// What is left of a request.
struct Unsent<'r> {
    request: &'r [u8],
    filler: u64,
}

impl Unsent<'_> {
    const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.filler == 0
    }

    /// Sends as much as the socket takes.
    fn send(&mut self, stream: &TcpStream, tally: &Tally) -> io::Result<()> {
        while !self.is_empty() {
            let filler = usize::try_from(self.filler).unwrap_or(usize::MAX);
            let is_filler = self.request.is_empty();
            let bytes = if is_filler { FILLER.get(..filler).unwrap_or(FILLER) } else { self.request };
            match stream.try_write(bytes) {
                Ok(n) if is_filler => {
                    tally.sent(n);
                    self.filler = self.filler.saturating_sub(n as u64);
                }
                Ok(n) => {
                    tally.sent(n);
                    self.request = self.request.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
