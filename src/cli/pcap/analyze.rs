//! `floodgate pcap analyze`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{FAILURE, UNREADABLE, print};
use crate::pcap::analyze::{Options, Told, analyze, show};

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// Captures, read one after the other as one; "-" is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// This is a proxy, whatever it looks like; may be given several times, for all addresses of the box.
    #[arg(long, value_name = "IP[:PORT]")]
    proxy: Vec<Told>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Draw the attempts per second of each client.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let findings = analyze(&args.files, Options { proxies: args.proxy.clone() });
    if !super::tell_problems(&findings.files) {
        return ExitCode::from(UNREADABLE);
    }
    if let Some(path) = &args.plot
        && let Err(error) = fs::write(path, show::svg(&findings))
    {
        eprintln!("floodgate: {}: {error}; name a file that can be written with --plot", path.display());
        return ExitCode::from(FAILURE);
    }
    print(&if args.json { show::json(&findings) } else { show::text(&findings) })
}
