//! A recording into a script: who plays, when, and how often.
//!
//! Owns: the options of a replay and what they mean. Called by: the command line. Never: plays.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use ipnet::IpNet;

use super::CLASSES;
use super::lanes::lanes;
use super::record::{Attempt, Connection, LeftOut, Recording};
use super::rename::{Class, Renaming};
use crate::load::{Lane, MAX_CONNECTIONS, MAX_DURATION, Request, Retry, Rhythm, Role, Script, Step, Then};
use crate::pcap::Time;
use crate::pcap::analyze::Told;

/// How long a storm lasts if nobody says.
const STORM: Duration = Duration::from_secs(10);

/// How a recording is to be played.
#[derive(Clone, Debug)]
pub struct Options {
    /// The proxy to be tried.
    pub to: SocketAddr,
    /// Whom requests for anybody else are to reach; none: whom they name.
    pub map_destination: Option<SocketAddr>,
    /// Endpoints that are proxies, whatever the capture says; without a port, any.
    pub proxies: Vec<Told>,
    /// Addresses of the clients, handed out in turn; none: the kernel chooses.
    pub source: Option<IpNet>,
    /// How many clients play; none: as many as were captured.
    pub clients: Option<usize>,
    /// How often each plays its part at the same time.
    pub concurrency: usize,
    /// How fast.
    pub pace: Pace,
    /// What becomes of attempts that name the proxy itself.
    pub retry: Retry,
    /// When it ends at the latest; none: when the capture did, or after 10 s of a storm, and the patience on top; a day at most.
    pub duration: Option<Duration>,
    /// How long a client waits for an answer.
    pub patience: Duration,
    /// Connections that may be open at a time.
    pub connections: usize,
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times as fast as it was captured.
    Times(f64),
    /// Every lane of connections as fast as its answers allow.
    FlatOut,
}

/// Why nothing can be played: what was found instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unplayable {
    requests: u64,
    left_out: LeftOut,
}

/// What a script is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cast {
    /// Requests heard in the capture.
    pub heard: u64,
    /// Attempts of the capture that are played, by class.
    pub attempts: [u64; CLASSES.len()],
    /// Distinct requests among them.
    pub requests: usize,
    /// Clients in the capture that made them.
    pub captured_clients: usize,
    /// Distinct source addresses; 0 if the kernel chooses.
    pub sources: usize,
    /// The proxies of the capture.
    pub proxies: Vec<SocketAddr>,
    /// Lanes that retry, of all clients and copies; the attempts of the capture that they stand for are their first.
    pub retriers: usize,
    /// From the first to the last attempt in the capture.
    pub length: Duration,
    /// What is not played.
    pub left_out: LeftOut,
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requests {
            0 => f.write_str("there is no HTTP request in it"),
            all => write!(
                f,
                "none of its {all} requests can be played: {}; if they were sent to a proxy, name it with --proxy",
                self.left_out
            ),
        }
    }
}

impl std::error::Error for Unplayable {}

/// An attempt that is played.
#[derive(Clone, Copy)]
struct Played {
    at: Time,
    request: u32,
    class: Class,
}

/// A connection, and what is played of it.
type Course<'r> = (&'r Connection, Vec<Played>);

