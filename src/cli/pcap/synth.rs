//! `floodgate pcap synth`.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{FAILURE, USAGE};
use crate::config;
use crate::pcap::synth::{self, MAX_CLIENTS, MAX_SECONDS, Options, Scenario, Written};

/// Written at once.
const BUFFER: usize = 1 << 18;

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// What happens in the capture.
    scenario: Scenario,
    /// Write the capture here, over what is there; "-" for stdout.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// So many clients take part [default: the scenario's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CLIENTS)))]
    clients: Option<u32>,
    /// Nothing new begins after so many seconds [default: the scenario's, or as many as --size takes].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
    seconds: Option<u32>,
    /// The same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Play until the file has so many bytes (a number, or one with KiB, MiB or GiB) or --seconds are over.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: Option<u64>,
}

fn size(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| config::size(text))
}

pub(super) fn run(args: &Args) -> ExitCode {
    let options = Options { clients: args.clients, seconds: args.seconds, seed: args.seed, size: args.size };
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        eprintln!("floodgate: a capture is no text for a terminal; name a file with -o, or pipe it");
        return ExitCode::from(USAGE);
    }
    let written = if to_stdout {
        synth::write(args.scenario, &options, BufWriter::with_capacity(BUFFER, io::stdout().lock()))
    } else {
        match File::create(&args.output) {
            Ok(file) => synth::write(args.scenario, &options, BufWriter::with_capacity(BUFFER, file)),
            Err(error) => return failed(&args.output, &error, "name a file that can be written with -o"),
        }
    };
    match written {
        Ok(Written { packets, bytes, duration, clients }) => {
            let seconds = duration.as_secs_f64();
            eprintln!("{packets} packets, {bytes} bytes, {clients} clients, {seconds:.1} s");
            ExitCode::SUCCESS
        }
        // A reader that has seen enough (head(1), tcpdump -c) is no failure.
        Err(error) if to_stdout && error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&args.output, &error, "the capture is cut short: make room, or name another file"),
    }
}

fn failed(place: &Path, error: &io::Error, remedy: &str) -> ExitCode {
    eprintln!("floodgate: {}: {error}; {remedy}", place.display());
    ExitCode::from(FAILURE)
}
