//! `floodgate pcap replay`.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::super::{FAILURE, UNREADABLE, USAGE, print};
use crate::load::{self, Progress, Report, Retry, Script};
use crate::net::Class;
use crate::net::class::class;
use crate::pcap::analyze::Told;
use crate::pcap::replay::{Account, Options, Pace, hear};

/// Descriptors that are not for connections.
const OWN_DESCRIPTORS: u64 = 64;

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// Captures: pcap or pcapng, compressed with gzip or zstd or not; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The proxy to be tried. All traffic goes there, and nowhere else.
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,
    /// What the requests ask the proxy for, instead of whom they name; those that name the proxy itself name the new one.
    #[arg(long, value_name = "ADDR:PORT")]
    map_destination: Option<SocketAddr>,
    /// Give each client of the capture an address of its own from this network, whose addresses must be this machine's.
    #[arg(long, value_name = "IP/PREFIX", value_parser = network)]
    source: Option<IpNet>,
    /// Play so many clients, who take the parts of the captured ones in turn [default: as many as were captured].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients: Option<u32>,
    /// Play each client's part so many times at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: u32,
    /// `original`; `xN`, N times as fast; or `flat-out`, as fast as the answers allow.
    #[arg(long, default_value = "original", value_parser = pace)]
    pace: Pace,
    /// After a request that names the proxy itself, and on a new connection: `none`, try no more than was captured; `instant`,
    /// try again at once; or after so many milliseconds.
    #[arg(long, value_name = "none|instant|MS", default_value = "none", value_parser = retry)]
    retry: Retry,
    /// End after so many seconds [default: the capture's length, or 10 with --retry, and the time-out on top; a day at most].
    #[arg(long, value_name = "S", value_parser = seconds)]
    duration: Option<Duration>,
    /// How many seconds a client waits for an answer.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// These are proxies, whether or not the capture shows it; without a port, at any.
    #[arg(long, value_name = "IP[:PORT]")]
    proxy: Vec<Told>,
    /// Write the report as JSON.
    #[arg(long)]
    json: bool,
    /// The proxy has a public address, and I may send this load there.
    #[arg(long)]
    yes_public: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match play(args) {
        Ok(code) => code,
        Err(Failed(code, why)) => {
            eprintln!("floodgate: {why}");
            ExitCode::from(code)
        }
    }
}

/// The exit code, and one line that says what to do.
struct Failed(u8, String);

/// Plays, and tells what came of it.
fn play(args: &Args) -> Result<ExitCode, Failed> {
    permitted(args.to, args.yes_public).map_err(|why| Failed(USAGE, why))?;
    if args.source.is_some_and(|source| source.addr().is_ipv4() != args.to.is_ipv4()) {
        return Err(Failed(USAGE, "--source and --to must both be IPv4, or both IPv6".to_owned()));
    }
    let (recording, files) = hear(&args.files, &args.proxy);
    if !super::tell_problems(&files) {
        // What is wrong with each has been said.
        return Ok(ExitCode::from(UNREADABLE));
    }
    let options = Options {
        to: args.to,
        map_destination: args.map_destination,
        proxies: args.proxy.clone(),
        source: args.source,
        clients: args.clients.map(|clients| clients as usize),
        concurrency: args.concurrency as usize,
        pace: args.pace,
        retry: args.retry,
        duration: args.duration,
        patience: args.timeout,
        connections: connections(),
    };
    let files: Vec<_> = args.files.iter().map(|file| file.display().to_string()).collect();
    let (script, cast) =
        recording.script(&options).map_err(|why| Failed(FAILURE, format!("{}: {why}", files.join(", "))))?;
    drop(recording);
    // What is wrong now was asked for: too many clients, or of another family.
    script.check().map_err(|why| Failed(USAGE, why.to_string()))?;
    for source in [script.clients.first(), script.clients.get(cast.sources.saturating_sub(1))] {
        if let Some(source) = source.and_then(|role| role.source) {
            UdpSocket::bind((source, 0)).map_err(|error| {
                Failed(FAILURE, format!("{source} cannot be a source address: {error}; add it to an interface first"))
            })?;
        }
    }
    let report = live(script).map_err(|why| Failed(FAILURE, why))?;
    let account = Account { options: &options, cast: &cast, report: &report };
    Ok(print(&if args.json { format!("{:#}\n", account.to_json()) } else { account.to_string() }))
}

/// Where load may go: to this machine, its networks, and those set aside for benchmarks (RFC 2544).
fn permitted(to: SocketAddr, yes_public: bool) -> Result<(), String> {
    let is_benchmark = matches!(to.ip(), IpAddr::V4(address) if matches!(address.octets(), [198, 18 | 19, ..]));
    match class(to.ip()) {
        _ if to.port() == 0 => Err(format!("{to} has no port that can be connected to")),
        Class::Unspecified | Class::Multicast | Class::Broadcast => Err(format!("{to} is not the address of a proxy")),
        Class::Loopback | Class::LinkLocal | Class::Private => Ok(()),
        Class::Public | Class::Reserved | Class::Transition if yes_public || is_benchmark => Ok(()),
        other @ (Class::Public | Class::Reserved | Class::Transition) => Err(format!(
            "{to} is a {} address, and this load could hurt whoever is there: add --yes-public if you may do that",
            other.label()
        )),
    }
}

/// Plays it, with a bar if somebody watches.
fn live(script: Script) -> Result<Report, String> {
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new(u64::try_from(script.duration.as_millis()).unwrap_or(u64::MAX))
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{elapsed} {wide_bar} {msg}") {
        bar.set_style(style);
    }
    let watch = |progress: Progress| {
        bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{} attempts", progress.attempts));
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let report = runtime.block_on(async {
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (mut interrupt, mut terminate) =
            interrupt.and_then(|one| Ok((one, terminate?))).map_err(|error| format!("signals: {error}"))?;
        let end = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        load::play(script, end, watch).await.map_err(|error| error.to_string())
    });
    bar.finish_and_clear();
    report
}

/// How many connections may be open at a time: as many as descriptors may be had.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current };
    let connections = current.unwrap_or(u64::MAX).saturating_sub(OWN_DESCRIPTORS).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX).min(load::MAX_CONNECTIONS)
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || Some(IpNet::from(text.parse::<IpAddr>().ok()?));
    text.parse().ok().or_else(address).ok_or_else(|| "not a network, such as 127.0.0.0/8".to_owned())
}

fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "original" => Ok(Pace::Times(1.0)),
        "flat-out" => Ok(Pace::FlatOut),
        other => {
            let times = other.strip_prefix('x').and_then(|times| times.parse::<f64>().ok());
            let within = times.filter(|times| (1e-3..=1e6).contains(times));
            within
                .map(Pace::Times)
                .ok_or_else(|| "not original, flat-out, or xN with N from 0.001 to 1000000".to_owned())
        }
    }
}

fn retry(text: &str) -> Result<Retry, String> {
    match text {
        "none" => Ok(Retry::Never),
        "instant" => Ok(Retry::Instant),
        pause => match pause.parse() {
            Ok(0) => Ok(Retry::Instant),
            Ok(pause @ 1..=3_600_000) => Ok(Retry::After(Duration::from_millis(pause))),
            Ok(_) | Err(_) => Err("not none, instant, or milliseconds up to an hour".to_owned()),
        },
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let within = seconds.filter(|seconds| (Duration::from_millis(1)..=Duration::from_hours(24)).contains(seconds));
    within.ok_or_else(|| "not seconds, from 0.001 to 86400".to_owned())
}
