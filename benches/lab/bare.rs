//! The limit: what a refusal costs at least. A bare epoll loop on one thread that accepts, reads a head, writes the bytes it
//! was given, and closes as the gateway does: it waits 200 ms for the client's FIN, discarding what still comes.
//!
//! `lab-bare ADDRESS FILE [look | epoll | reset]`: the answer is in FILE. The FIN is waited for in one of two ways: `look`, after 1,
//! 2, 4 … ms, or `epoll`. With `reset` there is neither an answer nor a wait: a request is answered by an RST. There is no TLS, no
//! parsing beyond the empty line, no limit, no log and no count.
#![expect(clippy::indexing_slicing, reason = "a tool that only the lab talks to")]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// How long a silent client may keep us from closing.
const QUIET: Duration = Duration::from_millis(200);
/// Looks after pauses of 1, 2, 4 … 128 ms.
const LOOKS: usize = 8;
const LISTENER: u64 = u64::MAX;

/// A socket that is answered and not known to epoll.
struct Look {
    at: Instant,
    until: Instant,
    socket: OwnedFd,
}

/// A socket that epoll knows.
struct Watched {
    socket: OwnedFd,
    /// The head so far.
    head: Vec<u8>,
    /// Once it is answered: when it is closed at the latest.
    until: Option<Instant>,
}

struct Bare {
    epoll: OwnedFd,
    listener: OwnedFd,
    answer: Vec<u8>,
    looking: bool,
    resetting: bool,
    scrap: Vec<u8>,
    /// One queue for each pause: what comes in last is due last.
    looks: [VecDeque<Look>; LOOKS],
    /// By descriptor.
    watched: Vec<Option<Watched>>,
    /// When to close which descriptor, unless it was closed before.
    ends: VecDeque<(Instant, usize)>,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, file, close) = match &arguments[..] {
        [address, file] => (address, file, "look"),
        [address, file, close] if ["look", "epoll", "reset"].contains(&close.as_str()) => {
            (address, file, close.as_str())
        }
        _ => return Err(io::Error::other("lab-bare ADDRESS FILE [look | epoll | reset]")),
    };
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, 4096)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut bare = Bare {
        epoll,
        listener,
        answer: std::fs::read(file)?,
        looking: close == "look",
        resetting: close == "reset",
        scrap: vec![0; 16 * 1024],
        looks: Default::default(),
        watched: Vec::new(),
        ends: VecDeque::new(),
    };
    let mut events = Vec::with_capacity(1024);
    loop {
        let timeout = bare.next().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        events.clear();
        match epoll::wait(&bare.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => bare.accept()?,
                socket => bare.readable(usize::try_from(socket).unwrap_or(usize::MAX)),
            }
        }
        bare.pass(Instant::now());
    }
}

impl Bare {
    /// When something must be done though nothing happens.
    fn next(&self) -> Option<Instant> {
        let looks = self.looks.iter().filter_map(|queue| queue.front()).map(|look| look.at);
        looks.chain(self.ends.front().map(|(at, _)| *at)).min()
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.begin(socket),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The request has mostly arrived by now.
    fn begin(&mut self, socket: OwnedFd) {
        let mut watched = Watched { socket, head: Vec::new(), until: None };
        match rustix::net::recv(&watched.socket, &mut self.scrap[..], RecvFlags::empty()) {
            Ok((n, _)) if self.scrap[..n].ends_with(b"\r\n\r\n") => {
                if !self.answer(&watched.socket) {
                    return;
                }
                let now = Instant::now();
                let until = now + QUIET;
                if self.looking {
                    let at = now + Duration::from_millis(1);
                    self.looks[0].push_back(Look { at, until, socket: watched.socket });
                } else {
                    watched.until = Some(until);
                    self.watch(watched);
                }
            }
            Ok((0, _)) => {}
            Ok((n, _)) => {
                watched.head.extend_from_slice(&self.scrap[..n]);
                self.watch(watched);
            }
            Err(Errno::AGAIN) => self.watch(watched),
            Err(_) => {}
        }
    }

    /// Answers a whole request; whether the client's FIN is to be waited for then.
    fn answer(&self, socket: &OwnedFd) -> bool {
        if self.resetting {
            // Dropping it sends the RST.
            sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap_or_default();
        } else {
            rustix::net::send(socket, &self.answer, SendFlags::NOSIGNAL).unwrap_or_default();
        }
        !self.resetting
    }

    fn watch(&mut self, watched: Watched) {
        let number = usize::try_from(watched.socket.as_raw_fd()).unwrap_or_default();
        let data = epoll::EventData::new_u64(number as u64);
        if epoll::add(&self.epoll, &watched.socket, data, epoll::EventFlags::IN).is_err() {
            return;
        }
        if let Some(until) = watched.until {
            self.ends.push_back((until, number));
        }
        if self.watched.len() <= number {
            self.watched.resize_with(number + 1, || None);
        }
        self.watched[number] = Some(watched);
    }

    fn readable(&mut self, number: usize) {
        let Some(place) = self.watched.get_mut(number) else { return };
        let Some(mut watched) = place.take() else { return };
        match rustix::net::recv(&watched.socket, &mut self.scrap[..], RecvFlags::empty()) {
            Ok((0, _)) => return,
            Ok(_) if watched.until.is_some() => {}
            Ok((n, _)) => {
                watched.head.extend_from_slice(&self.scrap[..n]);
                if watched.head.ends_with(b"\r\n\r\n") {
                    if !self.answer(&watched.socket) {
                        return;
                    }
                    let until = Instant::now() + QUIET;
                    watched.until = Some(until);
                    self.ends.push_back((until, number));
                } else if watched.head.len() > 64 * 1024 {
                    return;
                }
            }
            Err(Errno::AGAIN) => {}
            Err(_) => return,
        }
        // What is not put back is closed.
        self.watched[number] = Some(watched);
    }

    /// Time has passed.
    fn pass(&mut self, now: Instant) {
        for pause in 0..LOOKS {
            while let Some(mut look) = self.looks[pause].pop_front_if(|look| look.at <= now) {
                // Anything but "nothing yet" and something to discard is the end; dropping the socket closes it.
                match rustix::net::recv(&look.socket, &mut self.scrap[..], RecvFlags::empty()) {
                    Ok((0, _)) => continue,
                    Ok(_) | Err(Errno::AGAIN) if now < look.until => {}
                    _ => continue,
                }
                let longer = (pause + 1).min(LOOKS - 1);
                look.at = (now + Duration::from_millis(1 << longer)).min(look.until);
                self.looks[longer].push_back(look);
            }
        }
        while let Some((until, number)) = self.ends.pop_front_if(|(at, _)| *at <= now) {
            if let Some(place) = self.watched.get_mut(number)
                && place.as_ref().is_some_and(|watched| watched.until == Some(until))
            {
                *place = None;
            }
        }
    }
}
