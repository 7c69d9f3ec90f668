//! A healthy capture: one verdict, with its figures.

use super::super::findings::Weight;
use super::{End, ORIGIN, PROXY, Scene, Side, connect, get, heaviest};

#[test]
fn nothing_is_wrong_with_browsing() {
    let mut scene = Scene::new();
    for n in 0..2_000_u64 {
        let client = format!("10.115.20.{}", n % 50 + 1);
        let head =
            if n % 3 == 0 { connect("www.example.com:443") } else { get(&format!("http://www.example.org/{n}")) };
        let mut talk = scene.connect(n * 20_000, &client, PROXY);
        scene.ask(&mut talk, n * 20_000 + 100, &head);
        // Some pages are missing, some want credentials, some are there already.
        let status = match n % 25 {
            0 => 404,
            1 => 407,
            2 => 304,
            _ => 200,
        };
        scene.answer(&mut talk, n * 20_000 + 8_000, status, true);
        scene.close(talk, n * 20_000 + 5_000_000, End::Finished(Side::Client));
    }
    let findings = scene.findings();
    assert_eq!(findings.verdicts.len(), 1, "{:?}", findings.verdicts);
    heaviest(
        &findings,
        Weight::Fine,
        &["Nothing wrong was found", "50 clients", "2000 requests", "80 refused", "0 never"],
    );
    let proxy = &findings.proxies[0];
    assert!(proxy.storms.is_empty() && proxy.self_target.is_empty() && proxy.bypass.is_empty());
}

#[test]
fn nothing_at_all_is_a_verdict_too() {
    let findings = Scene::new().findings();
    assert_eq!(findings.verdicts.len(), 1);
    heaviest(&findings, Weight::Fine, &["No proxy", "--proxy"]);
}

#[test]
fn a_capture_without_a_proxy_is_told_with_its_figures() {
    let mut scene = Scene::new();
    for n in 0..7 {
        scene.exchange(n * 1_000, 400, "192.0.2.7", ORIGIN, "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 200);
    }
    heaviest(&scene.findings(), Weight::Fine, &["No proxy", "7 TCP conversations and 7 HTTP requests"]);
}
