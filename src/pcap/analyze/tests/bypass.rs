//! Clients that go past the proxy.

use super::super::findings::{Bypass, Relation, Weight};
use super::{BOX, End, ORIGIN, PROXY, Scene, Side, connect, get, heaviest};

const CLIENT: &str = "10.115.20.21";
const PLAIN: &str = "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n";

/// What is found past the proxy after a client has asked it for `asked`, and gone to `server` itself for `host`.
fn past(asked: &[&str], server: &str, host: Option<&str>) -> Vec<Bypass> {
    let mut scene = Scene::new();
    scene.exchange(0, 900, CLIENT, PROXY, &connect("first.example.net:443"), 200);
    for asked in asked {
        scene.exchange(1_000, 900, CLIENT, PROXY, &get(asked), 200);
    }
    let mut talk = scene.connect(2_000, CLIENT, server);
    if let Some(host) = host {
        scene.ask(&mut talk, 2_100, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        scene.answer(&mut talk, 2_200, 200, true);
    }
    scene.close(talk, 3_000, End::Finished(Side::Client));
    scene.proxy().bypass
}

#[test]
fn the_same_destination_by_name_by_address_and_by_the_proxys_own_calls() {
    let found = past(&["http://szfile.weixin.qq.com/"], "203.0.113.140:80", Some("SZfile.weixin.qq.com"));
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!((one.relation, one.private, one.connections), (Relation::Same, false, 1));
    assert_eq!(one.host.as_deref(), Some("szfile.weixin.qq.com"));
    assert!(one.bytes > 200);
    assert_eq!(past(&["http://203.0.113.140/"], "203.0.113.140:443", None)[0].relation, Relation::Same);

    let mut scene = Scene::new();
    scene.forward(0, CLIENT, &get("http://www.example.org/"));
    let talk = scene.connect(10_000, CLIENT, "203.0.113.80:443");
    scene.close(talk, 11_000, End::Finished(Side::Client));
    assert_eq!(scene.proxy().bypass[0].relation, Relation::Same);
}

#[test]
fn siblings_share_a_site_or_a_network() {
    let rows = [
        ("http://szshort.weixin.qq.com/", "198.51.100.1:80", Some("szfile.wx.qq.com"), Relation::Sibling),
        ("http://203.0.113.1/", "203.0.113.140:8080", None, Relation::Sibling),
        ("http://[2001:4860:1:2::3]/", "[2001:4860:1:7::9]:443", None, Relation::Sibling),
        ("http://a.example.co.uk/", "198.51.100.1:80", Some("b.example.co.uk"), Relation::Sibling),
        ("http://a.example.co.uk/", "198.51.100.1:80", Some("b.other.co.uk"), Relation::Other),
        ("http://a.example.com/", "198.51.100.1:80", Some("notexample.com"), Relation::Other),
        // The neighbours of a private address are anybody.
        ("http://10.1.1.1/", "10.1.1.2:80", None, Relation::Other),
    ];
    for (asked, server, host, expected) in rows {
        let found = past(&[asked], server, host);
        assert_eq!((found.len(), found[0].relation), (1, expected), "{asked} {server} {host:?}");
    }
}

#[test]
fn nobody_else_goes_past_it() {
    let mut scene = Scene::told(&[PROXY, "10.115.5.9"]);
    scene.forward(0, CLIENT, &get("http://www.example.org/"));
    // A client of nobody; the box itself; another port and another address of the box.
    scene.exchange(10_000, 900, "10.115.20.99", ORIGIN, PLAIN, 200);
    scene.exchange(20_000, 900, BOX, ORIGIN, PLAIN, 200);
    scene.exchange(30_000, 900, CLIENT, "10.115.5.2:22", "x", 200);
    let talk = scene.connect(40_000, CLIENT, "10.115.5.9:443");
    scene.close(talk, 41_000, End::Finished(Side::Client));
    assert_eq!(scene.proxy().bypass, []);
}

#[test]
fn it_is_told_in_words_and_the_intranet_is_not() {
    let verdict = |server: &str, host: &str, weight, words: &[&str]| {
        let mut scene = Scene::new();
        scene.forward(0, CLIENT, &get("http://www.example.org/"));
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        scene.exchange(10_000, 900, CLIENT, server, &head, 200);
        heaviest(&scene.findings(), weight, words);
    };
    verdict(
        "198.51.100.1:80",
        "files.example.org",
        Weight::Warning,
        &["straight to", "198.51.100.1:80 [files.example.org]"],
    );
    verdict("198.51.100.1:80", "elsewhere.test", Weight::Note, &["other destinations"]);
    verdict("10.1.1.1:80", "intranet", Weight::Fine, &["Nothing wrong"]);
}

#[test]
fn other_addresses_of_the_box_are_known_by_what_they_fetch() {
    let mut scene = Scene::new();
    for n in 0..5 {
        let mut talk = scene.connect(n * 10_000, CLIENT, PROXY);
        scene.ask(&mut talk, n * 10_000 + 100, &get("http://203.0.113.80/"));
        scene.exchange(n * 10_000 + 200, 900, "198.51.100.7", ORIGIN, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200);
        scene.answer(&mut talk, n * 10_000 + 2_000, 200, false);
        scene.close(talk, n * 10_000 + 3_000, End::Finished(Side::Client));
    }
    // Whoever calls many others, or calls it when nobody asks for it, is somebody else.
    for n in 0..5 {
        scene.exchange(60_000, 900, "10.115.77.1", &format!("203.0.113.9{n}:80"), PLAIN, 200);
        scene.exchange(70_000, 900, "10.115.77.2", ORIGIN, PLAIN, 200);
    }
    // A client that goes past the proxy at such a moment stays a client.
    let mut talk = scene.connect(90_000, CLIENT, PROXY);
    scene.ask(&mut talk, 90_100, &get("http://203.0.113.80/"));
    scene.exchange(90_200, 900, CLIENT, ORIGIN, PLAIN, 200);
    scene.exchange(90_200, 900, "10.115.77.1", ORIGIN, PLAIN, 200);
    let proxy = scene.proxy();
    assert_eq!(proxy.onward.addresses, [super::ip("198.51.100.7")]);
    assert_eq!(proxy.onward.connections, 5);
    assert_eq!((proxy.bypass.len(), proxy.bypass[0].client), (1, super::ip(CLIENT)));
}

#[test]
fn keep_alive_that_is_asked_for_and_given_up_is_misuse() {
    let misuse = |keep: &str, promised: bool, requests: u64, wait: u64, end: End| {
        let mut scene = Scene::new();
        for n in 0..20 {
            let mut talk = scene.connect(n * 10_000_000, CLIENT, PROXY);
            let head = format!(
                "GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\nProxy-Connection: {keep}\r\n\r\n"
            );
            let mut at = n * 10_000_000;
            for _ in 0..requests {
                scene.ask(&mut talk, at + 100, &head);
                scene.answer(&mut talk, at + 200, 200, promised);
                at += 300;
            }
            scene.close(talk, at + wait, end);
        }
        scene.proxy().keep_alive_misuse.first().map(|one| (one.closed, one.of))
    };
    let by_client = End::Finished(Side::Client);
    assert_eq!(misuse("keep-alive", true, 1, 500, by_client), Some((20, 20)));
    assert_eq!(misuse("keep-alive", true, 1, 500, End::Reset(Side::Client)), Some((20, 20)));
    assert_eq!(misuse("close", true, 1, 500, by_client), None);
    assert_eq!(misuse("keep-alive", false, 1, 500, by_client), None);
    assert_eq!(misuse("keep-alive", true, 2, 500, by_client), None);
    // After a while it is only tidy; and the server may close when it likes.
    assert_eq!(misuse("keep-alive", true, 1, 5_000_000, by_client), None);
    assert_eq!(misuse("keep-alive", true, 1, 500, End::Finished(Side::Server)), None);
}
