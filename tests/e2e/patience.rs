//! Waiting: for whom, for how long, and what is held meanwhile. Each of these was once wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use floodgate::config::Settings;
use floodgate::outcome::RequestEnd;

use crate::rig::{Origin, Rig, eventually, field, read_head};

fn silent() -> Origin {
    Origin::scripted(|_, mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn get(origin: &Origin) -> String {
    format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address)
}

#[test]
fn an_idle_connection_lives_by_keep_alive_and_not_by_the_deadline_of_a_head() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[timeouts]\nhead = \"1s\"\nkeep-alive = \"1h\"");
    let mut client = rig.client();
    client.send(get(&origin));
    assert_eq!(client.answer().1, b"yes");
    thread::sleep(Duration::from_millis(1200));
    client.send(get(&origin));
    assert_eq!(client.answer().1, b"yes");
    drop(client);
    rig.settled();
}

#[test]
fn c_35_an_empty_line_behind_a_request_is_not_the_beginning_of_another() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[timeouts]\nhead = \"1s\"\nkeep-alive = \"1h\"");
    let mut client = rig.client();
    client.send(get(&origin) + "\r\n");
    assert_eq!(client.answer().1, b"yes");
    thread::sleep(Duration::from_millis(1200));
    client.send(get(&origin) + "\r\n");
    assert_eq!(client.answer().1, b"yes");
    // One that comes later is waited on no longer than a head is, and no answer to anything.
    client.send("\r\n");
    assert_eq!(client.read_to_end(), "");
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Forwarded), 2);
    assert_eq!(rig.ends(RequestEnd::HeadTimeout), 0);
}

#[test]
fn a_drain_does_not_wait_for_connections_on_which_nothing_runs() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[timeouts]\nhead = \"1h\"\nkeep-alive = \"1h\"\ndrain = \"1h\"");
    let mut idle = rig.client();
    idle.send(get(&origin));
    assert_eq!(idle.answer().1, b"yes");
    let mut spare = rig.client();
    eventually("both are in", || rig.open() == 2);
    assert_eq!(rig.gateway.drain(|| false), 0);
    assert!(idle.is_at_end() && spare.is_at_end());
}

#[test]
fn a_drain_that_is_over_cuts_a_tunnel_so_that_it_shows() {
    let origin = silent();
    let rig = Rig::with(&[origin.address], "[timeouts]\ndrain = \"100ms\"");
    let mut client = rig.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(rig.gateway.drain(|| false), 1);
    assert!(client.0.read(&mut [0; 1]).is_err(), "a clean end would pass a part for the whole");
}

#[test]
fn what_waits_in_the_queue_when_the_gateway_stops_is_still_served() {
    let origin = Origin::ok("yes");
    let rig = Rig::new(&[origin.address]);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut client = rig.client();
            client.send(get(&origin));
            client
        })
        .collect();
    rig.gateway.drain(|| false);
    for mut client in waiting {
        let (head, body) = client.answer();
        assert_eq!(body, b"yes", "{head}");
    }
}

#[test]
fn clients_that_leave_while_an_origin_is_silent_do_not_wait_for_it() {
    let origin = silent();
    let rig = Rig::new(&[origin.address]);
    for number in 0..20 {
        let mut client = rig.client();
        client.send(get(&origin));
        if number % 2 == 0 {
            socket2::SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    eventually("all have been asked", || rig.gateway.counters.connection_ends.sum() == 20);
    rig.settled();
    // Those that reset may have done so before they were read.
    assert!(rig.ends(RequestEnd::ClientGone) >= 10);
    rig.no_upstream_is_left();
}

#[test]
fn a_client_that_half_closes_gets_an_answer_that_begins_soon() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").unwrap();
        for part in [b"slow", b"body"] {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(part).unwrap();
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(get(&origin));
    client.half_close();
    assert!(client.read_to_end().ends_with("slowbody"));
    drop(client);
    rig.settled();
}

#[test]
fn an_exchange_in_which_one_side_moves_is_not_stalled() {
    // A final answer that streams for longer than `body`, while the client rightly keeps its body back.
    let streams = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").unwrap();
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(150));
            stream.write_all(b"0123456789").unwrap();
        }
    });
    // An origin that begins to answer and then waits for the rest of the upload.
    let waits = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.write_all(b"done").unwrap();
    });
    let rig = Rig::with(
        &[streams.address, waits.address],
        "[timeouts]\nbody = \"1s\"\n[upstream]\nfirst-byte-timeout = \"1s\"",
    );
    let post = |to: &Origin, more: &str| {
        format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 100\r\n{more}\r\n", to.address)
    };
    let mut client = rig.client();
    client.send(post(&streams, "Expect: 100-continue\r\n"));
    let (head, body) = client.answer();
    assert_eq!(body.len(), 100, "{head}");
    assert_eq!(field(&head, "connection"), Some("close"), "the rest of the request will not be read");
    drop(client);
    let mut client = rig.client();
    client.send(post(&waits, ""));
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(150));
        client.send("0123456789");
    }
    assert_eq!(client.answer().1, b"done");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::Forwarded), 2);
}

