//! A real Alertmanager (Debian package prometheus-alertmanager).

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{at, item, message};
use crate::alarm::Stage;
use crate::alarm::deliver::endpoint::Trust;
use crate::alarm::deliver::report::Report;
use crate::alarm::deliver::transport::{Transport, Way};
use crate::config::settings::WebhookKind;

struct Alertmanager(Child);

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

async fn get(address: &str, path: &str) -> Option<Value> {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[tokio::test]
async fn an_alert_appears_stays_and_is_resolved() {
    let storage = tempfile::tempdir().unwrap();
    let config = storage.path().join("alertmanager.yml");
    std::fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n- name: nobody\n").unwrap();
    // A free port; its own, so long as nobody else takes it within the moment.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let started = Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", storage.path().display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        drop(std::io::stderr().write_all(b"skipped: prometheus-alertmanager is not installed\n"));
        return;
    };
    let mut running = Alertmanager(child);
    while get(&address, "/api/v2/status").await.is_none() {
        assert!(running.0.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let webhook = at(WebhookKind::Alertmanager, &format!("http://{address}"));
    let way = Way::new(webhook.clone(), Trust::default(), Arc::new(Report::default()));
    assert_eq!(way.due(), None, "nothing stands");
    for (subject, stage) in [("203.0.113.7:443", Stage::Firing), ("203.0.113.8:443", Stage::Firing), ("", Stage::Test)]
    {
        way.send(&item(&webhook, &message(subject, stage))).await.unwrap();
    }
    let alerts = async || {
        let alerts = get(&address, "/api/v2/alerts?active=true").await.unwrap();
        let mut alerts = alerts.as_array().unwrap().clone();
        alerts.sort_by_key(|alert| alert["labels"]["subject"].to_string());
        alerts
    };
    let subjects = |alerts: &[Value]| -> Vec<String> {
        alerts.iter().filter_map(|alert| Some(alert["labels"]["subject"].as_str()?.to_owned())).collect()
    };
    // It takes them in a moment after it has said so.
    let mut found = alerts().await;
    while found.len() < 3 {
        found = alerts().await;
    }
    assert_eq!(subjects(&found), ["203.0.113.7:443", "203.0.113.8:443"]);
    let alert = &found[0];
    assert_eq!(alert["labels"]["alertname"], "connect_timeout");
    assert_eq!((&alert["labels"]["gateway"], &alert["labels"]["service"]), (&"gate-1".into(), &"floodgate".into()));
    assert!(alert["annotations"]["description"].as_str().unwrap().contains("gate-1"), "{alert}");
    let ends = alert["endsAt"].clone();

    // Told again, it stays longer.
    assert!(way.due().is_some());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    way.repeat().await.unwrap();
    while alerts().await[0]["endsAt"] == ends {
        tokio::task::yield_now().await;
    }

    way.send(&item(&webhook, &message("203.0.113.7:443", Stage::Resolved))).await.unwrap();
    while subjects(&alerts().await) != ["203.0.113.8:443"] {
        tokio::task::yield_now().await;
    }
    way.send(&item(&webhook, &message("203.0.113.8:443", Stage::Resolved))).await.unwrap();
    while !subjects(&alerts().await).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(way.due(), None);
}
