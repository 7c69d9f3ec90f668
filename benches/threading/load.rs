//! The load of `compare`: clients that wait for each answer, one thread each, blocking sockets, nothing but std.
//!
//! `load WORKLOAD CLIENTS WARM-UP-SECONDS SECONDS ORIGIN PROXY...`: prints `GO` when the measurement begins and one line of
//! figures when it ends: operations, errors, p50 and p99 in microseconds, bytes of the bulk tunnels.
//! `idle` opens CLIENTS tunnels, prints `GO`, and keeps them until its standard input ends.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// 0: warming up, 1: measured, 2: over.
static PHASE: AtomicU8 = AtomicU8::new(0);
static BULK: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Seen {
    errors: u64,
    micros: Vec<u32>,
}

impl Seen {
    fn note(&mut self, begun: Instant, result: Result<()>) {
        if PHASE.load(Relaxed) != 1 {
            return;
        }
        match result {
            Ok(()) => self.micros.push(begun.elapsed().as_micros().min(u128::from(u32::MAX)) as u32),
            Err(error) => {
                if self.errors == 0 {
                    eprintln!("{error}");
                }
                self.errors += 1;
            }
        }
    }
}

struct Client {
    proxy: SocketAddr,
    origin: String,
    scrap: Vec<u8>,
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

impl Client {
    fn open(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.proxy)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Reads one answer by its length, or to the end if it has none. True if the connection may be used again.
    fn answer(&mut self, stream: &mut TcpStream, wanted: &[u8]) -> Result<(bool, usize)> {
        let mut have = 0;
        let head = loop {
            let n = stream.read(&mut self.scrap[have..])?;
            if n == 0 {
                return Err(wrong("closed before the head"));
            }
            have += n;
            if let Some(end) = self.scrap[..have].windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
        };
        if self.scrap.get(9..12) != Some(wanted) {
            return Err(wrong(&String::from_utf8_lossy(&self.scrap[..head])));
        }
        let text = String::from_utf8_lossy(&self.scrap[..head]).to_ascii_lowercase();
        if wanted == b"200" && text.contains("connection established") {
            return Ok((true, 0));
        }
        let length = text.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
        let close = text.contains("connection: close");
        let mut body = have - head;
        while length.is_none_or(|length| body < length) {
            let n = stream.read(&mut self.scrap)?;
            if n == 0 {
                return if length.is_none() { Ok((false, body)) } else { Err(wrong("cut short")) };
            }
            body += n;
        }
        Ok((!close, body))
    }

