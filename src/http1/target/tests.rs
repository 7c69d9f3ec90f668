//! Spellings of hosts: what they are folded to, and what is refused.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::http1::cases;
use crate::http1::head::{HeadLimits, Request};

const LIMITS: HeadLimits = HeadLimits { size: 32 * 1024, target: 8192, fields: 100 };

fn parse(authority: &str) -> Result<Authority, AuthorityError> {
    Authority::parse(authority.as_bytes())
}

fn at(address: &str, port: Option<u16>) -> Authority {
    Authority { host: Host::Address(address.parse().unwrap()), port }
}

fn named(name: &str, port: Option<u16>) -> Authority {
    Authority { host: Host::Name(name.into()), port }
}

#[test]
fn c_16_every_spelling_of_an_address_is_the_address() {
    for host in [
        "10.20.30.40",
        "169090600",
        "0xa141e28",
        "0XA141E28",
        "0x000a141e28",
        "01205017050",
        "0xa.0x14.0x1e.0x28",
        "012.024.036.050",
        "0xa.024.7720",
        "10.1318440",
        "10.20.7720",
        "10.20.30.40.",
        "[::ffff:10.20.30.40]",
        "[::FFFF:0a14:1e28]",
    ] {
        assert_eq!(parse(host), Ok(at("10.20.30.40", None)), "{host}");
        assert_eq!(parse(&format!("{host}:03128")), Ok(at("10.20.30.40", Some(3128))), "{host}");
    }
    for host in ["0", "0.0.0.0", "0x.0x.0", "0000.0000.0000.0000", "*", "[::ffff:0.0.0.0]"] {
        assert_eq!(parse(host), Ok(at("0.0.0.0", None)), "{host}");
    }
    assert_eq!(parse("[::]"), Ok(at("::", None)));
    assert_eq!(parse("[0:0:0:0:0:0:0:1]:80"), Ok(at("::1", Some(80))));
    assert_eq!(parse("010.020.030.040"), Ok(at("8.16.24.32", None)));
}

#[test]
fn c_16_a_bare_ipv6_address_has_no_port() {
    for (authority, address) in [
        ("::1", "::1"),
        ("::", "::"),
        ("::1:3128", "::1:3128"),
        ("::ffff:10.20.30.40", "10.20.30.40"),
        ("240e:97c:2f:4001::31", "240e:97c:2f:4001::31"),
    ] {
        assert_eq!(parse(authority), Ok(at(address, None)), "{authority}");
    }
}

#[test]
fn c_16_names() {
    for name in ["proxy.corp.test", "PROXY.Corp.Test", "proxy.corp.test."] {
        assert_eq!(parse(name), Ok(named("proxy.corp.test", None)), "{name}");
    }
    assert_eq!(parse("xn--proxy-.corp.test:1"), Ok(named("xn--proxy-.corp.test", Some(1))));
    assert_eq!(parse("10.20.30.40.nip.io"), Ok(named("10.20.30.40.nip.io", None)));
    assert_eq!(parse("_a-b.0xg"), Ok(named("_a-b.0xg", None)));
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(parse(&format!("{longest}.:80")), Ok(named(&longest, Some(80))));
    for name in [
        format!("{longest}d"),
        "a".repeat(64),
        "a..b".to_owned(),
        ".a".to_owned(),
        "a..".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
    ] {
        assert_eq!(parse(&name), Err(AuthorityError::Host), "{name}");
    }
}

#[test]
fn c_09_c_16_c_17_what_is_refused() {
    use AuthorityError::{Empty, Host, PercentEncoded, Port, Userinfo, Zone};
    for (authority, error) in [
        ("u:p@o", Userinfo),
        ("@o", Userinfo),
        ("o%40p@q", Userinfo),
        ("o@", Userinfo),
        ("%31.2.3.4", PercentEncoded),
        ("o%00", PercentEncoded),
        ("1.2.3.4%3a80", PercentEncoded),
        ("::1%lo", PercentEncoded),
        ("[::1%lo]:80", Zone),
        ("[fe80::1%25eth0]", Zone),
        ("o:0", Port),
        ("o:00", Port),
        ("o:65536", Port),
        ("o:443x", Port),
        ("o:http", Port),
        ("1.2.3.4:68664", Port),
        ("o:-1", Port),
        ("[::1]:x", Port),
        ("", Empty),
        (":80", Empty),
        (":", Empty),
        ("o:+80", Host),
        ("o: 80", Host),
        ("1.2.3.4:80:80", Host),
        ("[10.20.30.40]", Host),
        ("[o.test]", Host),
        ("[::1", Host),
        ("[::1]80", Host),
        ("[]", Host),
        ("[::00001]", Host),
        ("[v1.1]", Host),
        ("a[::1]", Host),
        ("a]", Host),
        ("a*", Host),
        ("**", Host),
        ("4464057896", Host),
        ("0x10a141e28", Host),
        ("266.1.1.1", Host),
        ("1.2.3.4.0", Host),
        ("10..20.30.40", Host),
        ("1.2.3.4..", Host),
        ("1.2.3.08", Host),
        ("o.1", Host),
        ("a,b", Host),
        ("a;b", Host),
        ("a b", Host),
        ("a\tb", Host),
        ("a\\b", Host),
        ("a#b", Host),
        ("a/b", Host),
        ("a?b", Host),
        ("a\0", Host),
        ("\u{fc}[", Host),
        ("\u{ff05}31.2.3.4", Host),
        ("\u{ff20}o", Host),
        ("o\u{ff1a}80", Host),
    ] {
        assert_eq!(parse(authority), Err(error), "{authority:?}");
    }
    assert_eq!(Authority::parse(b"\xc4\xe3.test"), Err(Host));
    assert_eq!(parse(&"\u{ad}".repeat(4000)), Err(Host));
    assert_eq!(parse("o:"), Ok(named("o", None)));
}

