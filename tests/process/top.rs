//! `floodgate top` on a terminal of its own: what it shows, and that the terminal is as it was afterwards.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{BINARY, Floodgate, command, eventually, skipped};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// The program in a terminal of 80 by 24 that script(1) makes.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(admin: &str) -> Option<Self> {
        let inside = format!(
            "stty cols 80 rows 24; stty -g; sh -c 'echo PID=$$; exec {BINARY} top --admin {admin}'; echo CODE=$?; stty -g"
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &inside, "/dev/null"]);
        let script = script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut script) = script else {
            skipped("script(1), which makes a terminal, is not installed");
            return None;
        };
        let (keys, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = Arc::clone(&shown);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                seen.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Some(Self { script, keys, shown })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until this can be read on the screen.
    fn shows(&self, what: &str) {
        eventually(&format!("{what:?} on the terminal"), || screen(&self.text()).contains(what));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn pid(&self) -> Pid {
        let text = self.text();
        let (_, rest) = text.split_once("PID=").unwrap();
        Pid::from_raw(rest.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
    }

    /// It has left with this code, and the terminal is as it was.
    fn has_left(mut self, code: u8) {
        eventually("the end of script(1)", || self.script.try_wait().unwrap().is_some());
        let text = self.text();
        assert!(text.contains(&format!("CODE={code}\r\n")), "{text:?}");
        assert_eq!(text.matches(ENTER).count(), 1, "{text:?}");
        let (_, after) = text.rsplit_once(LEAVE).unwrap();
        let settings = |line: &&str| line.split(':').count() > 10;
        let before = text.lines().find(settings).unwrap();
        assert_eq!(after.lines().find(settings), Some(before), "{text:?}");
    }
}

/// What somebody reads on a terminal of 80 by 24 that was sent this: text, and the cursor moved.
fn screen(sent: &str) -> String {
    let drawn = sent.split_once(ENTER).map_or("", |(_, drawn)| drawn.split(LEAVE).next().unwrap());
    let (mut cells, mut row, mut column) = (vec![vec![' '; 80]; 24], 0, 0);
    let mut parts = drawn.split('\u{1b}');
    // Before the first sequence there is nothing; the last one may not have come to its end.
    parts.next();
    for part in parts {
        let Some(end) = part.find(|c: char| c.is_ascii_alphabetic()) else { continue };
        let (sequence, text) = part.split_at(end + 1);
        if let Some(place) = sequence.strip_prefix('[').and_then(|place| place.strip_suffix('H')) {
            (row, column) = place.split_once(';').map_or((0, 0), |(row, column)| {
                (row.parse::<usize>().unwrap() - 1, column.parse::<usize>().unwrap() - 1)
            });
        }
        for c in text.chars() {
            cells[row][column.min(79)] = c;
            column += 1;
        }
    }
    cells.into_iter().map(|row| row.into_iter().collect::<String>() + "\n").collect()
}

#[test]
fn it_shows_the_gateway_and_leaves_the_terminal_as_it_was() {
    let floodgate = Floodgate::start(&[], "");
    let Some(mut terminal) = Terminal::start(&format!("http://{}", floodgate.admin)) else { return };
    terminal.shows("PRESSURE  ");
    terminal.shows("nobody stands out");
    // It goes and comes back: the port stays shut, which is told.
    drop(floodgate);
    terminal.shows("old: the gateway does not answer");
    terminal.press("q");
    terminal.has_left(0);
}

#[test]
fn every_way_to_end_it_restores_the_terminal() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let Some(terminal) = Terminal::start("http://127.0.0.1:9") else { return };
        terminal.shows("the gateway does not answer at http://127.0.0.1:9 ");
        kill_process(terminal.pid(), signal).unwrap();
        terminal.has_left(0);
    }
    let Some(mut terminal) = Terminal::start("http://127.0.0.1:9") else { return };
    terminal.shows("the gateway does not answer at http://127.0.0.1:9 ");
    terminal.press("\u{3}");
    terminal.has_left(0);
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = command(["top", "--admin", "http://127.0.0.1:9"], b"");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.lines().count() == 1 && told.contains("curl -s http://127.0.0.1:9/api/v1/status"), "{told}");
    assert!(output.stdout.is_empty());
}
