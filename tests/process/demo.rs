//! `floodgate demo`: a row a second, the difference that the guard makes, and nothing left behind.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{BINARY, Client, eventually};

/// The address behind this word.
fn address(text: &str, word: &str) -> SocketAddr {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    rest.split([',', ':', '/', '\n', ' ']).take(2).collect::<Vec<_>>().join(":").parse().unwrap()
}

/// The figures of a row, behind its number and its phase.
fn figures(row: &str) -> Vec<u64> {
    row.split_whitespace().skip(2).filter_map(|figure| figure.replace(',', "").parse().ok()).collect()
}

#[test]
fn the_guard_makes_a_difference_that_is_told() {
    let state = tempfile::tempdir().unwrap();
    let mut demo = Command::new(BINARY);
    // Where a gateway would keep its token.
    demo.args(["demo", "--seconds", "4"]).env("STATE_DIRECTORY", state.path());
    let output = demo.output().unwrap();
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "nothing is written");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{told}");
    let rows: Vec<_> =
        told.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    let phases: Vec<_> = rows.iter().map(|row| row.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(phases, ["calm", "answered", "guarded", "guarded"], "{told}");
    // Attempts, answered, held, dropped, sockets, pressure; what has a dot or a percent sign is left out.
    let [calm, answered, guarded] = [0, 1, 3].map(|row| figures(rows[row]));
    assert_eq!((calm[0], calm[1]), (0, 0), "{told}");
    assert!(answered[0] > 0 && answered[1] > 0 && answered[2] + answered[3] == 0, "{told}");
    assert!(guarded[2] + guarded[3] > 0, "stalled: {told}");
    assert!(told.contains("\nAnswered at once, the storm made ") && told.ends_with("= 320 attempts/s.\n"), "{told}");
    assert!(told.contains("CAP_NET_ADMIN"), "{told}");
    // What it started is gone with it.
    for word in ["Gateway ", "origin ", "http://"] {
        // Unless the kernel has just given its port to another test.
        let address = address(&told, word);
        eventually("the port is free", || TcpListener::bind(address).is_ok());
    }
}

#[test]
fn it_can_be_looked_at_and_ends_when_it_is_told_to() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = Command::new(BINARY).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let dashboard = lines.by_ref().find(|line| line.starts_with("Dashboard: ")).unwrap();
        let admin = address(&dashboard, "http://");
        let mut client = Client::connect(admin);
        client.send(format!("GET /api/v1/status HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"));
        assert!(client.rest().starts_with("HTTP/1.1 200 "));
        lines.by_ref().find(|line| line.contains(" calm ")).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let last = lines.last().unwrap();
        assert!(last.starts_with("It ended before the guard had acted"), "{last}");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let mut child: Child =
        Command::new(BINARY).arg("demo").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
