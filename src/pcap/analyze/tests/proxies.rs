//! Which endpoints are proxies, and which are not.

use super::super::findings::{Because, Form, Relation, Weight};
use super::{ORIGIN, PROXY, Scene, connect, get, heaviest};

fn because(scene: Scene) -> Option<Because> {
    let findings = scene.findings();
    assert!(findings.proxies.len() <= 1);
    findings.proxies.first().map(|proxy| proxy.because)
}

#[test]
fn connect_makes_a_proxy_unless_it_is_answered_as_by_a_web_server() {
    for (status, expected) in
        [(200, true), (403, true), (407, true), (502, true), (400, false), (405, false), (501, false)]
    {
        let mut scene = Scene::new();
        scene.exchange(0, 1_000, "10.115.20.21", PROXY, &connect("www.example.com:443"), status);
        assert_eq!(because(scene), expected.then_some(Because::Connect), "{status}");
    }
    // Without a port it is no CONNECT, but somebody's attempt.
    let mut scene = Scene::new();
    scene.exchange(0, 1_000, "10.115.20.21", ORIGIN, "CONNECT / HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 200);
    assert_eq!(because(scene), None);
}

#[test]
fn absolute_form_alone_makes_none() {
    // As WeChat asks its own servers: two of its names at one address, from many clients, without Proxy-Connection.
    let mut scene = Scene::new();
    for client in 1..50_u64 {
        for name in ["hkminorshort.weixin.qq.com", "hkextshort.weixin.qq.com"] {
            let head = format!("POST http://{name}/cgi-bin/micromsg-bin/rtkvreport HTTP/1.1\r\nHost: {name}\r\n\r\n");
            scene.exchange(client * 10_000, 900, &format!("10.24.82.{client}"), "203.205.147.215:80", &head, 200);
        }
    }
    assert_eq!(because(scene), None);
}

#[test]
fn proxy_connection_makes_one_once_it_is_answered() {
    let mut scene = Scene::new();
    scene.exchange(0, 1_000, "192.168.56.1", "192.168.56.101:80", &get("HTTP://bro.org/"), 200);
    assert_eq!(because(scene), Some(Because::ProxyConnection));
    let mut scene = Scene::new();
    let mut talk = scene.connect(0, "30.7.181.121", "199.43.68.163:8080");
    scene.ask(&mut talk, 1, &get("http://bro.org/"));
    scene.close(talk, 2, super::End::Open);
    assert_eq!(because(scene), None);
}

#[test]
fn many_sites_make_one() {
    let plain = |host: &str| format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let asked = |server: &str, hosts: &[&str]| {
        let mut scene = Scene::new();
        for host in hosts {
            scene.exchange(scene.number * 10_000, 900, "10.1.1.1", server, &plain(host), 200);
        }
        because(scene)
    };
    let three = ["a.example.com", "b.example.org", "c.example.co.uk"];
    assert_eq!(asked("203.205.147.215:80", &three), Some(Because::ManyHosts));
    assert_eq!(asked("203.205.147.215:80", &three[..2]), None);
    assert_eq!(asked("10.9.9.9:8080", &three[..2]), Some(Because::ManyHosts));
    assert_eq!(asked("10.9.9.9:8080", &["a.example.co.uk", "b.example.co.uk"]), None);
}

#[test]
fn calls_to_others_while_a_request_waits_make_one() {
    let absolute = "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    let mut scene = Scene::new();
    scene.forward(0, "10.115.20.21", absolute);
    assert_eq!(because(scene), Some(Because::Onward));
    // Before and after, it may call whom it likes.
    let mut scene = Scene::new();
    scene.exchange(0, 900, "10.115.5.2", ORIGIN, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    scene.exchange(1_000, 900, "10.115.20.21", PROXY, absolute, 200);
    scene.exchange(2_000, 900, "10.115.5.2", ORIGIN, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    assert_eq!(because(scene), None);
    // It is no other itself.
    let mut scene = Scene::new();
    let mut talk = scene.connect(0, "10.115.20.21", PROXY);
    scene.ask(&mut talk, 100, absolute);
    scene.exchange(200, 100, "10.115.5.2", "10.115.5.2:80", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    scene.answer(&mut talk, 400, 200, false);
    assert_eq!(because(scene), None);
}

#[test]
fn several_clients_make_one_of_a_private_address_only() {
    for (server, clients, expected) in
        [(PROXY, 3, Some(Because::FanIn)), (PROXY, 2, None), ("203.205.147.215:80", 30, None)]
    {
        let mut scene = Scene::new();
        for client in 1..=clients {
            let head = "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
            scene.exchange(client * 10_000, 900, &format!("10.115.20.{client}"), server, head, 200);
        }
        assert_eq!(because(scene), expected, "{server} {clients}");
    }
}

#[test]
fn requests_inside_a_tunnel_make_none() {
    let mut scene = Scene::new();
    let talk = scene.connect(0, "10.1.1.1", ORIGIN);
    let head = get("http://www.example.com/");
    let request = super::Request {
        number: 1,
        began: super::time(1),
        at: super::time(1),
        head: head.as_bytes(),
        method: b"GET",
        target: b"http://www.example.com/",
        version: b"HTTP/1.1",
        host: Some(b"www.example.com"),
        user_agent: None,
        to_a_proxy: true,
        keep_alive: true,
        tunnelled: true,
    };
    super::Witness::request(&mut scene.gatherer, &talk.conversation, &request);
    let findings = scene.findings();
    assert_eq!((findings.requests, findings.tunnelled, findings.proxies.len()), (0, 1, 0));
}

#[test]
fn told_ones_are_proxies_whatever_they_look_like() {
    let plain = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    let serve = |told: &[&str]| {
        let mut scene = Scene::told(told);
        scene.exchange(0, 900, "10.1.1.1", "10.9.9.9:80", plain, 200);
        scene.exchange(1_000, 900, "10.1.1.1", "10.9.9.9:8080", plain, 200);
        scene.exchange(2_000, 900, "10.1.1.1", "10.9.9.8:80", plain, 200);
        let talk = scene.connect(3_000, "10.1.1.1", "10.9.9.9:22");
        scene.close(talk, 4_000, super::End::Open);
        let findings = scene.findings();
        findings.proxies.iter().map(|proxy| proxy.endpoint.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(serve(&["10.9.9.9:8080"]), ["10.9.9.9:8080"]);
    assert_eq!(serve(&["10.9.9.9"]), ["10.9.9.9:80", "10.9.9.9:8080"]);
    assert_eq!(serve(&["10.9.9.9:22"]), ["10.9.9.9:22"]);
    assert!(serve(&[]).is_empty());
    // None of its ports ever heard a word.
    let mut scene = Scene::told(&["10.9.9.9"]);
    for server in ["10.9.9.9:22", "10.9.9.9:3128", "10.9.9.9:3128", "10.9.9.8:80"] {
        let talk = scene.call(0, "10.1.1.1", server);
        scene.close(talk, 1, super::End::Open);
    }
    assert_eq!(scene.proxy().endpoint, "10.9.9.9:3128".parse().unwrap());
}

#[test]
fn a_told_one_that_is_not_there_is_said_so() {
    let mut scene = Scene::told(&["10.9.9.9:8080"]);
    scene.exchange(0, 900, "10.1.1.1", "10.9.9.9:80", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    heaviest(&scene.findings(), Weight::Warning, &["10.9.9.9:8080", "does not occur"]);
}

#[test]
fn what_was_asked_is_counted() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.exchange(0, 900, "10.1.1.1", PROXY, &connect("www.example.com:443"), 200);
    }
    scene.exchange(0, 900, "10.1.1.2", PROXY, &connect("www.example.org:8883"), 502);
    scene.exchange(0, 900, "10.1.1.2", PROXY, &get("http://www.example.com/a"), 200);
    scene.exchange(0, 900, "10.1.1.2", PROXY, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204);
    scene.exchange(0, 900, "10.1.1.2", PROXY, "BREW http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    let findings = scene.findings();
    assert!(findings.verdicts.iter().any(|verdict| verdict.remedy.contains("connect-ports = [443, 80, 8443, 8883]")));
    let proxy = &findings.proxies[0];
    assert_eq!((proxy.requests, proxy.clients, proxy.connections.total, proxy.connections.packets), (7, 2, 7, 7 * 9));
    let forms = [(Form::Absolute, 2), (Form::Authority, 4), (Form::Asterisk, 1)];
    assert_eq!(proxy.by_form, forms);
    assert_eq!(proxy.by_method, [("CONNECT", 4), ("GET", 1), ("OPTIONS", 1), ("other", 1)]);
    assert_eq!(proxy.statuses, [(200, 4), (204, 1), (400, 1), (502, 1)]);
    assert_eq!((proxy.hosts.at_least, proxy.hosts.exact), (2, true));
    assert_eq!(proxy.connect_targets, [("www.example.com:443".to_owned(), 3), ("www.example.org:8883".to_owned(), 1)]);
    assert_eq!(proxy.connect_others, 0);
    assert_eq!(proxy.failing, [("www.example.org:8883".to_owned(), 1, 1)]);
    assert_eq!((proxy.answers.answered, proxy.answers.refused, proxy.answers.never), (7, 2, 0));
}

#[test]
fn a_web_server_that_redirects_a_connect_is_no_proxy_and_a_connect_names_no_server() {
    let mut scene = Scene::new();
    for n in 0..20 {
        scene.exchange(n * 1_000, 900, "192.0.2.66", "203.0.113.80:80", &connect("www.example.com:443"), 301);
    }
    assert!(scene.findings().proxies.is_empty());
    let mut scene = Scene::new();
    scene.exchange(0, 900, "192.0.2.66", PROXY, &connect("www.example.com:443"), 200);
    scene.exchange(1_000, 900, "192.0.2.66", "203.0.113.80:80", &connect("www.example.com:443"), 405);
    let bypass = scene.proxy().bypass;
    assert_eq!((bypass[0].relation, &bypass[0].host), (Relation::Other, &None), "{bypass:?}");
}
