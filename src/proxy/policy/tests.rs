//! The policy as a table: a request, the operator's lines, the verdict.

use std::net::IpAddr;

use super::{Policy, Verdict};
use crate::config::Settings;
use crate::http1::head::{HeadLimits, Request};
use crate::net::own::OwnAddresses;
use crate::outcome::RequestEnd::{self, DestinationDenied, Malformed, MethodDenied, PortDenied, SelfTarget};

const LIMITS: HeadLimits = HeadLimits { size: 16_384, target: 8192, fields: 100 };

fn own() -> OwnAddresses {
    let address = |text: &str| (text.parse().unwrap(), None);
    let lan = ("10.115.5.2".parse().unwrap(), Some("10.115.5.255".parse().unwrap()));
    let addresses = [lan, address("2001:4860::2"), address("fe80::2")];
    OwnAddresses::new(addresses, ["gateway".to_owned()])
}

fn judge(config: &str, head: &str, looped: bool) -> Verdict {
    let settings = Settings::from_toml(config).unwrap_or_else(|problems| panic!("{problems}"));
    let own = own();
    let policy = Policy { settings: &settings, own: &own, via: "floodgate-test" };
    policy.judge(&Request::parse(head.as_bytes(), LIMITS).unwrap(), looped)
}

/// The end of a refused GET or CONNECT, or `None` for one that may go on.
fn end(config: &str, target: &str) -> Option<RequestEnd> {
    let head = if target.contains("://") {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    } else {
        format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    };
    match judge(config, &head, false) {
        Verdict::Refuse(end) => Some(end),
        Verdict::Tunnel(_) | Verdict::Forward(_) => None,
        Verdict::Answer => panic!("{target}"),
    }
}

fn table(config: &str, rows: &[(&str, Option<RequestEnd>)]) {
    for (target, expected) in rows {
        assert_eq!(end(config, target), *expected, "{target} with {config:?}");
    }
}

#[test]
fn without_a_configuration() {
    table(
        "",
        &[
            // Ours, in every spelling and on every port.
            ("http://10.115.5.2/", Some(SelfTarget)),
            ("http://10.115.5.2:9999/", Some(SelfTarget)),
            ("http://0x0a730502/", Some(SelfTarget)),
            ("http://10.7537922/", Some(SelfTarget)),
            ("http://[::ffff:10.115.5.2]/", Some(SelfTarget)),
            ("http://[64:ff9b::10.115.5.2]/", Some(SelfTarget)),
            ("http://[2002:a73:502::]/", Some(SelfTarget)),
            ("http://[2001:4860::2]/", Some(SelfTarget)),
            ("http://[fe80::2]/", Some(SelfTarget)),
            ("http://127.9.9.9/", Some(SelfTarget)),
            ("http://0/", Some(SelfTarget)),
            ("http://*/", Some(SelfTarget)),
            ("http://::1/", Some(SelfTarget)),
            ("http://GateWay./", Some(SelfTarget)),
            ("http://a.localhost/", Some(SelfTarget)),
            ("https://10.115.5.2/", Some(SelfTarget)),
            ("10.115.5.2:443", Some(SelfTarget)),
            ("gateway:25", Some(SelfTarget)),
            // Others that are not to be reached.
            ("http://10.115.5.3/", Some(DestinationDenied)),
            ("http://10.115.5.255/", Some(DestinationDenied)),
            ("http://192.168.1.1/", Some(DestinationDenied)),
            ("http://169.254.169.254/", Some(DestinationDenied)),
            ("http://100.64.0.1/", Some(DestinationDenied)),
            ("http://224.0.0.1/", Some(DestinationDenied)),
            ("http://255.255.255.255/", Some(DestinationDenied)),
            ("http://[fc00::1]/", Some(DestinationDenied)),
            ("http://[fe80::1]/", Some(DestinationDenied)),
            ("http://[64:ff9b::192.168.1.1]/", Some(DestinationDenied)),
            ("http://[::192.0.32.8]/", Some(DestinationDenied)),
            // The world.
            ("http://192.0.32.8/", None),
            ("http://[64:ff9b::192.0.32.8]/", None),
            ("http://[2001:4860:4860::8888]/", None),
            ("http://example.com/", None),
            ("http://example.com:8080/", None),
            ("http://example.com:81/", Some(PortDenied)),
            ("example.com:443", None),
            ("192.0.32.8:80", None),
            ("example.com:22", Some(PortDenied)),
            // Not for a proxy that speaks HTTP.
            ("https://example.com/", Some(Malformed)),
            ("ftp://example.com/", Some(Malformed)),
            ("http://user@example.com/", Some(Malformed)),
            ("http://%31.example.com/", Some(Malformed)),
            ("http://[fe80::1%eth0]/", Some(Malformed)),
            ("http://exämple.com/", Some(Malformed)),
        ],
    );
}

