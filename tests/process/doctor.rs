//! `floodgate doctor`: on recorded boxes, with captures, and on this one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::rig::{Client, Floodgate, command, eventually, in_a_network_of_its_own, skipped};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor").join(name)
}

/// Exit code, standard output, standard error.
fn doctor(arguments: &[&str]) -> (i32, String, String) {
    let all: Vec<&str> = [&["doctor"], arguments].concat();
    let output = command(all, b"");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn parsed(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap()
}

fn causes(diagnosis: &Value) -> Vec<&str> {
    diagnosis["cause"].as_array().unwrap().iter().map(|told| told["cause"].as_str().unwrap()).collect()
}

#[test]
fn the_exit_code_is_the_worst_finding() {
    for (name, code, cause) in [
        ("healthy", 0, &[][..]),
        ("incident-2020", 2, &["self_target"]),
        ("port-exhaustion", 2, &["port_exhaustion"]),
        ("orphan-flood", 2, &["orphan_flood"]),
        ("tcp-mem-pressure", 2, &["tcp_memory"]),
        ("conntrack-full", 2, &["conntrack_full"]),
        ("slow-disk", 2, &["slow_disk"]),
    ] {
        let root = recorded(name);
        let root = root.to_str().unwrap();
        let (told, stdout, stderr) = doctor(&["--root", root, "--json"]);
        assert_eq!((told, &*stderr), (code, ""), "{name}: {stdout}");
        let diagnosis = parsed(&stdout);
        assert_eq!(causes(&diagnosis), cause, "{name}: {stdout}");
        let verdict = ["ok", "warning", "critical"][usize::try_from(code).unwrap()];
        assert_eq!(diagnosis["verdict"], verdict);
        let (told, text, stderr) = doctor(&["--root", root]);
        assert_eq!((told, &*stderr), (code, ""), "{name}");
        assert!(text.starts_with(&verdict.to_uppercase()), "{text}");
        assert!(cause.iter().all(|cause| text.contains(cause)), "{text}");
    }
}

#[test]
fn the_json_has_these_keys() {
    let root = recorded("incident-2020");
    let (_, stdout, _) = doctor(&["--root", root.to_str().unwrap(), "--json"]);
    let diagnosis = parsed(&stdout);
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&diagnosis), ["cause", "steps", "unseen", "verdict"]);
    assert_eq!(keys(&diagnosis["cause"][0]), ["cause", "client", "evidence", "remedy", "request", "verdict", "what"]);
    assert_eq!(keys(&diagnosis["steps"][0]), ["evidence", "meaning", "remedy", "step", "verdict"]);
    assert_eq!(keys(&diagnosis["unseen"][0]), ["source", "why"]);
    let steps: Vec<_> =
        diagnosis["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let chain = "load cpu disk memory slab sockets tcp_memory descriptors ports listen_queues conntrack clients requests settings";
    assert_eq!(steps, chain.split(' ').collect::<Vec<_>>());
}

#[cfg(feature = "tools")]
#[test]
fn a_capture_names_client_and_request_of_the_incident() {
    let capture = tempfile::NamedTempFile::new().unwrap();
    let path = capture.path().to_str().unwrap();
    assert!(command(["pcap", "synth", "self-target-storm", "-o", path], b"").status.success());
    let root = recorded("incident-2020");
    let (code, stdout, stderr) = doctor(&["--root", root.to_str().unwrap(), "--pcap", path, "--json"]);
    assert_eq!((code, &*stderr), (2, ""));
    let diagnosis = parsed(&stdout);
    assert_eq!(causes(&diagnosis), ["self_target"], "{stdout}");
    let told = &diagnosis["cause"][0];
    assert!(told["client"].as_str().unwrap().starts_with("10.115.20."), "{told}");
    assert!(told["request"].as_str().unwrap().starts_with("GET http://10.115.5.2/"), "{told}");

    let (code, stdout, stderr) = doctor(&["--root", root.to_str().unwrap(), "--pcap", "/nonexistent/x"]);
    assert_eq!((code, &*stdout), (65, ""));
    assert!(stderr.lines().count() == 1 && stderr.contains("/nonexistent/x"), "{stderr}");
}