#[test]
fn c_16_unicode_is_refused_but_known() {
    let not_ascii = |known| Err(AuthorityError::NotAscii(known));
    for host in
        ["\u{ff11}\u{ff10}.20.30.40", "10\u{3002}20\u{3002}30\u{3002}40", "\u{2460}\u{24ea}.\u{2461}\u{24ea}.30.40"]
    {
        assert_eq!(parse(&format!("{host}:80")), not_ascii(at("10.20.30.40", Some(80))), "{host}");
    }
    assert_eq!(parse("pro\u{ad}xy.corp.test"), not_ascii(named("proxy.corp.test", None)));
    assert_eq!(parse("\u{ff50}roxy.corp.test."), not_ascii(named("proxy.corp.test", None)));
    assert_eq!(parse("b\u{fc}cher.test"), not_ascii(named("xn--bcher-kva.test", None)));
}

#[test]
fn an_authority_is_shown_as_host_fields_want_it() {
    for (authority, shown) in
        [("O.test.:080", "o.test:80"), ("[::1]:80", "[::1]:80"), ("::1", "[::1]"), ("0x7f.1:", "127.0.0.1")]
    {
        assert_eq!(parse(authority).unwrap().to_string(), shown);
    }
}

/// The box of the case list: 10.20.30.40, whose name is proxy.corp.test.
fn is_own(authority: &Authority) -> bool {
    match &authority.host {
        Host::Address(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_unspecified() || address.octets() == [10, 20, 30, 40]
        }
        Host::Address(IpAddr::V6(address)) => address.is_loopback() || address.is_unspecified(),
        Host::Name(name) => {
            matches!(&**name, "proxy.corp.test" | "localhost.localdomain" | "ip6-localhost")
                || name.rsplit('.').next() == Some("localhost")
        }
    }
}

/// What a client that sends these bytes as a whole head asks for; `None`: refused.
fn asked_for(head: &[u8]) -> Option<Result<Authority, AuthorityError>> {
    let request = Request::parse(head, LIMITS).ok()?;
    Some(match request.target {
        Target::Absolute { authority, .. } | Target::Authority(authority) => Authority::parse(authority),
        Target::Origin(_) | Target::Asterisk => Authority::parse(request.host.unwrap_or_default()),
    })
}

/// Whether the list's expectation for a target holds. A refusal by an odd spelling still has to know a plain own address.
fn holds(expect: &str, outcome: Option<&Result<Authority, AuthorityError>>) -> bool {
    use AuthorityError::{NotAscii, PercentEncoded, Userinfo};
    let own = matches!(outcome, Some(Ok(authority) | Err(NotAscii(authority))) if is_own(authority));
    let refused = matches!(outcome, None | Some(Err(_)));
    match expect {
        "self" | "self-address-other-port" | "self-by-loopback-name" | "self-by-configured-name" => {
            own || matches!(outcome, Some(Err(Userinfo | PercentEncoded)))
        }
        "self-in-some-stacks" => own || refused,
        "syntax-error" => refused,
        "other" => !own,
        "needs-resolution" => {
            matches!(outcome, Some(Ok(Authority { host: Host::Name(_), .. }) | Err(Userinfo))) && !own
        }
        other => panic!("unknown expectation {other}"),
    }
}

#[test]
fn the_list_of_spellings_holds() {
    let Some(cases) = cases::json("self-target.json") else {
        return;
    };
    let authorities = cases["authorities"].as_array().unwrap();
    assert!(authorities.len() > 100);
    for case in authorities {
        let (authority, expect) = (case["authority"].as_str().unwrap(), case["expect"].as_str().unwrap());
        let head = format!("GET http://{authority}/ HTTP/1.0\r\n\r\n");
        let outcome = asked_for(head.as_bytes());
        assert!(holds(expect, outcome.as_ref()), "{case}: absolute-form: {outcome:?}");
        let direct = parse(authority);
        // A path is not part of an authority.
        assert!(holds(expect, Some(&direct)) || authority.contains(['/', '?']), "{case}: {direct:?}");
        let head = format!("CONNECT {authority} HTTP/1.0\r\n\r\n");
        let outcome = asked_for(head.as_bytes());
        assert!(outcome.is_none() || outcome == Some(direct), "{case}: CONNECT: {outcome:?}");
    }
}

#[test]
fn the_list_of_whole_requests_holds() {
    let Some(cases) = cases::json("self-target.json") else {
        return;
    };
    let requests = cases["request_pairs"].as_array().unwrap();
    assert!(requests.len() > 15);
    for case in requests {
        let outcome = asked_for(case["raw"].as_str().unwrap().as_bytes());
        let own = matches!(&outcome, Some(Ok(authority)) if is_own(authority));
        let refused = matches!(&outcome, None | Some(Err(_)));
        let holds = match case["expect"].as_str().unwrap() {
            "self" => own || outcome == Some(Err(AuthorityError::Userinfo)),
            "loopback-other-port" | "answer locally, not a loop" => own,
            "syntax-error" => refused,
            "self-or-reject" | "syntax-error or self" => own || refused,
            expect => expect.starts_with("not-self") && !own && !refused,
        };
        assert!(holds, "{case}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn c_16_plain_addresses_are_themselves(address: IpAddr, port in 1_u16..) {
        let shown = std::net::SocketAddr::new(address, port).to_string();
        prop_assert_eq!(parse(&shown), Ok(Authority { host: Host::Address(address.to_canonical()), port: Some(port) }));
    }
}
