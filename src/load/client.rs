//! One client: a connection after the other, an attempt after the other.
//!
//! Owns: its socket. Called by: `run`, as a task each. Never: decides when the run is over; it is dropped then.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Reply, To};
use super::pace::Schedule;
use super::plan::{Class, Connection, Retry};
use super::tally::{Failure, Tally};

/// What is read at once. Nothing of it is kept, so all clients of a thread share it.
const SCRAP: usize = 256 * 1024;
/// How long a client waits that failed for want of something of its own: trying again at once would not help.
const OWN_FAULT: Duration = Duration::from_millis(10);

thread_local! {
    static SCRAP_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRAP].into_boxed_slice());
}

/// A client and its state.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    target: SocketAddr,
    source: Option<IpAddr>,
    class: Arc<Class>,
    tally: Arc<Tally>,
    kept: Option<TcpStream>,
}

impl Client {
    pub(super) fn new(number: usize, target: SocketAddr, class: Arc<Class>, tally: Arc<Tally>) -> Self {
        let source = class.sources.get(number % class.sources.len().max(1)).copied();
        Self { number, target, source, class, tally, kept: None }
    }

    /// Asks again when it has its answer.
    pub(super) async fn in_a_loop(mut self, retry: Retry) {
        loop {
            match self.attempt(Instant::now()).await {
                Ok(_) => {}
                Err(Failure::Local) => sleep(OWN_FAULT).await,
                // It may have failed at once, without ever giving others a turn.
                Err(_) => yield_now().await,
            }
            match retry {
                Retry::Never => return,
                Retry::Instant => {}
                Retry::After(pause) => sleep(pause).await,
            }
        }
    }

    /// Asks when it is time, or as soon after as it can.
    pub(super) async fn on_schedule(mut self, schedule: Arc<Schedule>) {
        loop {
            let due = schedule.next().await;
            self.attempt(due).await.map(drop).unwrap_or_default();
        }
    }

    /// Asks once; the client itself if it has a connection to hold now.
    pub(super) async fn open_in_turn(mut self, turns: Arc<Semaphore>) -> Option<Self> {
        let turn = turns.acquire().await;
        self.attempt(Instant::now()).await.map(drop).unwrap_or_default();
        drop(turn);
        self.kept.is_some().then_some(self)
    }

    /// Keeps its connection until the other side ends it.
    pub(super) async fn hold(self) {
        let Some(stream) = self.kept else { return };
        self.tally.held();
        loop {
            let ended = match stream.readable().await {
                Ok(()) => match SCRAP_BUFFER.with_borrow_mut(|scrap| stream.try_read(scrap)) {
                    Ok(n) => n == 0,
                    Err(error) => error.kind() != io::ErrorKind::WouldBlock,
                },
                Err(_) => true,
            };
            if ended {
                break;
            }
        }
        self.tally.lost();
    }

    async fn attempt(&mut self, since: Instant) -> Result<u16, Failure> {
        let (tally, patience) = (Arc::clone(&self.tally), self.class.patience);
        tally.attempt(self.number, since);
        let result = timeout(patience, self.exchange()).await.unwrap_or(Err(Failure::Timeout));
        tally.outcome(self.number, since, result);
        result
    }

    async fn exchange(&mut self) -> Result<u16, Failure> {
        let class = Arc::clone(&self.class);
        let to = if class.exchange.request.starts_with(b"HEAD ") { To::Head } else { To::Other };
        if let Some(stream) = self.kept.take() {
            match self.ask(&stream, &class.exchange.request, to).await {
                // The other side may have ended it meanwhile, which is its right (RFC 9112 section 9.5).
                Err((true, Failure::Closed | Failure::Reset)) => {}
                Err((_, failure)) => return Err(failure),
                Ok(reply) => return Ok(self.done(stream, reply)),
            }
        }
        let stream = self.open()?;
        if let Some(connect) = &class.exchange.tunnel {
            let reply = self.ask(&stream, connect, To::Connect).await.map_err(|(_, failure)| failure)?;
            if !matches!(reply.status, 200..=299) {
                return Ok(reply.status);
            }
        }
        let reply = self.ask(&stream, &class.exchange.request, to).await.map_err(|(_, failure)| failure)?;
        Ok(self.done(stream, reply))
    }

    fn done(&mut self, stream: TcpStream, reply: Reply) -> u16 {
        self.kept = (self.class.connection == Connection::Kept && reply.keep).then_some(stream);
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

    /// Sends a request and reads its answer. A failure comes with whether nothing of an answer had arrived.
    async fn ask(&self, stream: &TcpStream, request: &[u8], to: To) -> Result<Reply, (bool, Failure)> {
        self.send(stream, request).await.map_err(|error| (true, error.into()))?;
        let mut answer = Answer::new(to);
        let mut unheard = true;
        loop {
            stream.readable().await.map_err(|error| (unheard, error.into()))?;
            let reply = SCRAP_BUFFER.with_borrow_mut(|scrap| match stream.try_read(scrap) {
                Ok(0) => answer.end().map(Some),
                Ok(n) => {
                    unheard = false;
                    self.tally.received(n);
                    answer.feed(scrap.get(..n).unwrap_or_default())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            });
            if let Some(reply) = reply.map_err(|failure| (unheard, failure))? {
                return Ok(reply);
            }
        }
    }

    async fn send(&self, stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            stream.writable().await?;
            match stream.try_write(bytes) {
                Ok(n) => {
                    self.tally.sent(n);
                    bytes = bytes.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
