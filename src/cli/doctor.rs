//! `floodgate doctor`: why this box is slow.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::ask::ask;
use super::fence::Whom;
use super::{FAILURE, UNREADABLE, print};
use crate::doctor::evidence::{Evidence, Unseen};
use crate::doctor::{diagnose, gateway, gather, show};

/// Between the two readings of the counters.
const BETWEEN: Duration = Duration::from_secs(1);

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Judge a recorded tree instead of this box: a folder with proc/…, and perhaps later counters in second/proc/….
    #[arg(long, value_name = "DIR", conflicts_with_all = ["admin", "token_file"])]
    root: Option<PathBuf>,
    #[command(flatten)]
    whom: Whom,
    /// What clients send, from a capture; may be given several times.
    #[cfg(feature = "tools")]
    #[arg(long, value_name = "FILE")]
    pcap: Vec<PathBuf>,
    /// Listen for 10 s on this interface to what clients send; needs `CAP_NET_RAW`.
    #[cfg(feature = "tools")]
    #[arg(long, value_name = "IFACE", conflicts_with_all = ["root", "pcap"])]
    capture: Option<String>,
}

/// The exit code, and one line that says what to do.
struct Failed(u8, String);

pub(super) fn run(args: &Args) -> ExitCode {
    let evidence = match gathered(args) {
        Ok(evidence) => evidence,
        Err(Failed(code, why)) => {
            if !why.is_empty() {
                eprintln!("floodgate: {why}");
            }
            return ExitCode::from(code);
        }
    };
    let diagnosis = diagnose(&evidence);
    let printed = print(&if args.json { show::json(&diagnosis) } else { show::text(&diagnosis) });
    // That the result was cut short is worse than what it says.
    if printed == ExitCode::SUCCESS { ExitCode::from(diagnosis.verdict.exit_code()) } else { printed }
}

fn gathered(args: &Args) -> Result<Evidence, Failed> {
    let mut evidence = match &args.root {
        Some(root) => gather::recorded(root).map_err(|why| Failed(UNREADABLE, why))?,
        None => live(args)?,
    };
    #[cfg(feature = "tools")]
    if !args.pcap.is_empty() {
        evidence.heard = Some(captured(&args.pcap)?);
    }
    if args.root.is_none() {
        ask_gateway(&mut evidence, &args.whom)?;
    }
    Ok(evidence)
}

#[cfg(not(feature = "tools"))]
fn live(_args: &Args) -> Result<Evidence, Failed> {
    gather::live(|| thread::sleep(BETWEEN)).map_err(|why| Failed(FAILURE, why))
}

/// This box, and what is heard on an interface between the two readings.
#[cfg(feature = "tools")]
fn live(args: &Args) -> Result<Evidence, Failed> {
    use crate::doctor::{heard, listen};
    use crate::pcap::analyze::{Options, analyze_input};

    /// How long is listened.
    const LISTEN: Duration = Duration::from_secs(10);

    let Some(name) = &args.capture else {
        return gather::live(|| thread::sleep(BETWEEN)).map_err(|why| Failed(FAILURE, why));
    };
    let capture = listen::Live::open(name, LISTEN).map_err(|why| Failed(FAILURE, why))?;
    eprintln!("floodgate: listening on {} for {} s", name.escape_debug(), LISTEN.as_secs());
    let mut findings = None;
    let listening = || findings = Some(analyze_input(name.clone(), capture, Options::default()));
    let mut evidence = gather::live(listening).map_err(|why| Failed(FAILURE, why))?;
    if let Some(findings) = &findings {
        super::pcap::tell_problems(&findings.files);
    }
    evidence.heard = findings.map(|findings| heard::heard(format!("{name}, {} s", LISTEN.as_secs()), &findings));
    Ok(evidence)
}

/// What captures tell.
#[cfg(feature = "tools")]
fn captured(files: &[PathBuf]) -> Result<crate::doctor::evidence::Heard, Failed> {
    let findings = crate::pcap::analyze::analyze(files, crate::pcap::analyze::Options::default());
    if !super::pcap::tell_problems(&findings.files) {
        // What is wrong with each has been said.
        return Err(Failed(UNREADABLE, String::new()));
    }
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    Ok(crate::doctor::heard::heard(names.join(", "), &findings))
}

/// Asks the gateway of this box, by default where its configuration says. That none answers is no fault.
fn ask_gateway(evidence: &mut Evidence, whom: &Whom) -> Result<(), Failed> {
    let credentials = whom.credentials().map_err(|why| Failed(UNREADABLE, why))?;
    let admin = whom.clone().address();
    let status = ask(&admin, Method::GET, "/api/v1/status", credentials.as_deref(), Vec::new()).and_then(|answer| {
        let status = serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| answer.status == StatusCode::OK);
        let read = status.and_then(|status| gateway::read(&admin.to_string(), &status));
        read.ok_or_else(|| match answer.status {
            StatusCode::UNAUTHORIZED => format!("{}; --token-file FILE gives the token for reading", answer.told()),
            _ => format!("{} is no status of a floodgate", answer.told()),
        })
    });
    match status {
        Ok(status) => evidence.gateway = Some(status),
        Err(why) => evidence.unseen.push(Unseen { source: "floodgate".to_owned(), why }),
    }
    Ok(())
}