impl Recording {
    /// The script for live clients.
    pub fn script(&self, options: &Options) -> Result<(Script, Cast), Unplayable> {
        let mut cast = Cast { heard: self.heard, left_out: self.left_out, ..Cast::default() };
        let renaming =
            Renaming { proxies: self.proxies(options, &mut cast), to: options.to, map: options.map_destination };
        let (requests, connections) = self.renamed(&renaming, &mut cast);
        let mut times = connections.values().flatten().map(|played| played.at);
        let Some(first) = times.next() else {
            return Err(Unplayable { requests: self.heard, left_out: cast.left_out });
        };
        let (first, last) = times.fold((first, first), |(first, last), at| (first.min(at), last.max(at)));
        cast.length = last.since(first);
        cast.requests = requests.len();

        let mut parts: BTreeMap<u32, Vec<Course<'_>>> = BTreeMap::new();
        for (number, played) in connections {
            if let Some(connection) = self.connections.get(number as usize) {
                parts.entry(connection.client).or_default().push((connection, played));
            }
        }
        cast.captured_clients = parts.len();
        let clock = Clock { first, pace: options.pace };
        let mut all = Vec::new();
        for (part, mut connections) in parts.into_values().enumerate() {
            connections.sort_by_key(|(_, played)| began(played));
            all.extend(clock.part(part, connections, options.retry));
        }
        all.sort_by_key(|lane| lane.begins);

        let clients = Self::roles(options, &mut cast);
        for lane in all.iter().filter(|lane| matches!(lane.rhythm, Rhythm::Again(_))) {
            let players = clients.iter().filter(|role| role.part == lane.part).count();
            cast.retriers = cast.retriers.saturating_add(players.saturating_mul(options.concurrency));
        }
        let length = clock.since(last).max(if options.retry == Retry::Never { Duration::ZERO } else { STORM });
        let script = Script {
            target: options.to,
            patience: options.patience,
            duration: options.duration.unwrap_or_else(|| length.saturating_add(options.patience).min(MAX_DURATION)),
            connections: options.connections.clamp(1, MAX_CONNECTIONS),
            copies: options.concurrency,
            classes: CLASSES.map(str::to_owned).to_vec(),
            requests,
            lanes: all,
            clients,
        };
        Ok((script, cast))
    }

    /// The ports of each proxy's address.
    fn proxies(&self, options: &Options, cast: &mut Cast) -> AHashMap<IpAddr, Vec<u16>> {
        cast.proxies.clone_from(&self.proxies);
        let mut ports: AHashMap<_, Vec<_>> = AHashMap::new();
        for endpoint in &cast.proxies {
            ports.entry(endpoint.ip().to_canonical()).or_default().push(endpoint.port());
        }
        // Another address of a proxy's box, to which nothing was sent.
        for told in &options.proxies {
            ports.entry(told.address.to_canonical()).or_default();
        }
        ports
    }

    /// The distinct requests as they are sent, and the attempts that are played, by connection.
    fn renamed(&self, renaming: &Renaming, cast: &mut Cast) -> (Vec<Request>, BTreeMap<u32, Vec<Played>>) {
        let mut requests = Vec::new();
        let mut known: AHashMap<u32, Option<(u32, Class)>> = AHashMap::new();
        let mut connections: BTreeMap<u32, Vec<Played>> = BTreeMap::new();
        for Attempt { connection, request, at } in &self.attempts {
            let Some(captured) = request.and_then(|request| self.requests.get(request as usize)) else { continue };
            let server = self.connections.get(*connection as usize).map(|connection| connection.server);
            let to_a_proxy = server.is_some_and(|server| cast.proxies.binary_search(&server).is_ok());
            let entry = known.entry(request.unwrap_or_default());
            let renamed = to_a_proxy.then(|| {
                *entry.or_insert_with(|| {
                    let (head, body) = captured.bytes.split_at_checked(captured.head)?;
                    let (mut bytes, class) = renaming.head(head)?;
                    bytes.extend_from_slice(body);
                    requests.push(Request { bytes: bytes.into(), filler: captured.filler });
                    Some((u32::try_from(requests.len().saturating_sub(1)).ok()?, class))
                })
            });
            let Some((request, class)) = renamed.flatten() else {
                cast.left_out.to_servers += 1;
                continue;
            };
            if let Some(count) = cast.attempts.get_mut(class as usize) {
                *count += 1;
            }
            connections.entry(*connection).or_default().push(Played { at: *at, request, class });
        }
        (requests, connections)
    }

    /// Who plays which part, from which address.
    fn roles(options: &Options, cast: &mut Cast) -> Vec<Role> {
        let parts = cast.captured_clients.max(1);
        let clients = options.clients.unwrap_or(parts);
        let mut sources: Vec<_> = options.source.into_iter().flat_map(|net| net.hosts()).take(clients).collect();
        sources.truncate(clients);
        cast.sources = sources.len();
        let source = |client: usize| sources.get(client.checked_rem(sources.len())?).copied();
        (0..clients).map(|client| Role { source: source(client), part: client % parts }).collect()
    }
}

