//! How long connections live, what our own answers say, and what is tried again: C-69 to C-80.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use floodgate::outcome::{ConnectionEnd, RequestEnd};
use floodgate::telemetry::Direction;

use super::wire::{RECORDED, anonymous, answers, exchange, hear, moved, record, recorded, recorder, reset, to};
use crate::cases::NoNames;
use crate::rig::{Origin, Rig, closed_port, eventually, field, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";

fn requests(rig: &Rig) -> u64 {
    rig.gateway.counters.requests.load(Relaxed)
}

fn dials(rig: &Rig) -> u64 {
    rig.gateway.counters.connect_seconds.count()
}

#[test]
fn c_69_http_1_0_clients_never_persist() {
    let origin = Origin::answering(OK);
    let rig = Rig::new(&[origin.address]);
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\nKeep-Alive: timeout=300\r\n",
    ] {
        let before = requests(&rig);
        let request = format!("GET http://{0}/ HTTP/1.0\r\nHost: {0}\r\n{fields}\r\n", origin.address);
        let heard = exchange(&rig, request.repeat(2));
        assert_eq!((&*heard.text, heard.clean), (RECORDED, true), "{fields:?}");
        eventually("the request is counted", || requests(&rig) > before);
        assert_eq!(requests(&rig), before + 1, "{fields:?}: what is pipelined is not read");
    }
    rig.settled();
}

#[test]
fn c_70_nothing_behind_a_request_with_close_is_processed() {
    for fields in [
        "Connection: close\r\n",
        "Connection: Close\r\n",
        "Connection: x, close ,y\r\n",
        "Connection: x\r\nConnection: close\r\n",
        "Connection: keep-alive, close\r\n",
        "Proxy-Connection: close\r\n",
    ] {
        let origin = recorder();
        let rig = Rig::new(&[origin.address]);
        let behind = to(&origin, "GET", "\r\n") + &format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy);
        let heard = exchange(&rig, to(&origin, "GET", &format!("{fields}\r\n{behind}")));
        assert_eq!((&*heard.text, heard.clean), (RECORDED, true), "{fields:?}");
        rig.settled();
        assert_eq!(requests(&rig), 1, "{fields:?}");
        assert_eq!(record(&origin), recorded(&origin, "GET", "Via: 1.1 floodgate-*\r\n\r\n"), "{fields:?}");
    }
}

