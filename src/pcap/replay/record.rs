//! What is kept of a capture: who asked what, when, and on which connection.
//!
//! Owns: the recording and its bounds. Called by: [`crate::pcap::http`], as its witness. Never: keeps the same request twice, or
//! what was plainly not for a proxy.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;

use super::body::Body;
use super::rename::{is_oneself, named, split};
use crate::http1::target::Host;
use crate::pcap::Time;
use crate::pcap::http::{Answer, Request, Witness};
use crate::pcap::stream::{Conversation, End};

/// Attempts that are kept, and connections they may belong to.
const MAX_ATTEMPTS: usize = 1_000_000;
/// Clients that are told apart.
const MAX_CLIENTS: usize = 65_536;
/// Bytes of distinct requests; they are there twice while a script is made of them.
const MAX_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of a body that are kept; longer ones are filled up.
const MAX_BODY: usize = 256 * 1024;
/// Bytes of bodies that are being told at a time, with their heads; beyond, nothing of a body is kept.
const MAX_HELD: usize = 32 * 1024 * 1024;

/// A request, as it was sent at least once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Captured {
    /// Its head, and what is known of its body.
    pub(super) bytes: Box<[u8]>,
    /// The length of the head.
    pub(super) head: usize,
    /// Bytes of its body that are not known.
    pub(super) filler: u64,
}

/// That it was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Attempt {
    pub(super) connection: u32,
    /// Which request; none if there was no room to keep it.
    pub(super) request: Option<u32>,
    pub(super) at: Time,
}

/// A client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Connection {
    /// Which client.
    pub(super) client: u32,
    pub(super) server: SocketAddr,
    /// When its last request was answered, or, if it was not, its end.
    pub(super) until: Time,
    /// When a tunnel was granted on it.
    pub(super) tunnel: Option<Time>,
}

/// What is not played, and why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LeftOut {
    /// Requests to servers that are no proxies, or that neither named a proxy nor asked one for another host.
    pub to_servers: u64,
    /// Requests inside tunnels.
    pub tunnelled: u64,
    /// Requests whose head has no end: it was not captured, or never sent.
    pub cut: u64,
    /// Requests that there was no room for: 1,000,000 attempts, 65,536 clients, 128 MiB of distinct requests.
    pub beyond: u64,
}

/// What was kept of a capture.
#[derive(Debug, Default)]
pub struct Recording {
    pub(super) requests: Vec<Captured>,
    /// In the order of the capture.
    pub(super) attempts: Vec<Attempt>,
    pub(super) connections: Vec<Connection>,
    pub(super) clients: Vec<IpAddr>,
    /// Those of the servers that are proxies, in order.
    pub(super) proxies: Vec<SocketAddr>,
    pub(super) left_out: LeftOut,
    /// All requests that were heard.
    pub(super) heard: u64,
}

/// Hears a capture.
#[derive(Debug, Default)]
pub struct Recorder {
    recording: Recording,
    /// The connections that are not closed, by the number of their conversation.
    open: AHashMap<u64, Open>,
    clients: AHashMap<IpAddr, u32>,
    /// Where each distinct request stands; a length makes the rest of a body known, so its bytes are all there is to a request.
    known: AHashMap<Box<[u8]>, u32>,
    lengths: Vec<(usize, u64)>,
    bytes: usize,
    held: usize,
}

#[derive(Debug)]
struct Open {
    connection: u32,
    /// Its last request was a CONNECT.
    connects: bool,
    /// The request whose body is being told, and its attempt.
    body: Option<(usize, Body)>,
}

impl Recorder {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was kept, and which servers turned out to be proxies.
    pub fn finish(mut self, proxies: impl IntoIterator<Item = SocketAddr>) -> Recording {
        let open: Vec<_> = self.open.drain().map(|(_, open)| open).collect();
        for open in open {
            self.told(open.body);
        }
        let mut requests: Vec<_> = self.known.drain().collect();
        requests.sort_unstable_by_key(|(_, number)| *number);
        let captured = |((bytes, _), (head, filler))| Captured { bytes, head, filler };
        self.recording.proxies = proxies.into_iter().collect();
        self.recording.proxies.sort_unstable();
        self.recording.requests = requests.into_iter().zip(self.lengths).map(captured).collect();
        self.recording
    }

    /// Bytes of bodies that are being told, with their heads.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// The connection of this conversation, from its first request on; none if there are too many.
    fn connection(&mut self, of: &Conversation) -> Option<u32> {
        if let Some(open) = self.open.get(&of.number) {
            return Some(open.connection);
        }
        let Recording { connections, clients, .. } = &mut self.recording;
        let client = if let Some(client) = self.clients.get(&of.client.ip()) {
            *client
        } else {
            let client = u32::try_from(clients.len()).ok().filter(|_| clients.len() < MAX_CLIENTS)?;
            clients.push(of.client.ip());
            self.clients.insert(of.client.ip(), client);
            client
        };
        let connection = u32::try_from(connections.len()).ok().filter(|_| connections.len() < MAX_ATTEMPTS)?;
        connections.push(Connection { client, server: of.server, until: of.opened, tunnel: None });
        self.open.insert(of.number, Open { connection, connects: false, body: None });
        Some(connection)
    }

