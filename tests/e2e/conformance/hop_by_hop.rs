//! C-39 to C-50: what is meant for one hop only, and the marks that hops leave.

use std::io::{Read, Write};

use floodgate::outcome::{Reason, RequestEnd};

use super::chain::{Chain, MALFORMED, METHOD_DENIED, RATE_LIMITED, SELF_TARGET, UPSTREAM_MALFORMED};
use crate::rig::{Client, Origin, Rig, field, read_head};

/// A GET with these lines, and what the origin gets of it.
fn request(lines: &str) -> String {
    format!("GET http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n{lines}\r\n")
}

fn forwarded(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: <origin>\r\n{lines}Via: 1.1 <us>\r\n\r\n")
}

/// An answer with these lines, and what the client, who closes, gets of it.
fn answer(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: x\r\n{lines}Content-Length: 2\r\n\r\nok")
}

fn relayed(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: x\r\n{lines}Content-Length: 2\r\nConnection: close\r\nVia: 1.1 <us>\r\n\r\nok")
}

#[test]
fn c_39_connection_and_what_it_nominates_go() {
    let chain = Chain::new();
    for lines in [
        "Connection: X-Foo\r\nX-Foo: 1\r\nKept: 2\r\n",
        "X-Foo: 1\r\nKept: 2\r\nConnection: X-Foo\r\n",
        "Connection: , x-fOO ,,\t\r\nX-Foo: 1\r\nX-FOO: 3\r\nKept: 2\r\n",
        "Connection: keep-alive\r\nX-Foo: 1\r\nconnection:x-foo\r\nKept: 2\r\n",
        // One that names itself, and one that names nothing that is there.
        "Connection: Connection, X-Foo, X-Bar\r\nX-Foo: 1\r\nKept: 2\r\n",
    ] {
        chain.passes(request(lines), forwarded("Kept: 2\r\n"));
    }
    let closing = "Connection: close, X-Foo\r\nX-Foo: 1\r\nX-Food: 2\r\n";
    chain.passes_and_closes(request(closing), forwarded("X-Food: 2\r\n"));
    // Bounded: each of them is looked for among the fields.
    let options = |count: usize| format!("Connection: {}\r\n", vec!["x"; count].join(","));
    chain.passes(request(&options(32)), forwarded(""));
    chain.refuses(MALFORMED, &[request(&options(33)), request(&(options(20) + &options(20)))]);
    // Answers, interim ones too.
    chain.relays(answer("Connection: X-Foo\r\nX-Foo: 1\r\nKept: 2\r\n"), relayed("Kept: 2\r\n"));
    chain.relays(
        answer("x-foo: 1\r\nKept: 2\r\nCONNECTION: close , X-Foo\r\nConnection: close\r\n"),
        relayed("Kept: 2\r\n"),
    );
    chain.relays(
        "HTTP/1.1 103 Early Hints\r\nConnection: X-Foo\r\nX-Foo: 1\r\nLink: </a>\r\n\r\n".to_owned() + &answer(""),
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 <us>\r\n\r\n".to_owned() + &relayed(""),
    );
    chain.refuses_answers(&[answer(&options(33))]);
    // Trailer fields go whether nominated or not.
    chain.passes(
        "POST http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nConnection: X-Foo\r\nTrailer: X-Foo, Kept\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Foo: 1\r\nKept: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: <origin>\r\nTransfer-Encoding: chunked\r\nVia: 1.1 <us>\r\n\r\n\
         2\r\nhi\r\n0\r\n\r\n",
    );
    chain.finish();
}

