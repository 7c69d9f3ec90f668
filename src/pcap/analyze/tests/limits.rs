//! Every table full: nothing grows, what is left out is counted, and what matters is found all the same.

use super::super::limits::{ENDPOINTS, KINDS, PAIRS, PROXIES, SERIES, TARGETS, WATCHED};
use super::{End, PROXY, Scene, Side, connect, get};

/// The `n`th address of a network of many.
fn address(n: usize) -> String {
    format!("10.{}.{}.{}", 200 + n / 65_536, n / 256 % 256, n % 256)
}

#[test]
fn a_port_scan_hides_no_proxy() {
    let mut scene = Scene::new();
    for n in 0..70_000 {
        let talk = scene.call(n, "10.1.1.1", &format!("{}:{}", address(0), n % 65_535 + 1));
        scene.close(talk, n + 1, End::Reset(Side::Server));
        let talk = scene.call(n, "10.1.1.1", &format!("{}:80", address(usize::try_from(n).unwrap())));
        scene.close(talk, n + 1, End::Reset(Side::Server));
    }
    assert!(scene.gatherer.evidence.endpoints.rows.len() <= ENDPOINTS);
    assert!(scene.gatherer.evidence.pairs.rows.len() <= PAIRS);
    scene.exchange(80_000, 900, "10.1.1.2", PROXY, &connect("www.example.com:443"), 200);
    let findings = scene.findings();
    assert!(findings.untracked > 0);
    assert_eq!(findings.proxies[0].requests, 1);
    assert!(findings.verdicts.iter().any(|verdict| verdict.cause.contains("more than the tables")));
}

#[test]
fn targets_and_kinds_without_end_are_counted() {
    let mut scene = Scene::new();
    for n in 0..TARGETS as u64 + 100 {
        scene.exchange(n * 1_000, 900, "10.1.1.1", PROXY, &connect(&format!("host{n}.example.com:443")), 200);
    }
    // Known or not, what names the box is noticed.
    for port in 1..30 {
        scene.exchange(0, 900, "10.1.1.1", PROXY, &get(&format!("http://10.115.5.2:{port}/")), 403);
        scene.exchange(0, 900, "10.1.1.1", PROXY, &connect(&format!("0x0a730502:{port}")), 403);
    }
    assert_eq!(scene.gatherer.evidence.askings.rows.len(), TARGETS);
    assert!(scene.gatherer.evidence.watched.iter().all(|watched| watched.kinds.len() <= KINDS));
    let proxy = scene.proxy();
    assert_eq!((proxy.hosts.at_least, proxy.hosts.exact), (TARGETS as u64, false));
    assert_eq!(proxy.connect_targets.len(), 50);
    assert_eq!(proxy.connect_others, TARGETS as u64 + 100 + 29 - 50);
    assert_eq!(proxy.self_target.iter().map(|one| one.count).sum::<u64>(), 58);
}

#[test]
fn clients_without_end_are_counted() {
    let mut scene = Scene::new();
    for n in 0..WATCHED + 1_000 {
        scene.exchange(n as u64 * 100, 90, &address(n), PROXY, &get("http://10.115.5.2/"), 403);
    }
    assert_eq!(scene.gatherer.evidence.watched.len(), WATCHED);
    assert_eq!(scene.gatherer.evidence.watched.iter().filter(|watched| watched.bins.is_some()).count(), SERIES);
    let proxy = scene.proxy();
    assert_eq!((proxy.clients, proxy.requests, proxy.cost.refused), (3_048, 3_048, 3_048));
}

#[test]
fn a_storm_of_what_is_no_proxy_leaves_room_for_one() {
    let mut scene = Scene::new();
    for n in 0..WATCHED + 1_000 {
        let head = "GET / HTTP/1.1\r\nHost: 10.9.9.9\r\n\r\n";
        scene.exchange(n as u64 * 100, 90, &address(n), "10.9.9.9:80", head, 200);
    }
    assert_eq!(scene.gatherer.evidence.watched.len(), WATCHED / 2);
    for n in 0..30 {
        scene.exchange(n * 1_000, 900, "10.1.1.1", PROXY, &get("http://10.115.5.2/"), 403);
    }
    assert_eq!(scene.proxy().storms.len(), 1);
}

#[test]
fn sides_that_turn_out_to_be_the_other_way_round_are_entered_anew() {
    let mut scene = Scene::new();
    let mut talk = scene.connect(0, "10.115.5.2", "10.1.1.1:40000");
    // Taken for the server's first; it was the proxy's.
    scene.close(talk, 0, End::Open);
    talk = scene.call(0, "10.1.1.1", PROXY);
    talk.conversation.midstream = true;
    let (client, server) = (talk.conversation.client, talk.conversation.server);
    talk.conversation.number += 1;
    (talk.conversation.client, talk.conversation.server) = (server, client);
    super::Witness::opened(&mut scene.gatherer, &talk.conversation);
    (talk.conversation.client, talk.conversation.server) = (client, server);
    scene.ask(&mut talk, 10, &connect("www.example.com:443"));
    scene.answer(&mut talk, 20, 200, true);
    let wrong = scene.gatherer.evidence.endpoints.rows.iter().find(|endpoint| endpoint.at == client).unwrap();
    assert_eq!(wrong.connected, 0);
    assert_eq!(scene.proxy().requests, 1);
}

#[test]
fn of_many_proxies_the_told_and_the_busiest_are_judged() {
    let mut scene = Scene::told(&["10.9.9.9:3128"]);
    for n in 0..100 {
        let proxy = format!("{}:3128", address(n));
        for _ in 0..=n {
            scene.exchange(0, 900, "10.1.1.1", &proxy, &connect("www.example.com:443"), 200);
        }
    }
    let talk = scene.call(0, "10.1.1.1", "10.9.9.9:3128");
    scene.close(talk, 1, End::Open);
    let findings = scene.findings();
    assert_eq!((findings.proxies.len(), findings.more_proxies), (PROXIES, 101 - PROXIES as u64));
    assert_eq!(findings.proxies[0].requests, 100);
    assert!(findings.proxies.iter().any(|proxy| proxy.requests == 0));
    assert!(findings.verdicts.iter().any(|verdict| verdict.cause.contains("more proxies")));
}
