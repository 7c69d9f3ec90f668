//! What is in the access log, in each format, and what a broken one does to the traffic: nothing.

use std::path::Path;

use crate::rig::{Floodgate, config, echo, eventually, origin, skipped, with_mounts};

/// How many requests for itself the test sends.
const REFUSALS: u64 = 40;

/// A gateway that has served a request and a tunnel and refused a burst, and all it logged about it.
fn logged(format: &str) -> Vec<String> {
    let (origin, echo) = (origin("twelve bytes"), echo());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let floodgate = Floodgate::start(
        &[origin, echo],
        &format!("[log]\naccess = \"{}\"\naccess-format = \"{format}\"", path.display()),
    );
    assert!(floodgate.get(origin, "/path?query").ends_with("twelve bytes"));
    floodgate.client().tunnel(echo);
    for _ in 0..REFUSALS {
        let mut client = floodgate.client();
        client.send("GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert!(client.answer().starts_with("HTTP/1.1 403 "));
    }
    eventually("every line is written", || {
        let lines = read(&path);
        let refused: u64 = lines.iter().filter(|line| line.contains("mmtls")).map(|line| count(line)).sum();
        assert!(refused <= REFUSALS, "{lines:?}");
        refused == REFUSALS && lines.iter().filter(|line| !line.contains("mmtls")).count() == 2
    });
    let lines = read(&path);
    // One line per second; a slow machine may take more than one for the burst.
    assert!(lines.len() as u64 <= 2 + REFUSALS / 4, "{lines:?}");
    for what in ["path?query", "CONNECT"] {
        assert_eq!(lines.iter().filter(|line| line.contains(what)).count(), 1, "{what}: {lines:?}");
    }
    let mut lines: Vec<_> = lines
        .into_iter()
        .map(|line| line.replace(&origin.to_string(), "ORIGIN").replace(&echo.to_string(), "ECHO"))
        .collect();
    // The tunnel's line comes when it is over: perhaps behind the first refusals.
    lines.sort_by_key(|line| (line.contains("mmtls"), line.contains("CONNECT")));
    lines
}

fn read(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// How many requests a line stands for.
fn count(line: &str) -> u64 {
    let json = line.split_once("\"count\":").map(|(_, count)| count.trim_end_matches('}'));
    json.or_else(|| line.split_once(" count=").map(|(_, count)| count)).map_or(1, |count| count.parse().unwrap())
}

#[test]
fn main_is_close_to_nginx() {
    let lines = logged("main");
    for (line, begin, middle, end) in [
        (&lines[0], "127.0.0.1 - - [", "] \"GET http://ORIGIN/path?query HTTP/1.1\" 200 ", " ua=ORIGIN us=200 uct=0."),
        (&lines[1], "127.0.0.1 - - [", "] \"CONNECT ECHO HTTP/1.1\" 200 ", " outcome=tunneled in="),
        (
            &lines[2],
            "127.0.0.1 - - [",
            "] \"GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1\" 403 ",
            " outcome=self_target ",
        ),
    ] {
        assert!(line.starts_with(begin) && line.contains(middle) && line.contains(end), "{line}");
    }
}

#[test]
fn squid_is_what_squids_tools_read() {
    let lines = logged("squid");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (line, code, method, target, peer) in [
        (&lines[0], "TCP_MISS/200", "GET", "http://ORIGIN/path?query", "HIER_DIRECT/127.0.0.1"),
        (&lines[1], "TCP_TUNNEL/200", "CONNECT", "ECHO", "HIER_DIRECT/127.0.0.1"),
        (&lines[2], "TCP_DENIED/403", "GET", "http://127.0.0.1/mmtls/00006a5e", "HIER_NONE/-"),
    ] {
        let words = words(line);
        assert!(words[0].parse::<f64>().unwrap() > 1.7e9 && words[1].parse::<u64>().is_ok(), "{line}");
        assert_eq!((&*words[2], &*words[3]), ("127.0.0.1", code), "{line}");
        assert!(words[4].parse::<u64>().unwrap() > 0, "{line}");
        assert_eq!([&*words[5], &*words[6], &*words[7], &*words[8], &*words[9]], [method, target, "-", peer, "-"]);
    }
}

#[test]
fn json_is_an_object_a_line() {
    let lines = logged("json");
    let objects: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (object, request, status, outcome) in [
        (&objects[0], "GET http://ORIGIN/path?query HTTP/1.1", 200, "forwarded"),
        (&objects[1], "CONNECT ECHO HTTP/1.1", 200, "tunneled"),
        (&objects[2], "GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1", 403, "self_target"),
    ] {
        assert_eq!(object["request"], request);
        assert_eq!(object["status"], status);
        assert_eq!(object["outcome"], outcome);
        assert_eq!(object["client"], "127.0.0.1");
    }
    assert_eq!(objects[0]["upstream"]["status"], 200);
    assert_eq!(objects[0]["upstream"]["address"], "ORIGIN");
    assert_eq!(objects[1]["upstream"]["address"], "ECHO");
    assert!(objects[2]["upstream"].is_null());
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let origin = origin("all the same");
    let floodgate = Floodgate::start(&[origin], "[log]\naccess = \"/dev/full\"");
    let mut client = floodgate.client();
    for _ in 0..100 {
        assert!(client.get(origin, "/").ends_with("all the same"));
    }
    eventually("the lost lines are counted", || floodgate.metric("floodgate_access_log_dropped_total") >= 100);
    assert!(floodgate.metric("floodgate_access_log_errors_total") >= 1);
    assert_eq!(floodgate.says("the access log cannot be written", 1).matches("/dev/full").count(), 1);
    assert_eq!(floodgate.said("the access log cannot be written").len(), 1, "said once");
}

#[test]
fn a_disk_that_fills_up_tears_no_line_and_is_written_again_when_there_is_room() {
    let (origin, disk) = (origin("all the same"), tempfile::tempdir().unwrap());
    let Some(command) = with_mounts("mount -t tmpfs -o size=64k tmpfs \"$0\"", disk.path()) else {
        return skipped("no disk may be mounted here");
    };
    let log = disk.path().join("access.log");
    let more = format!("[log]\naccess = \"{}\"\naccess-format = \"json\"", log.display());
    let floodgate = Floodgate::with(&config(&[origin], &more), command);
    // As the gateway sees it.
    let log = floodgate.proc("root").join(log.strip_prefix("/").unwrap());
    let ballast = log.with_file_name("ballast");
    std::fs::write(&ballast, vec![0; 32 * 1024]).unwrap();
    let mut client = floodgate.client();
    let mut sent = 0;
    let mut ask = || {
        assert!(client.get(origin, "/").ends_with("all the same"));
        sent += 1;
        sent
    };
    eventually("the disk is full", || {
        ask();
        floodgate.metric("floodgate_access_log_errors_total") >= 1
    });
    assert_eq!(floodgate.says("the access log cannot be written", 1).matches("access.log").count(), 1);
    std::fs::remove_file(&ballast).unwrap();
    let full = std::fs::metadata(&log).unwrap().len();
    eventually("there is room", || {
        ask();
        std::fs::metadata(&log).unwrap().len() > full
    });
    let sent = ask();
    eventually("every line is written or counted as lost", || {
        let lines = read(&log).iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
        floodgate.metric("floodgate_access_log_dropped_total") + lines as u64 == sent
    });
    let torn = read(&log).iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).count();
    assert!(torn <= 1, "only the line at which the disk was full may be a part: {torn}");
}
