//! Captures that are made up: scenarios as files, the same bytes for the same seed.
//!
//! Owns: the scenarios, their packets and times. Called by: the command line, tests, the benchmark. Never: reads a clock or
//! a file; holds more packets than are on their way: a flight or a short exchange for each actor, 8 MB for 200 clients and
//! a gibibyte.
//!
//! [`write()`] sets up a stage with the actors of a scenario (`scenes`); each acts when its time comes (`stage`), and lets
//! connections (`flow`) speak (`words`, `message`), which become packets (`packet`) that are written in the order of their
//! times (`file`).

mod cast;
mod chance;
mod exchange;
mod file;
mod flow;
mod message;
mod packet;
mod scenes;
mod stage;
mod tls;
mod words;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;

use chance::Chance;
use file::File;
use message::Filler;
use stage::{SECOND, Stage};

/// More clients than this take part in no scenario.
pub const MAX_CLIENTS: u32 = 10_000;
/// No capture covers more than this: ten years, seconds.
pub const MAX_SECONDS: u32 = 315_360_000;

/// What happens in a capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Scenario {
    /// PCs ask the proxy for the gateway itself, get 404, and ask again at once
    SelfTargetStorm,
    /// PCs do that and browse as well
    MixedClient,
    /// one such PC among fifty good ones behind one address
    #[value(name = "nat-50")]
    Nat50,
    /// a messenger starts: 35 connections in 26 s, ten of them within a second; nothing is wrong
    StartupBurst,
    /// clients send the head of a request a line at a time and never finish it
    SlowLoris,
    /// clients ask for servers that refuse or never answer, get 502 or 504, and try again
    DeadDestination,
    /// clients use the proxy, ask it for keep-alive in vain, and also go straight to the same servers
    Bypass,
    /// people browse: keep-alive and tunnels, IPv4 and IPv6, mostly full packets; by the gibibyte for benchmarks
    BrowsingDay,
}

impl Scenario {
    /// How many clients take part unless it is said, and what ends the scenario unless anything is said to.
    const fn defaults(self) -> (u32, End) {
        match self {
            Self::SelfTargetStorm => (3, End::Seconds(3)),
            Self::MixedClient => (1, End::Seconds(3)),
            Self::Nat50 => (50, End::Seconds(2)),
            Self::StartupBurst => (1, End::Seconds(30)),
            Self::SlowLoris => (8, End::Seconds(40)),
            Self::DeadDestination => (4, End::Seconds(20)),
            Self::Bypass => (2, End::Seconds(8)),
            // A single download may be larger than all the others' files.
            Self::BrowsingDay => (24, End::Bytes(200_000)),
        }
    }
}

/// What ends a scenario: nothing new begins after so many seconds, or the file is full.
#[derive(Clone, Copy, Debug)]
enum End {
    Seconds(u32),
    Bytes(u64),
}

/// How a scenario is to be played. What is not said is small: the file has some hundred kilobytes at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// So many clients, at most [`MAX_CLIENTS`].
    pub clients: Option<u32>,
    /// Nothing new begins after so many seconds, at most [`MAX_SECONDS`].
    pub seconds: Option<u32>,
    /// Another seed, another capture.
    pub seed: u64,
    /// The file ends before it would have more bytes, and if `seconds` is not said, not before it has nearly as many.
    pub size: Option<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// Packets.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// From the beginning of the scenario to its last packet.
    pub duration: Duration,
    /// Clients that took part.
    pub clients: u32,
}

/// Plays a scenario into a file: legacy pcap, microseconds, Ethernet.
///
/// # Errors
///
/// Those of the writer.
pub fn write(scenario: Scenario, options: &Options, writer: impl Write) -> io::Result<Written> {
    let (clients, usual) = scenario.defaults();
    let clients = options.clients.unwrap_or(clients).clamp(1, MAX_CLIENTS);
    let (seconds, size) = match (options.seconds, options.size, usual) {
        (None, None, End::Seconds(seconds)) => (Some(seconds), None),
        (None, None, End::Bytes(bytes)) => (None, Some(bytes)),
        (seconds, size, _) => (seconds, size),
    };
    let seconds = seconds.unwrap_or(MAX_SECONDS).min(MAX_SECONDS);
    let mut file = File::new(writer, Filler::new(options.seed), size.unwrap_or(u64::MAX))?;
    let mut stage = Stage::new(Chance::new(options.seed), u64::from(seconds) * SECOND);
    let actors = scenes::cast(scenario, clients, &mut stage);
    stage.play(actors, &mut file)?;
    file.flush()?;
    Ok(Written { packets: file.packets, bytes: file.bytes, duration: Duration::from_nanos(file.last), clients })
}
