//! The tables of the evidence: who met whom, and what was said.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;

use super::super::super::Time;
use super::super::findings::{Answers, Form, SelfKind};
use super::super::limits::{STATUSES, TALKS, TIME_WAIT};

/// Rows found by a key, in the order they were entered; none is ever removed.
#[derive(Debug)]
pub(crate) struct Book<K, R> {
    numbers: AHashMap<K, u32>,
    pub(crate) rows: Vec<R>,
}

impl<K, R> Default for Book<K, R> {
    fn default() -> Self {
        Self { numbers: AHashMap::new(), rows: Vec::new() }
    }
}

impl<K: Eq + Hash, R> Book<K, R> {
    pub(crate) fn number(&self, key: &K) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// The number of the row of a key, which is entered if there are less than `limit` rows.
    pub(crate) fn enter(&mut self, key: K, limit: usize, row: impl FnOnce() -> R) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&key) {
            return Some(number);
        }
        let number = u32::try_from(self.rows.len()).ok().filter(|_| self.rows.len() < limit)?;
        self.numbers.insert(key, number);
        self.rows.push(row());
        Some(number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&R> {
        self.rows.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut R> {
        self.rows.get_mut(number as usize)
    }
}

/// An address, as a client, as a server, and as the box that both are.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    /// Sockets: both ends of its conversations count.
    pub(crate) sockets: Level,
    /// Conversations that it opened.
    pub(crate) outgoing: Level,
    /// Requests in CONNECT or absolute form that it got and has not answered.
    pub(crate) in_flight: u32,
    /// Conversations it opened to others while there were such requests.
    pub(crate) onward_in_flight: u64,
    /// All conversations it opened.
    pub(crate) called: u64,
    /// Of those, the ones to an address that was just asked for at an endpoint, and the first such endpoint.
    pub(crate) fetched: u64,
    pub(crate) fetched_for: Option<u32>,
    /// Ends in TIME_WAIT, once it got such a request.
    pub(crate) time_wait: Option<Box<Recent>>,
}

impl Address {
    pub(crate) fn new(ip: IpAddr) -> Self {
        Self {
            ip,
            sockets: Level::default(),
            outgoing: Level::default(),
            in_flight: 0,
            onward_in_flight: 0,
            called: 0,
            fetched: 0,
            fetched_for: None,
            time_wait: None,
        }
    }
}

/// How many there are, and how many there were at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    pub(crate) now: u32,
    pub(crate) peak: u32,
}

impl Level {
    pub(crate) fn up(&mut self) {
        self.now = self.now.saturating_add(1);
        self.peak = self.peak.max(self.now);
    }

    pub(crate) fn down(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// How many events there were in the last minute, at most.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    second: u64,
    bins: [u32; TIME_WAIT],
    sum: u32,
    pub(crate) peak: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Self { second: 0, bins: [0; TIME_WAIT], sum: 0, peak: 0 }
    }
}

impl Recent {
    pub(crate) fn add(&mut self, at: Time) {
        let second = at.0 / 1_000_000_000;
        if second > self.second {
            let gone = (second - self.second).min(TIME_WAIT as u64);
            for gone in second + 1 - gone..=second {
                if let Some(bin) = self.bins.get_mut(bin(gone)) {
                    self.sum = self.sum.saturating_sub(std::mem::take(bin));
                }
            }
            self.second = second;
        }
        if let Some(bin) = self.bins.get_mut(bin(self.second)) {
            *bin = bin.saturating_add(1);
            self.sum = self.sum.saturating_add(1);
            self.peak = self.peak.max(self.sum);
        }
    }
}

fn bin(second: u64) -> usize {
    usize::try_from(second % TIME_WAIT as u64).unwrap_or_default()
}

/// A server endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) at: SocketAddr,
    /// Its row in the table of addresses.
    pub(crate) address: u32,
    /// `--proxy` names it.
    pub(crate) told: bool,
    /// It got a request in CONNECT or absolute form, or is told: its clients are watched.
    pub(crate) candidate: bool,
    /// Conversations that are open, and all of them.
    pub(crate) connections: Level,
    pub(crate) connected: u64,
    pub(crate) requests: u64,
    /// What was said, once something was.
    pub(crate) talk: Option<Box<Talk>>,
}

