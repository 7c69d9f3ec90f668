//! What else goes wrong: answers late or never, connections refused, destinations that are dead, TIME_WAIT, heads without an end.

use super::super::findings::Weight;
use super::{BOX, End, PROXY, Scene, Side, connect, get, heaviest};

#[test]
fn answers_late_or_never_and_resets_are_counted() {
    let mut scene = Scene::new();
    for n in 0..40 {
        let client = format!("10.1.1.{n}");
        let mut talk = scene.connect(n * 1_000_000, &client, PROXY);
        scene.ask(&mut talk, n * 1_000_000, &connect("www.example.com:443"));
        match n % 4 {
            0 => scene.answer(&mut talk, n * 1_000_000 + 5_100_000, 200, true),
            1 => scene.answer(&mut talk, n * 1_000_000 + 4_900_000, 200, true),
            _ => {}
        }
        let end = [
            End::Finished(Side::Client),
            End::Finished(Side::Client),
            End::Reset(Side::Client),
            End::Reset(Side::Server),
        ];
        scene.close(talk, n * 1_000_000 + 9_000_000, end[usize::try_from(n % 4).unwrap()]);
    }
    let findings = scene.findings();
    let proxy = &findings.proxies[0];
    assert_eq!((proxy.answers.answered, proxy.answers.late, proxy.answers.never), (20, 10, 20));
    assert_eq!((proxy.connections.reset_by_client, proxy.connections.reset_by_proxy), (10, 10));
    heaviest(
        &findings,
        Weight::Warning,
        &["late or not at all", "10 were answered after", "20 never", "upstream.connect-timeout"],
    );
}

#[test]
fn connections_that_are_not_accepted_are_counted() {
    let mut scene = Scene::told(&[PROXY]);
    for n in 0..30 {
        let client = format!("10.1.1.{n}");
        let talk = scene.call(n * 1_000_000, &client, PROXY);
        let (end, took) = if n % 3 == 0 { (End::Reset(Side::Server), 100) } else { (End::Open, 9_000_000) };
        scene.close(talk, n * 1_000_000 + took, end);
    }
    let findings = scene.findings();
    let connections = findings.proxies[0].connections;
    assert_eq!((connections.total, connections.refused, connections.unanswered), (30, 10, 20));
    assert_eq!((connections.reset_by_proxy, connections.silent), (0, 0));
    heaviest(&findings, Weight::Warning, &["does not accept", "limits.connections"]);
}

#[test]
fn a_dead_destination_is_named() {
    let mut scene = Scene::new();
    for n in 0..30_u64 {
        let at = n * 1_000_000;
        let mut talk = scene.connect(at, "10.1.1.1", PROXY);
        scene.ask(&mut talk, at + 10, &get("http://update.example.net/manifest"));
        let onward = scene.call(at + 20, BOX, "203.0.113.200:80");
        scene.close(onward, at + 30, End::Reset(Side::Server));
        scene.answer(&mut talk, at + 40, 502, false);
        scene.close(talk, at + 50, End::Finished(Side::Server));
        scene.forward(at + 500_000, "10.1.1.1", &get("http://www.example.org/"));
    }
    let findings = scene.findings();
    let proxy = &findings.proxies[0];
    assert_eq!(proxy.failing, [("update.example.net".to_owned(), 30, 30)]);
    assert_eq!((proxy.onward.connections, proxy.onward.refused, proxy.onward.unanswered), (60, 30, 0));
    assert!(proxy.onward.destinations.contains(&("203.0.113.200:80".parse().unwrap(), 30, 30)));
    assert!(proxy.storms.is_empty());
    heaviest(
        &findings,
        Weight::Warning,
        &["update.example.net", "30 of 30", "destinations.deny = [\"update.example.net\"]"],
    );
    assert!(findings.verdicts.iter().any(|verdict| verdict.evidence.contains("203.0.113.200:80 (30 of 30)")));
}

#[test]
fn time_wait_is_that_of_whoever_closed_first_within_a_minute() {
    let time_wait = |end: End, apart: u64| {
        let mut scene = Scene::new();
        scene.exchange(0, 900, "10.1.1.1", PROXY, &connect("www.example.com:443"), 200);
        for n in 1..=5_000 {
            let talk = scene.connect(n * apart, "10.1.1.1", PROXY);
            scene.close(talk, n * apart + 100, end);
        }
        scene.proxy().cost.time_wait
    };
    assert_eq!(time_wait(End::Finished(Side::Server), 1_000), 5_000);
    assert_eq!(time_wait(End::Finished(Side::Client), 1_000), 0);
    assert_eq!(time_wait(End::Reset(Side::Server), 1_000), 0);
    // Ten a second: sixty seconds of them, the first cut.
    assert_eq!(time_wait(End::Finished(Side::Server), 100_000), 600);
}

#[test]
fn a_table_of_time_wait_that_fills_is_a_warning() {
    let mut scene = Scene::new();
    scene.exchange(0, 900, "10.1.1.1", PROXY, &connect("www.example.com:443"), 200);
    for n in 1..=5_000 {
        let talk = scene.connect(n * 1_000, "10.1.1.1", PROXY);
        scene.close(talk, n * 1_000 + 100, End::Finished(Side::Server));
    }
    heaviest(&scene.findings(), Weight::Warning, &["closes first", "5000 connections in TIME_WAIT"]);
}

