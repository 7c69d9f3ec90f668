//! `floodgate fence` against a real gateway, and what its log says of refusals.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::rig::{BINARY, Floodgate, eventually, serve, to_its_end};

/// Exit code, standard output, standard error; the command is run as the service of this state directory would be.
fn run(arguments: &[&str], state: &str) -> (i32, String, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("STATE_DIRECTORY", state);
    let output = to_its_end(command, b"");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn fence(floodgate: &Floodgate, arguments: &[&str]) -> (i32, String, String) {
    let admin = format!("http://{}", floodgate.admin);
    let all: Vec<_> = ["fence"].iter().chain(arguments).chain(&["--admin", &admin]).copied().collect();
    run(&all, floodgate.state.path().to_str().unwrap())
}

/// An admin that answers every request with this.
fn answering(status: &'static str, body: &'static str) -> SocketAddr {
    serve(move |mut client| {
        client.head();
        let length = body.len();
        client.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
    })
}

#[test]
fn the_gateways_token_opens_and_nothing_else_does() {
    let floodgate = Floodgate::start(&[], "");
    let token = floodgate.state.path().join("token");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fence(&floodgate, &["list"]), (0, "nobody is fenced\n".to_owned(), String::new()));
    let (code, stdout, _) = fence(&floodgate, &["list", "--json"]);
    assert_eq!((code, serde_json::from_str(&stdout).unwrap()), (0, serde_json::json!({ "fences": [] })));
    assert_eq!(fence(&floodgate, &["release", "--all"]), (0, "released: 0\n".to_owned(), String::new()));
    let (code, stdout, stderr) = fence(&floodgate, &["release", "10.0.0.1"]);
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("10.0.0.1/32 is not fenced") && stderr.contains("fence list"), "{stderr}");

    let copy = floodgate.path("copy");
    fs::copy(&token, &copy).unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(fence(&floodgate, &["release", "--all", "--token-file", copy]).0, 0);
    fs::write(copy, "f".repeat(64)).unwrap();
    let (code, _, stderr) = fence(&floodgate, &["release", "--all", "--token-file", copy]);
    assert_eq!(code, 1);
    assert!(stderr.contains("does not take the token") && stderr.contains(copy), "{stderr}");
    for (content, told) in [(Some("short"), "holds no token"), (None, "No such file")] {
        match content {
            Some(content) => fs::write(copy, content).unwrap(),
            None => fs::remove_file(copy).unwrap(),
        }
        let (code, stdout, stderr) = fence(&floodgate, &["release", "--all", "--token-file", copy]);
        assert_eq!((code, &*stdout), (65, ""));
        assert!(stderr.lines().count() == 1 && stderr.contains(told) && stderr.contains("--token-file"), "{stderr}");
    }
}

#[test]
fn a_gateway_that_is_started_again_takes_the_same_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("kept");
    let more = format!("token-file = '{}'", token.display());
    let config = format!("[[listener]]\naddress = '127.0.0.1:0'\n[admin]\naddress = '127.0.0.1:0'\n{more}\n");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let floodgate = Floodgate::with(&config, Command::new(BINARY));
        tokens.push(fs::read_to_string(&token).unwrap());
        let file = token.to_str().unwrap();
        assert_eq!(fence(&floodgate, &["release", "--all", "--token-file", file]).0, 0);
    }
    assert_eq!(tokens[0], tokens[1]);
}

#[test]
fn fences_are_printed_as_they_are_told() {
    let body = r#"{"fences": [{"address": "10.0.0.1", "since": 1, "until": 99999999999, "half_open": false,
        "reason": "self_target", "syns": 12, "times": 2}]}"#;
    let admin = answering("200 OK", body).to_string();
    let (code, stdout, stderr) = run(&["fence", "list", "--admin", &admin], "");
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[0].starts_with("ADDRESS   REASON"), "{stdout}");
    assert!(lines[1].starts_with("10.0.0.1  self_target  ") && lines[1].ends_with("  12    2      fenced"), "{stdout}");
    let (_, stdout, _) = run(&["fence", "list", "--json", "--admin", &admin], "");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["fences"][0]["syns"], 12);
}

#[test]
fn what_is_no_gateway_is_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = silent.local_addr().unwrap().to_string();
    drop(silent);
    let (code, stdout, stderr) = run(&["fence", "list", "--admin", &gone], "");
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains(&format!("the gateway does not answer at http://{gone}")), "{stderr}");
    assert!(stderr.contains("is it running?") && stderr.contains("--admin URL"), "{stderr}");
    for (status, body) in [
        ("404 Not Found", "no such page"),
        ("200 OK", "<html>"),
        ("200 OK", "{}"),
        ("403 Forbidden", "This host name is not accepted.\n"),
        ("200 OK\r\nTransfer-Encoding: chunked", "not chunked"),
    ] {
        let admin = answering(status, body).to_string();
        let (code, stdout, stderr) = run(&["fence", "list", "--admin", &admin], "");
        assert_eq!((code, &*stdout, stderr.lines().count()), (1, "", 1), "{status}: {stderr}");
    }
    let closing = serve(drop).to_string();
    assert_eq!(run(&["fence", "list", "--admin", &closing], "").0, 1);
}

#[test]
fn wrong_use_is_64() {
    for arguments in [
        &["fence"][..],
        &["fence", "release"],
        &["fence", "release", "somebody"],
        &["fence", "release", "10.0.0.1", "--all"],
        &["fence", "list", "--admin", "https://127.0.0.1:9128"],
        &["fence", "list", "10.0.0.1"],
    ] {
        let (code, stdout, stderr) = run(arguments, "");
        assert_eq!((code, &*stdout), (64, ""), "{arguments:?}: {stderr}");
    }
}

/// The lines say how many of the refused were answered, held and dropped; together they are all.
#[test]
fn the_log_tells_how_refusals_were_met() {
    let floodgate = Floodgate::start(&[], "[guard]\nladder = 'auto'");
    let asking: Vec<_> = (0..60)
        .map(|_| {
            let mut client = floodgate.client();
            client.send("GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            client
        })
        .collect();
    let sum = |field: &str| -> u64 {
        let lines = floodgate.said(" refused client=127.0.0.1 ");
        let number = |line: &String| -> Option<u64> {
            line.split_once(&format!(" {field}="))?.1.split(' ').next()?.parse().ok()
        };
        lines.iter().map(|line| number(line).unwrap_or_else(|| panic!("no {field} in {line}"))).sum()
    };
    eventually("all are told", || sum("count") == 60);
    let (answered, stalled) = (sum("answered"), sum("held") + sum("dropped"));
    // Nine, if this machine is not too slow for a storm.
    assert!(answered >= 9 && stalled > 0 && answered + stalled == 60, "{answered} {stalled}");
    drop(asking);
}
