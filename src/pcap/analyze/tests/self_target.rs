//! Requests that name the proxy itself, in every way the gateway knows.

use super::super::findings::{Because, SelfTarget, Weight};
use super::super::limits::SAMPLE;
use super::{BOX, ORIGIN, PROXY, Scene, connect, get, heaviest, ip, time};

/// The kinds found after these requests to a proxy.
fn kinds(told: &[&str], heads: &[&str]) -> Vec<String> {
    let mut scene = Scene::told(told);
    scene.exchange(0, 900, "10.1.1.1", PROXY, &connect("www.example.com:443"), 200);
    for head in heads {
        scene.exchange(scene.number * 1_000_000, 900, "10.1.1.1", PROXY, head, 403);
    }
    let findings = scene.findings();
    let found: Vec<SelfTarget> = findings.proxies.into_iter().flat_map(|proxy| proxy.self_target).collect();
    found.iter().map(|one| one.kind.label()).collect()
}

#[test]
fn each_way_has_its_name() {
    let rows = [
        (get("http://10.115.5.2/"), "absolute-form"),
        (get("http://10.115.5.2:80/x"), "absolute-form"),
        (get("http://10.115.5.2:3128/x"), "absolute-form"),
        (get("http://10.115.5.2:8080/"), "absolute-form, other port"),
        (get("HTTP://10.115.5.2/"), "absolute-form"),
        (get("https://10.115.5.2/"), "absolute-form"),
        (get("http://10.115.5.2/#top"), "absolute-form"),
        ("GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n".into(), "origin-form"),
        ("GET / HTTP/1.1\r\nHost: 10.115.5.2:3128\r\n\r\n".into(), "origin-form"),
        (connect("10.115.5.2:3128"), "authority-form"),
        (connect("10.115.5.2:443"), "authority-form, other port"),
        (get("http://175310082/"), "absolute-form, numeric spelling"),
        (get("http://0x0a730502/"), "absolute-form, numeric spelling"),
        (get("http://012.115.5.2/"), "absolute-form, numeric spelling"),
        (get("http://10.7537922/"), "absolute-form, numeric spelling"),
        (get("http://10.115.5.2./"), "absolute-form, numeric spelling"),
        (get("http://[::ffff:10.115.5.2]/"), "absolute-form, numeric spelling"),
        (get("http://[64:ff9b::10.115.5.2]/"), "absolute-form, embedded address"),
        (get("http://[2002:a73:502::]/"), "absolute-form, embedded address"),
        (get("http://127.0.0.1/"), "absolute-form, loopback"),
        (get("http://LocalHost:631/"), "absolute-form, loopback, other port"),
        (get("http://0/"), "absolute-form, loopback"),
    ];
    for (head, expected) in rows {
        assert_eq!(kinds(&[], &[&head]), [expected], "{head}");
    }
}

#[test]
fn others_are_none() {
    let heads = [
        get("http://10.115.5.3/"),
        get("http://10.115.5.20/"),
        get("http://10.115.5.2.example.com/"),
        get("http://www.example.com/?u=http://10.115.5.2/"),
        // Where the target is absolute, Host says nothing (RFC 9112 section 3.2.2).
        "GET http://www.example.com/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n".into(),
        get("http://user@10.115.5.2/"),
        connect("10.115.5.3:443"),
    ];
    for head in heads {
        assert_eq!(kinds(&[], &[&head]), [""; 0], "{head}");
    }
}

#[test]
fn addresses_told_besides_are_the_same_box() {
    let outside = get("http://198.51.100.7/");
    assert_eq!(kinds(&[], &[&outside]), [""; 0]);
    assert_eq!(kinds(&["10.115.5.2:3128", "198.51.100.7"], &[&outside]), ["absolute-form"]);
}

#[test]
fn who_how_often_and_the_first_one_are_told() {
    let mut scene = Scene::new();
    let head = get("http://10.115.5.2/mmtls/00006a5e");
    let long = get(&format!("http://10.115.5.2/{}", "x".repeat(2_000)));
    for at in [5_000_000, 6_000_000, 7_000_000] {
        scene.exchange(at, 900, "10.1.1.1", PROXY, &head, 403);
    }
    scene.exchange(8_000_000, 900, "10.1.1.2", PROXY, &long, 403);
    let findings = scene.findings();
    let proxy = &findings.proxies[0];
    assert_eq!(proxy.because, Because::ProxyConnection);
    let [first, second] = &proxy.self_target[..] else { panic!("{:?}", proxy.self_target) };
    assert_eq!((first.client, first.count, first.first), (ip("10.1.1.1"), 3, time(5_000_225)));
    assert_eq!(first.sample, head.as_bytes());
    assert_eq!((second.client, second.count), (ip("10.1.1.2"), 1));
    assert_eq!(second.sample, long.as_bytes()[..SAMPLE]);
    // One a second is no storm: a warning.
    heaviest(
        &findings,
        Weight::Warning,
        &["2 clients (10.1.1.1, 10.1.1.2)", "4 of 4 requests", "[self] aliases", "mmtls"],
    );
}

