//! What the policy lets through leads to nothing that the operator would not have reached: judged anew here from the text of
//! the scenario, by other means (`rule.rs`), which share no code with the program.
//!
//! A scenario is lines of `key value`, an empty line, and the head of a request:
//!
//! ```text
//! own 10.115.5.2/24
//! hostname gateway
//! alias proxy.example.net
//! self-allow 10.115.5.2:8443
//! allow 10.20.0.0/16
//! deny bad.test
//! connect-port 443
//! http-port 1024-65535
//! answer 10.115.5.2
//!
//! GET http://example.net/ HTTP/1.1
//! Host: example.net
//! ```
//!
//! `answer` is an address that the name resolves to. Line ends may be LF: those of the head become CRLF.

use std::net::{IpAddr, SocketAddr};

use floodgate::config::Settings;
use floodgate::http1::head::{Request, Scan};
use floodgate::http1::target::{Authority, Host, Target};
use floodgate::net::own::OwnAddresses;
use floodgate::outcome::RequestEnd;
use floodgate::proxy::policy::{Destination, Policy, Verdict};

use super::LIMITS;
pub use super::rule::inet_aton;
use super::rule::{self, Rules, destination};

const VIA: &str = "floodgate-fuzz";

/// More lines than this are no scenario: each costs the reading of a setting.
const LINES: usize = 24;

/// Judges the request of a scenario, and every address its destination could have. True if any may be dialled.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    let Some((rules, head)) = scenario(input) else { return false };
    let Ok(settings) = Settings::from_toml(&rules.toml()) else { return false };
    let own = OwnAddresses::new(rules.own_addresses(), rules.hostnames.clone());
    let policy = Policy { settings: &settings, own: &own, via: VIA };

    let Ok(Some(length)) = Scan::request().advance(&head, LIMITS) else { return false };
    let Ok(request) = Request::parse(&head[..length], LIMITS) else { return false };
    assert!(matches!(policy.judge(&request, true), Verdict::Refuse(RequestEnd::SelfTarget)), "a loop is not refused");
    let (to, tunnel) = match policy.judge(&request, false) {
        Verdict::Tunnel(to) => (to, true),
        Verdict::Forward(to) => (to, false),
        Verdict::Answer => {
            assert_eq!(request.method, b"OPTIONS", "only OPTIONS is for us");
            return false;
        }
        Verdict::Refuse(end) => {
            let named = authority(&request).filter(|_| request.method != b"TRACE");
            if named.is_some_and(|named| rules.are_us(&named)) {
                assert_eq!(end, RequestEnd::SelfTarget, "a request for ourselves is refused as another");
            }
            return false;
        }
    };
    assert_loop_is_seen(&policy, &head[..length]);

    if let Target::Absolute { scheme, .. } = request.target {
        assert!(scheme.eq_ignore_ascii_case(b"http") && !tunnel, "a tunnel, or another protocol");
    }
    let text = authority(&request).expect("a destination has an authority");
    let (host, port) = destination(&text).expect("a destination has a host and perhaps a port");
    assert_eq!(to.port, port.unwrap_or(80), "{text:?}");
    assert_host(&to.host, host);
    let port = to.port;
    assert_eq!(
        Authority::parse(to.host_field().as_bytes()).map(|seen| seen.host),
        Ok(to.host.clone()),
        "Host names another"
    );
    assert!(!rules.refuses(&to.host, port, tunnel), "{to:?} is let through by {rules:?}");
    let Host::Address(ip) = to.host else { return dials_only_what_it_may(&policy, &rules, &to) };
    assert_eq!(
        policy.judge_address(&to, ip),
        Ok(SocketAddr::new(ip, port)),
        "an address that was let through is not dialled"
    );
    assert!(rules.may_dial(&to.host, ip, port), "{ip} is dialled by {rules:?}");
    true
}

