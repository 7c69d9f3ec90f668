//! The command line: commands, flags, exit codes, signals.
//!
//! Owns: what the terminal shows. Called by: `main`. Never: serves anything itself.
#![expect(clippy::print_stderr, reason = "this is the room that talks to the terminal")]

mod alarm;
mod ask;
#[cfg(feature = "tools")]
mod demo;
mod doctor;
mod fence;
#[cfg(feature = "tools")]
mod pcap;
#[cfg(feature = "tools")]
mod top;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{self, LoadError, Overrides, Settings};
use crate::gateway::Gateway;
use crate::kernel::privilege::{self, Privileges};

/// Wrong use (sysexits.h, `EX_USAGE`).
const USAGE: u8 = 64;
/// Unreadable input (`EX_DATAERR`).
const UNREADABLE: u8 = 65;
/// Any other failure.
const FAILURE: u8 = 1;

/// A load-guarding forward proxy.
#[derive(Debug, Parser)]
#[command(name = "floodgate", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground.
    #[command(after_help = "Example:\n  floodgate run --listen 0.0.0.0:3128\n\n\
        SIGHUP reads the configuration again, SIGUSR1 opens the access log again, SIGTERM drains and stops.")]
    Run(RunArgs),
    /// Validate the configuration: every problem with key, value, reason and remedy.
    #[command(after_help = "Example:\n  floodgate check --config /etc/floodgate/floodgate.toml")]
    Check(ConfigArgs),
    /// Print the complete, commented default configuration.
    #[command(after_help = "Example:\n  floodgate config > /etc/floodgate/floodgate.toml")]
    Config,
    /// Clients that are kept out in the kernel: list them, let them in again.
    #[command(subcommand, after_help = "Example:\n  floodgate fence list")]
    Fence(fence::Command),
    /// Alarms: see whether they arrive.
    #[command(subcommand, after_help = "Example:\n  floodgate alarm test")]
    Alarm(alarm::Command),
    /// Watch the gateway on this terminal: pressure, the kernel's TCP memory, traffic, clients, fences, alarms.
    #[cfg(feature = "tools")]
    #[command(after_help = "Example:\n  floodgate top --admin http://10.115.5.2:9128\n\n\
        Keys: w k s c r f b a sort the clients (worst, kernel memory, sockets, connections, requests, refusals, bytes,\n\
        address), the arrows move through them, q leaves.")]
    Top(top::Args),
    /// Why is this box slow? The investigation, from symptom to culprit; exit code 0 (well), 1 (warning) or 2 (critical).
    #[command(after_help = "Example:\n  floodgate doctor\n\n\
        It changes nothing. As root it sees more: what it could not see, it says.")]
    Doctor(doctor::Args),
    /// Captures: explain them, play them again, make them up.
    #[cfg(feature = "tools")]
    #[command(subcommand, after_help = "Example:\n  floodgate pcap analyze sick-gateway.pcap.gz")]
    Pcap(pcap::Command),
    /// Show on loopback what a storm does, and what the guard does about it: origin, gateway and clients in one process.
    #[cfg(feature = "tools")]
    #[command(after_help = "Example:\n  floodgate demo --seconds 30")]
    Demo(demo::Args),
}

#[derive(Args, Debug)]
struct ConfigArgs {
    /// Configuration file [default: /etc/floodgate/floodgate.toml if it exists, else built-in defaults].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    file: ConfigArgs,
    /// Listen here instead of where the file says; may be given several times.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Serve the admin here instead of where the file says.
    #[arg(long, value_name = "ADDR:PORT")]
    admin: Option<SocketAddr>,
}

/// Runs a command line; the exit code is 64 for wrong use, 65 for unreadable input, 1 for any other failure.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(Cli { command: Command::Run(args) }) => gateway(&args),
        Ok(Cli { command: Command::Check(args) }) => check(&args),
        Ok(Cli { command: Command::Fence(command) }) => command.run(),
        Ok(Cli { command: Command::Alarm(command) }) => command.run(),
        #[cfg(feature = "tools")]
        Ok(Cli { command: Command::Top(args) }) => top::run(args),
        Ok(Cli { command: Command::Doctor(args) }) => doctor::run(&args),
        #[cfg(feature = "tools")]
        Ok(Cli { command: Command::Pcap(command) }) => command.run(),
        #[cfg(feature = "tools")]
        Ok(Cli { command: Command::Demo(args) }) => demo::run(&args),
        Ok(Cli { command: Command::Config }) => print(&config::print()),
        Err(error) => {
            // Help and version are results; everything else is wrong use.
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            error.print().unwrap_or_default();
            code
        }
    }
}

/// Prints a result, to the last byte: a disk that is full is told.
fn print(result: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(result.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (a pager, head(1)) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floodgate: standard output: {error}; the result is cut short: write it elsewhere");
            ExitCode::from(FAILURE)
        }
    }
}