#[test]
fn a_box_that_only_its_own_address_was_asked_of_is_a_proxy_by_the_port() {
    let plain = "GET http://10.115.5.2/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n";
    let mut scene = Scene::new();
    scene.exchange(0, 900, "10.1.1.1", PROXY, plain, 404);
    assert_eq!(scene.proxy().because, Because::OtherPort);
    // At that very port it may be a server of its own.
    let mut scene = Scene::new();
    scene.exchange(0, 900, "10.1.1.1", "10.115.5.2:80", plain, 404);
    assert!(scene.findings().proxies.is_empty());
}

#[test]
fn on_a_web_server_its_own_host_is_as_it_should_be() {
    let mut scene = Scene::new();
    for at in 0..100 {
        scene.exchange(
            at * 1_000,
            900,
            "10.1.1.1",
            "10.9.9.9:8080",
            "GET / HTTP/1.1\r\nHost: 10.9.9.9:8080\r\n\r\n",
            200,
        );
    }
    let findings = scene.findings();
    assert!(findings.proxies.is_empty());
    heaviest(&findings, Weight::Fine, &["No proxy"]);
}

#[test]
fn origin_form_counts_even_if_it_came_before_what_gives_the_proxy_away() {
    let mut scene = Scene::new();
    scene.exchange(0, 900, "10.1.1.1", PROXY, "GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n", 400);
    scene.exchange(1_000, 900, "10.1.1.2", PROXY, &connect("www.example.com:443"), 200);
    let found = scene.proxy().self_target;
    assert_eq!((found.len(), found[0].kind.label()), (1, "origin-form".to_owned()));
}

#[test]
fn the_proxy_that_calls_itself_is_the_worst() {
    let mut scene = Scene::new();
    for at in (0..20_000).step_by(2_000) {
        let mut talk = scene.connect(at, "10.1.1.1", PROXY);
        scene.ask(&mut talk, at + 100, &get("http://10.115.5.2/"));
        scene.exchange(at + 200, 400, BOX, "10.115.5.2:80", "GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n", 404);
        scene.answer(&mut talk, at + 800, 404, false);
        scene.close(talk, at + 900, super::End::Finished(super::Side::Server));
    }
    scene.forward(50_000, "10.1.1.2", &get("http://www.example.org/"));
    let findings = scene.findings();
    heaviest(&findings, Weight::Critical, &["connects to itself", "10 of its 11 onward connections"]);
    let proxy = &findings.proxies[0];
    assert_eq!((proxy.onward.connections, proxy.onward.to_itself, proxy.onward.to_own_proxy), (11, 10, 0));
    assert_eq!(proxy.onward.destinations[1].0, ORIGIN.parse().unwrap());
    // Two connections for each request refused: the client's nine packets and the box's own nine.
    assert_eq!(proxy.cost.refused, 10);
    assert!((proxy.cost.connections_per_refused - 2.0).abs() < 0.01, "{:?}", proxy.cost);
    assert!((proxy.cost.packets_per_refused - 18.0).abs() < 0.01, "{:?}", proxy.cost);
    assert_eq!((proxy.cost.sockets, proxy.cost.time_wait), (3, 10 + 10 + 1));
    assert_eq!(proxy.cost.kernel_bytes, 3 * 2_560 + 21 * 256);
}

#[test]
fn requests_that_come_back_to_the_proxy_go_round_in_circles() {
    let mut scene = Scene::new();
    let head = get("http://10.115.5.2:3128/");
    let mut outer = scene.connect(0, "10.1.1.1", PROXY);
    scene.ask(&mut outer, 100, &head);
    let mut inner = scene.connect(200, BOX, PROXY);
    scene.ask(&mut inner, 300, &head);
    scene.answer(&mut inner, 400, 403, false);
    scene.answer(&mut outer, 500, 403, false);
    let findings = scene.findings();
    assert_eq!(findings.proxies[0].onward.to_own_proxy, 1);
    heaviest(&findings, Weight::Critical, &["requests go round in circles"]);
}

#[test]
fn clients_on_loopback_are_not_the_proxy_calling_itself() {
    let mut scene = Scene::new();
    for at in 0..10 {
        scene.exchange(at * 1_000, 900, "127.0.0.1", "127.0.0.1:8002", &connect("abc:443"), 200);
    }
    // Whoever calls another port of loopback, it is not known to be the proxy.
    scene.exchange(90_000, 900, "127.0.0.1", "127.0.0.1:9000", "GET / HTTP/1.1\r\nHost: abc\r\n\r\n", 200);
    let proxy = scene.proxy();
    assert_eq!((proxy.onward.connections, proxy.onward.to_itself), (1, 0));
    assert!(proxy.self_target.is_empty());
}
