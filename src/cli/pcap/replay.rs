//! `floodgate pcap replay`.

use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {}

pub(super) fn run(args: &Args) -> ExitCode {
    let Args {} = args;
    ExitCode::from(super::super::FAILURE)
}