#[test]
fn heads_that_never_end_are_told() {
    let mut scene = Scene::told(&[PROXY]);
    for n in 0..20_u64 {
        let mut talk = scene.connect(n * 1_000, "10.1.1.1", PROXY);
        scene.ask(
            &mut talk,
            n * 1_000 + 30_000_000,
            "GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\nX-a: b\r\n",
        );
        scene.close(talk, n * 1_000 + 30_000_100, End::Finished(Side::Client));
    }
    let findings = scene.findings();
    assert_eq!((findings.proxies[0].answers.slow_heads, findings.proxies[0].answers.never), (20, 0));
    assert!(
        findings.verdicts.iter().any(|verdict| verdict.remedy.contains("timeouts.head")),
        "{:?}",
        findings.verdicts
    );
}

#[test]
fn more_connections_than_a_client_may_have_are_told() {
    let mut scene = Scene::told(&[PROXY]);
    for n in 0..3_000 {
        let mut talk = scene.connect(n, "10.1.1.1", PROXY);
        scene.ask(&mut talk, n, &connect(&format!("host{n}.example.com:443")));
        scene.answer(&mut talk, n, 200, true);
    }
    let findings = scene.findings();
    assert_eq!(findings.proxies[0].busiest, Some((super::ip("10.1.1.1"), 3_000)));
    assert!(findings.verdicts.iter().any(|verdict| verdict.remedy.contains("limits.client-connections = 4096")));
}

#[test]
fn what_was_reset_is_open_no_longer_though_its_end_is_told_later() {
    let mut scene = Scene::told(&[PROXY]);
    let mut reset = Vec::new();
    for n in 0..50 {
        let mut talk = scene.connect(n * 1_000, "10.1.1.1", PROXY);
        scene.ask(&mut talk, n * 1_000 + 1, &get("http://www.example.com/"));
        super::Witness::reset(&mut scene.gatherer, &talk.conversation, super::time(n * 1_000 + 500));
        reset.push(talk);
    }
    for (talk, n) in reset.into_iter().zip(0..) {
        scene.close(talk, n * 1_000 + 500, End::Reset(Side::Client));
    }
    let mut talk = scene.connect(60_000, "10.1.1.1", PROXY);
    scene.ask(&mut talk, 60_001, &get("http://www.example.com/"));
    let next = scene.connect(60_002, "10.1.1.1", PROXY);
    scene.close(next, 60_003, End::Finished(Side::Client));
    scene.close(talk, 60_004, End::Finished(Side::Client));
    let proxy = scene.proxy();
    assert_eq!((proxy.connections.peak, proxy.cost.sockets, proxy.busiest.unwrap().1), (2, 2, 2));
    assert_eq!((proxy.connections.reset_by_client, proxy.answers.never), (50, 51));
}

#[test]
fn a_capture_of_one_direction_does_not_blame_the_proxy() {
    let mut scene = Scene::new();
    for n in 0..40 {
        let mut talk = scene.call(n * 1_000_000, "10.1.1.1", PROXY);
        scene.ask(&mut talk, n * 1_000_000, &connect("www.example.com:443"));
        scene.close(talk, n * 1_000_000 + 9_000_000, End::Open);
    }
    let findings = scene.findings();
    assert_eq!(findings.proxies[0].answers.never, 0);
    assert_eq!(findings.verdicts.len(), 1, "{:?}", findings.verdicts);
    heaviest(&findings, Weight::Warning, &["one direction", "40 of 40 conversations"]);
}

#[test]
fn every_setting_that_is_proposed_can_be_set() {
    for (target, deny) in [
        ("update.example.net:443", Some("\"update.example.net\"")),
        ("[2001:db8::1]:443", Some("\"[2001:db8::1]\"")),
        ("203.0.113.9:443", Some("\"203.0.113.9\"")),
        ("what<is>that:443", None),
    ] {
        let mut scene = Scene::new();
        for n in 0..30 {
            scene.exchange(n * 1_000_000, 900, "10.1.1.1", PROXY, &connect(target), 502);
        }
        let findings = scene.findings();
        let dead = findings.verdicts.iter().find(|verdict| verdict.cause.contains("cannot be reached")).unwrap();
        let proposed = dead.remedy.split_once("destinations.deny = [").and_then(|(_, rest)| rest.split(']').next());
        let expected = deny.map(|deny| deny.split(']').next().unwrap());
        assert_eq!(proposed, expected, "{target}: {}", dead.remedy);
    }
    let mut scene = Scene::new();
    for n in 0..30 {
        scene.exchange(n * 1_000_000, 900, "fd00::21", "[fd00::5:2]:3128", &get("http://[fd00::5:2]/"), 404);
    }
    heaviest(&scene.findings(), Weight::Warning, &["[self] allow = [\"[fd00::5:2]:PORT\"]"]);
}
