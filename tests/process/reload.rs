//! SIGHUP: good files reach new connections, bad ones change nothing.

use rustix::process::Signal;

use crate::rig::{Client, Floodgate, config, origin};

const REFUSED: &str = "floodgate_config_reloads_total{result=\"refused\"}";
const APPLIED: &str = "floodgate_config_reloads_total{result=\"applied\"}";

#[test]
fn a_good_file_is_for_new_connections_and_old_ones_keep_their_rules() {
    let (old, new) = (origin("old"), origin("new"));
    let floodgate = Floodgate::start(&[old], "");
    let mut kept = floodgate.client();
    assert!(kept.get(old, "/").ends_with("old"));
    assert!(floodgate.get(new, "/").starts_with("HTTP/1.1 403 "));

    floodgate.rewrite(&config(&[new], ""));
    floodgate.signal(Signal::HUP);
    floodgate.says("configuration reloaded", 1);

    assert!(floodgate.get(new, "/").ends_with("new"));
    assert!(floodgate.get(old, "/").starts_with("HTTP/1.1 403 "));
    assert!(kept.get(old, "/").ends_with("old"), "it was there before");
    assert!(kept.get(new, "/").starts_with("HTTP/1.1 403 "));
    assert_eq!((floodgate.metric(APPLIED), floodgate.metric(REFUSED)), (1, 0));
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let origin = origin("still here");
    let mut floodgate = Floodgate::start(&[origin], "");
    let mut kept = floodgate.client();
    assert!(kept.get(origin, "/").ends_with("still here"));
    let good = config(&[origin], "");
    let bad: [(&str, &str); 3] = [
        ("[limits]\nconnections = 'many'", "limits.connections"),
        ("[limits", "line "),
        ("[[alarm.webhook]]\nkind = 'slack'", "alarm"),
    ];
    for (number, (lines, why)) in bad.into_iter().enumerate() {
        floodgate.rewrite(&format!("{good}{lines}"));
        floodgate.signal(Signal::HUP);
        let said = floodgate.says("configuration not reloaded", number + 1);
        assert!(said.contains(why), "{said}");
        assert!(floodgate.metric(REFUSED) > number as u64);
    }
    std::fs::remove_file(floodgate.path("floodgate.toml")).unwrap();
    floodgate.signal(Signal::HUP);
    let said = floodgate.says("configuration not reloaded", bad.len() + 1);
    assert!(said.contains("floodgate.toml"), "{said}");

    assert!(kept.get(origin, "/").ends_with("still here"));
    assert!(floodgate.get(origin, "/").ends_with("still here"));
    assert_eq!((floodgate.metric(APPLIED), floodgate.metric(REFUSED)), (0, 4));
    floodgate.signal(Signal::TERM);
    drop(kept);
    assert!(floodgate.wait().success());
}

#[test]
fn keys_that_need_a_restart_are_named_and_nothing_of_the_file_is_taken() {
    let (old, new) = (origin("old"), origin("new"));
    let floodgate = Floodgate::start(&[old], "[runtime]\nworkers = 2");
    let changed: [(&str, &str); 3] = [
        ("[runtime]\nworkers = 3", "runtime.workers"),
        ("[runtime]\nworkers = 2\n[log]\naccess = '/dev/null'", "log.access"),
        ("[runtime]\nworkers = 2\n[log]\naccess-format = 'json'", "log.access-format"),
    ];
    for (number, (lines, key)) in changed.into_iter().enumerate() {
        floodgate.rewrite(&config(&[new], lines));
        floodgate.signal(Signal::HUP);
        let said = floodgate.says("configuration not reloaded", number + 1);
        assert!(said.contains(&format!("\"{key}\"")), "{said}");
        assert!(floodgate.get(old, "/").ends_with("old"));
    }
    let moved = config(&[new], "[runtime]\nworkers = 2").replace("[admin]\naddress = \"127.0.0.1:0\"", "");
    floodgate.rewrite(&moved);
    floodgate.signal(Signal::HUP);
    let said = floodgate.says("configuration not reloaded", changed.len() + 1);
    assert!(said.contains("\"admin.address\""), "{said}");
    assert_eq!((floodgate.metric(APPLIED), floodgate.metric(REFUSED)), (0, 4));
}

#[test]
fn who_may_ask_the_admin_is_taken_over() {
    let floodgate = Floodgate::start(&[], "");
    floodgate.rewrite(&config(&[], "").replace("[self]", "allow = ['192.0.2.1']\n[self]"));
    floodgate.signal(Signal::HUP);
    floodgate.says("configuration reloaded", 1);
    assert_eq!(Client::connect(floodgate.admin).head(), "", "closed unanswered");
}
