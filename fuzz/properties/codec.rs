//! Whole messages, read and worded anew as the relay does: what must survive does, what is for one hop only is gone, and
//! neither we nor hyper read anything else in what is forwarded than was read in what came.

use std::sync::LazyLock;

use floodgate::config::Settings;
use floodgate::http1::body::Body;
use floodgate::http1::chunked;
use floodgate::http1::head::{Fields, HeadLimits, Request, Response, Scan, Version};
use floodgate::http1::rewrite::{self, ToClient};
use floodgate::net::own::OwnAddresses;
use floodgate::proxy::policy::{Destination, Policy, Verdict};

use super::chunked::{Decoded, decode};
use super::{LIMITS, oracle, splits};

const VIA: &str = "floodgate-fuzz";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Every destination but ourselves: this is about wording.
static OPEN: LazyLock<Settings> = LazyLock::new(|| {
    let rules = "[destinations]\nhttp-ports = [\"1-65535\"]\nallow = [\"0.0.0.0/0\", \"::/0\"]\n";
    Settings::from_toml(rules).expect("valid settings")
});
static OWN: LazyLock<OwnAddresses> = LazyLock::new(OwnAddresses::default);

/// A field, name and value as they stand.
type Plain = (Vec<u8>, Vec<u8>);

/// Takes `input` for a response if it begins like one, else for a request. True if it was forwarded with its body.
///
/// # Panics
/// Where it does not hold.
pub fn holds(input: &[u8]) -> bool {
    if input.starts_with(b"HTTP/") {
        // An answer to HEAD and to GET, for clients of both versions; all are tried.
        let answered =
            [true, false].map(|to_head| [Version::Http10, Version::Http11].map(|to| response(input, to_head, to)));
        answered.as_flattened().contains(&Some(()))
    } else {
        request(input).is_some()
    }
}

fn request(input: &[u8]) -> Option<()> {
    let length = Scan::request().advance(input, LIMITS).ok()??;
    let (head, body) = input.split_at(length);
    let request = Request::parse(head, LIMITS).ok()?;
    let policy = Policy { settings: &OPEN, own: &OWN, via: VIA };
    let Verdict::Forward(to) = policy.judge(&request, false) else { return None };
    let host = to.host_field();
    let mut forwarded = Vec::new();
    rewrite::request(&mut forwarded, &request, host.as_bytes(), VIA);
    // A space after each colon, two fields for framing or upgrade, Host and Via.
    let most = head.len() + request.fields.iter().count() + host.len() + VIA.len() + 128;
    assert!(forwarded.len() <= most, "{} bytes of {}", forwarded.len(), head.len());

    let seen = read_again(&forwarded, &request, &to);
    let body = relayed(body, request.body, request.body)?;
    let requests = oracle::requests(&[&forwarded, &body.bytes, oracle::SENTINEL].concat());
    let [first, rest @ ..] = &*requests else {
        assert!(!is_plain(seen.raw_target), "hyper reads no request");
        return Some(());
    };
    assert_eq!((first.method.as_bytes(), first.target.as_bytes()), (seen.method, seen.raw_target));
    assert_eq!(first.hosts, [host.as_bytes()], "hyper reads another Host");
    assert_eq!(first.body.as_ref(), Some(&body.data), "hyper reads another body");
    oracle::assert_sentinel(rest);
    Some(())
}

