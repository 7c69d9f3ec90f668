//! Scripts played against servers that answer, stall and close; and a recording played against the gateway.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use floodgate::load::{
    self, ClassReport, Failure, Lane, Outcome, Report, Request, Retry, Rhythm, Role, Script, Step, Then,
};
use floodgate::outcome::{Reason, RequestEnd};
use floodgate::pcap::Time;
use floodgate::pcap::http::{self, Witness};
use floodgate::pcap::replay::{Options, Pace, Recorder};
use floodgate::pcap::stream::Conversation;

use crate::rig::{Origin, Rig, closed_port, read_head};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// Longer than any test: only what the test waits for ends it.
const LONG: Duration = Duration::from_mins(10);
const REQUESTS: [&[u8]; 3] =
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:443 HTTP/1.1\r\n\r\n"];

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn step(due: u64, request: u32, then: Then) -> Step {
    Step { due: ms(due), request, class: 0, then }
}

fn lane(rhythm: Rhythm, steps: Vec<Step>) -> Lane {
    Lane { part: 0, begins: steps[0].due, rhythm, steps }
}

fn script(target: SocketAddr, lanes: Vec<Lane>) -> Script {
    Script {
        target,
        patience: LONG,
        duration: LONG,
        connections: 1000,
        copies: 1,
        classes: vec!["good".to_owned(), "other".to_owned()],
        requests: REQUESTS.map(|bytes| Request { bytes: bytes.into(), filler: 0 }).to_vec(),
        lanes,
        clients: vec![Role { source: None, part: 0 }],
    }
}

fn play_until(script: Script, end: impl Future<Output = ()>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(load::play(script, end, drop)).unwrap();
    for class in &report.classes {
        let ended: u64 = class.outcomes.values().sum();
        assert_eq!(class.attempts, ended + class.open_at_end, "every attempt is accounted for");
    }
    report
}

fn play(script: Script) -> ClassReport {
    play_until(script, std::future::pending()).classes.remove(0)
}

fn count(report: &ClassReport, outcome: Outcome) -> u64 {
    report.outcomes.get(&outcome).copied().unwrap_or(0)
}

/// An origin that reads requests and never answers.
fn silent() -> Origin {
    Origin::scripted(|_, mut stream, _| drop(stream.read_to_end(&mut Vec::new())))
}

/// Ends when this holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(ms(1)).await;
    }
}

#[test]
fn attempts_are_made_when_they_are_due_each_by_every_client_from_its_address() {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&arrived);
    let origin = Origin::scripted(move |_, mut stream, _| {
        read_head(&mut stream);
        record.lock().unwrap().push((Instant::now(), stream.peer_addr().unwrap().ip()));
        stream.write_all(ANSWER).unwrap();
    });
    let lanes = [0, 100, 300].map(|due| lane(Rhythm::OnTime, vec![step(due, 0, Then::Close)])).to_vec();
    let sources = [2, 3].map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)));
    let clients = sources.map(|source| Role { source: Some(source), part: 0 }).to_vec();
    let began = Instant::now();
    let report = play(Script { clients, copies: 2, ..script(origin.address, lanes) });
    assert_eq!((report.attempts, report.completed, count(&report, Outcome::Status(200))), (12, 12, 12), "{report:?}");
    let mut arrived = arrived.lock().unwrap().clone();
    arrived.sort_unstable();
    for (at, due) in arrived.iter().zip([0, 0, 0, 0, 100, 100, 100, 100, 300, 300, 300, 300]) {
        assert!(at.0 - began >= ms(due), "none is early");
    }
    for source in sources {
        assert_eq!(arrived.iter().filter(|(_, from)| *from == source).count(), 6);
    }
}

