//! Requests collected from real clients, and spellings of our own address, against a running gateway.
//!
//! They lie outside the repository, in the folder that `FLOODGATE_CASES` names; without it these tests say so and pass.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use floodgate::config::Settings;
use floodgate::gateway::Gateway;
use floodgate::outcome::RequestEnd;
use serde_json::Value;

use crate::rig::{Client, Origin, Rig, field, read_head};

/// Where the cases of this name are, or None, with a line on the terminal, if there are none.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FLOODGATE_CASES") else {
        // Not `eprintln!`, which the test harness hides.
        drop(std::io::stderr().write_all(b"skipped: FLOODGATE_CASES is not set\n"));
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

/// The cases in this file.
fn json(name: &str) -> Option<Value> {
    let path = path(name)?;
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&text).unwrap())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_else(|| panic!("{key} of {case}"))
}

/// A name server that knows no name, and counts what it is asked.
pub(crate) struct NoNames {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl NoNames {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            let mut query = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                count.fetch_add(1, Relaxed);
                socket.send_to(&nxdomain(&query[..length]), from).unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

/// The query's identifier and question under a header that says: answered, there is no such name (RFC 1035 section 4.1.1).
fn nxdomain(query: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut answer = query[..end + 5].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
    answer
}

/// A gateway that is 10.20.30.40 and proxy.corp.test, asks the given name server, and may dial nobody at all.
fn rig(names: &NoNames) -> Rig {
    let settings = Settings::from_toml(&format!(
        r#"
        [[listener]]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        token-file = ""
        [runtime]
        workers = 2
        [self]
        aliases = ["10.20.30.40", "proxy.corp.test"]
        [destinations]
        connect-ports = ["1-65535"]
        http-ports = ["1-65535"]
        deny = ["0.0.0.0/0", "::/0"]
        [upstream]
        dns-servers = ["{}"]
        [guard]
        ladder = "answer"
        "#,
        names.address
    ));
    let gateway = Gateway::start(settings.unwrap()).unwrap();
    let proxy = gateway.listeners[0];
    Rig { gateway, folder: tempfile::tempdir().unwrap(), proxy }
}

/// One request on a connection of its own; which end the answer belongs to.
fn verdict(rig: &Rig, request: &str) -> RequestEnd {
    let mut client = rig.client();
    client.send(request);
    let (head, body) = client.answer();
    let body = String::from_utf8(body).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let of = |end: &&RequestEnd| {
        let row = end.row();
        row.status == status && status.is_some() && row.text == body.trim_end()
    };
    *RequestEnd::ALL.iter().find(of).unwrap_or_else(|| panic!("{request:?}: {head}{body}"))
}

/// Nothing but our own connections came, and nothing was dialled.
fn nobody_was_dialled(rig: &Rig, asked: u64) {
    rig.settled();
    let counters = &rig.gateway.counters;
    assert_eq!(rig.accepted(), asked, "somebody else knocked");
    assert_eq!(counters.connect_seconds.count(), 0, "something was dialled");
    assert_eq!(counters.upstreams_open.load(Relaxed), 0);
}

/// Where an authority is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Absolute,
    Connect,
    Host,
}

impl Place {
    fn request(self, authority: &str) -> String {
        match self {
            Self::Absolute => format!("GET http://{authority}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
            Self::Connect => format!("CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n"),
            Self::Host => format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        }
    }
}

/// `host:port`, only brackets may hold more colons.
fn has_port(authority: &str) -> bool {
    let (host, port) = authority.rsplit_once(':').unwrap_or_default();
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && !port.is_empty() && (bracketed || !host.contains(':'))
}

/// What may come of a case of this list, written in this place.
fn expected(case: &Value, place: Place) -> &'static [RequestEnd] {
    use RequestEnd::{DestinationDenied, DnsFailure, Malformed, SelfTarget};
    let authority = text(case, "authority");
    let carries_ours = ["v4-compatible", "v4-translated-siit", "nat64", "6to4", "compat-loopback"];
    // A slash ends the authority of an absolute form, and is in no other.
    let cut = authority.contains('/') && place != Place::Absolute;
    let unreadable = authority.contains(['@', '%']) || cut || (place == Place::Connect && !has_port(authority));
    match text(case, "expect") {
        // Flagged or refused, never forwarded.
        "self-in-some-stacks" => &[SelfTarget, Malformed],
        _ if unreadable => &[Malformed],
        // In Host these are no host at all, before anybody asks whom they name.
        _ if place == Place::Host && !authority.is_ascii() => &[Malformed],
        "self" | "self-address-other-port" | "self-by-loopback-name" | "self-by-configured-name" => &[SelfTarget],
        "other" if carries_ours.contains(&text(case, "cls")) => &[SelfTarget],
        // White space around the value of a field is no part of it (RFC 9112 section 5.1).
        "syntax-error" if place == Place::Host && authority.starts_with(' ') => &[SelfTarget],
        "syntax-error" => &[Malformed],
        // Nothing is proxied by its Host alone.
        "other" | "needs-resolution" if place == Place::Host => &[Malformed],
        "other" => &[DestinationDenied, Malformed],
        "needs-resolution" => &[DnsFailure],
        unknown => panic!("a verdict that this test does not know: {unknown}"),
    }
}

#[test]
fn every_spelling_of_us_is_refused_and_nobody_else_is_taken_for_us() {
    let Some(cases) = json("self-target.json") else { return };
    let names = NoNames::start();
    let rig = rig(&names);
    let mut asked = 0;
    let mut wrong = Vec::new();
    for case in list(&cases["authorities"]) {
        for place in [Place::Absolute, Place::Connect, Place::Host] {
            let (expected, before) = (expected(case, place), names.asked());
            let end = verdict(&rig, &place.request(text(case, "authority")));
            asked += 1;
            if !expected.contains(&end) {
                wrong.push(format!("{} {:?} {place:?}: {end:?}", text(case, "id"), text(case, "authority")));
            }
            // In the cache from the first time on.
            if end != RequestEnd::DnsFailure {
                assert_eq!(names.asked(), before, "no name to ask for: {case}");
            } else if place == Place::Absolute {
                assert!(names.asked() > before, "decided without asking: {case}");
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 400, "{asked}");
    nobody_was_dialled(&rig, asked);
}

#[test]
fn whole_requests_are_judged_by_their_target_and_by_nothing_else() {
    use RequestEnd::{AnsweredLocally, DnsFailure, Malformed, SelfTarget};
    let Some(cases) = json("self-target.json") else { return };
    let names = NoNames::start();
    let rig = rig(&names);
    let mut asked = 0;
    for case in list(&cases["request_pairs"]) {
        let raw = text(case, "raw");
        let absolute = raw.contains("://");
        let expected: &[_] = match text(case, "expect") {
            "self" if raw.contains('@') => &[Malformed],
            "self" | "loopback-other-port" => &[SelfTarget],
            "not-self" if absolute => &[DnsFailure],
            "syntax-error" | "not-self" => &[Malformed],
            "self-or-reject" | "syntax-error or self" => &[SelfTarget, Malformed],
            "answer locally, not a loop" => &[AnsweredLocally],
            "not-self (Host mismatch: reject or ignore Host)" => &[DnsFailure, Malformed],
            unknown => panic!("a verdict that this test does not know: {unknown}"),
        };
        let end = verdict(&rig, raw);
        asked += 1;
        assert!(expected.contains(&end), "{end:?}: {case}");
    }
    assert!(asked >= 20, "{asked}");
    nobody_was_dialled(&rig, asked);
}

/// The head with everything that names its destination naming this origin instead.
fn aimed(head: &str, origin: SocketAddr) -> String {
    let mut lines = head.split("\r\n");
    let request = lines.next().unwrap();
    let [method, target, version] = request.split(' ').collect::<Vec<_>>()[..] else { panic!("{request}") };
    let target = match target.split_once("://") {
        _ if method == "CONNECT" => origin.to_string(),
        Some((scheme, rest)) => {
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            format!("{scheme}://{origin}{path}")
        }
        // What this client would send if it knew of the proxy.
        None => format!("http://{origin}{target}"),
    };
    let fields = lines.map(|line| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("host") => format!("{name}: {origin}"),
        _ => line.to_owned(),
    });
    let lines: Vec<_> = [format!("{method} {target} {version}")].into_iter().chain(fields).collect();
    lines.join("\r\n")
}

fn content_length(head: &str) -> usize {
    field(head, "content-length").map_or(0, |length| length.parse().unwrap())
}

/// Answers every request with the request itself.
fn mirror() -> Origin {
    Origin::scripted(|_, mut stream, _| {
        loop {
            let mut request = read_head(&mut stream);
            if request.is_empty() {
                return;
            }
            let head = String::from_utf8(request.clone()).unwrap();
            let mut client = Client(stream);
            request.extend(client.exactly(content_length(&head)));
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len()));
            client.send(request);
            stream = client.0;
        }
    })
}

