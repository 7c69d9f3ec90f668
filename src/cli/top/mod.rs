//! `floodgate top`: what the gateway is doing, once a second, on a terminal.
//!
//! Owns: the terminal while it runs, and the threads that ask, listen to the keys and wait for signals. Called by: the command
//! line. Never: changes anything at the gateway; shows a byte of somebody else's that commands the terminal.

mod state;
mod status;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hyper::{Method, StatusCode};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use self::state::{Event, Key, State};
use super::ask::{Address, ask};
use super::fence::Whom;
use super::{FAILURE, UNREADABLE, USAGE};

/// The gateway looks at the kernel once a second: more often there is nothing new.
const PERIOD: Duration = Duration::from_secs(1);
/// Events that wait to be looked at; whoever has another one waits with it.
const EVENTS: usize = 16;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: Args) -> ExitCode {
    let fail = |code: u8, why: String| {
        eprintln!("floodgate: {why}");
        ExitCode::from(code)
    };
    let credentials = args.whom.credentials();
    let admin = args.whom.address();
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let instead = format!("curl -s {admin}/api/v1/status");
        return fail(USAGE, format!("top draws on a terminal, and this is none; for the same as JSON: {instead}"));
    }
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(why) => return fail(UNREADABLE, why),
    };
    match watch(admin, credentials) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILURE, format!("the terminal cannot be used: {error}")),
    }
}

fn watch(admin: Address, credentials: Option<String>) -> io::Result<()> {
    let (events, coming) = bounded(EVENTS);
    // Before the terminal is changed: from here on no signal leaves it as it must not stay.
    wait_for_signals(events.clone())?;
    let state = State::new(admin.to_string());
    ask_for_ever(admin, credentials, events.clone())?;
    // On a panic, whichever thread's, it is restored too: ratatui hooks in.
    let shown = ratatui::try_init().and_then(|mut terminal| {
        read_keys(events)?;
        show(&mut terminal, &coming, state)
    });
    ratatui::try_restore().and(shown)
}

fn show(terminal: &mut DefaultTerminal, coming: &Receiver<Event>, mut state: State) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        terminal.draw(|frame| view::draw(frame, &state))?;
        let event = match coming.recv_timeout(PERIOD) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Nothing,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        if state.on(event, begun.elapsed(), SystemTime::now()) == ControlFlow::Break(()) {
            return Ok(());
        }
    }
}

/// Ends the view when its thread ends, be it by a panic.
struct EndsWith(Sender<Event>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        // If nobody listens any more, it has ended.
        self.0.send(Event::End).unwrap_or_default();
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn wait_for_signals(events: Sender<Event>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let [mut terminate, mut interrupt, mut hangup, mut quit] = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ];
    drop(entered);
    start("signals", move || {
        let _ends = EndsWith(events);
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
        });
    })
}

/// Asks once a second, or as soon as the answer before has come, until nobody listens.
fn ask_for_ever(admin: Address, credentials: Option<String>, events: Sender<Event>) -> io::Result<()> {
    start("asks", move || {
        let ends = EndsWith(events);
        loop {
            let began = Instant::now();
            let told = fetch(&admin, credentials.as_deref());
            if ends.0.send(Event::Told(told.map(Box::new))).is_err() {
                return;
            }
            thread::sleep(PERIOD.saturating_sub(began.elapsed()));
        }
    })
}

fn fetch(admin: &Address, credentials: Option<&str>) -> Result<Value, String> {
    let answer = ask(admin, Method::GET, "/api/v1/status", credentials, Vec::new())?;
    let status = serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| answer.status == StatusCode::OK);
    status.filter(|status| status.get("gateway").is_some()).ok_or_else(|| match answer.status {
        StatusCode::UNAUTHORIZED => format!("{}; --token-file FILE gives the token for reading", answer.told()),
        _ => format!("no status: {}; is it a floodgate?", answer.told()),
    })
}

fn read_keys(events: Sender<Event>) -> io::Result<()> {
    start("keys", move || {
        let ends = EndsWith(events);
        // An error means that the terminal is gone.
        while let Ok(event) = event::read() {
            let event = if let event::Event::Key(pressed) = event {
                match key(pressed) {
                    Some(key) => Event::Key(key),
                    None => continue,
                }
            } else {
                // The window has another size, for which the next frame is drawn, or something happens that means nothing here.
                Event::Nothing
            };
            if ends.0.send(event).is_err() {
                return;
            }
        }
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other keys mean nothing here")]
fn key(pressed: KeyEvent) -> Option<Key> {
    match pressed.code {
        _ if pressed.kind == KeyEventKind::Release => None,
        KeyCode::Char('c' | 'd') if pressed.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char(letter) => Some(Key::Letter(letter.to_ascii_lowercase())),
        KeyCode::Up => Some(Key::Up(1)),
        KeyCode::Down => Some(Key::Down(1)),
        KeyCode::PageUp => Some(Key::Up(10)),
        KeyCode::PageDown => Some(Key::Down(10)),
        KeyCode::Home => Some(Key::Up(usize::MAX)),
        _ => None,
    }
}