#[test]
fn an_upload_that_stops_is_the_clients_fault() {
    let origin = silent();
    let rig = Rig::with(&[origin.address], "[timeouts]\nbody = \"200ms\"\n[upstream]\nfirst-byte-timeout = \"100ms\"");
    let mut client = rig.client();
    client.send(format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 9\r\n\r\nhalf", origin.address));
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(client);
    rig.settled();
    assert_eq!(rig.ends(RequestEnd::BodyTimeout), 1);
}

#[test]
fn small_writes_of_an_origin_are_not_held_back() {
    let origin = Origin::scripted(|_, mut stream, _| {
        stream.set_nodelay(true).unwrap();
        while !read_head(&mut stream).is_empty() {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").unwrap();
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(1));
                stream.write_all(b"x").unwrap();
            }
        }
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    // Nagle's algorithm with delayed acknowledgements would cost 40 ms for nearly every one of the twenty bytes: the
    // comparison is with the same origin without us.
    let ask = |to: &mut TcpStream, request: &str| {
        let begun = Instant::now();
        to.write_all(request.as_bytes()).unwrap();
        read_head(to);
        to.read_exact(&mut [0; 20]).unwrap();
        begun.elapsed()
    };
    let mut direct = TcpStream::connect(origin.address).unwrap();
    // Something else may keep one of them from the processor; what is held back is held back each time.
    eventually("with us it takes about as long as without", || {
        let without: Duration = (0..5).map(|_| ask(&mut direct, "GET / HTTP/1.1\r\n\r\n")).sum();
        let with: Duration = (0..5).map(|_| ask(&mut client.0, &get(&origin))).sum();
        with < without * 3 + Duration::from_millis(500)
    });
    drop(client);
    rig.settled();
}

#[test]
fn a_pooled_connection_does_not_outlive_the_rule_that_forbids_it() {
    let origin = Origin::ok("yes");
    let rig = Rig::with(&[origin.address], "[upstream]\nidle-timeout = \"1h\"");
    assert!(rig.get(origin.address, "/").ends_with("yes"));
    let mut settings: Settings = (*rig.gateway.settings()).clone();
    settings.own.allow.clear();
    rig.gateway.reload(settings).unwrap();
    assert!(rig.get(origin.address, "/").starts_with("HTTP/1.1 403 "));
    rig.settled();
}

#[test]
fn bytes_are_counted_once() {
    let origin = Origin::ok("yes");
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(get(&origin).repeat(10));
    for _ in 0..10 {
        client.answer();
    }
    drop(client);
    rig.settled();
    let counted = || rig.gateway.counters.bytes.get(floodgate::telemetry::Direction::FromClient as usize);
    assert_eq!(counted(), 10 * get(&origin).len() as u64);
    let echo = Origin::echo();
    let rig = Rig::new(&[echo.address]);
    let mut client = rig.client();
    let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", echo.address);
    client.send(format!("{connect}{}", "x".repeat(1000)));
    client.head();
    client.exactly(1000);
    client.half_close();
    drop(client);
    rig.settled();
    let counted = rig.gateway.counters.bytes.get(floodgate::telemetry::Direction::FromClient as usize);
    assert_eq!(counted, connect.len() as u64 + 1000);
}

#[test]
fn a_stalled_download_holds_little() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        let part = vec![b'x'; 64 * 1024];
        while stream.write_all(&part).is_ok() {}
    });
    let rig = Rig::new(&[origin.address]);
    let mut client = rig.client();
    client.send(get(&origin));
    client.head();
    let sent = || rig.gateway.counters.bytes.get(floodgate::telemetry::Direction::ToClient as usize);
    let mut last = 0;
    eventually("nothing moves any more", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut last, sent()) == sent()
    });
    // What has been sent and not read stands in our send queue or in the client's receive queue.
    let received = {
        client.0.set_nonblocking(true).unwrap();
        let mut peeked = vec![0; 64 << 20];
        socket2::SockRef::from(&client.0).set_nonblocking(true).unwrap();
        client.0.peek(&mut peeked).unwrap() as u64
    };
    let held = sent().saturating_sub(received);
    assert!(held < 512 * 1024, "{held} bytes in our send queue");
    drop(client);
    rig.settled();
}

#[test]
fn a_drain_that_is_over_cuts_every_exchange_so_that_it_shows() {
    // To HTTP/1.0 the end of the connection is the end of the answer: an ordinary one would pass a part for the whole.
    let endless = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.0 200 OK\r\n\r\n").unwrap();
        while stream.write_all(b"more").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let rig = Rig::with(&[endless.address], "[timeouts]\ndrain = \"100ms\"");
    let mut clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = rig.client();
            client.send(format!("GET http://{}/ HTTP/1.0\r\n\r\n", endless.address));
            client.head();
            client
        })
        .collect();
    assert_eq!(rig.gateway.drain(|| false), 50);
    for client in &mut clients {
        assert!(client.0.read_to_end(&mut Vec::new()).is_err());
    }
}

#[test]
fn the_first_byte_is_waited_for_from_the_end_of_the_upload() {
    let origin = silent();
    let rig = Rig::with(&[origin.address], "[timeouts]\nbody = \"1h\"\n[upstream]\nfirst-byte-timeout = \"200ms\"");
    let mut client = rig.client();
    client.send(format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 8\r\n\r\nhalf", origin.address));
    thread::sleep(Duration::from_millis(400));
    assert_eq!(rig.ends(RequestEnd::FirstByteTimeout), 0, "it is the client who is waited for");
    client.send("half");
    assert!(client.read_to_end().starts_with("HTTP/1.1 504 "));
    drop(client);
    rig.settled();
}