/// Sends this head as its client would, to an origin of ours; it must arrive.
fn arrives(rig: &Rig, head: &str, first_bytes: &[u8], mirror: SocketAddr, echo: SocketAddr) {
    if !head.starts_with("CONNECT ") {
        let sent = aimed(head, mirror);
        let body = vec![b'b'; content_length(head)];
        let mut client = rig.client();
        client.send(&sent);
        client.send(&body);
        let (answer, seen) = client.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{sent}{answer}");
        let seen = String::from_utf8(seen).unwrap();
        let (seen_head, seen_body) = seen.split_once("\r\n\r\n").unwrap();
        let path = sent.split(' ').nth(1).unwrap().split_once(&mirror.to_string()).unwrap().1;
        let method = sent.split(' ').next().unwrap();
        assert!(seen_head.starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{sent}{seen_head}");
        assert_eq!(field(seen_head, "host"), Some(&*mirror.to_string()), "{sent}{seen_head}");
        assert_eq!(field(seen_head, "user-agent"), field(&sent, "user-agent"));
        for hop in ["proxy-connection", "proxy-authorization", "keep-alive"] {
            assert_eq!(field(seen_head, hop), None, "{sent}{seen_head}");
        }
        assert_eq!(seen_body.as_bytes(), body);
        return;
    }
    let sent = aimed(head, echo);
    // Some clients wait for the answer, and some do not.
    for early in [false, true] {
        let mut client = rig.client();
        if early {
            client.send([sent.as_bytes(), first_bytes].concat());
        } else {
            client.send(&sent);
        }
        let answer = client.head();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{sent}{answer}");
        if !early {
            client.send(first_bytes);
        }
        assert_eq!(client.exactly(first_bytes.len()), first_bytes, "{sent}");
        client.0.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_at_end());
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn what_real_clients_send_arrives() {
    let Some(cases) = json("client-heads.json") else { return };
    let (mirror, echo) = (mirror(), Origin::echo());
    let rig = Rig::new(&[mirror.address, echo.address]);
    let mut tunnels = 0;
    for case in list(&cases) {
        let (head, first) = (text(case, "first_head"), bytes(text(case, "after_connect")));
        arrives(&rig, head, &first, mirror.address, echo.address);
        tunnels += 2 * u64::from(head.starts_with("CONNECT "));
    }
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Tunneled), tunnels);
    assert_eq!(rig.ends(RequestEnd::Forwarded), list(&cases).len() as u64 - tunnels / 2);
}

