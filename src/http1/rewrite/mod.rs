//! Wording a message anew for the next hop (RFC 9110 section 7.6): from what was understood, never by copying a head.
//!
//! Owns: which fields are end-to-end, the framing and the Via that we add. Called by: the journey, once per message.
//! Never: decides; what goes out was validated before and the caller's arguments hold no line ends.

#[cfg(test)]
mod tests;

use super::body::Body;
use super::head::{Field, Fields, Known, Nominated, Request, Response, Version};
use super::target::Target;

/// How a response is framed towards a client.
#[derive(Clone, Copy, Debug)]
pub struct ToClient {
    /// Its framing: not necessarily the origin's, since an HTTP/1.0 client gets no chunks.
    pub body: Body,
    /// Whether the client may send another request.
    pub keep_alive: bool,
    /// Whether this 101 switches protocols.
    pub upgrade: bool,
}

/// Appends the head of `request` for an origin, with `host` as the only Host field and `via` as our pseudonym.
///
/// The request line is in origin-form, HTTP/1.1; end-to-end fields keep order, case, duplicates and bytes.
pub fn request(out: &mut Vec<u8>, request: &Request<'_>, host: &[u8], via: &str) {
    let (slash, path) = match request.target {
        // RFC 9112 section 3.2.4: the last proxy turns an empty path of OPTIONS into the server as a whole.
        Target::Absolute { path: b"", .. } if request.method == b"OPTIONS" => ("", &b"*"[..]),
        Target::Absolute { path, .. } if path.first() != Some(&b'/') => ("/", path),
        Target::Absolute { path, .. } | Target::Origin(path) => ("", path),
        Target::Asterisk | Target::Authority(_) => ("", request.raw_target),
    };
    append(out, &[request.method, b" ", slash.as_bytes(), path, b" HTTP/1.1\r\nHost: ", host, b"\r\n"]);

    for (known, field) in end_to_end(request.fields) {
        match (known, request.max_forwards) {
            // Both are ours to set: the former is framing, the latter was answered before.
            (Some(Known::ContentLength | Known::Host), _) => {}
            (Some(Known::Expect), _) if !request.expect_continue => {}
            (Some(Known::MaxForwards), Some(hops)) => {
                let hops = hops.saturating_sub(1);
                append(out, &[field.name, b": ", itoa::Buffer::new().format(hops).as_bytes(), b"\r\n"]);
            }
            _ => append_field(out, field),
        }
    }
    append_framing(out, request.body, b"");
    if let Some(offer) = request.upgrade {
        append(out, &[b"Connection: upgrade\r\nUpgrade: ", offer, b"\r\n"]);
    }
    append_via(out, request.version, via);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of `response` for a client; `date` is an HTTP-date of now, for an origin without a clock.
///
/// On HEAD and 304 ([`Body::Empty`]) the origin's Content-Length stays, since it describes what a GET would have got.
pub fn response(out: &mut Vec<u8>, response: &Response<'_>, to: ToClient, via: &str, date: &str) {
    let interim = response.status < 200;
    // RFC 9112 section 6.1: neither framing field on 1xx and 204.
    let bodiless = interim || response.status == 204;
    append(
        out,
        &[b"HTTP/1.1 ", itoa::Buffer::new().format(response.status).as_bytes(), b" ", response.reason, b"\r\n"],
    );

    let mut described = bodiless || to.body != Body::Empty;
    let mut dated = interim;
    for (known, field) in end_to_end(response.fields) {
        if known == Some(Known::ContentLength) {
            if described {
                continue;
            }
            described = true;
        }
        dated |= known == Some(Known::Date);
        append_field(out, field);
    }
    if !dated {
        append(out, &[b"Date: ", date.as_bytes(), b"\r\n"]);
    }
    if !bodiless {
        append_framing(out, to.body, response.codings);
    }
    match response.upgrade {
        Some(chosen) if to.upgrade => {
            append(out, &[b"Connection: upgrade\r\nUpgrade: ", chosen, b"\r\n"]);
        }
        _ if !to.keep_alive && !interim => out.extend_from_slice(b"Connection: close\r\n"),
        _ => {}
    }
    append_via(out, response.version, via);
    out.extend_from_slice(b"\r\n");
}

/// The fields that go on, with what they are. What `Connection` nominates goes too, except the fields that others rely on.
fn end_to_end(fields: Fields<'_>) -> impl Iterator<Item = (Option<Known>, Field<'_>)> {
    let nominated = Nominated::of(fields);
    fields.iter().map(|field| (Known::of(field.name), field)).filter(move |(known, field)| match known {
        Some(
            Known::Connection | Known::HopByHop | Known::ProxyConnection | Known::TransferEncoding | Known::Upgrade,
        ) => false,
        None => !nominated.contains(field.name),
        Some(
            Known::ContentLength
            | Known::Date
            | Known::Expect
            | Known::Host
            | Known::MaxForwards
            | Known::Protected
            | Known::Via,
        ) => true,
    })
}

fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn append_field(out: &mut Vec<u8>, field: Field<'_>) {
    append(out, &[field.name, b": ", field.value, b"\r\n"]);
}

/// `codings` lie under the chunks.
fn append_framing(out: &mut Vec<u8>, body: Body, codings: &[u8]) {
    match body {
        Body::Length(length) => {
            append(out, &[b"Content-Length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
        }
        Body::Chunked if codings.is_empty() => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::Chunked => append(out, &[b"Transfer-Encoding: ", codings, b", chunked\r\n"]),
        Body::Empty | Body::UntilClose => {}
    }
}

/// Our Via is a line of its own, after those of the hops before (RFC 9110 section 7.6.3).
fn append_via(out: &mut Vec<u8>, received: Version, via: &str) {
    append(out, &[b"Via: ", received.number().as_bytes(), b" ", via.as_bytes(), b"\r\n"]);
}
