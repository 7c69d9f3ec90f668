//! The good client of the lab: one request after the other at fixed times, each on a new connection, and how long each took.
//!
//! `lab-probe ADDRESS RATE SOURCE...`: asks ADDRESS with the head on standard input, RATE times a second, until SIGTERM; from
//! then on nothing new is begun. It says in a line that it begins. What comes out in the end is one JSON array of `[due, latency,
//! status]`, a triple for each request, in microseconds of the monotonic clock; status 0 means that no complete answer came
//! within 5 s.
//!
//! It is a process of its own, so that a storm's generator cannot make it late, and keeps every single latency, so that the
//! recovery after a storm can be seen. Latency counts from when a request was due, not from when it was sent.
#![expect(clippy::print_stdout, reason = "a tool that only the lab talks to")]

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that are due and not begun; the clock waits then, and makes up for it.
const MOST_LATE: usize = 4096;
const LARGEST_ANSWER: usize = 64 * 1024;

/// Where, how often, from where, and what.
struct Probe {
    target: SocketAddr,
    every: Duration,
    sources: Vec<IpAddr>,
    request: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::other("lab-probe ADDRESS RATE SOURCE... <REQUEST");
    let target = arguments.next().ok_or_else(usage)?.parse().map_err(io::Error::other)?;
    let rate: u32 = arguments.next().ok_or_else(usage)?.parse().map_err(io::Error::other)?;
    let sources = arguments.map(|source| source.parse().map_err(io::Error::other)).collect::<io::Result<Vec<_>>>()?;
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    let probe = Probe { target, every: Duration::from_secs(1) / rate.max(1), sources, request };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let seen = local.block_on(&runtime, ask_until_told(Arc::new(probe)))?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// Asks whenever it is time; afterwards waits for what is still on its way.
async fn ask_until_told(probe: Arc<Probe>) -> io::Result<Vec<(u64, u64, u16)>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut ending = signal(SignalKind::terminate())?;
    let (begun, zero) = (Instant::now(), monotonic_us());
    println!("begun");
    let (clock, mut ticks) = mpsc::channel(MOST_LATE);
    let every = probe.every;
    // A thread tells the time: tokio's own timers are rounded up to the next millisecond.
    std::thread::spawn(move || {
        let mut due = Duration::ZERO;
        loop {
            due = due.saturating_add(every);
            std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
            if clock.blocking_send(due).is_err() {
                return;
            }
        }
    });
    let (mut number, mut asking) = (0_usize, tokio::task::JoinSet::new());
    loop {
        let due = tokio::select! {
            _ = ending.recv() => break,
            due = ticks.recv() => due.unwrap_or_default(),
        };
        let source = probe.sources.get(number % probe.sources.len().max(1)).copied();
        number = number.wrapping_add(1);
        let (probe, seen) = (Arc::clone(&probe), Rc::clone(&seen));
        asking.spawn_local(async move {
            let status = timeout(PATIENCE, ask(&probe, source)).await.ok().and_then(Result::ok).unwrap_or_default();
            let latency = (begun + due).elapsed();
            seen.borrow_mut().push((zero.saturating_add(micros(due)), micros(latency), status));
        });
    }
    while asking.join_next().await.is_some() {}
    Ok(seen.take())
}

/// One request on a new connection; the status of a complete answer.
async fn ask(probe: &Probe, source: Option<IpAddr>) -> io::Result<u16> {
    let socket = if probe.target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let mut stream = socket.connect(probe.target).await?;
    stream.write_all(&probe.request).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        let ended = stream.read_buf(&mut answer).await? == 0;
        if let Some(status) = complete(&answer, ended) {
            return Ok(status);
        }
        if ended || answer.len() > LARGEST_ANSWER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The status of an answer, once all of it is there: as long as it says, or as long as it lasts.
fn complete(answer: &[u8], ended: bool) -> Option<u16> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(answer).ok()? else { return None };
    let body = answer.get(head..).unwrap_or_default();
    let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let done = if field("transfer-encoding").is_some() {
        body.ends_with(b"0\r\n\r\n")
    } else if let Some(length) = field("content-length") {
        std::str::from_utf8(length.value).ok()?.trim().parse::<usize>().is_ok_and(|length| body.len() >= length)
    } else {
        ended
    };
    done.then_some(response.code?)
}

fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or_default()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