#[test]
fn what_cannot_be_judged_is_told() {
    let empty = tempfile::tempdir().unwrap();
    for (arguments, code, named) in [
        (&["--root", empty.path().to_str().unwrap()][..], 65, "no file of /proc"),
        (&["--root", "/nonexistent"], 65, "/nonexistent"),
        (&["--rot", "x"], 64, "--rot"),
        (&["--root", "/", "--admin", "http://127.0.0.1:1"], 64, "--admin"),
        (&["--root", "/", "--token-file", "x"], 64, "--token-file"),
        (&["--token-file", "/nonexistent"], 65, "/nonexistent"),
    ] {
        let (told, stdout, stderr) = doctor(arguments);
        assert_eq!((told, &*stdout), (code, ""), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
    #[cfg(feature = "tools")]
    {
        let (code, _, stderr) = doctor(&["--capture", "no-such-if"]);
        assert_eq!(code, 1);
        assert!(stderr.lines().count() == 1 && stderr.contains("no-such-if"), "{stderr}");
    }
}

/// How this box is nobody can say; that it is judged, can be.
#[test]
fn this_box_is_judged_without_a_gateway() {
    let (code, stdout, stderr) = doctor(&["--json", "--admin", "http://127.0.0.1:1"]);
    assert!((0..=2).contains(&code), "{stderr}");
    let diagnosis = parsed(&stdout);
    let unseen = diagnosis["unseen"].as_array().unwrap();
    assert!(unseen.iter().any(|unseen| unseen["source"] == "floodgate"), "{stdout}");
    let step = |name: &str| diagnosis["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap();
    for seen in ["load", "cpu", "memory", "sockets", "ports", "listen_queues"] {
        assert_ne!(step(seen)["verdict"], "unknown", "{stdout}");
    }
    assert!(step("cpu")["evidence"][0].as_str().unwrap().starts_with("in "), "two readings: {stdout}");
}

#[test]
fn what_keeps_a_client_out_is_a_command_that_works() {
    in_a_network_of_its_own(|| {
        let (_, stdout, _) = doctor(&["--root", recorded("incident-2020").to_str().unwrap(), "--json"]);
        let remedies = parsed(&stdout)["cause"][0]["remedy"].clone();
        let commands: Vec<_> = remedies[0].as_str().unwrap().split('`').skip(1).step_by(2).collect();
        assert_eq!(commands.len(), 3, "{remedies}");
        let run = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
        if !run("nft list tables").status.success() {
            return skipped("nft(8) is missing, or may not be used here");
        }
        for command in [commands[0], "nft list table inet doctor | grep -q 10.115.20.21", commands[2]] {
            let output = run(command);
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    });
}

/// A client that asks the gateway for itself, again and again, while it is wanted.
fn storm(floodgate: &Floodgate) {
    let mut client = Client::connect(floodgate.proxy);
    client.send("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    client.rest();
}

#[test]
fn a_running_gateway_names_who_storms() {
    in_a_network_of_its_own(|| {
        let floodgate = Floodgate::start(&[], "");
        for _ in 0..200 {
            storm(&floodgate);
        }
        let admin = format!("http://{}", floodgate.admin);
        // Refusals per minute are those of the seconds that have passed.
        eventually("the gateway is told of", || {
            let (_, stdout, _) = doctor(&["--json", "--admin", &admin]);
            let diagnosis = parsed(&stdout);
            let told = diagnosis["cause"].as_array().unwrap().iter().find(|told| told["cause"] == "self_target");
            told.is_some_and(|told| {
                assert_eq!(told["client"], "127.0.0.1");
                told["request"].as_str().unwrap().contains("GET http://127.0.0.1/")
            })
        });
    });
}

#[cfg(feature = "tools")]
#[test]
fn what_is_heard_on_an_interface_names_client_and_request() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    use crate::rig::BINARY;

    in_a_network_of_its_own(|| {
        let floodgate = Floodgate::start(&[], "");
        let mut child = Command::new(BINARY)
            .args(["doctor", "--json", "--capture", "lo", "--admin", "http://127.0.0.1:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("listening on lo for 10 s"), "{said}");
        for _ in 0..60 {
            storm(&floodgate);
        }
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        child.wait().unwrap();
        let diagnosis = parsed(&stdout);
        let causes = diagnosis["cause"].as_array().unwrap();
        let told = causes.iter().find(|told| told["cause"] == "self_target").unwrap_or_else(|| panic!("{stdout}"));
        assert_eq!(told["client"], "127.0.0.1");
        assert!(told["request"].as_str().unwrap().starts_with("GET http://127.0.0.1/"), "{stdout}");
    });
}