impl Endpoint {
    pub(crate) fn new(at: SocketAddr, address: u32, told: bool) -> Self {
        let connections = Level::default();
        Self { at, address, told, candidate: told, connections, connected: 0, requests: 0, talk: None }
    }

    /// Whether anything was said to it, or will be: most endpoints of a scan never hear a word.
    pub(crate) const fn is_spoken_to(&self) -> bool {
        self.talk.is_some() || self.candidate
    }

    /// What was said to it; none if that is more than is counted.
    pub(crate) fn talk(&mut self, talks: &mut usize) -> Option<&mut Talk> {
        if self.talk.is_none() && *talks < TALKS {
            *talks += 1;
            self.talk = Some(Box::default());
        }
        self.talk.as_deref_mut()
    }
}

/// What was said to an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    pub(crate) forms: [u64; Form::ALL.len()],
    pub(crate) methods: [u64; METHODS.len() + 1],
    pub(crate) statuses: Vec<(u16, u64)>,
    pub(crate) answers: Answers,
    /// Absolute requests with a field that only proxies are sent that were answered.
    pub(crate) proxy_fields_answered: u64,
    /// CONNECTs that were answered as a web server does.
    pub(crate) connects_not_spoken: u64,
    /// Absolute requests for its own address and another port.
    pub(crate) own_other_port: u64,
    /// Requests in CONNECT or absolute form whose authority found no place in the table.
    pub(crate) untold: u64,
    /// Conversations and packets of attempts in vain, and the attempts.
    pub(crate) vain_conversations: u64,
    pub(crate) vain_packets: u64,
    pub(crate) vain: u64,
    pub(crate) silent: u64,
    pub(crate) reset_by_client: u64,
    pub(crate) reset_by_server: u64,
}

impl Talk {
    pub(crate) fn form(&mut self, form: Form) {
        for (known, count) in Form::ALL.iter().zip(&mut self.forms) {
            *count += u64::from(*known == form);
        }
    }

    pub(crate) fn forms_of(&self, form: Form) -> u64 {
        Form::ALL.iter().zip(&self.forms).find(|(known, _)| **known == form).map_or(0, |(_, count)| *count)
    }

    pub(crate) fn method(&mut self, method: &[u8]) {
        let known = METHODS.iter().position(|known| known.as_bytes() == method).unwrap_or(METHODS.len());
        if let Some(count) = self.methods.get_mut(known) {
            *count += 1;
        }
    }

    pub(crate) fn status(&mut self, status: u16) {
        if let Some((_, count)) = self.statuses.iter_mut().find(|(known, _)| *known == status) {
            *count += 1;
        } else if self.statuses.len() < STATUSES {
            self.statuses.push((status, 1));
        }
    }
}

/// Methods that are counted by name (RFC 9110 section 9, RFC 5789, RFC 4918).
pub(crate) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND"];

/// A client and an endpoint.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The client's row in the table of addresses.
    pub(crate) client: u32,
    pub(crate) endpoint: u32,
    pub(crate) first: Time,
    pub(crate) connections: Level,
    pub(crate) total: u32,
    pub(crate) requests: u32,
    pub(crate) refused: u32,
    pub(crate) unanswered: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Conversations that were to be kept, and those of them that the client closed after one answer.
    pub(crate) kept: u32,
    pub(crate) broken: u32,
    /// Its number among the watched.
    pub(crate) watched: Option<u32>,
}

impl Pair {
    pub(crate) fn new(client: u32, endpoint: u32, first: Time) -> Self {
        Self {
            client,
            endpoint,
            first,
            connections: Level::default(),
            total: 0,
            requests: 0,
            refused: 0,
            unanswered: 0,
            packets: 0,
            bytes: 0,
            kept: 0,
            broken: 0,
            watched: None,
        }
    }
}

/// An authority that was asked of an endpoint in one form.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) endpoint: u32,
    pub(crate) form: Form,
    pub(crate) count: u64,
    /// Answers 502, 503, 504.
    pub(crate) failed: u64,
    pub(crate) text: Box<str>,
    pub(crate) authority: Option<crate::http1::target::Authority>,
    pub(crate) port: u16,
    pub(crate) kind: Option<SelfKind>,
}