#[test]
fn own_services_are_lifted_out_pair_by_pair() {
    table(
        "[self]\naliases = [\"203.0.113.7\", \"proxy.example.net\"]\nallow = [\"10.115.5.2:8443\", \"portal.test:82\"]",
        &[
            ("http://10.115.5.2:8443/", None),
            ("10.115.5.2:8443", None),
            ("http://[::ffff:10.115.5.2]:8443/", None),
            ("10.115.5.2:8444", Some(SelfTarget)),
            ("http://portal.test:82/", None),
            ("http://portal.test:81/", Some(PortDenied)),
            ("http://203.0.113.7/", Some(SelfTarget)),
            ("http://PROXY.example.net:8080/", Some(SelfTarget)),
            ("http://www.proxy.example.net/", None),
        ],
    );
}

#[test]
fn the_operators_exceptions_and_denials() {
    let config = "[self]\nallow = [\"10.115.5.2:8443\"]\n[destinations]\n\
        allow = [\"10.20.0.0/16\", \"10.115.0.0/16\", \"192.168.7.7:22\", \"intranet\", \"*.corp.test\"]\n\
        deny = [\"10.20.30.0/24\", \"bad.test\", \"*.worse.test\", \"10.115.5.2:8443\"]";
    table(
        config,
        &[
            ("http://10.20.1.1/", None),
            ("http://10.20.30.1/", Some(DestinationDenied)),
            ("10.20.1.1:22", Some(PortDenied)),
            ("192.168.7.7:22", None),
            ("192.168.7.7:80", Some(DestinationDenied)),
            ("http://bad.test/", Some(DestinationDenied)),
            ("http://www.bad.test/", None),
            ("http://a.worse.test/", Some(DestinationDenied)),
            ("http://worse.test/", None),
            // Never ours, whatever is allowed; and a denial beats every exception.
            ("http://10.115.5.2/", Some(SelfTarget)),
            ("http://10.115.5.2:8443/", Some(DestinationDenied)),
        ],
    );
}

#[test]
fn an_address_is_judged_when_it_is_known() {
    let config = "[destinations]\nallow = [\"intranet\"]\ndeny = [\"192.0.32.0/24\"]";
    let settings = Settings::from_toml(config).unwrap();
    let own = own();
    let policy = Policy { settings: &settings, own: &own, via: "v" };
    for (name, resolved, expected) in [
        ("example.com", "93.184.215.14", Ok(())),
        ("example.com", "10.115.5.2", Err(SelfTarget)),
        ("example.com", "::ffff:10.115.5.2", Err(SelfTarget)),
        ("example.com", "127.0.0.1", Err(SelfTarget)),
        ("example.com", "10.0.0.9", Err(DestinationDenied)),
        ("example.com", "192.0.32.8", Err(DestinationDenied)),
        ("example.com", "64:ff9b::192.0.32.8", Err(DestinationDenied)),
        ("example.com", "2002:c000:2008::1", Err(DestinationDenied)),
        ("intranet", "10.0.0.9", Ok(())),
        ("intranet", "127.0.0.1", Err(SelfTarget)),
        ("intranet", "192.0.32.8", Err(DestinationDenied)),
    ] {
        let head = format!("GET http://{name}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let Verdict::Forward(to) = policy.judge(&Request::parse(head.as_bytes(), LIMITS).unwrap(), false) else {
            panic!("{name}");
        };
        let resolved: IpAddr = resolved.parse().unwrap();
        let judged = policy.judge_address(&to, resolved).map(|address| {
            assert_eq!((address.ip(), address.port()), (resolved.to_canonical(), 80));
        });
        assert_eq!(judged, expected, "{name} at {resolved}");
    }
}

#[test]
fn forms_methods_and_loops() {
    for (head, looped, expected) in [
        ("GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n", false, Verdict::Refuse(SelfTarget)),
        ("GET / HTTP/1.1\r\nHost: 10.115.5.2:80\r\n\r\n", false, Verdict::Refuse(SelfTarget)),
        ("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", false, Verdict::Refuse(Malformed)),
        ("GET / HTTP/1.0\r\n\r\n", false, Verdict::Refuse(Malformed)),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", false, Verdict::Answer),
        ("TRACE http://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", false, Verdict::Refuse(MethodDenied)),
        ("OPTIONS http://10.115.5.2/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n", false, Verdict::Answer),
        (
            "OPTIONS http://10.115.5.2/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 1\r\n\r\n",
            false,
            Verdict::Refuse(SelfTarget),
        ),
        ("GET http://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", true, Verdict::Refuse(SelfTarget)),
        (
            "GET http://example.com/ HTTP/1.1\r\nHost: x\r\nVia: 1.1 floodgate-test\r\n\r\n",
            false,
            Verdict::Refuse(SelfTarget),
        ),
    ] {
        assert_eq!(judge("", head, looped), expected, "{head}");
    }
    // RFC 9112 section 3.2.2: the target wins, a Host that names us is noise.
    let noise = "GET http://example.com/ HTTP/1.1\r\nHost: 10.115.5.2\r\nReferer: http://10.115.5.2/\r\n\r\n";
    assert!(matches!(judge("", noise, false), Verdict::Forward(to) if to.host_field() == "example.com"));
}
