//! What clients, the proxy and servers say: the heads of requests and answers.

use std::net::IpAddr;
use std::rc::Rc;

use super::chance::Chance;
use super::message::{Body, Message};

/// The messenger's User-Agent.
pub(super) const MESSENGER_AGENT: &str = "MicroMessenger Client";
/// The User-Agent of the PCs' browser.
pub(super) const BROWSER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/86.0.4240.198 Safari/537.36";
/// How the proxy names itself.
const VIA: &str = "1.1 gateway (squid/4.10)";

/// A request through the proxy, and the same as the proxy sends it on.
#[derive(Debug)]
pub(super) struct Request {
    pub asked: Rc<Message>,
    pub onward: Rc<Message>,
}

/// An answer of a server, and the same as the proxy passes it on.
#[derive(Debug)]
pub(super) struct Answer {
    pub given: Rc<Message>,
    pub passed: Rc<Message>,
}

/// `http://HOST` and the path, of a client at this address; `fields`: lines that end with CR LF; `body`: bytes.
pub(super) fn request(
    chance: &mut Chance,
    client: IpAddr,
    (method, host, path): (&str, &str, &str),
    fields: &str,
    body: u64,
) -> Request {
    let length = if body == 0 { String::new() } else { format!("Content-Length: {body}\r\n") };
    let start = chance.within(0..=0xffff);
    let asked = format!("{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n");
    let fields = fields.replace("Proxy-Connection: keep-alive\r\n", "");
    let onward = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}Via: {VIA}\r\nX-Forwarded-For: {client}\r\n\r\n"
    );
    let message = |head: String| Message::with_body(head, Body::Noise, start, body);
    Request { asked: message(asked), onward: message(onward) }
}

/// An answer with a body of so many bytes; `fields`: lines that end with CR LF.
pub(super) fn answer(chance: &mut Chance, status: &str, fields: &str, body: u64) -> Answer {
    let start = chance.within(0..=0xffff);
    let message = |via: &str| {
        let head = format!("HTTP/1.1 {status}\r\nServer: nginx\r\nContent-Length: {body}\r\n{fields}{via}\r\n");
        Message::with_body(head, Body::Noise, start, body)
    };
    Answer { given: message(""), passed: message(&format!("Via: {VIA}\r\n")) }
}

/// What the proxy itself answers when it has no answer to pass on.
pub(super) fn refusal(status: &str, line: &str) -> Rc<Message> {
    let length = line.len() + 1;
    Message::text(format!(
        "HTTP/1.1 {status}\r\nServer: squid/4.10\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Via: {VIA}\r\nConnection: close\r\n\r\n{line}\n"
    ))
}

/// The request for a tunnel to `authority`.
pub(super) fn connect(authority: &str, agent: &str) -> Rc<Message> {
    Message::text(format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Connection: keep-alive\r\nUser-Agent: {agent}\r\n\r\n"
    ))
}

/// The tunnel stands.
pub(super) fn connected() -> Rc<Message> {
    Message::text("HTTP/1.1 200 Connection established\r\n\r\n")
}