#[test]
fn c_40_hop_by_hop_fields_go_without_being_nominated() {
    let chain = Chain::new();
    let hop = "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\n\
               Upgrade: websocket\r\nProxy-Authorization: Basic eDp5\r\nProxy-Authenticate: Basic\r\n\
               Proxy-Authentication-Info: x\r\nPROXY-CONNECTION: x\r\n";
    chain.passes(request(&format!("A: 1\r\n{hop}B: 2\r\n")), forwarded("A: 1\r\nB: 2\r\n"));
    chain.relays(answer(&format!("A: 1\r\n{hop}B: 2\r\n")), relayed("A: 1\r\nB: 2\r\n"));
    // `Transfer-Encoding` is replaced by our own framing.
    chain.relays(
        "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding:  CHUNKED\r\n\r\n2;x=y\r\nok\r\n00\r\nA: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
         Via: 1.1 <us>\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    // What looks similar is end-to-end.
    let kept =
        "Keep-Alive-X: 1\r\nX-Proxy-Connection: 1\r\nTE-X: 1\r\nProxy-Foo: 1\r\nUpgrade-Insecure-Requests: 1\r\n";
    chain.passes(request(kept), forwarded(kept));
    chain.finish();
}

#[test]
fn c_41_framing_host_and_what_others_rely_on_cannot_be_nominated_away() {
    let chain = Chain::new();
    let post =
        |lines: &str, body: &str| format!("POST http://<origin>/ HTTP/1.1\r\nHost: evil.test\r\n{lines}\r\n{body}");
    let sent = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: <origin>\r\n{lines}\r\n\r\n{body}");
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    for nominated in ["content-length", "Content-Length", "transfer-encoding", "host", "via", "connection", "te, host"]
    {
        // Whatever is nominated, the origin finds the end of the body where we found it.
        chain.passes(
            post(&format!("Connection: {nominated}\r\nContent-Length: 2\r\n"), "hi"),
            sent("Content-Length: 2\r\nVia: 1.1 <us>", "hi"),
        );
        chain.passes(
            post(&format!("Content-Length: 02\r\nConnection: {nominated}, X\r\nX: 1\r\nVia: 1.1 a\r\n"), "hi"),
            sent("Via: 1.1 a\r\nContent-Length: 2\r\nVia: 1.1 <us>", "hi"),
        );
        for value in [" chunked", "\tchunked", "\t Chunked \t", "chunked"] {
            chain.passes(
                post(&format!("Connection: {nominated}\r\nTransfer-Encoding:{value}\r\nVia: 1.0 b\r\n"), chunks),
                sent("Via: 1.0 b\r\nTransfer-Encoding: chunked\r\nVia: 1.1 <us>", chunks),
            );
        }
        // One of the two framings does not go away by being nominated, and a nominated field is checked like any other.
        chain.refuses(
            MALFORMED,
            &[
                post(
                    &format!("Connection: {nominated}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
                    chunks,
                ),
                post(
                    &format!("Transfer-Encoding:\tchunked\r\nContent-Length: 12\r\nConnection: {nominated}\r\n"),
                    chunks,
                ),
                post(&format!("Connection: {nominated}\r\nContent-Length: 2\r\nContent-Length: 3\r\n"), "hi"),
                post(&format!("Connection: {nominated}\r\nHost: o.test\r\nContent-Length: 2\r\n"), "hi"),
                format!("GET http://<origin>/ HTTP/1.1\r\nConnection: {nominated}\r\n\r\n"),
            ],
        );
        chain.refuses(SELF_TARGET, &[request(&format!("Connection: {nominated}\r\nVia: 1.1 <us>\r\n"))]);
    }
    let kept = "Authorization: Basic x\r\nCookie: a=b\r\nCache-Control: no-cache\r\nForwarded: for=10.0.0.1\r\n\
                X-Forwarded-For: 10.0.0.1\r\nVia: 1.0 a\r\nMax-Forwards: 3\r\nDate: x\r\n";
    let nominate = "authorization, cookie, cache-control, forwarded, x-forwarded-for, via, max-forwards, date, host";
    chain.passes(request(&format!("Connection: {nominate}\r\n{kept}")), forwarded(kept));
    chain.passes_and_closes(request("Connection: close, Host\r\n"), forwarded(""));
    chain.passes(
        post("Connection: expect\r\nExpect: 100-continue\r\nContent-Length: 2\r\n", "hi"),
        sent("Expect: 100-continue\r\nContent-Length: 2\r\nVia: 1.1 <us>", "hi"),
    );
    // Answers.
    chain.relays(
        "HTTP/1.1 200 OK\r\nConnection: content-length, date, via, cache-control\r\nDate: x\r\nVia: 1.0 a\r\n\
         Cache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
        relayed("Via: 1.0 a\r\nCache-Control: no-store\r\n"),
    );
    chain.relays(
        "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: transfer-encoding\r\nTransfer-Encoding:\tchunked\r\n\r\n\
         2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
         Via: 1.1 <us>\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    chain.finish();
}

#[test]
fn c_42_via_is_added_to_requests_and_answers() {
    let chain = Chain::new();
    chain.passes(request(""), forwarded(""));
    // Those before keep order, case and line.
    let before = "Via: 1.0 Fred, 1.1 p.example.net (Apache/1.1)\r\nX: 1\r\nvia: HTTP/2 b\r\n";
    chain.passes(request(before), forwarded(before));
    chain.passes_and_closes(
        "GET http://<origin>/ HTTP/1.0\r\nVia: 1.1 a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 a\r\nVia: 1.0 <us>\r\n\r\n",
    );
    chain.relays(answer(before), relayed(before));
    chain.relays(
        "HTTP/1.0 200 OK\r\nDate: x\r\nVia: 1.1 a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 a\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.0 <us>\r\n\r\nok",
    );
    // It names nobody: neither host nor address, and another one with each start.
    let us = String::from_utf8(chain.fill("<us>")).unwrap();
    let other = String::from_utf8(Chain::new().fill("<us>")).unwrap();
    assert!(us != other && us.strip_prefix("floodgate-").unwrap().bytes().all(|b| b.is_ascii_hexdigit()), "{us}");
    chain.finish();
}

#[test]
fn c_43_our_own_via_is_a_loop() {
    let chain = Chain::new();
    chain.refuses(
        SELF_TARGET,
        &[
            request("Via: 1.1 <us>\r\n"),
            request("via:1.0\t<us>\r\n"),
            request("Via: 1.1 a, HTTP/1.1 <us> (comment), 1.1 b\r\n"),
            request("Via: 1.1 a\r\nX: 1\r\nVia: 1.1 b\r\nVia: 1.1 <us>\r\n"),
            request("Via: 1.1 <us>\r\nMax-Forwards: 0\r\n").replace("GET", "OPTIONS"),
            "CONNECT <origin> HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n".to_owned(),
            "GET http://o.test/ HTTP/1.0\r\nVia: 1.0 <us>\r\n\r\n".to_owned(),
        ],
    );
    // Another gateway's is not ours, nor is a word that only holds ours.
    for via in ["1.1 floodgate-0123456789abcdef", "1.1 floodgate", "1.1 x<us>", "1.1 <us>x", "<us> a", "1.1 a (<us>)"] {
        let line = format!("Via: {via}\r\n");
        chain.passes(request(&line), forwarded(&line));
    }
    chain.finish();
}

#[test]
fn c_44_every_spelling_of_our_own_address_is_refused_in_one_round_trip() {
    let rig = Rig::new(&[]);
    let port = rig.proxy.port();
    let admin = rig.gateway.admin.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.9.9.9",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::FFFF:127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "ip6-localhost",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
    ];
    let mut asked = 0;
    for host in hosts {
        for port in [port, admin, 80] {
            let absolute = format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n");
            let connect = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
            let origin = format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            for request in [absolute, connect, origin] {
                SELF_TARGET.assert_is(&rig.ask_one(&request), request.as_bytes());
                asked += 1;
            }
        }
    }
    rig.settled();
    let counters = &rig.gateway.counters;
    assert_eq!(rig.accepted(), asked, "nobody else connected");
    assert_eq!(counters.connect_seconds.count(), 0, "nothing was dialled");
    assert_eq!(counters.dns_seconds.count(), 0, "nothing was looked up");
    assert_eq!(rig.refusals(Reason::SelfTarget), asked);
}

#[test]
fn c_45_max_forwards_counts_down_and_ends_at_us() {
    let chain = Chain::new();
    let options =
        |value: &str| format!("OPTIONS http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nmax-Forwards: {value}\r\n\r\n");
    let forwarded =
        |value: &str| format!("OPTIONS / HTTP/1.1\r\nHost: <origin>\r\nmax-Forwards: {value}\r\nVia: 1.1 <us>\r\n\r\n");
    for zero in ["0", "000", "\t0 "] {
        let answer = chain.rig.ask(chain.fill(options(zero)));
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\nAllow: ") && answer.ends_with("Connection: close\r\n\r\n"),
            "{answer}"
        );
    }
    for (value, less) in [
        ("1", "0"),
        ("010", "9"),
        ("18446744073709551615", "18446744073709551614"),
        ("99999999999999999999", "18446744073709551614"),
    ] {
        chain.passes(options(value), forwarded(less));
    }
    // Never created; and of other methods it is nothing to us.
    chain.passes(
        "OPTIONS http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n",
    );
    for line in ["Max-Forwards: 0\r\n", "Max-Forwards: x\r\n", "Max-Forwards: 1\r\nMax-Forwards: 2\r\n"] {
        chain.passes(request(line), self::forwarded(line));
    }
    chain.refuses(MALFORMED, &["", "-1", "+1", "x", "1.0", "1 1", "1,1", "0x1", "1\r\nMax-Forwards: 1"].map(options));
    chain.finish();
}

#[test]
fn c_46_trace_is_not_served() {
    let chain = Chain::new();
    let heads = [
        "TRACE http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nCookie: a=b\r\n\r\n",
        "TRACE http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nMax-Forwards: 0\r\n\r\n",
        "TRACE http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\nMax-Forwards: 5\r\n\r\n",
        "TRACE http://o.test/ HTTP/1.0\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: <proxy>\r\n\r\n",
    ];
    chain.refuses(METHOD_DENIED, &heads);
    let answer = chain.rig.ask(chain.fill(heads[0]));
    assert!(!field(&answer, "allow").unwrap().contains("TRACE") && !answer.contains("Cookie"), "{answer}");
    chain.finish();
}

#[test]
fn c_47_forwarded_is_passed_on_and_not_believed() {
    let chain = Chain::with("[limits]\nclient-request-rate = \"1/s, burst 20\"");
    chain.passes(request(""), forwarded(""));
    let lines = "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nForwarded: for=\"[2001:db8::1]\";proto=http\r\n\
                 Forwarded: for=x\r\nX-Real-IP: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    chain.passes(request(lines), forwarded(lines));
    // A client that claims to be another one each time is still one client.
    let claims = |number: u16| {
        let request = request(&format!(
            "X-Forwarded-For: 10.0.0.{number}\r\nForwarded: for=10.0.0.{number}\r\nX-Real-IP: 10.0.0.{number}\r\n"
        ));
        chain.rig.ask_one(chain.fill(request))
    };
    let limited = (0..200).map(claims).find(|answer| answer.starts_with("HTTP/1.1 429 ")).unwrap();
    RATE_LIMITED.assert_is(&limited, b"one of many");
    chain.origin.heard();
    chain.finish();
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// A gateway with a client whose upgrade the origin answers like this; the origin echoes what comes then.
fn upgrading(answer: &'static str) -> (Rig, Origin, Client) {
    let origin = Origin::scripted(move |_, mut stream, received| {
        received.extend(read_head(&mut stream));
        stream.write_all(answer.as_bytes()).unwrap();
        let mut block = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut block) {
            received.extend(&block[..n]);
            let _ = stream.write_all(&block[..n]);
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nSec-WebSocket-Key: x\r\n{UPGRADE}\r\n",
        origin.address
    ));
    (rig, origin, client)
}

#[test]
fn c_48_protocols_switch_only_by_a_101_that_was_asked_for() {
    // Passed on only where we would follow.
    let chain = Chain::new();
    chain.passes(request(UPGRADE), forwarded("Connection: upgrade\r\nUpgrade: websocket\r\n"));
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: close-not, keep-alive\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: x\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
        "Connection: upgrade\r\nUpgrade: ,\r\n",
        // Its requests would pass unseen, and RFC 9113 withdrew it.
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n",
    ] {
        chain.passes(request(lines), forwarded(""));
    }
    chain.passes(
        format!("POST http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n{UPGRADE}Content-Length: 2\r\n\r\nhi"),
        "POST / HTTP/1.1\r\nHost: <origin>\r\nContent-Length: 2\r\nVia: 1.1 <us>\r\n\r\nhi",
    );
    // A 101 that nobody asked for.
    chain.refuses_answers(&["HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"]);
    chain.finish();

    let (rig, origin, mut client) = upgrading(
        "HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nconnection: X, Upgrade\r\nX: 1\r\nUpgrade: WebSocket\r\n\
         Content-Length: 9\r\n\r\nhi",
    );
    let head = client.head();
    let us = field(&head, "via").unwrap();
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\
             Via: {us}\r\n\r\n"
        )
    );
    client.send("GET http://o.test/ HTTP/1.1\r\n\r\n");
    assert_eq!(client.exactly(33), b"hiGET http://o.test/ HTTP/1.1\r\n\r\n", "bytes, and no requests any more");
    client.half_close();
    assert_eq!(client.read_to_end(), "");
    rig.settled();
    assert_eq!((rig.ends(RequestEnd::Upgraded), rig.ends(RequestEnd::Forwarded)), (1, 0));
    drop((rig, origin));

    // A 101 that chooses what was not offered, or nothing, is no HTTP.
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: irc\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket, irc\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let (rig, _origin, mut client) = upgrading(answer);
        UPSTREAM_MALFORMED.assert_is(&client.read_to_end(), answer.as_bytes());
        rig.settled();
    }

    // Every other answer is one, whatever it says about protocols.
    let (rig, _origin, mut client) = upgrading(
        "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
    );
    let (head, body) = client.answer();
    assert!(field(&head, "upgrade").is_none() && field(&head, "connection").is_none() && body == b"no", "{head}");
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", rig.proxy));
    SELF_TARGET.assert_is(&client.read_to_end(), b"the next request");
    rig.settled();
    assert_eq!((rig.ends(RequestEnd::Forwarded), rig.ends(RequestEnd::SelfTarget)), (1, 1));
}