#[test]
fn c_71_pipelined_requests_are_answered_in_order_and_each_is_judged() {
    let (go, told) = channel();
    let told = Mutex::new(told);
    let slow = Origin::scripted(move |_, mut stream, _| {
        while !read_head(&mut stream).is_empty() {
            told.lock().unwrap().recv().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").unwrap();
        }
    });
    let fast = Origin::ok("fast");
    let rig = Rig::new(&[slow.address, fast.address]);
    let own = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy);
    let (first, second) = (to(&slow, "GET", "\r\n"), to(&fast, "GET", "\r\n"));
    let mut client = rig.client();
    client.send(format!("{first}{second}{second}{own}{second}"));
    moved(&rig, Direction::ToUpstream, recorded(&slow, "GET", "\r\n").len());
    // The others are not begun before the first is answered.
    assert_eq!((dials(&rig), requests(&rig)), (1, 1));
    go.send(()).unwrap();
    for body in [b"slow", b"fast", b"fast"] {
        assert_eq!(client.answer().1, body);
    }
    hear(&mut client).assert_ours(403, "proxy_loop_detected", "after a refusal the connection is over");
    drop(client);
    rig.settled();
    assert_eq!((rig.ends(RequestEnd::Forwarded), rig.ends(RequestEnd::SelfTarget)), (3, 1));

    // However much is pipelined, what is held is bounded: TCP slows the client.
    let mut client = rig.client();
    client.send(&first);
    client.0.set_nonblocking(true).unwrap();
    let block = second.repeat(1000);
    let (mut written, mut refused) = (0, 0);
    eventually("the client cannot write any more", || {
        match client.0.write(block.as_bytes()) {
            Ok(n) => (written, refused) = (written + n, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(written < 64 << 20, "the sockets' own buffers are smaller");
        refused > 100
    });
    socket2::SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    go.send(()).unwrap();
    rig.settled();
}

#[test]
fn c_72_clients_that_are_still_sending_can_read_the_answer() {
    let rig = Rig::new(&[]);
    for _ in 0..20 {
        let mut client = rig.client();
        client.send(format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1000000\r\n\r\n", rig.proxy));
        let mut sender = client.0.try_clone().unwrap();
        let sending = thread::spawn(move || {
            for _ in 0..30 {
                if sender.write_all(&[b'x'; 16_000]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let (head, body) = client.answer();
        assert!(head.starts_with("HTTP/1.1 403 ") && !body.is_empty(), "{head}");
        sending.join().unwrap();
    }
    rig.settled();
}

#[test]
fn c_73_no_answer_of_ours_is_a_421() {
    assert!(RequestEnd::ALL.iter().all(|end| end.row().status != Some(421)));
}

/// An address that answers no SYN: its accept queue is full.
pub(crate) fn unresponsive() -> (SocketAddr, impl Sized + use<>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()).collect();
    (address, (listener, waiting))
}

#[test]
fn c_74_each_fault_on_the_way_has_its_status_and_its_error() {
    let names = NoNames::start();
    let no_name_server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (unresponsive, _held) = unresponsive();
    let refusing = closed_port();
    let closing = answers("");
    let resetting = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        reset(&stream);
    });
    let silent = Origin::scripted(|_, mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let malformed = answers("SSH-2.0-x\r\n\r\n");
    let origins = [unresponsive, refusing, closing.address, resetting.address, silent.address, malformed.address];
    // Short waits are for those who never answer: the others may take their time.
    let rig_asking = |server: SocketAddr, wait: &str| {
        let waits = ["connect", "first-byte", "dns"].map(|what| format!("{what}-timeout = \"{wait}\"\n")).concat();
        Rig::with(&origins, &format!("[upstream]\n{waits}dns-servers = [\"{server}\"]"))
    };
    let rig = rig_asking(names.address, "1h");
    let ask = |rig: &Rig, authority: &str, status: u16, error: &str, end: RequestEnd| {
        let before = rig.ends(end);
        let heard = exchange(rig, format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        heard.assert_ours(status, error, authority);
        eventually("it is booked", || rig.ends(end) == before + 1);
    };
    ask(&rig, "no-such-name.test", 502, "dns_error", RequestEnd::DnsFailure);
    ask(&rig, &refusing.to_string(), 502, "connection_refused", RequestEnd::ConnectRefused);
    ask(&rig, &closing.address.to_string(), 502, "connection_terminated", RequestEnd::UpstreamReset);
    ask(&rig, &resetting.address.to_string(), 502, "connection_terminated", RequestEnd::UpstreamReset);
    ask(&rig, &malformed.address.to_string(), 502, "http_protocol_error", RequestEnd::UpstreamMalformed);
    ask(&rig, "10.0.0.1", 403, "destination_ip_prohibited", RequestEnd::DestinationDenied);
    ask(&rig, "192.0.2.1:25", 403, "http_request_denied", RequestEnd::PortDenied);
    ask(&rig, &rig.proxy.to_string(), 403, "proxy_loop_detected", RequestEnd::SelfTarget);
    // As if every descriptor were in use, since this client came.
    let mut client = rig.client();
    eventually("it is in", || rig.open() == 1);
    let open = &rig.gateway.counters.upstreams_open;
    open.fetch_add(1 << 40, Relaxed);
    client.send(to(&silent, "GET", "\r\n"));
    let full = hear(&mut client);
    open.fetch_sub(1 << 40, Relaxed);
    full.assert_ours(503, "connection_limit_reached", "a full box");
    assert_eq!(field(&full.text, "retry-after"), Some("5"));
    drop(client);
    rig.settled();
    let rig = rig_asking(no_name_server.local_addr().unwrap(), "300ms");
    ask(&rig, "origin.test", 504, "dns_timeout", RequestEnd::DnsTimeout);
    ask(&rig, &unresponsive.to_string(), 504, "connection_timeout", RequestEnd::ConnectTimeout);
    ask(&rig, &silent.address.to_string(), 504, "http_response_timeout", RequestEnd::FirstByteTimeout);
    rig.settled();
}

/// The errors that RFC 9209 section 2.3 defines.
const ERRORS: &[&str] = &[
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
];

/// `sf-token` of RFC 8941 section 3.3.4.
fn is_token(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c))
}

#[test]
fn c_75_proxy_status_is_a_structured_field_that_tells_no_secrets() {
    for end in RequestEnd::ALL {
        let error = end.row().error;
        assert!(error.is_empty() || (is_token(error) && ERRORS.contains(&error)), "{error}");
    }
    let origin = answers(
        "HTTP/1.1 200 OK\r\nDate: x\r\nProxy-Status: \"a, b\"; x=1\r\nproxy-status: c; error=dns_error\r\nContent-Length: 0\r\n\r\n",
    );
    let nobody = closed_port();
    let rig = Rig::new(&[origin.address, nobody]);
    // Those of proxies before us stay as they are; we have nothing to add to an answer that is not ours.
    assert_eq!(
        exchange(&rig, to(&origin, "GET", "Connection: close\r\n\r\n")).text,
        "HTTP/1.1 200 OK\r\nDate: x\r\nProxy-Status: \"a, b\"; x=1\r\nproxy-status: c; error=dns_error\r\nContent-Length: 0\r\n\
         Connection: close\r\nVia: 1.1 floodgate-*\r\n\r\n"
    );
    // On ours there is exactly one member, a token with one parameter: nothing of the inside.
    let heard = exchange(&rig, format!("GET http://{nobody}/ HTTP/1.1\r\nHost: {nobody}\r\n\r\n"));
    assert_eq!(heard.text.to_lowercase().matches("proxy-status").count(), 1);
    let member = field(&heard.text, "proxy-status").unwrap();
    let (proxy, parameters) = member.split_once(';').unwrap();
    let (key, error) = parameters.trim_start_matches(' ').split_once('=').unwrap();
    assert!(is_token(proxy) && key == "error" && is_token(error), "{member}");
    assert!(!heard.text.contains(&nobody.port().to_string()) && !heard.text.contains("127.0.0.1"), "{heard:?}");
    rig.settled();
}

/// Text that would show up if an answer of ours repeated any of the request.
const MARK: &str = "i-was-here";

#[test]
fn c_77_our_own_answers_have_a_length_close_are_not_stored_and_repeat_nothing() {
    let rig = Rig::new(&[]);
    let proxy = rig.proxy;
    let refusal = |text: &str, status: &str, error: &str| {
        format!(
            "HTTP/1.1 {status}\r\nProxy-Status: floodgate; error={error}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
            text.len() + 1
        )
    };
    let own = refusal(
        "This request names the proxy itself. Check the client's proxy settings.",
        "403 Forbidden",
        "proxy_loop_detected",
    );
    let unreadable = refusal("The proxy cannot read this request.", "400 Bad Request", "http_request_error");
    for (request, answer) in [
        (
            format!("GET http://{proxy}/{MARK}?<script>{MARK}</script> HTTP/1.1\r\nHost: {proxy}\r\nX: {MARK}\r\n\r\n"),
            &own,
        ),
        (format!("GET http://{proxy}/ HTTP/1.1\r\nHost: {proxy}\r\nVia: 1.1 {MARK}\r\nReferer: {MARK}\r\n\r\n"), &own),
        (format!("{MARK} http://{proxy}/ HTTP/1.1\r\nHost: {proxy}\r\n\r\n"), &own),
        (format!("CONNECT {proxy} HTTP/1.1\r\nHost: {MARK}\r\n\r\n"), &own),
        (format!("GET {MARK} HTTP/1.1\r\nHost: {proxy}\r\n\r\n"), &unreadable),
        (format!("GET http://<{MARK}>/ HTTP/1.1\r\nHost: o\r\n\r\n"), &unreadable),
        (format!("GET http://o/ HTTP/1.1\r\nHost: o\r\n{MARK} : <b>\r\n\r\n"), &unreadable),
    ] {
        let heard = exchange(&rig, &request);
        assert_eq!((&heard.text, heard.clean), (answer, true), "{request:?}");
    }
    let (head, _) = own.split_once("\r\n\r\n").unwrap();
    let heard = exchange(&rig, format!("HEAD http://{proxy}/ HTTP/1.1\r\nHost: {proxy}\r\n\r\n"));
    assert_eq!(heard.text, format!("{head}\r\n\r\n"), "the same head, and no body");
    rig.settled();
}

#[test]
fn c_78_nothing_that_came_in_ends_a_line_that_goes_out() {
    let origin = recorder();
    let rig = Rig::new(&[origin.address]);
    let request = format!(
        "GET http://{0}/%0d%0aX:1?%0D%0A%0D%0A HTTP/1.1\r\nHost: {0}\r\nVia: 1.0 a%0d%0aX:1\r\nX: %0d%0aY: 1\r\nConnection: close\r\n\r\n",
        origin.address
    );
    assert_eq!(exchange(&rig, request).text, RECORDED);
    rig.settled();
    assert_eq!(
        record(&origin),
        format!(
            "GET /%0d%0aX:1?%0D%0A%0D%0A HTTP/1.1\r\nHost: {}\r\nVia: 1.0 a%0d%0aX:1\r\nX: %0d%0aY: 1\r\nVia: 1.1 floodgate-*\r\n\r\n",
            origin.address
        )
    );
    let rig = Rig::new(&[]);
    for request in [
        "GET http://o/\rX:1 HTTP/1.1\r\nHost: o\r\n\r\n",
        "GET http://o/\nX:1 HTTP/1.1\r\nHost: o\r\n\r\n",
        "GET http://o\rX:1/ HTTP/1.1\r\nHost: o\r\n\r\n",
        "GET http://o%0d%0aX:1/ HTTP/1.1\r\nHost: o\r\n\r\n",
        "GET http://o/ HTTP/1.1\r\nHost: o\rX: 1\r\n\r\n",
        "GET http://o/ HTTP/1.1\r\nHost: o\r\nVia: 1.1 a\rX: 1\r\n\r\n",
        "CONNECT o%0d%0a:443 HTTP/1.1\r\nHost: o\r\n\r\n",
    ] {
        exchange(&rig, request).assert_ours(400, "http_request_error", request);
    }
    rig.settled();
    for field in ["Location: http://o/\rX: 1", "Location: a\nX: 1", "Via: 1.1 a\rb", "Proxy-Status: a\r; b"] {
        let origin = answers(format!("HTTP/1.1 302 Found\r\n{field}\r\nContent-Length: 0\r\n\r\n"));
        let rig = Rig::new(&[origin.address]);
        let heard = exchange(&rig, to(&origin, "GET", "\r\n"));
        heard.assert_ours(502, "http_protocol_error", field);
        rig.settled();
    }
}

/// Ends a connection on which a request has come.
type End = fn(TcpStream);

const ENDS: [(&str, End); 2] = [("FIN", drop), ("RST", |stream| reset(&stream))];

/// Keeps its first connection after an answer, and ends it when the second request has come. The connections from
/// number `works` on answer; those between end like the first.
fn forgetful(works: usize, end: End) -> Origin {
    Origin::scripted(move |number, mut stream, received| {
        if number == 0 || number >= works {
            let head = read_head(&mut stream);
            let answer = if head.starts_with(b"HEAD ") { OK.trim_end_matches("ok") } else { OK };
            stream.write_all(answer.as_bytes()).unwrap();
            received.extend(head);
        }
        received.extend(read_head(&mut stream));
        end(stream);
    })
}

#[test]
fn c_79_only_what_may_be_sent_twice_is_and_only_once() {
    for (what, end) in ENDS {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let origin = forgetful(1, end);
            let rig = Rig::new(&[origin.address]);
            let mut client = rig.client();
            for _ in 0..2 {
                client.send(to(&origin, method, "X: 1\r\n\r\n"));
                assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"), "{method} {what}");
                if method != "HEAD" {
                    assert_eq!(client.exactly(2), b"ok");
                }
            }
            assert_eq!((dials(&rig), requests(&rig)), (2, 2), "{method} {what}: sent again, on a new connection");
            drop(client);
            rig.settled();
            drop(rig);
            eventually("both connections have ended", || origin.received().len() == 2);
            let once = recorded(&origin, method, "X: 1\r\nVia: 1.1 floodgate-*\r\n\r\n");
            let mut records: Vec<_> = origin.received().iter().map(|record| anonymous(record)).collect();
            records.sort();
            assert_eq!(records, [once.clone(), once.repeat(2)], "{method} {what}");
        }
        // A second failure is told, not tried again.
        let origin = forgetful(usize::MAX, end);
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        client.send(to(&origin, "GET", "\r\n"));
        assert_eq!(client.answer().1, b"ok");
        client.send(to(&origin, "GET", "\r\n"));
        hear(&mut client).assert_ours(502, "connection_terminated", what);
        drop(client);
        rig.settled();
        assert_eq!((dials(&rig), rig.ends(RequestEnd::UpstreamReset)), (2, 1), "{what}");
        // So is a failure of a new connection.
        let rig = Rig::new(&[origin.address]);
        exchange(&rig, to(&origin, "GET", "\r\n")).assert_ours(502, "connection_terminated", what);
        rig.settled();
        assert_eq!(dials(&rig), 1, "{what}");
    }
    // What may not be sent twice is given no used connection, on which nobody could tell whether it was carried out.
    for (method, rest) in [
        ("POST", "Content-Length: 0\r\n\r\n"),
        ("PATCH", "\r\n"),
        ("FOO", "\r\n"),
        ("get", "\r\n"),
        ("PUT", "Content-Length: 2\r\n\r\nhi"),
        ("GET", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let origin = forgetful(1, drop);
        let rig = Rig::new(&[origin.address]);
        let mut client = rig.client();
        for number in 1..=3 {
            client.send(to(&origin, method, rest));
            assert_eq!(client.answer().1, b"ok", "{method}");
            assert_eq!(dials(&rig), number, "{method} {rest:?}");
        }
        drop(client);
        rig.settled();
    }
    // Once a byte of an answer has come, the request has been heard.
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        read_head(&mut stream);
        stream.write_all(b"H").unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(to(&origin, "GET", "\r\n"));
    assert_eq!(client.answer().1, b"ok");
    client.send(to(&origin, "GET", "\r\n"));
    hear(&mut client).assert_ours(502, "connection_terminated", "a byte");
    drop(client);
    rig.settled();
    assert_eq!(dials(&rig), 1);
}

#[test]
fn c_80_what_is_idle_is_watched_on_both_sides() {
    // An origin that ends a connection nobody uses: gone without a request.
    for (what, end) in ENDS {
        let origin = Origin::scripted(move |_, mut stream, _| {
            read_head(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
            end(stream);
        });
        let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
        let mut client = rig.client();
        for number in 1..=5 {
            client.send(to(&origin, "POST", "Content-Length: 0\r\n\r\n"));
            assert_eq!(client.answer().1, b"ok");
            rig.no_upstream_is_left();
            assert_eq!(dials(&rig), number, "{what}");
        }
        drop(client);
        rig.settled();
        assert_eq!(rig.ends(RequestEnd::Forwarded), 5);
    }
    // Ours ends too, when it has been idle for long enough; so does the client's, cleanly and without a word.
    let origin = Origin::answering(OK);
    let rig = Rig::with(&[origin.address], "[timeouts]\nkeep-alive = \"100ms\"\n[upstream]\nidle-timeout = \"100ms\"");
    let heard = exchange(&rig, to(&origin, "GET", "\r\n"));
    assert!(
        heard.clean && heard.text.ends_with("\r\n\r\nok") && field(&heard.text, "connection").is_none(),
        "{heard:?}"
    );
    rig.no_upstream_is_left();
    rig.settled();
    assert_eq!(rig.gateway.counters.connection_ends.get(ConnectionEnd::Served.index()), 1);
    // A client that closes leaves nothing.
    let rig = Rig::with(&[origin.address], "[timeouts]\nkeep-alive = \"1h\"");
    let mut client = rig.client();
    client.send(to(&origin, "GET", "\r\n"));
    client.answer();
    drop(client);
    rig.settled();
}