#[test]
fn a_stall_delays_what_was_due_behind_it_and_latency_says_so() {
    let origin = Origin::scripted(|_, mut stream, _| {
        for number in 0.. {
            if read_head(&mut stream).is_empty() {
                return;
            }
            if number == 1 {
                thread::sleep(ms(400));
            }
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let steps: Vec<_> = (0..20).map(|n| step(n * 10, 0, if n < 19 { Then::Keep } else { Then::Close })).collect();
    let report = play(script(origin.address, vec![lane(Rhythm::OnTime, steps)]));
    assert_eq!(count(&report, Outcome::Status(200)), 20, "{report:?}");
    assert!(report.latency.p50 >= 250_000, "the tenth waited since 100 ms: {report:?}");
}

#[test]
fn what_was_due_and_never_began_is_counted_with_its_waiting() {
    // Two connections at most, and nobody answers: of five lanes two begin, and none gets to its second step.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::scripted(move |_, mut stream, _| {
        read_head(&mut stream);
        count.fetch_add(1, Relaxed);
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let five = |rhythm| {
        let steps = vec![step(0, 0, Then::Keep), step(50, 0, Then::Keep), step(600_000, 0, Then::Close)];
        let lanes = (0..5).map(|_| lane(rhythm, steps.clone())).collect();
        Script { connections: 2, ..script(origin.address, lanes) }
    };
    let began = Instant::now();
    let waited = until(|| asked.load(Relaxed) == 2 && began.elapsed() >= ms(300));
    let report = play_until(five(Rhythm::OnTime), waited).classes.remove(0);
    assert_eq!((report.attempts, report.open_at_end, report.overdue), (2, 2, 8), "{report:?}");
    assert!(report.latency.p50 >= 240_000 && report.latency.max >= 290_000, "{report:?}");
    // In a closed loop nothing is due.
    let report = play_until(five(Rhythm::InTurn), until(|| asked.load(Relaxed) == 4)).classes.remove(0);
    assert_eq!((report.attempts, report.overdue, report.latency.max), (2, 0, 0), "{report:?}");
}

#[test]
fn a_retrier_comes_back_on_a_new_connection_until_the_end_is_asked_for() {
    let origin = Origin::answering(ANSWER);
    let steps = vec![step(0, 0, Then::Close), step(0, 1, Then::Close)];
    let again = |target, pause| script(target, vec![lane(Rhythm::Again(pause), steps.clone())]);
    let enough = until(|| origin.received().len() >= 21);
    let report = play_until(again(origin.address, Duration::ZERO), enough).classes.remove(0);
    assert!(report.completed >= 21, "{report:?}");
    let received = origin.received();
    assert!(received.iter().all(|one| one.matches("GET").count() <= 1), "one request each at most");
    assert!(received.iter().filter(|one| one.starts_with("GET /2")).count() >= 10, "in turn");

    let (slow, began) = (Origin::answering(ANSWER), Instant::now());
    play_until(again(slow.address, ms(50)), until(|| slow.received().len() >= 3));
    assert!(began.elapsed() >= ms(100), "two pauses");
}

#[test]
fn a_client_gives_up_and_how_long_it_was_held_is_told_by_outcome() {
    let once = |target, patience| {
        let steps = vec![step(0, 0, Then::Close)];
        play(Script { patience, ..script(target, vec![lane(Rhythm::InTurn, steps)]) })
    };
    let held = |report: &ClassReport, failure| report.latency_by_outcome[&Outcome::Failed(failure)].p50;
    let slow = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        thread::sleep(ms(60));
    });
    let closed = once(slow.address, LONG);
    assert!(held(&closed, Failure::Closed) >= 60_000, "{closed:?}");
    assert_eq!(closed.latency.max, 0, "no answer, and no time-out");
    let silenced = once(silent().address, ms(50));
    assert!(held(&silenced, Failure::Timeout) >= 50_000 && silenced.latency.p50 >= 50_000, "{silenced:?}");

    let refused = play(script(closed_port(), vec![lane(Rhythm::InTurn, vec![step(0, 0, Then::Close)])]));
    assert_eq!(count(&refused, Outcome::Failed(Failure::Refused)), 1, "{refused:?}");
}

#[test]
fn a_kept_connection_carries_what_follows_and_is_replaced_if_it_was_closed() {
    for (answers, connections) in [(9, 2), (1, 3)] {
        let origin = Origin::scripted(move |_, mut stream, received| {
            for _ in 0..answers {
                let head = read_head(&mut stream);
                if head.is_empty() || stream.write_all(ANSWER).is_err() {
                    return;
                }
                received.extend(head);
            }
        });
        let steps = vec![step(0, 0, Then::Keep), step(30, 1, Then::Close), step(30, 0, Then::Close)];
        let report = play(script(origin.address, vec![lane(Rhythm::OnTime, steps)]));
        assert_eq!(count(&report, Outcome::Status(200)), 3, "{report:?}");
        crate::rig::eventually("the connections have ended", || origin.received().len() >= connections);
        assert_eq!(origin.received().len(), connections);
    }
}

#[test]
fn a_tunnel_is_held_as_long_as_it_was_and_who_ends_it_is_told() {
    let held = Arc::new(Mutex::new(Duration::ZERO));
    let record = Arc::clone(&held);
    let origin = Origin::scripted(move |number, mut stream, received| {
        read_head(&mut stream);
        let status: &[u8] =
            if number == 2 { b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" } else { b"HTTP/1.1 200 OK\r\n\r\n" };
        stream.write_all(status).unwrap();
        let began = Instant::now();
        if number > 0 {
            drop(stream.read_to_end(received));
        }
        if number == 1 {
            *record.lock().unwrap() = began.elapsed();
        }
    });
    let steps = vec![step(0, 2, Then::Hold(LONG)), step(0, 2, Then::Hold(ms(50))), step(0, 2, Then::Hold(LONG))];
    let report = play(script(origin.address, vec![lane(Rhythm::InTurn, steps)]));
    let outcomes = (count(&report, Outcome::Status(200)), count(&report, Outcome::Status(403)));
    assert_eq!((outcomes, report.lost, report.held), ((2, 1), 1, 0), "{report:?}");
    crate::rig::eventually("the second tunnel was held, then closed", || *held.lock().unwrap() >= ms(45));
}

#[test]
fn a_long_body_is_filled_and_an_answer_before_its_end_is_heard() {
    let origin = Origin::scripted(|number, mut stream, received| {
        read_head(&mut stream);
        if number == 0 {
            let mut body = vec![0; 300_000];
            stream.read_exact(&mut body).unwrap();
            received.extend(body);
        }
        stream.write_all(b"HTTP/1.1 413 Too long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        drop(stream.read(&mut [0; 1]));
    });
    let post = |length: u64| Request {
        bytes: format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nbegin").into_bytes().into(),
        filler: length - 5,
    };
    let steps = vec![step(0, 0, Then::Close), step(0, 1, Then::Close)];
    let requests = vec![post(300_000), post(1 << 40)];
    let report = play(Script { requests, ..script(origin.address, vec![lane(Rhythm::InTurn, steps)]) });
    assert_eq!(count(&report, Outcome::Status(413)), 2, "{report:?}");
    let whole = |body: &String| body.len() == 300_000 && body.starts_with("begin.") && body.ends_with('.');
    crate::rig::eventually("the first body has come whole", || origin.received().iter().any(whole));
}

#[test]
fn a_script_out_of_bounds_is_not_played() {
    let good = || script(closed_port(), vec![lane(Rhythm::InTurn, vec![step(0, 0, Then::Close)])]);
    assert_eq!(good().check(), Ok(()));
    let role = |source: &str| vec![Role { source: Some(source.parse().unwrap()), part: 0 }];
    let late = || lane(Rhythm::InTurn, vec![step(9, 0, Then::Close)]);
    for wrong in [
        Script { connections: 0, ..good() },
        Script { copies: 0, ..good() },
        Script { clients: Vec::new(), ..good() },
        Script { clients: role("::1"), ..good() },
        Script { patience: Duration::ZERO, ..good() },
        Script { duration: Duration::from_hours(25), ..good() },
        Script { classes: vec!["a".to_owned(); 2], ..good() },
        Script { requests: Vec::new(), ..good() },
        Script { lanes: vec![late(), lane(Rhythm::InTurn, vec![step(0, 0, Then::Close)])], ..good() },
        Script { lanes: vec![Lane { steps: Vec::new(), ..late() }], ..good() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_recorded_storm_is_refused_by_the_gateway_and_the_good_pass() {
    let origin = Origin::ok("good");
    let rig = Rig::new(&[origin.address]);
    let mut recorder = Recorder::new();
    let proxy: SocketAddr = "10.115.5.2:3128".parse().unwrap();
    for (number, host, client) in [(0, "10.115.5.2", "10.1.1.1:1000"), (1, "example.net", "10.1.1.2:1000")] {
        let conversation = Conversation {
            number,
            client: client.parse().unwrap(),
            server: proxy,
            opened: Time(number),
            midstream: false,
            accepted: true,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let (head, target) =
            (format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), format!("http://{host}/"));
        recorder.request(
            &conversation,
            &http::Request {
                number: 0,
                began: Time(number),
                at: Time(number),
                head: head.as_bytes(),
                method: b"GET",
                target: target.as_bytes(),
                version: b"HTTP/1.1",
                host: Some(host.as_bytes()),
                user_agent: None,
                to_a_proxy: false,
                keep_alive: true,
                tunnelled: false,
            },
        );
    }
    let options = Options {
        to: rig.proxy,
        map_destination: Some(origin.address),
        proxies: Vec::new(),
        source: Some("127.0.0.0/24".parse().unwrap()),
        clients: Some(4),
        concurrency: 2,
        pace: Pace::Times(1.0),
        retry: Retry::Instant,
        duration: Some(LONG),
        patience: LONG,
        connections: 100,
    };
    let (script, cast) = recorder.finish([proxy]).script(&options).unwrap();
    assert_eq!((cast.attempts, cast.retriers, cast.sources), ([1, 1, 0], 4, 4));
    let forwarded = || rig.ends(RequestEnd::Forwarded);
    let end = async {
        until(|| rig.refusals(Reason::SelfTarget) > 8 && forwarded() >= 4).await;
        tokio::time::sleep(ms(50)).await;
    };
    let report = play_until(script, end);
    let outcomes = |class: &str| report.class(class).unwrap().outcomes.keys().copied().collect::<Vec<_>>();
    assert_eq!((outcomes("self_target"), outcomes("good")), (vec![Outcome::Status(403)], vec![Outcome::Status(200)]));
    assert!(report.class("self_target").unwrap().attempts > 8 && report.class("good").unwrap().attempts == 4);
    rig.settled();
}