fn check(args: &ConfigArgs) -> ExitCode {
    match config::load(args.config.as_deref(), &Overrides::default()) {
        Ok(settings) => {
            let problems = crate::alarm::deliver::check(&settings);
            let warnings = config::warnings(&settings).into_iter().map(|warning| format!("warning: {warning}\n"));
            let told: String = warnings.chain(problems.iter().map(|problem| format!("{problem}\n"))).collect();
            if problems.is_empty() {
                return print(&(told + "ok\n"));
            }
            // Printed or not, something is wrong.
            let _: ExitCode = print(&told);
            ExitCode::from(FAILURE)
        }
        Err(LoadError::Invalid { problems, .. }) => {
            print(&format!("{problems}\n"));
            ExitCode::from(FAILURE)
        }
        Err(error) => {
            eprintln!("floodgate: {error}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn gateway(args: &RunArgs) -> ExitCode {
    let overrides = Overrides { listen: args.listen.clone(), admin: args.admin };
    let path = args.file.config.as_deref();
    let settings = match config::load(path, &overrides) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("floodgate: {error}");
            return ExitCode::from(if matches!(error, LoadError::Invalid { .. }) { FAILURE } else { UNREADABLE });
        }
    };
    let level = log_to_stderr(settings.log.level);
    warn_of(&settings);
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("floodgate: signals cannot be received: {error}");
            return ExitCode::from(FAILURE);
        }
    };
    let mut rights = None;
    let drop_rights = |settings: &Settings| {
        rights = Some(privilege::drop_to_needed(settings.runtime.user.as_ref())?);
        Ok(())
    };
    let gateway = match Gateway::start_after(settings, drop_rights) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("floodgate: {error}");
            return ExitCode::from(FAILURE);
        }
    };
    if let Some(rights) = rights {
        tell(rights);
    }
    info!(listeners = ?gateway.listeners, admin = %gateway.admin, version = env!("CARGO_PKG_VERSION"), "ready");
    let file = path.unwrap_or_else(|| Path::new(config::DEFAULT_PATH));
    let reload = || match config::load(path, &overrides) {
        Ok(settings) => {
            let restart = config::restart_keys(&gateway.settings(), &settings);
            if !restart.is_empty() {
                gateway.reload_refused(file, &format!("{} need a restart", restart.join(", ")));
                error!(keys = ?restart, "configuration not reloaded: these keys need a restart; the old configuration stays");
                return;
            }
            let filter = settings.log.level;
            match gateway.reload(settings) {
                Ok(()) => {
                    level.modify(|current| *current = filter).unwrap_or_default();
                    info!("configuration reloaded");
                }
                Err(error) => {
                    gateway.reload_refused(file, &error.to_string());
                    error!(%error, "configuration not reloaded; the old one stays");
                }
            }
        }
        Err(error) => {
            gateway.reload_refused(file, &error.to_string());
            error!(%error, "configuration not reloaded; the old one stays");
        }
    };
    signals.wait_for_the_end(reload, || gateway.reopen_logs());
    info!("draining; a second signal ends it at once");
    let again = signals.again();
    match gateway.drain(|| again.load(Relaxed)) {
        0 => info!("stopped"),
        cut => warn!(connections = cut, "stopped; the drain time was over before these had finished"),
    }
    ExitCode::SUCCESS
}

/// What the configuration had better not say.
fn warn_of(settings: &Settings) {
    for warning in config::warnings(settings) {
        warn!("{warning}");
    }
}

/// One line: what was kept, what is missing and what that costs.
fn tell(rights: Privileges) {
    let keeps = if rights.net_admin { "CAP_NET_ADMIN" } else { "nothing" };
    match &*rights.missing() {
        "" => info!(uid = rights.uid, keeps, "privileges dropped"),
        missing => warn!(uid = rights.uid, keeps, missing, "privileges dropped"),
    }
}

fn log_to_stderr(level: LevelFilter) -> reload::Handle<LevelFilter, Registry> {
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    handle
}

/// The signals of the process, on a runtime of their own, which needs no thread: rights are dropped before there is one. From the moment this exists none of them kills the process: what
/// comes while the gateway starts is obeyed when it has.
struct Signals {
    runtime: Runtime,
    hangup: Signal,
    user1: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (hangup, user1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok(Self { runtime, hangup, user1, terminate, interrupt })
    }

    /// Serves signals until one of them means the end.
    fn wait_for_the_end(&mut self, reload: impl Fn(), reopen: impl Fn()) {
        let Self { runtime, hangup, user1, terminate, interrupt } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = hangup.recv() => reload(),
                    _ = user1.recv() => reopen(),
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                }
            }
        });
    }

    /// Becomes true when the end is asked for once more.
    fn again(self) -> Arc<AtomicBool> {
        let asked = Arc::new(AtomicBool::new(false));
        let Self { runtime, mut terminate, mut interrupt, .. } = self;
        let flag = Arc::clone(&asked);
        let wait = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            flag.store(true, Relaxed);
        };
        if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(wait) {
            warn!(%error, "a second signal will not be heard");
        }
        asked
    }
}
