//! `floodgate pcap`: the commands for captures.

mod analyze;
mod replay;
mod synth;

use std::process::ExitCode;

use clap::Subcommand;

use crate::pcap::road::File;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Explain what happened in captures: proxies, self-target requests, storms, and what to do about them.
    #[command(after_help = "Example:\n  floodgate pcap analyze sick-gateway.pcap.gz")]
    Analyze(analyze::Args),
    /// Play the requests of captures again, as live clients of a proxy.
    #[command(
        after_help = "Example:\n  floodgate pcap replay storm.pcap --to 127.0.0.1:3128 --retry instant --duration 10"
    )]
    Replay(Box<replay::Args>),
    /// Write the capture of a made-up scenario; the same seed gives the same bytes.
    #[command(after_help = "Example:\n  floodgate pcap synth self-target-storm -o storm.pcap")]
    Synth(synth::Args),
}

impl Command {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Self::Analyze(args) => analyze::run(&args),
            Self::Replay(args) => replay::run(&args),
            Self::Synth(args) => synth::run(&args),
        }
    }
}

/// Says what is wrong with which capture; false if none of them could be read.
pub(super) fn tell_problems(files: &[File]) -> bool {
    for File { name, problems, .. } in files {
        let name = if name == "-" { "standard input" } else { name };
        for problem in problems {
            eprintln!("floodgate: {}: {problem}", name.escape_debug());
        }
    }
    files.iter().any(|file| file.readable)
}
