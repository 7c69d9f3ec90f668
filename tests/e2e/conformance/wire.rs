//! What the conformance tests share: raw exchanges, and origins that record or answer raw bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use floodgate::telemetry::Direction;

use crate::rig::{Client, Origin, Rig, eventually, field, read_head};

/// Everything a client got, and how it ended.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) text: String,
    /// An ordinary end of the stream; otherwise a reset.
    pub(super) clean: bool,
}

/// Reads up to the end, whatever it is. Who has been told that the connection closes closes its side, as clients do: then
/// nobody waits for anybody.
pub(super) fn hear(client: &mut Client) -> Heard {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let read = client.0.read(&mut block);
        let n = *read.as_ref().unwrap_or(&0);
        if n == 0 {
            return Heard { text: anonymous(&String::from_utf8_lossy(&bytes)), clean: read.is_ok() };
        }
        bytes.extend(&block[..n]);
        if is_last(&String::from_utf8_lossy(&bytes)) {
            client.0.shutdown(Shutdown::Write).unwrap_or(());
        }
    }
}

/// Whether this ends with a whole answer, by its length, that announces the end of the connection.
fn is_last(text: &str) -> bool {
    let final_answer = &text[text.rfind("HTTP/1.1 ").unwrap_or(0)..];
    let Some((head, body)) = final_answer.split_once("\r\n\r\n") else { return false };
    let length = field(head, "content-length").and_then(|length| length.parse().ok());
    field(head, "connection") == Some("close") && length.is_some_and(|length: usize| body.len() >= length)
}

/// Sends these bytes on a new connection, and reads up to the end.
pub(super) fn exchange(rig: &Rig, bytes: impl AsRef<[u8]>) -> Heard {
    let mut client = rig.client();
    client.send(bytes);
    hear(&mut client)
}

/// Our pseudonym is drawn anew by each process: here it is `floodgate-*`.
pub(super) fn anonymous(text: &str) -> String {
    let mut parts = text.split("floodgate-");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("floodgate-*");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    }
    out
}

impl Heard {
    /// It is one answer of our own, alone, whole, and the last on its connection.
    #[track_caller]
    pub(super) fn assert_ours(&self, status: u16, error: &str, what: &str) {
        let Self { text, clean } = self;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what:?}: {text:?}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what:?}: {text}");
        assert_eq!(field(head, "proxy-status"), Some(&*format!("floodgate; error={error}")), "{what:?}: {text}");
        assert_eq!(field(head, "connection"), Some("close"), "{what:?}: {text}");
        assert_eq!(
            field(head, "content-length"),
            Some(&*body.len().to_string()),
            "{what:?}: nothing behind it: {text}"
        );
        assert!(*clean, "{what:?}: an ordinary end");
    }
}

/// Answers each connection once, when it has read one whole request, and closes.
pub(super) fn recorder() -> Origin {
    Origin::scripted(|_, mut stream, received| {
        read_request(&mut stream, received);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .unwrap_or(());
    })
}

/// What a client of a [`recorder`] gets.
pub(super) const RECORDED: &str =
    "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 floodgate-*\r\n\r\nok";

/// Reads a request as an origin that trusts its framing.
pub(super) fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) {
    let head = read_head(stream);
    received.extend(&head);
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut byte = [0];
    if field(&head, "transfer-encoding") == Some("chunked") {
        while !received.ends_with(b"\r\n0\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            received.push(byte[0]);
        }
    } else if let Some(length) = field(&head, "content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        if stream.read_exact(&mut body).is_ok() {
            received.extend(body);
        }
    }
}

/// Answers the first request of each connection with these bytes, and ends the connection.
pub(super) fn answers(bytes: impl Into<Vec<u8>>) -> Origin {
    let bytes = bytes.into();
    Origin::scripted(move |_, mut stream, received| {
        received.extend(read_head(&mut stream));
        stream.write_all(&bytes).unwrap_or(());
        stream.shutdown(Shutdown::Write).unwrap_or(());
        // Unread bytes would turn the end into a reset.
        stream.read_to_end(received).unwrap_or(0);
    })
}

/// Answers with `first`, and when told to with `second`; then it ends the connection. It serves one connection.
pub(super) fn answers_in_two(first: &'static [u8], second: &'static [u8]) -> (Origin, Sender<()>) {
    let (go, told) = channel();
    let told = Mutex::new(told);
    let origin = Origin::scripted(move |_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(first).unwrap_or(());
        told.lock().unwrap().recv().unwrap();
        stream.write_all(second).unwrap_or(());
        stream.shutdown(Shutdown::Write).unwrap_or(());
        stream.read_to_end(&mut Vec::new()).unwrap_or(0);
    });
    (origin, go)
}

/// A request in absolute form; `rest` is the rest of its head, and what follows that.
pub(super) fn to(origin: &Origin, method: &str, rest: &str) -> String {
    format!("{method} http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{rest}", origin.address)
}

/// What an origin should have recorded of [`to`].
pub(super) fn recorded(origin: &Origin, method: &str, rest: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: {}\r\n{rest}", origin.address)
}

/// The only record of an origin, once its connection has ended.
pub(super) fn record(origin: &Origin) -> String {
    eventually("the origin's connection has ended", || !origin.received().is_empty());
    let records = origin.received();
    assert_eq!(records.len(), 1, "{records:?}");
    anonymous(&records[0])
}

/// Nothing was dialled.
#[track_caller]
pub(super) fn assert_nothing_forwarded(rig: &Rig, origin: &Origin) {
    assert_eq!(rig.gateway.counters.connect_seconds.count(), 0, "dialled");
    assert_eq!(origin.received(), Vec::<String>::new());
}

/// Waits until bytes have moved in this direction.
pub(super) fn moved(rig: &Rig, direction: Direction, bytes: usize) {
    let counted = || rig.gateway.counters.bytes.get(direction as usize);
    eventually("the bytes have moved", || counted() >= bytes as u64);
}

/// Makes the connection end with a reset when it is dropped.
pub(super) fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What a GET gets from an origin that answers with these bytes.
pub(super) fn heard_from(answer: impl Into<Vec<u8>>) -> Heard {
    let origin = answers(answer);
    let rig = Rig::new(&[origin.address]);
    let heard = exchange(&rig, to(&origin, "GET", "Connection: close\r\n\r\n"));
    rig.settled();
    heard
}

/// Answers of an origin that are none: 502 instead.
#[track_caller]
pub(super) fn assert_answers_refused(fields: impl IntoIterator<Item = impl AsRef<str>>) {
    for fields in fields {
        let fields = fields.as_ref();
        let heard = heard_from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n0\r\n\r\n"));
        heard.assert_ours(502, "http_protocol_error", fields);
    }
}
