//! What the operator sees of a storm, and who may change something.

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

use floodgate::outcome::{Form, Reason};
use serde_json::Value;

use crate::rig::{Client, Rig, eventually, field};

const PATH: &str = "/api/v1/fences/release";

impl Rig {
    fn status(&self) -> Value {
        let answer = self.admin("/api/v1/status");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_str(body).unwrap()
    }

    /// The token that the gateway has made.
    fn token(&self) -> String {
        fs::read_to_string(self.folder.path().join("token")).unwrap().trim().to_owned()
    }

    /// Status and body of the answer to a POST with these fields.
    fn post(&self, fields: &str, body: &str) -> (u16, String) {
        let mut client = Client::connect(self.gateway.admin);
        let (host, length) = (self.gateway.admin, body.len());
        client.send(format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{fields}\r\n{body}"));
        let (head, body) = client.answer();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
    }
}

#[test]
fn a_storm_is_seen_for_what_it_is() {
    let rig = Rig::with(&[], "[guard]\nstall = \"hold\"");
    let storm: Vec<_> = (0..60)
        .map(|_| {
            let mut client = rig.client();
            client.send("GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            client
        })
        .collect();
    eventually("all are refused, and the second is over", || {
        let client = &rig.status()["clients"][0];
        client["refusals"]["self_target"] == 60 && client["sample"].is_string()
    });
    let status = rig.status();
    assert_eq!(status["guard"]["stall"], "hold");
    let client = &status["clients"][0];
    assert_eq!((&client["address"], &client["step"]), (&"127.0.0.1".into(), &"stall".into()));
    assert!(client["why"].as_str().unwrap().starts_with("stalled: requests that name this proxy for "), "{client}");
    assert_eq!(client["refusals"]["malformed"], 0);
    assert!(client["sample"].as_str().unwrap().contains("/mmtls/"), "{client}");
    assert_eq!(status["guard"]["limits"]["clients_tracked"]["used"], 1);
    let stalled = client["stalled"].as_u64().unwrap();
    assert!((1..=51).contains(&stalled), "{client}");

    for client in &storm {
        // Some have been answered and closed.
        client.0.shutdown(Shutdown::Both).unwrap_or_default();
    }
    drop(storm);
    rig.settled();
    let told = |form| rig.gateway.counters.refusals(Reason::SelfTarget, form);
    assert_eq!((told(Form::Held), told(Form::Answered) + told(Form::Dropped)), (stalled, 60 - stalled));
    eventually("nobody is held", || rig.status()["guard"]["holds"]["open"] == 0);
}

#[test]
fn only_the_token_changes_anything() {
    let rig = Rig::new(&[]);
    let file = fs::metadata(rig.folder.path().join("token")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let token = rig.token();
    let right = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(rig.post(&right, r#"{"all": true}"#), (202, "{\"released\":0}\n".to_owned()));
    assert_eq!(rig.post(&right, r#"{"address": "10.0.0.1"}"#).0, 404);
    assert_eq!(rig.post(&right, r#"{"address": "somewhere"}"#).0, 400);
    assert_eq!(rig.post("", r#"{"all": true}"#).0, 401);
    let wrong = "0".repeat(64);
    for fields in [format!("Authorization: Bearer {wrong}\r\n"), format!("Authorization: Bearer {token}0\r\n")] {
        assert_eq!(rig.post(&fields, r#"{"all": true}"#).0, 401);
    }
    assert_eq!(rig.post(&format!("{right}Origin: http://evil.example\r\n"), r#"{"all": true}"#).0, 403);
    assert_eq!(rig.post(&right, &"x".repeat(100_000)).0, 413);
    let answer = rig.admin(PATH);
    assert!(answer.starts_with("HTTP/1.1 405 ") && field(&answer, "allow") == Some("POST"), "{answer}");
    // Nothing that is shown holds the token.
    for path in ["/", "/metrics", "/api/v1/status"] {
        assert!(!rig.admin(path).contains(&token), "{path}");
    }
}

#[test]
fn a_flood_of_heads_and_bodies_leaves_the_admin_as_it_was() {
    let rig = Rig::new(&[]);
    let right = format!("Authorization: Bearer {}\r\n", rig.token());
    let host = rig.gateway.admin;
    for _ in 0..20 {
        // A head without an end, a body without an end, a body that never comes, and no word at all.
        let mut client = Client::connect(rig.gateway.admin);
        client.send(format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\nX: {}", "y".repeat(60_000)));
        let mut client = Client::connect(rig.gateway.admin);
        client.send(format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{right}Content-Length: 99999999999\r\n\r\n{{"));
        let mut client = Client::connect(rig.gateway.admin);
        client.send(format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{right}Content-Length: 13\r\n\r\n"));
        drop(Client::connect(rig.gateway.admin));
    }
    eventually("it answers", || {
        let mut client = Client::connect(rig.gateway.admin);
        client.send(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.head().starts_with("HTTP/1.1 200 ")
    });
    assert_eq!(rig.post(&right, r#"{"all": true}"#).0, 202);
}

#[test]
fn without_a_token_nothing_can_be_changed_and_everything_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = '{}'\n",
        token.display()
    );
    let gateway = floodgate::gateway::Gateway::start(floodgate::config::Settings::from_toml(&text).unwrap()).unwrap();
    let rig = Rig { proxy: gateway.listeners[0], gateway, folder };
    let right = "Authorization: Bearer 0123456789abcdef\r\n";
    let (status, told) = rig.post(right, r#"{"all": true}"#);
    assert_eq!(status, 403);
    assert!(told.contains("no token"), "{told}");
    let status = rig.status();
    let why = status["guard"]["changes"].as_str().unwrap();
    assert!(why.starts_with("off: ") && why.contains("chmod 600"), "{why}");
}

#[test]
fn the_token_for_reading_is_made_and_this_box_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read-token");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = \"\"\nread-token-file = '{}'\n",
        file.display()
    );
    let gateway = floodgate::gateway::Gateway::start(floodgate::config::Settings::from_toml(&text).unwrap()).unwrap();
    let rig = Rig { proxy: gateway.listeners[0], gateway, folder };
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).unwrap().trim().len(), 64);
    assert_eq!(rig.status()["guard"]["reading"], "with the token");
}

#[test]
fn dashboards_see_the_end_come() {
    let rig = Rig::new(&[]);
    let host = rig.gateway.admin;
    let mut listens = Client::connect(host);
    listens.send(format!("GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert!(listens.head().starts_with("HTTP/1.1 200 "));
    // Until it has its first event.
    let mut byte = [0];
    listens.0.read_exact(&mut byte).unwrap();
    assert_eq!(rig.gateway.drain(|| false), 0);
    let rest = listens.read_to_end();
    assert!(rest.contains("\nevent: status\n") && rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
}