/// Times of the capture as times of the script.
struct Clock {
    first: Time,
    pace: Pace,
}

impl Clock {
    fn since(&self, at: Time) -> Duration {
        self.length(at.since(self.first))
    }

    fn length(&self, captured: Duration) -> Duration {
        match self.pace {
            Pace::Times(times) => Duration::try_from_secs_f64(captured.as_secs_f64() / times).unwrap_or(captured),
            Pace::FlatOut => Duration::ZERO,
        }
    }

    /// The lanes of a client, given its connections in the order of their first attempts.
    fn part(&self, part: usize, connections: Vec<Course<'_>>, retry: Retry) -> Vec<Lane> {
        let pause = match retry {
            Retry::Never => None,
            Retry::Instant => Some(Duration::ZERO),
            Retry::After(pause) => Some(pause),
        };
        let (mut again, mut once) = (Vec::new(), Vec::new());
        for (connection, played) in connections {
            let retries = pause.is_some() && played.first().is_some_and(|first| first.class == Class::SelfTarget);
            let (storm, rest): (Vec<_>, Vec<_>) =
                played.into_iter().partition(|one| retries && one.class == Class::SelfTarget);
            again.extend((!storm.is_empty()).then_some((connection, storm)));
            once.extend((!rest.is_empty()).then_some((connection, rest)));
        }
        let mut all = Vec::new();
        for retrier in in_lanes(again) {
            // What it asked after its answers was already the retry.
            let begins = retrier.first().map_or(Duration::ZERO, |(_, played)| self.since(began(played)));
            let mut known = AHashSet::new();
            let distinct = retrier.iter().flat_map(|(_, played)| played).filter(|one| known.insert(one.request));
            let steps = distinct.map(|one| self.step(one, Then::Close)).collect();
            all.push(Lane { part, begins, rhythm: Rhythm::Again(pause.unwrap_or_default()), steps });
        }
        match self.pace {
            Pace::FlatOut => all.extend(in_lanes(once).iter().map(|lane| {
                let steps = lane.iter().flat_map(|(connection, played)| self.steps(connection, played)).collect();
                Lane { part, begins: Duration::ZERO, rhythm: Rhythm::InTurn, steps }
            })),
            Pace::Times(_) => all.extend(once.iter().map(|(connection, played)| {
                let steps = self.steps(connection, played);
                Lane { part, begins: self.since(began(played)), rhythm: Rhythm::OnTime, steps }
            })),
        }
        all
    }

    /// The attempts on a connection.
    fn steps(&self, connection: &Connection, played: &[Played]) -> Vec<Step> {
        let last = played.len().saturating_sub(1);
        let then = |number: usize| match connection.tunnel {
            _ if number < last => Then::Keep,
            Some(granted) => Then::Hold(self.length(connection.until.since(granted))),
            None => Then::Close,
        };
        played.iter().enumerate().map(|(number, played)| self.step(played, then(number))).collect()
    }

    fn step(&self, played: &Played, then: Then) -> Step {
        Step { due: self.since(played.at), request: played.request, class: played.class as u8, then }
    }
}

fn began(played: &[Played]) -> Time {
    played.first().map(|first| first.at).unwrap_or_default()
}

/// Connections that follow each other.
fn in_lanes(connections: Vec<Course<'_>>) -> Vec<Vec<Course<'_>>> {
    let mut all: Vec<Vec<_>> = Vec::new();
    let on = lanes(connections.iter().map(|(connection, played)| (began(played), connection.until)));
    for (lane, connection) in on.into_iter().zip(connections) {
        if all.len() <= lane {
            all.resize_with(lane.saturating_add(1), Vec::new);
        }
        if let Some(lane) = all.get_mut(lane) {
            lane.push(connection);
        }
    }
    all
}
