//! `floodgate pcap analyze`.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{FAILURE, UNREADABLE};
use crate::pcap::analyze::{Options, Told, analyze, show};

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Args {
    /// Captures, read one after the other as one; "-" is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// This is a proxy, whatever it looks like; may be given several times, for all addresses of the box.
    #[arg(long, value_name = "IP[:PORT]", value_parser = told)]
    proxy: Vec<Told>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Draw the attempts per second of each client.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

fn told(text: &str) -> Result<Told, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Told { address: address.ip(), port: Some(address.port()) });
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>();
    address.map(|address| Told { address, port: None }).map_err(|_| {
        "write an address, or an address and a port, such as 10.115.5.2, 10.115.5.2:3128 or [fd00::2]:3128".to_owned()
    })
}

pub(super) fn run(args: &Args) -> ExitCode {
    let findings = analyze(&args.files, Options { proxies: args.proxy.clone() });
    for file in &findings.files {
        for problem in &file.problems {
            eprintln!("floodgate: {}: {problem}", file.name);
        }
    }
    if !findings.files.iter().any(|file| file.readable) {
        return ExitCode::from(UNREADABLE);
    }
    if let Some(path) = &args.plot
        && let Err(error) = fs::write(path, show::svg(&findings))
    {
        eprintln!("floodgate: {}: {error}; name a file that can be written with --plot", path.display());
        return ExitCode::from(FAILURE);
    }
    let result = if args.json { show::json(&findings) } else { show::text(&findings) };
    // A reader that has seen enough (a pager, head(1)) is no failure.
    io::stdout().write_all(result.as_bytes()).unwrap_or_default();
    ExitCode::SUCCESS
}
