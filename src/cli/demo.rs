//! `floodgate demo`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::FAILURE;
use crate::demo::{Demo, HEADER, Story, rights};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// End after so many seconds: the storm comes after a twentieth of them, the guard after a quarter.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=3600))]
    seconds: u64,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match show(args.seconds) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (a pager, head(1)) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floodgate: the demonstration cannot go on: {error}");
            ExitCode::from(FAILURE)
        }
    }
}

fn show(seconds: u64) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(entered);
    let mut demo = Demo::start(seconds)?;
    let mut story = Story::default();
    let shown = runtime.block_on(async {
        say(&format!("{}{}\n\n{HEADER}", demo.introduction(), rights()))?;
        let mut clock = interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once, when nothing has happened yet.
        clock.tick().await;
        while !demo.is_over() {
            tokio::select! {
                _ = clock.tick() => {}
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            }
            let row = demo.second()?;
            story.add(&row);
            say(&row.to_string())?;
        }
        Ok(())
    });
    // What was started is ended, whatever happened.
    let ended = demo.end();
    shown.and(ended)?;
    say(&format!("\n{story}"))
}

fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