/// A name may resolve to anything; whoever answers for it may be the enemy.
fn dials_only_what_it_may(policy: &Policy<'_>, rules: &Rules, to: &Destination) -> bool {
    let candidates = rule::SPECIAL.iter().filter_map(|text| text.split('/').next()?.parse().ok());
    let candidates = candidates.chain(rules.answers.iter().copied()).chain(rules.ours()).flat_map(disguises);
    candidates.fold(false, |any, ip| {
        let judged = policy.judge_address(to, ip);
        assert_eq!(judged.is_ok(), rules.may_dial(&to.host, ip, to.port), "{to:?} at {ip}: {judged:?} by {rules:?}");
        if let Ok(address) = judged {
            assert_eq!(address, SocketAddr::new(ip.to_canonical(), to.port));
        }
        any | judged.is_ok()
    })
}

/// An address, and if it is an IPv4 one, the IPv6 ones that lead to it.
fn disguises(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V4(v4) = ip.to_canonical() else { return vec![ip] };
    let bits = u128::from(v4.to_bits());
    let carriers = [
        0xffff << 32,      // IPv4-mapped
        0xffff << 48,      // IPv4-translated
        0x0064_ff9b << 96, // NAT64
        0,                 // IPv4-compatible
    ];
    let carried = carriers.map(|prefix: u128| (prefix | bits).into());
    let routed: [u128; 2] = [0x2002 << 112 | bits << 80, 0x2001_0000 << 96 | u128::from(!v4.to_bits())];
    [ip].into_iter().chain(carried.map(IpAddr::V6)).chain(routed.map(|bits| IpAddr::V6(bits.into()))).collect()
}

/// Once we have forwarded a request, we know it again.
fn assert_loop_is_seen(policy: &Policy<'_>, head: &[u8]) {
    let fields = head.strip_suffix(b"\r\n").expect("the empty line");
    let head = [fields, b"Via: 1.0 fred, 1.1\t", VIA.to_uppercase().as_bytes(), b" (x)\r\n\r\n"].concat();
    if let Ok(request) = Request::parse(&head, LIMITS) {
        assert_eq!(policy.judge(&request, false), Verdict::Refuse(RequestEnd::SelfTarget), "a loop is not refused");
    }
}

/// The authority of a target, or of Host where the target has none; what is not ASCII has no meaning here.
fn authority(request: &Request<'_>) -> Option<String> {
    // Only paths may hold more than ASCII.
    let target = String::from_utf8_lossy(request.raw_target);
    let text = match target.split_once("://") {
        _ if request.is_connect() => &*target,
        _ if target.starts_with('/') => std::str::from_utf8(request.host?).ok()?,
        Some((_, rest)) => rest.split(['/', '?']).next()?,
        None => return None,
    };
    Some(text.to_owned())
}

/// Asserts that a host means to us what it means to a program that hands it to the resolver of its system.
fn assert_host(host: &Host, text: &str) {
    match (host, rule::address(text)) {
        (Host::Address(ours), Some(theirs)) => assert_eq!(*ours, theirs.to_canonical(), "{text:?}"),
        (Host::Name(name), None) => {
            assert_eq!(**name, *text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase());
            assert!(name.split('.').all(|label| (1..=63).contains(&label.len())) && name.len() <= 253, "{name:?}");
        }
        // An address to browsers only, as `1.2.3.0x`: it is judged as one.
        (Host::Address(_), None) => {}
        (Host::Name(name), Some(ip)) => panic!("{name:?} is {ip} to others"),
    }
}

fn scenario(input: &[u8]) -> Option<(Rules, Vec<u8>)> {
    let split = input.windows(2).position(|window| window == b"\n\n")?;
    let text = std::str::from_utf8(&input[..split]).ok()?;
    let mut rules = Rules::default();
    for (number, line) in text.lines().enumerate() {
        rules.learn(line.split_once(' ')?)?;
        if number == LINES {
            return None;
        }
    }
    let mut head = Vec::with_capacity(input.len() - split);
    for &byte in &input[split + 2..] {
        if byte == b'\n' && head.last() != Some(&b'\r') {
            head.push(b'\r');
        }
        head.push(byte);
    }
    Some((rules, head))
}
