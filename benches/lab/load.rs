//! The load of the lab: plays a plan (JSON on standard input) and writes what it saw (JSON) to standard output.
//!
//! `lab-load [--core N] [--process PID]... [--at-end COMMAND]`: at the two marks of the measured part, the time that this core was
//! not idle and the resident memory of these processes and their children are read, before anything is closed. The command is
//! run by the shell after the last of them, while everything is still open.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that only the lab talks to"
)]

use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{fs, io};

use clap::Parser;
use floodgate::load::{self, Class, Connection, Exchange, Manner, Mark, Pace, Plan, Retry};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Arguments {
    /// The core whose time is read.
    #[arg(long)]
    core: Option<usize>,
    /// Processes whose memory is read.
    #[arg(long)]
    process: Vec<u32>,
    /// What is done in the end, before connections are closed.
    #[arg(long)]
    at_end: Option<String>,
}

fn main() -> ExitCode {
    match play(&Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lab-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<Value, Failure> {
    let plan = plan(&serde_json::from_reader(io::stdin().lock())?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut seen = Vec::new();
    let mut failed = None;
    let report = runtime.block_on(load::run(&plan, |mark| {
        seen.push(json!({ "core": arguments.core.map(core), "memory_kb": arguments.process.iter().copied().map(memory).sum::<u64>() }));
        if let (Mark::End, Some(command)) = (mark, &arguments.at_end) {
            failed = Command::new("sh").args(["-euc", command]).status().map_or(Some(-1), |status| status.code().filter(|code| *code != 0));
        }
    }))?;
    if let Some(code) = failed {
        return Err(format!("what was to be done in the end ended with {code}").into());
    }
    let mut report = report.to_json();
    report["marks"] = seen.into();
    Ok(report)
}

/// Reads a plan.
fn plan(value: &Value) -> Result<Plan, Failure> {
    Ok(Plan {
        target: text(value, "target")?.parse()?,
        settle: seconds(value, "settle_s")?,
        warm_up: seconds(value, "warm_up_s")?,
        duration: seconds(value, "duration_s")?,
        classes: value["classes"]
            .as_array()
            .ok_or("classes is not a list")?
            .iter()
            .map(class)
            .collect::<Result<_, _>>()?,
    })
}

fn class(value: &Value) -> Result<Class, Failure> {
    let bytes = |key| text(value, key).map(|text| text.as_bytes().into());
    let pace = &value["pace"];
    let sources = value["sources"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Class {
        name: text(value, "name")?.to_owned(),
        sources: sources
            .iter()
            .map(|source| Ok(source.as_str().ok_or("a source is not a text")?.parse::<IpAddr>()?))
            .collect::<Result<_, Failure>>()?,
        connections: usize::try_from(value["connections"].as_u64().ok_or("connections is not a number")?)?,
        patience: seconds(value, "patience_s")?,
        exchange: Exchange {
            tunnel: value["tunnel"].is_string().then(|| bytes("tunnel")).transpose()?,
            request: bytes("request")?,
        },
        connection: if value["kept"].as_bool().ok_or("kept is not true or false")? {
            Connection::Kept
        } else {
            Connection::New
        },
        manner: match (value["drip_ms"].as_u64(), value["stall_after"].as_u64()) {
            (Some(pause), _) => Manner::Drip(Duration::from_millis(pause)),
            (_, Some(after)) => Manner::Stall { after },
            _ => Manner::Prompt,
        },
        pace: match (pace.as_str(), pace["per_second"].as_u64(), pace["retry_ms"].as_u64()) {
            (Some("hold"), ..) => Pace::Hold,
            (Some("once"), ..) => Pace::Closed(Retry::Never),
            (Some("closed"), ..) => Pace::Closed(Retry::Instant),
            (_, Some(per_second), _) => Pace::Open { per_second: per_second.try_into()?, once: pace["once"] == true },
            (_, _, Some(pause)) => Pace::Closed(Retry::After(Duration::from_millis(pause))),
            _ => return Err(format!("{pace} is no pace").into()),
        },
    })
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str, Failure> {
    Ok(value[key].as_str().ok_or_else(|| format!("{key} is not a text"))?)
}

fn seconds(value: &Value, key: &str) -> Result<Duration, Failure> {
    Ok(Duration::try_from_secs_f64(value[key].as_f64().ok_or_else(|| format!("{key} is not a number"))?)?)
}

/// The columns of a core in `/proc/stat`, in ticks of 10 ms, and when they were read. `idle` is exact on a kernel without
/// a periodic tick; the others are samples.
fn core(number: usize) -> Value {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{number} "))).unwrap_or_default();
    let columns: Vec<u64> = line.split_whitespace().filter_map(|column| column.parse().ok()).collect();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    json!({ "ticks": columns, "at_us": now.tv_sec * 1_000_000 + now.tv_nsec / 1000 })
}

/// Resident memory of a process and its descendants, in KB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    own + children
        .flat_map(|line| line.split_whitespace().filter_map(|id| id.parse().ok()).map(memory).collect::<Vec<_>>())
        .sum::<u64>()
}
