//! After CONNECT, and after an upgrade.

use super::Tape;
use crate::pcap::stream::{Interest, Side};

const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";

#[test]
fn http_in_a_tunnel_is_told_as_tunnelled() {
    let mut tape = Tape::new();
    tape.client(CONNECT).server("HTTP/1.1 200 Connection established\r\n\r\n");
    tape.client("GET / HTTP/1.1\r\nHost: a\r\n\r\n").server("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let (notes, counts) = tape.end();
    assert_eq!(
        notes.lines,
        [
            "0 CONNECT a.example:443 HTTP/1.1 host=a.example:443 stay",
            "  200 to 0 stay",
            "1 GET / HTTP/1.1 host=a stay tunnelled",
            "  404 to 1 stay tunnelled",
            "closed, 0 unanswered",
        ]
    );
    assert_eq!(counts.tunnels, 1);
}

#[test]
fn tls_in_a_tunnel_is_ignored_even_if_it_did_not_wait() {
    let mut tape = Tape::new();
    tape.client(CONNECT);
    assert_eq!(tape.say(Side::Client, HELLO), Interest::Ignore);
    assert_eq!(tape.say(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n"), Interest::Ignore);
    assert_eq!(tape.end().0.lines[1..], ["  200 to 0 stay", "closed, 0 unanswered"]);

    let mut tape = Tape::new();
    tape.client(CONNECT).server("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(tape.say(Side::Client, HELLO), Interest::Ignore);
    assert_eq!(tape.say(Side::Server, HELLO), Interest::Ignore);
}

#[test]
fn a_tunnel_whose_answer_was_not_captured_is_one() {
    let mut tape = Tape::new();
    tape.client(CONNECT).client(HELLO);
    assert_eq!(tape.say(Side::Server, HELLO), Interest::Ignore);
    let (notes, counts) = tape.end();
    assert_eq!(notes.lines[1..], ["closed, 0 unanswered"]);
    assert_eq!(counts.lost_track, 1);
}

#[test]
fn a_refused_connect_leaves_a_proxy_connection() {
    let mut tape = Tape::new();
    tape.client(CONNECT).server("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno");
    tape.client(CONNECT).server("HTTP/1.1 200 OK\r\n\r\n");
    let lines = tape.end().0.lines;
    assert_eq!(lines[2], "1 CONNECT a.example:443 HTTP/1.1 host=a.example:443 stay");
    assert_eq!(lines[3], "  200 to 1 stay");
}

#[test]
fn http_that_does_not_wait_for_its_tunnel_is_in_it() {
    let mut tape = Tape::new();
    tape.client(format!("{CONNECT}GET / HTTP/1.1\r\n\r\n"));
    tape.server("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 204 No\r\n\r\n");
    assert_eq!(
        tape.end().0.lines[1..],
        ["1 GET / HTTP/1.1 stay tunnelled", "  200 to 0 stay", "  204 to 1 stay tunnelled", "closed, 0 unanswered"]
    );
}

#[test]
fn nothing_is_told_after_an_upgrade() {
    let mut tape = Tape::new();
    tape.client("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").server("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert_eq!(tape.say(Side::Client, b"GET / HTTP/1.1\r\n\r\n"), Interest::Ignore);
    assert_eq!(tape.say(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n"), Interest::Ignore);
    assert_eq!(tape.end().0.lines[1..], ["  101 to 0 stay", "closed, 0 unanswered"]);
}