    fn refused(&mut self) -> Result<()> {
        let mut stream = self.open()?;
        // One write, one segment, as the clients that are meant.
        stream.write_all(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nUser-Agent: retrier\r\nAccept: */*\r\n\r\n", self.proxy.ip()).as_bytes())?;
        self.answer(&mut stream, b"403").map(|_| ())
    }

    fn forwarded(&mut self, kept: &mut Option<TcpStream>) -> Result<()> {
        let request = format!("GET http://{}/ HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n", self.origin, self.origin);
        // One that the proxy has closed meanwhile, without having said so, is no error.
        if let Some(mut stream) = kept.take()
            && stream.write_all(request.as_bytes()).is_ok()
            && let Ok((again, _)) = self.answer(&mut stream, b"200")
        {
            *kept = again.then_some(stream);
            return Ok(());
        }
        let mut stream = self.open()?;
        stream.write_all(request.as_bytes())?;
        *kept = self.answer(&mut stream, b"200")?.0.then_some(stream);
        Ok(())
    }

    fn tunnel(&mut self) -> Result<TcpStream> {
        let mut stream = self.open()?;
        stream.write_all(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.origin).as_bytes())?;
        self.answer(&mut stream, b"200")?;
        Ok(stream)
    }

    fn inside(&mut self, stream: &mut TcpStream, path: &str, more: &str) -> Result<usize> {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.origin).as_bytes())?;
        self.answer(stream, b"200").map(|(_, body)| body)
    }

    fn connected(&mut self) -> Result<()> {
        let mut stream = self.tunnel()?;
        self.inside(&mut stream, "/", "Connection: close\r\n")?;
        // The origin ends first, as it was asked to.
        while stream.read(&mut self.scrap)? != 0 {}
        Ok(())
    }
}

fn run(workload: &str, mut client: Client, tunnels: &mut [TcpStream]) -> Seen {
    let mut seen = Seen::default();
    let mut kept = None;
    let mut turn = 0;
    while PHASE.load(Relaxed) < 2 {
        let begun = Instant::now();
        let result = match workload {
            "refuse" => client.refused(),
            "forward" => client.forwarded(&mut kept),
            "connect" => client.connected(),
            "bulk" => match client.inside(&mut tunnels[0], "/big", "") {
                Ok(body) => {
                    BULK.fetch_add(body as u64 * u64::from(PHASE.load(Relaxed) == 1), Relaxed);
                    continue;
                }
                Err(error) => Err(error),
            },
            _ => {
                turn = (turn + 1) % tunnels.len();
                let result = client.inside(&mut tunnels[turn], "/", "").map(|_| ());
                seen.note(begun, result);
                thread::sleep(Duration::from_millis(3));
                continue;
            }
        };
        let failed = result.is_err();
        seen.note(begun, result);
        if failed {
            thread::sleep(Duration::from_millis(10));
        }
    }
    seen
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, clients, warm_up, seconds, origin, proxies @ ..] = &arguments[..] else {
        return Err(wrong("WORKLOAD CLIENTS WARM-UP-SECONDS SECONDS ORIGIN PROXY..."));
    };
    let number = |text: &String| text.parse::<u64>().map_err(|_| wrong(text));
    let (clients, warm_up, seconds) = (number(clients)? as usize, number(warm_up)?, number(seconds)?);
    let proxies: Vec<SocketAddr> = proxies.iter().filter_map(|text| text.parse().ok()).collect();
    let client = |i: usize| Client { proxy: proxies[i % proxies.len()], origin: origin.clone(), scrap: vec![0; 64 * 1024] };

    // One group of tunnels per thread: the trickle of 4 threads over all but two of them, and two that carry bulk.
    let mut groups: Vec<(&str, Client, Vec<TcpStream>)> = Vec::new();
    if workload == "idle" || workload == "skew" {
        let mut tunnels = Vec::new();
        for i in 0..clients {
            let mut opener = client(i);
            let mut tunnel = opener.tunnel()?;
            opener.inside(&mut tunnel, "/", "")?;
            tunnels.push(tunnel);
        }
        if workload == "idle" {
            println!("GO");
            std::io::stdin().read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        for (i, bulk) in tunnels.split_off(clients - 2).into_iter().enumerate() {
            groups.push(("bulk", client(i), vec![bulk]));
        }
        while !tunnels.is_empty() {
            let rest = tunnels.split_off(tunnels.len().saturating_sub(clients / 4));
            groups.push(("trickle", client(0), rest));
        }
    } else {
        groups.extend((0..clients).map(|i| (workload.as_str(), client(i), Vec::new())));
    }
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let handles: Vec<_> = groups
            .into_iter()
            .map(|(what, client, mut tunnels)| scope.spawn(move || run(what, client, &mut tunnels)))
            .collect();
        thread::sleep(Duration::from_secs(warm_up));
        PHASE.store(1, Relaxed);
        println!("GO");
        thread::sleep(Duration::from_secs(seconds));
        PHASE.store(2, Relaxed);
        println!("END");
        for handle in handles {
            let one = handle.join().unwrap_or_default();
            seen.errors += one.errors;
            seen.micros.extend(one.micros);
        }
    });
    seen.micros.sort_unstable();
    let at = |share: usize| seen.micros.get(seen.micros.len() * share / 100).copied().unwrap_or(0);
    println!("{} {} {} {} {}", seen.micros.len(), seen.errors, at(50), at(99), BULK.load(Relaxed));
    Ok(())
}