    /// The body that was being told is complete, or what there is of it.
    fn told(&mut self, body: Option<(usize, Body)>) {
        let Some((attempt, body)) = body else { return };
        self.held = self.held.saturating_sub(body.held());
        let (head, (bytes, filler)) = (body.head(), body.complete());
        self.keep(attempt, &bytes, head, filler);
    }

    fn keep(&mut self, attempt: usize, bytes: &[u8], head: usize, filler: u64) {
        let number = self.known.get(bytes).copied().or_else(|| {
            self.bytes = self.bytes.saturating_add(bytes.len());
            let number = u32::try_from(self.known.len()).ok().filter(|_| self.bytes <= MAX_BYTES)?;
            self.known.insert(bytes.into(), number);
            self.lengths.push((head, filler));
            Some(number)
        });
        self.recording.left_out.beyond += u64::from(number.is_none());
        if let Some(attempt) = self.recording.attempts.get_mut(attempt) {
            attempt.request = number;
        }
    }
}

impl Witness for Recorder {
    fn request(&mut self, conversation: &Conversation, request: &Request<'_>) {
        let before = self.open.get_mut(&conversation.number).and_then(|open| open.body.take());
        self.told(before);
        self.recording.heard += 1;
        if request.tunnelled {
            self.recording.left_out.tunnelled += 1;
            return;
        }
        let LeftOut { to_servers, cut, .. } = &mut self.recording.left_out;
        if !may_be_for_a_proxy(conversation, request) {
            *to_servers += 1;
            return;
        }
        if !request.head.ends_with(b"\r\n\r\n") && !request.head.ends_with(b"\n\n") {
            *cut += 1;
            return;
        }
        let attempt = self.recording.attempts.len();
        let connection = if attempt < MAX_ATTEMPTS { self.connection(conversation) } else { None };
        let Some(connection) = connection else {
            self.recording.left_out.beyond += 1;
            return;
        };
        self.recording.attempts.push(Attempt { connection, request: None, at: request.began });
        let connects = request.method == b"CONNECT";
        let body = if connects { None } else { Body::announced(request.head) };
        let Some(open) = self.open.get_mut(&conversation.number) else { return };
        open.connects = connects;
        let Some(body) = body else {
            return self.keep(attempt, request.head, request.head.len(), 0);
        };
        self.held = self.held.saturating_add(body.held());
        if self.held > MAX_HELD {
            // No body has to come for a head to stay.
            return self.told(Some((attempt, body)));
        }
        open.body = Some((attempt, body));
    }

    fn body(&mut self, conversation: &Conversation, piece: &[u8]) {
        let open = self.open.get_mut(&conversation.number);
        let Some((_, body)) = open.and_then(|open| open.body.as_mut()) else { return };
        let before = body.held();
        let room = MAX_BODY.saturating_sub(before).min(MAX_HELD.saturating_sub(self.held));
        body.take(piece, room);
        self.held = self.held.saturating_add(body.held().saturating_sub(before));
    }

    fn answer(&mut self, conversation: &Conversation, answer: &Answer<'_>) {
        let Some(open) = self.open.get(&conversation.number) else { return };
        let Some(connection) = self.recording.connections.get_mut(open.connection as usize) else { return };
        if answer.tunnelled || matches!(answer.status, 100..=199) && answer.status != 101 {
            return;
        }
        connection.until = answer.at;
        if open.connects {
            connection.tunnel = matches!(answer.status, 200..=299).then_some(answer.at);
        }
    }

    fn closed(&mut self, conversation: &Conversation, at: Time, _end: End, unanswered: u32) {
        let Some(open) = self.open.remove(&conversation.number) else { return };
        self.told(open.body);
        if let Some(connection) = self.recording.connections.get_mut(open.connection as usize)
            && (unanswered > 0 || connection.tunnel.is_some())
        {
            connection.until = at;
        }
    }
}

/// Absolute-form, authority-form, and origin-form whose `Host` is an address of the server itself: most requests to servers end here,
/// before anything of them is kept.
fn may_be_for_a_proxy(conversation: &Conversation, request: &Request<'_>) -> bool {
    if request.method == b"CONNECT" || split(request.target).is_some() {
        return true;
    }
    let host = request.host.and_then(named).map(|named| named.host);
    host.is_some_and(|host| host == Host::Address(conversation.server.ip().to_canonical()) || is_oneself(&host))
}
