//! What the operator is told of a storm.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{Rig, eventually};

impl Rig {
    fn alarm(&self, id: &str) -> Option<Value> {
        let answer = self.admin("/api/v1/status");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: Value = serde_json::from_str(body).unwrap();
        status["alarms"].as_array().unwrap().iter().find(|alarm| alarm["id"] == id).cloned()
    }

    /// Refused a hundred times, which takes less than a second or a few, and waits until it is an alarm.
    fn storms(&self) -> Value {
        for _ in 0..100 {
            self.ask_one("GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        }
        let mut alarm = None;
        eventually("it is an alarm", || {
            alarm = self.alarm("self_target_storm");
            alarm.is_some()
        });
        alarm.unwrap()
    }
}

/// A gateway on a box that tells nothing of itself: what the real one is short of would be an alarm too. Its disks are the
/// real ones, of which nobody wants to hear. `silence`: nor of this.
fn on_a_mute_box(silence: &str) -> (Rig, TempDir) {
    let root = tempfile::tempdir().unwrap();
    let more = format!("[alarm]\nsilence = ['00:00-00:00 disk_full'{silence}]");
    (Rig::on(root.path(), &[], &more), root)
}

#[test]
fn a_storm_is_an_alarm_with_its_client_and_a_request() {
    let (rig, _root) = on_a_mute_box("");
    assert_eq!(rig.alarm("self_target_storm"), None);
    let alarm = rig.storms();
    assert_eq!((&alarm["severity"], &alarm["subject"]), (&"warning".into(), &"".into()));
    assert_eq!((&alarm["told"], &alarm["silenced"]), (&true.into(), &false.into()));
    assert!(alarm["count"].as_u64().unwrap() >= 5, "{alarm}");
    assert_eq!(alarm["values"]["client"], "127.0.0.1");
    assert_eq!(alarm["sample"]["request_line"], "GET http://127.0.0.1/mmtls/00006a5e HTTP/1.1");
    let metrics = rig.admin("/metrics");
    assert!(metrics.contains("\nfloodgate_alarms_total{alarm=\"self_target_storm\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("\nfloodgate_alarms_firing{severity=\"warning\"} 0\n"), "{metrics}");
    assert!(metrics.contains("\nfloodgate_alarm_messages_total 1\n"), "{metrics}");
}

#[test]
fn what_is_silenced_stands_and_is_not_told() {
    let (rig, _root) = on_a_mute_box(", '00:00-00:00 self_target_storm'");
    let alarm = rig.storms();
    assert_eq!((&alarm["told"], &alarm["silenced"]), (&false.into(), &true.into()));
    assert!(rig.admin("/metrics").contains("\nfloodgate_alarm_messages_total 0\n"));
}

#[test]
fn a_configuration_that_is_not_taken_over_is_an_alarm() {
    let rig = Rig::new(&[]);
    rig.gateway.reload_refused(Path::new("/etc/floodgate/floodgate.toml"), "line 2: wrong\nline 3: wrong too");
    eventually("it is an alarm", || rig.alarm("reload_failed").is_some());
    let alarm = rig.alarm("reload_failed").unwrap();
    assert_eq!(alarm["values"]["file"], "/etc/floodgate/floodgate.toml");
    assert_eq!(alarm["values"]["why"], "line 2: wrong");
}