#[test]
fn c_49_bytes_behind_an_upgrade_are_requests_until_the_101() {
    let chain = Chain::new();
    chain.passes_and_closes(
        format!("GET http://<origin>/ HTTP/1.0\r\n{UPGRADE}\r\n"),
        "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.0 <us>\r\n\r\n",
    );
    // The origin declines: what was sent behind is a request, and is judged.
    let ok = "HTTP/1.1 200 OK\r\nDate: x\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno";
    chain.origin.answers(ok.as_bytes());
    let mut client = chain.rig.client();
    client.send(chain.fill(request(UPGRADE) + "GET http://<proxy>/admin HTTP/1.1\r\nHost: <proxy>\r\n\r\n"));
    let all = client.read_to_end();
    let relayed = chain.fill("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 <us>\r\n\r\nno");
    let rest = all.strip_prefix(std::str::from_utf8(&relayed).unwrap()).unwrap_or_else(|| panic!("{all}"));
    SELF_TARGET.assert_is(rest, b"the second request");
    let upgrade =
        "GET / HTTP/1.1\r\nHost: <origin>\r\nConnection: upgrade\r\nUpgrade: websocket\r\nVia: 1.1 <us>\r\n\r\n";
    chain.origin.hears(&chain.fill(upgrade));
    chain.finish();

    // The origin agrees: the same bytes are the new protocol's, and reach it only then.
    let origin = Origin::scripted(|_, mut stream, received| {
        received.extend(read_head(&mut stream));
        stream.set_nonblocking(true).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err(), "nothing before the 101");
        stream.set_nonblocking(false).unwrap();
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .unwrap();
        let mut early = [0; 5];
        stream.read_exact(&mut early).unwrap();
        stream.write_all(&early).unwrap();
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{UPGRADE}\r\nearly", origin.address));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.exactly(5), b"early");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Upgraded), 1);
}

#[test]
fn c_50_te_is_not_passed_on() {
    let chain = Chain::new();
    for lines in [
        "TE: gzip, trailers\r\n",
        "TE: trailers\r\nConnection: TE\r\n",
        "te: chunked;q=0.5\r\nTE:\r\nConnection: te\r\n",
        "TE: \"broken\r\n",
    ] {
        chain.passes(request(lines), forwarded(""));
    }
    chain.relays(answer("TE: trailers\r\n"), relayed(""));
    chain.finish();
}
