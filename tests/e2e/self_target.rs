//! Requests that would arrive at this box. The spellings of its address, and loops by `Via`, are in `conformance`.

use floodgate::outcome::RequestEnd;

use crate::rig::{Client, Origin, Rig, eventually};

#[test]
fn configured_names_and_addresses_are_ours() {
    let rig = Rig::new(&[]);
    drop(rig);
    let settings = floodgate::config::Settings::from_toml(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = \"\"\n[self]\naliases = [\"203.0.113.7\", \"Proxy.Example.net.\"]\n",
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
