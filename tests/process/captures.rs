//! `floodgate pcap`: made-up captures, and what is found in them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::rig::{BINARY, command};

fn run(arguments: &[&str]) -> (i32, Vec<u8>, String) {
    let output = command(arguments, b"");
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_made_up_storm_is_explained_in_one_screen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (capture, picture) = (at("storm.pcap"), at("storm.svg"));
    let (code, stdout, stderr) = run(&["pcap", "synth", "self-target-storm", "-o", &capture]);
    assert_eq!((code, stdout.len()), (0, 0), "{stderr}");
    assert!(stderr.contains("3 clients"), "{stderr}");

    let (code, screen, stderr) = run(&["pcap", "analyze", &capture, "--plot", &picture]);
    let screen = String::from_utf8(screen).unwrap();
    assert_eq!((code, &*stderr), (0, ""));
    assert!(screen.lines().count() <= 40, "{screen}");
    for told in
        ["CRITICAL", "10.115.5.2:3128 connects to itself", "10.115.20.21", "GET http://10.115.5.2/", "What to do"]
    {
        assert!(screen.contains(told), "{told} is not in:\n{screen}");
    }
    assert!(fs::read_to_string(&picture).unwrap().starts_with("<svg "));

    let (code, json, _) = run(&["pcap", "analyze", &capture, "--json"]);
    let all: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((code, &all["proxies"][0]["endpoint"]), (0, &"10.115.5.2:3128".into()));
}

#[test]
fn a_capture_goes_to_stdout_as_to_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // What was there before is gone, as it is with other tools that write captures.
    fs::write(file.path(), vec![b'x'; 1 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, _, _) = run(&["pcap", "synth", "bypass", "--size", "64KiB", "--seed", "7", "-o", path]);
    assert_eq!(code, 0);
    let (code, stdout, _) = run(&["pcap", "synth", "bypass", "--size", "65536", "--seed", "7", "-o", "-"]);
    assert_eq!(code, 0);
    assert!(stdout == fs::read(file.path()).unwrap() && stdout.len() > 60_000);
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_one_line() {
    let nowhere = "/nonexistent/x";
    for (expected, arguments, named) in [
        (1, &["pcap", "synth", "bypass", "-o", nowhere][..], nowhere),
        (1, &["pcap", "synth", "bypass", "-o", "/dev/full"], "/dev/full"),
        (1, &["pcap", "analyze", "/dev/stdin", "--plot", nowhere], nowhere),
        (65, &["pcap", "analyze", nowhere], nowhere),
    ] {
        let capture = command(["pcap", "synth", "startup-burst", "-o", "-"], b"").stdout;
        let output = command(arguments, &capture);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(expected), 0), "{arguments:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(named), "{stderr}");
    }
    for (arguments, named) in [
        (&["pcap", "synth", "bypass"][..], "--output"),
        (&["pcap", "synth", "sunshine", "-o", "-"], "browsing-day"),
        (&["pcap", "synth", "bypass", "-o", "-", "--size", "3KB"], "3KB"),
        (&["pcap", "synth", "bypass", "-o", "-", "--clients", "0"], "--clients"),
        (&["pcap", "analyze"], "FILE"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.len()), (64, 0), "{stderr}");
        assert!(stderr.contains(named), "{named} is not in {stderr}");
    }
}

#[test]
fn a_capture_of_which_no_packet_can_be_read_is_unreadable() {
    let capture = command(["pcap", "synth", "startup-burst", "-o", "-"], b"").stdout;
    let (header, _) = capture.split_at(24);
    for (input, expected) in [(header.to_vec(), 0), ([header, &[0; 4096]].concat(), 65)] {
        let output = command(["pcap", "analyze", "-"], &input);
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
        assert_eq!(output.stdout.is_empty(), expected == 65, "{output:?}");
    }
}

#[test]
fn a_result_that_finds_no_room_is_a_failure_and_a_reader_who_has_enough_is_none() {
    for arguments in [&["pcap", "analyze", "-"][..], &["config"], &["check"]] {
        for (to, expected) in [("/dev/full", 1), ("a closed pipe", 0)] {
            let stdout: Stdio = if to == "/dev/full" {
                fs::File::options().write(true).open(to).unwrap().into()
            } else {
                std::io::pipe().unwrap().1.into()
            };
            let mut child = Command::new(BINARY);
            child.args(arguments).stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            let capture = command(["pcap", "synth", "startup-burst", "-o", "-"], b"").stdout;
            child.stdin.take().unwrap().write_all(&capture).unwrap_or_default();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(expected), "{arguments:?} to {to}: {stderr}");
            assert_eq!(stderr.lines().count(), usize::from(expected == 1), "{stderr}");
        }
    }
}