/// Reads a forwarded head as the next hop would, and compares it with what it was made of.
fn read_again<'f>(forwarded: &'f [u8], request: &Request<'_>, to: &Destination) -> Request<'f> {
    let wide = HeadLimits { size: forwarded.len() + 1, target: forwarded.len(), fields: 128 };
    let seen = Request::parse(forwarded, wide).expect("what is forwarded is valid");
    assert_eq!(seen.method, request.method);
    assert_eq!(seen.raw_target, origin_form(request));
    assert_eq!(seen.host, Some(to.host_field().as_bytes()));
    assert_eq!(seen.body, request.body, "another framing");
    assert_eq!(seen.version, Version::Http11);
    assert!(seen.keep_alive, "the origin is told to close");
    assert_eq!(seen.upgrade, request.upgrade);
    assert_eq!(seen.expect_continue, request.expect_continue);
    assert_eq!(seen.max_forwards, request.max_forwards.map(|hops| hops.saturating_sub(1)));
    assert!(seen.via_names(VIA), "a loop would not be seen");

    let mut expected = vec![field("Host", to.host_field())];
    for (name, value) in end_to_end(request.fields) {
        if is_among(&["host", "content-length"], &name) || (is_among(&["expect"], &name) && !request.expect_continue) {
            continue;
        }
        let hops = request.max_forwards.filter(|_| is_among(&["max-forwards"], &name));
        expected.push((name, hops.map_or(value, |hops| hops.saturating_sub(1).to_string().into_bytes())));
    }
    expected.extend(framing(request.body, b""));
    expected.extend(request.upgrade.into_iter().flat_map(switch));
    expected.push(via(request.version));
    assert_eq!(plain(seen.fields).collect::<Vec<_>>(), expected, "other fields");
    seen
}

/// RFC 9112 section 3.2.1: what follows the authority, with a path; of OPTIONS without path and query, the asterisk.
fn origin_form(request: &Request<'_>) -> Vec<u8> {
    let scheme = request.raw_target.windows(3).position(|window| window == b"://").expect("an absolute target");
    let rest = &request.raw_target[scheme + 3..];
    let path = &rest[rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())..];
    match path {
        [] if request.method == b"OPTIONS" => b"*".to_vec(),
        [b'/', ..] => path.to_vec(),
        _ => [b"/", path].concat(),
    }
}

/// Whether all bytes are ones that RFC 3986 has in a path or query: hyper refuses some of the others, which we pass on as they are.
fn is_plain(target: &[u8]) -> bool {
    target.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(byte))
}

