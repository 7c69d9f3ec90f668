//! Requests that would arrive at this box. Judged by what comes back, and by the sockets: nobody may knock at our door
//! from inside.

use std::sync::atomic::Ordering::Relaxed;

use floodgate::outcome::{Reason, RequestEnd};

use crate::rig::{Client, Origin, Rig, eventually};

#[test]
fn every_spelling_of_our_own_address_is_refused_in_one_round_trip() {
    let rig = Rig::new(&[]);
    let port = rig.proxy.port();
    let admin = rig.gateway.admin.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.9.9.9",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::FFFF:127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "ip6-localhost",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
    ];
    let mut asked = 0;
    for host in hosts {
        for port in [port, admin, 80] {
            let absolute = format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n");
            let connect = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
            let origin = format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            for request in [absolute, connect, origin] {
                let answer = rig.ask_one(&request);
                assert!(answer.starts_with("HTTP/1.1 403 "), "{request}{answer}");
                asked += 1;
            }
        }
    }
    rig.settled();
    let counters = &rig.gateway.counters;
    assert_eq!(counters.connections.iter().map(|(_, n)| n.load(Relaxed)).sum::<u64>(), asked, "nobody else connected");
    assert_eq!(counters.connect_seconds.count(), 0, "nothing was dialled");
    assert_eq!(counters.dns_seconds.count(), 0, "nothing was looked up");
    assert_eq!(rig.refusals(Reason::SelfTarget), asked);
}

#[test]
fn configured_names_and_addresses_are_ours() {
    let rig = Rig::new(&[]);
    drop(rig);
    let settings = floodgate::config::Settings::from_toml(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[self]\naliases = [\"203.0.113.7\", \"Proxy.Example.net.\"]\n",
    );
    let gateway = floodgate::gateway::Gateway::start(settings.unwrap()).unwrap();
    for host in ["203.0.113.7", "0xcb007107", "proxy.example.net", "PROXY.EXAMPLE.NET.", "pro\u{ad}xy.example.net"] {
        let mut client = Client::connect(gateway.listeners[0]);
        client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    let counted = || gateway.counters.request_ends.get(RequestEnd::SelfTarget.index());
    eventually("all are counted", || counted() == 5);
}

#[test]
fn origin_form_that_names_somebody_else_is_not_proxied() {
    let origin = Origin::ok("no");
    let rig = Rig::new(&[origin.address]);
    for request in [
        format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.address),
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_owned(),
        "POST /mmtls/00006a5e HTTP/1.1\r\nHost: 240e:97c:2f:4001::31\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = rig.ask(&request);
        // A loopback origin is, by its address, this box.
        let expected = if request.contains("127.0.0.1") { "HTTP/1.1 403 " } else { "HTTP/1.1 400 " };
        assert!(answer.starts_with(expected), "{request}{answer}");
    }
    rig.settled();
    assert!(origin.received().is_empty());
}

#[test]
fn c_43_our_own_via_is_a_loop_and_another_gateways_is_not() {
    let origin = Origin::ok("yes");
    let rig = Rig::new(&[origin.address]);
    let first = rig.get(origin.address, "/");
    let ours = crate::rig::field(&first, "via").unwrap().to_owned();
    let ask = |via: &str| {
        rig.ask(format!(
            "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\nVia: {via}\r\n\r\n",
            origin.address
        ))
    };
    assert!(ask(&ours).starts_with("HTTP/1.1 403 "));
    assert!(ask(&format!("1.0 other, {ours} (comment)")).starts_with("HTTP/1.1 403 "));
    assert!(ask("1.1 floodgate-0123456789abcdef").starts_with("HTTP/1.1 200 "));
    rig.settled();
}

#[test]
fn two_gateways_in_a_row_work_and_pointed_at_each_other_they_do_not_loop() {
    let origin = Origin::ok("far");
    let inner = Rig::new(&[origin.address]);
    let outer = Rig::new(&[inner.proxy]);
    // Through the outer one, a tunnel to the inner one, and through that to the origin.
    let mut client = outer.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", inner.proxy));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n", origin.address));
    assert!(client.read_to_end().ends_with("far"));
    drop(client);
    outer.settled();
    inner.settled();
}

#[test]
fn a_connection_of_our_own_is_known_by_its_socket() {
    // The one way in that neither text nor address shows: something in between (here a relay, in life a NAT hairpin that
    // keeps the source) leads our own connection back to us. The relay keeps nothing of it, so this is the direct form:
    // the gateway's own service list points at the gateway itself, which `check` refuses; the socket rule still holds.
    let rig = Rig::new(&[]);
    let mut settings = (*rig.gateway.settings()).clone();
    settings.own.allow = vec![floodgate::config::settings::HostPort {
        host: floodgate::config::settings::HostName::Address(rig.proxy.ip()),
        port: rig.proxy.port(),
    }];
    rig.gateway.reload(settings).unwrap();
    let mut client = rig.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy));
    assert!(client.head().starts_with("HTTP/1.1 200 "), "allowed by the operator, as it seems");
    client.send("GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::SelfTarget), 1);
}
