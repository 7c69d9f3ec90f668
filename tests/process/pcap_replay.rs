//! `floodgate pcap replay` as its users meet it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::rig::{self, BINARY, command, eventually, serve};

/// A pcap file (microseconds, `LINKTYPE_RAW`) of what clients said to a proxy: address, port, time in ms, request.
fn capture(said: &[(&str, u16, u32, &str)]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut file = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 101]);
    for (client, port, ms, request) in said {
        let client: std::net::Ipv4Addr = client.parse().unwrap();
        for (sequence, flags, payload) in [(1_u32, 2, &b""[..]), (2, 0x18, request.as_bytes())] {
            let size = u16::try_from(40 + payload.len()).unwrap();
            let mut packet = vec![0x45, 0];
            packet.extend(size.to_be_bytes());
            packet.extend([0, 0, 0, 0, 64, 6, 0, 0]);
            packet.extend(client.octets());
            packet.extend([10, 115, 5, 2]);
            packet.extend([port.to_be_bytes(), 3128_u16.to_be_bytes()].concat());
            packet.extend([sequence.to_be_bytes(), [0; 4]].concat());
            packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            packet.extend(payload);
            file.extend(words(&[1, ms * 1000, u32::from(size), u32::from(size)]));
            file.extend(packet);
        }
    }
    file
}

fn storm() -> Vec<u8> {
    let bad = "GET http://10.115.5.2/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n";
    let good = "GET http://example.net/ HTTP/1.1\r\nHost: example.net\r\n\r\n";
    capture(&[("10.1.1.1", 1000, 0, bad), ("10.1.1.2", 1000, 20, good), ("10.1.1.1", 1001, 50, bad)])
}

fn told(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let output = command(["pcap", "replay"].iter().chain(arguments), input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A proxy that refuses everything, and closes.
fn refusing() -> SocketAddr {
    serve(|mut client| {
        if !client.head().is_empty() {
            client.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.rest();
        }
    })
}

#[test]
fn a_capture_is_played_and_the_report_has_its_keys() {
    let to = rig::origin("hello").to_string();
    let (code, stdout, stderr) = told(&["-", "--to", &to, "--source", "127.0.7.0/24", "--json"], &storm());
    assert_eq!((code, &*stderr), (0, ""));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["target"], &report["clients"]), (&to.into(), &2.into()));
    assert!(report["duration_s"].as_f64().unwrap() >= 0.05, "the pace of the capture");
    for (class, attempts) in [("self_target", 2), ("good", 1), ("connect", 0)] {
        let class = &report["classes"][class];
        assert_eq!((&class["attempts"], &class["completed"]), (&attempts.into(), &attempts.into()), "{report}");
        assert!(class["per_second"].is_array() && class["outcomes"].is_object(), "{report}");
        for quantile in ["p50", "p90", "p99", "p999", "max"] {
            assert!(class["latency_us"][quantile].is_u64(), "{report}");
        }
    }
    assert_eq!(report["capture"]["proxies"][0], "10.115.5.2:3128");
}

#[test]
fn the_text_tells_each_class_and_how_it_ended() {
    let to = refusing().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("storm.pcap");
    std::fs::write(&file, storm()).unwrap();
    let (code, stdout, stderr) =
        told(&[file.to_str().unwrap(), "--to", &to, "--retry", "5", "--duration", "1", "--concurrency", "2"], b"");
    assert_eq!((code, &*stderr), (0, ""));
    for what in ["self_target: ", "good: 2 attempts", "403", "2 retriers", "10.115.5.2:3128", "--source"] {
        assert!(stdout.contains(what), "{what} is not in:\n{stdout}");
    }
}

#[test]
fn an_interrupt_ends_it_early_and_the_report_is_written() {
    let to = refusing();
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("storm.pcap"), folder.path().join("report"));
    std::fs::write(&file, storm()).unwrap();
    let write = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
    let mut child = Command::new(BINARY)
        .args(["pcap", "replay", file.to_str().unwrap(), "--to", &to.to_string()])
        .args(["--retry", "instant", "--duration", "3600", "--json"])
        .stdout(write(&out))
        .spawn()
        .unwrap();
    let caught = format!("/proc/{}/status", child.id());
    // SIGINT is bit 1 of the mask of caught signals (proc(5)).
    eventually("the signal is caught", || {
        let status = std::fs::read_to_string(&caught).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    let report: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(report["retry"], "instant", "{report}");
}

#[test]
fn load_goes_nowhere_by_mistake() {
    for (to, named) in [
        ("8.8.8.8:3128", "--yes-public"),
        ("[2001:4860:4860::8888]:80", "--yes-public"),
        ("[2002:0808:0808::1]:80", "--yes-public"),
        ("0.0.0.0:3128", "0.0.0.0:3128"),
        ("224.0.0.1:3128", "224.0.0.1:3128"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        let (code, stdout, stderr) = told(&["-", "--to", to], &storm());
        assert_eq!((code, &*stdout, stderr.lines().count()), (64, "", 1), "{to}: {stderr}");
        assert!(stderr.contains(named), "{to}: {stderr}");
    }
    // 198.18.0.0/15 is for benchmarks, and the lab is made of it; nothing that can be read, so nothing is sent.
    let (code, _, stderr) = told(&["-", "--to", "198.18.0.1:3128"], b"");
    assert_eq!(code, 65, "{stderr}");
}

#[test]
fn what_cannot_be_played_is_said_in_a_line() {
    let to = "127.0.0.1:9";
    for (arguments, input, expected, named) in [
        (&["/nonexistent.pcap", "--to", to][..], &b""[..], 65, "/nonexistent.pcap"),
        (&["-", "--to", to], b"GIF89a", 65, "not a capture"),
        (&["-", "--to", to], &capture(&[]), 1, "no HTTP request"),
        (&["-", "--to", to], &capture(&[("10.1.1.1", 1, 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")]), 1, "--proxy"),
        (&["-", "--to", to, "--source", "192.0.2.0/24"], &storm(), 1, "192.0.2.1"),
        (&["-", "--to", to, "--source", "::1/128"], &storm(), 64, "--source"),
    ] {
        let (code, stdout, stderr) = told(arguments, input);
        assert_eq!((code, &*stdout, stderr.lines().count()), (expected, "", 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
    for (flag, value) in [
        ("--pace", "x0"),
        ("--pace", "xNaN"),
        ("--pace", "fast"),
        ("--retry", "-1"),
        ("--duration", "0"),
        ("--duration", "inf"),
        ("--timeout", "never"),
        ("--clients", "0"),
        ("--concurrency", "0"),
        ("--source", "10.0.0.0/33"),
        ("--proxy", "a"),
        ("--map-destination", "example.net:80"),
    ] {
        let (code, stdout, stderr) = told(&["-", "--to", to, &format!("{flag}={value}")], b"");
        assert_eq!((code, &*stdout), (64, ""), "{flag} {value}: {stderr}");
        assert!(stderr.contains(flag), "{flag} {value}: {stderr}");
    }
}