#[test]
fn what_wechat_sends_arrives_unless_it_names_us_or_smuggles() {
    let Some(cases) = json("wechat-heads.json") else { return };
    let (mirror, echo) = (mirror(), Origin::echo());
    let names = NoNames::start();
    // The one may dial the origins; the other is 10.20.30.40 and dials nobody.
    let (open, closed) = (Rig::new(&[mirror.address, echo.address]), rig(&names));
    let (mut arrived, mut refused) = (0, 0);
    for case in list(&cases) {
        let head = text(case, "head");
        let name = case["name"].as_str().unwrap_or_default();
        let as_it_is = match name {
            "mianliu-injection" => Some(RequestEnd::Malformed),
            "self-absolute" | "self-origin" | "self-connect" => Some(RequestEnd::SelfTarget),
            // Sent to a server it knows: a proxy that went by Host would be open to every page's scripts.
            _ => head.split(' ').nth(1).unwrap().starts_with('/').then_some(RequestEnd::Malformed),
        };
        if let Some(expected) = as_it_is {
            assert_eq!(verdict(&closed, head), expected, "{head}");
            refused += 1;
        }
        if name != "mianliu-injection" && !name.starts_with("self-") {
            arrives(&open, head, b"\x16\xf1\x04\x00", mirror.address, echo.address);
            arrived += 1;
        }
    }
    assert!(arrived >= 40 && refused >= 30, "{arrived} {refused}");
    open.settled();
    nobody_was_dialled(&closed, refused);
}
