//! `floodgate pcap`: made-up captures, and what is found in them.

use std::fs;

use crate::rig::command;

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