fn response(input: &[u8], to_head: bool, version: Version) -> Option<()> {
    let length = Scan::response().advance(input, LIMITS).ok()??;
    let (head, body) = input.split_at(length);
    let response = Response::parse(head, LIMITS, to_head).ok()?;
    // Transfer codings besides chunked are not for HTTP/1.0: the relay answers 502.
    if version == Version::Http10 && !response.codings.is_empty() {
        return None;
    }
    // As the relay decides it: no chunks for HTTP/1.0, which is told the end by the close.
    let framed = match (response.body, version) {
        (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
        (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
        (body @ (Body::Empty | Body::Length(_)), _) => body,
    };
    let keep_alive = version == Version::Http11 && framed != Body::UntilClose;
    let to = ToClient { body: framed, keep_alive, upgrade: response.status == 101 };
    let mut forwarded = Vec::new();
    rewrite::response(&mut forwarded, &response, to, VIA, DATE);
    let most = head.len() + response.fields.iter().count() + VIA.len() + 192;
    assert!(forwarded.len() <= most, "{} bytes of {}", forwarded.len(), head.len());

    read_answer_again(&forwarded, &response, to, to_head);
    let body = relayed(body, response.body, framed)?;
    // hyper takes a connection that was upgraded away, and waits behind an interim answer for the one that is final.
    if response.status == 101 {
        return Some(());
    }
    let interim = response.status < 200;
    let last: &[u8] = if interim { b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } else { b"" };
    let seen = oracle::response(&[&forwarded, &*body.bytes, last].concat(), to_head);
    let status = if interim { 200 } else { response.status };
    assert_eq!(seen, Some((status, body.data)), "hyper reads another answer");
    Some(())
}

/// Reads a forwarded answer as a client would, and compares it with what it was made of.
fn read_answer_again(forwarded: &[u8], response: &Response<'_>, to: ToClient, to_head: bool) {
    let wide = HeadLimits { size: forwarded.len() + 1, target: 0, fields: 128 };
    let seen = Response::parse(forwarded, wide, to_head).expect("what is forwarded is valid");
    assert_eq!((seen.status, seen.reason), (response.status, response.reason));
    assert_eq!(seen.version, Version::Http11);
    assert_eq!(seen.body, to.body, "another framing");
    assert_eq!(seen.upgrade, response.upgrade);
    if response.status >= 200 {
        assert_eq!(seen.keep_alive, to.keep_alive, "the client is told wrong about the close");
    }

    let interim = response.status < 200;
    // On HEAD and 304, Content-Length tells what GET would have got; a second one of the same value is one too many.
    let mut described = interim || response.status == 204 || to.body != Body::Empty;
    let mut expected: Vec<_> = end_to_end(response.fields)
        .filter(|(name, _)| !is_among(&["content-length"], name) || !std::mem::replace(&mut described, true))
        .collect();
    if !interim && !expected.iter().any(|(name, _)| is_among(&["date"], name)) {
        expected.push(field("Date", DATE));
    }
    expected.extend(framing(to.body, response.codings));
    match response.upgrade {
        Some(chosen) => expected.extend(switch(chosen)),
        None if !to.keep_alive && !interim => expected.push(field("Connection", "close")),
        None => {}
    }
    expected.push(via(response.version));
    assert_eq!(plain(seen.fields).collect::<Vec<_>>(), expected, "other fields");
}

/// A body on its way on.
struct Relayed {
    data: Vec<u8>,
    bytes: Vec<u8>,
}

/// What becomes of a body that came framed `from` and leaves framed `to`, in pieces; None if it is malformed or cut.
fn relayed(input: &[u8], from: Body, to: Body) -> Option<Relayed> {
    let [_, _, ends, _] = splits(input);
    let Decoded { data, mut chunks, end } = decode(from, input, &ends).ok()?;
    if from == Body::UntilClose {
        chunks.extend_from_slice(chunked::LAST);
    } else {
        end?;
    }
    let bytes = if to == Body::Chunked { chunks } else { data.clone() };
    Some(Relayed { data, bytes })
}

/// The fields that must go on: all but those that RFC 9110 section 7.6.1 keeps for one hop, and those that `Connection` lists,
/// unless they are what others decide by.
fn end_to_end(fields: Fields<'_>) -> impl Iterator<Item = Plain> {
    const ONE_HOP: [&str; 10] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    const FIRM: [&str; 11] = [
        "authorization",
        "cache-control",
        "content-length",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "max-forwards",
        "via",
        "x-forwarded-for",
    ];
    let lists = plain(fields).filter(|(name, _)| is_among(&["connection"], name)).map(|(_, value)| value);
    let listed: Vec<u8> = lists.flat_map(|list| [&list[..], b","].concat()).collect();
    let is_listed =
        move |name: &[u8]| listed.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(name));
    plain(fields).filter(move |(name, _)| !is_among(&ONE_HOP, name) && (is_among(&FIRM, name) || !is_listed(name)))
}

fn is_among(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(name))
}

fn plain(fields: Fields<'_>) -> impl Iterator<Item = Plain> {
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec()))
}

fn switch(protocols: &[u8]) -> [Plain; 2] {
    [field("Connection", "upgrade"), field("Upgrade", protocols)]
}

fn field(name: &str, value: impl AsRef<[u8]>) -> Plain {
    (name.as_bytes().to_vec(), value.as_ref().to_vec())
}

/// `codings` are those that stay under the chunks.
fn framing(body: Body, codings: &[u8]) -> Option<Plain> {
    match body {
        Body::Length(length) => Some(field("Content-Length", length.to_string())),
        Body::Chunked if codings.is_empty() => Some(field("Transfer-Encoding", "chunked")),
        Body::Chunked => Some(field("Transfer-Encoding", [codings, b", chunked"].concat())),
        Body::Empty | Body::UntilClose => None,
    }
}

fn via(received: Version) -> Plain {
    let number = if received == Version::Http11 { "1.1" } else { "1.0" };
    field("Via", format!("{number} {VIA}"))
}
