//! The load engine against servers that answer, stall, close and count.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use floodgate::load::{
    self, Class, ClassReport, Connection, Exchange, Failure, Manner, Mark, Outcome, Pace, Plan, Report, Retry,
};

use crate::rig::{Origin, Rig, closed_port, read_head};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// Longer than any test: only what the test waits for ends it.
const LONG: Duration = Duration::from_mins(10);

fn class(connection: Connection, pace: Pace) -> Class {
    Class {
        name: "load".to_owned(),
        sources: Vec::new(),
        connections: 4,
        patience: LONG,
        exchange: Exchange { tunnel: None, request: (*b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").into() },
        connection,
        manner: Manner::Prompt,
        pace,
    }
}

fn plan(target: SocketAddr, duration: Duration, class: Class) -> Plan {
    Plan { target, settle: LONG, warm_up: Duration::ZERO, duration, classes: vec![class] }
}

fn play(plan: &Plan, at: impl FnMut(Mark)) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(load::run(plan, at)).unwrap();
    for class in &report.classes {
        let ended: u64 = class.outcomes.values().sum();
        assert_eq!(class.attempts + class.open_at_begin, ended + class.open_at_end, "every attempt is accounted for");
    }
    report
}

fn only(plan: &Plan) -> ClassReport {
    play(plan, drop).classes.remove(0)
}

fn count(report: &ClassReport, outcome: Outcome) -> u64 {
    report.outcomes.get(&outcome).copied().unwrap_or(0)
}

#[test]
fn each_client_asks_once_from_its_own_address_and_closes_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let origin = Origin::scripted(move |_, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(ANSWER).unwrap();
        let closed_first = stream.read(&mut [0; 1]).is_ok_and(|n| n == 0);
        record.lock().unwrap().push((stream.peer_addr().unwrap().ip(), closed_first));
    });
    let sources: Vec<_> = (2..6).map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))).collect();
    let once = Class { sources: sources.clone(), connections: 8, ..class(Connection::New, Pace::Closed(Retry::Never)) };
    let report = only(&plan(origin.address, LONG, once));
    assert_eq!((report.attempts, report.completed, count(&report, Outcome::Status(200))), (8, 8, 8));
    assert_eq!(report.per_second.iter().sum::<u64>(), 8);
    assert_eq!(report.received, 8 * ANSWER.len() as u64);
    crate::rig::eventually("all were recorded", || seen.lock().unwrap().len() == 8);
    let mut expected: Vec<_> = sources.into_iter().flat_map(|source| [(source, true); 2]).collect();
    seen.lock().unwrap().sort_unstable();
    expected.sort_unstable();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_retrier_comes_back_on_a_new_connection_and_counting_begins_after_the_warm_up() {
    let origin = Origin::answering(ANSWER);
    let retry = class(Connection::New, Pace::Closed(Retry::Instant));
    let mut warm = plan(origin.address, Duration::from_millis(200), retry);
    warm.warm_up = Duration::from_millis(100);
    let mut before = 0;
    let report = play(&warm, |mark| {
        if mark == Mark::Begin {
            before = origin.received().len();
        }
    });
    let report = report.class("load").unwrap();
    assert!(before > 4, "the warm-up was played");
    assert!(report.attempts > 4, "they came back");
    crate::rig::eventually("the origin has seen what was counted, and the warm-up", || {
        origin.received().len() as u64 >= report.completed + before as u64
    });
    assert!(origin.received().iter().all(|one| one.matches("GET").count() <= 1), "one request each at most");
}

#[test]
fn a_client_without_an_answer_gives_up_and_its_waiting_counts() {
    let origin = Origin::scripted(|_, mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let patience = Duration::from_millis(30);
    let impatient = Class { patience, ..class(Connection::New, Pace::Closed(Retry::After(Duration::from_millis(1)))) };
    let report = only(&plan(origin.address, Duration::from_millis(300), impatient));
    assert!(report.attempts > 4, "they tried again: {report:?}");
    assert_eq!(report.completed, 0);
    assert_eq!(report.outcomes.keys().copied().collect::<Vec<_>>(), [Outcome::Failed(Failure::Timeout)]);
    assert!(report.latency.p50 >= 30_000, "{report:?}");
}

#[test]
fn an_answer_without_an_end_does_not_keep_others_or_the_clock_from_their_turn() {
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        let more = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        while stream.write_all(&more).is_ok() {}
    });
    let once = Class { patience: Duration::from_millis(200), ..class(Connection::New, Pace::Closed(Retry::Never)) };
    let report = only(&plan(origin.address, LONG, once));
    assert_eq!(count(&report, Outcome::Failed(Failure::Timeout)), 4, "{report:?}");
}

#[test]
fn failures_have_names() {
    let closes = Origin::scripted(|_, mut stream, _| drop(read_head(&mut stream)));
    let resets = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let babbles = Origin::answering("220 smtp.example.net\r\n\r\n");
    for (target, failure) in [
        (closed_port(), Failure::Refused),
        (closes.address, Failure::Closed),
        (resets.address, Failure::Reset),
        (babbles.address, Failure::Malformed),
    ] {
        let report = only(&plan(target, LONG, class(Connection::New, Pace::Closed(Retry::Never))));
        assert_eq!(count(&report, Outcome::Failed(failure)), 4, "{failure:?}: {report:?}");
    }
    // An address that is not ours: no client of this process can ever have it.
    let foreign = Class {
        sources: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        ..class(Connection::New, Pace::Closed(Retry::Never))
    };
    assert_eq!(count(&only(&plan(closes.address, LONG, foreign)), Outcome::Failed(Failure::Local)), 4);
}

#[test]
fn retriers_that_fail_before_they_wait_for_anything_do_not_keep_a_run_from_ending() {
    let foreign = vec![Ipv4Addr::new(192, 0, 2, 1).into()];
    let retry = Class { sources: foreign, ..class(Connection::New, Pace::Closed(Retry::Instant)) };
    let report = only(&plan(closed_port(), Duration::from_millis(100), retry));
    assert!(report.attempts > 4, "{report:?}");
    assert_eq!(count(&report, Outcome::Failed(Failure::Local)), report.attempts, "{report:?}");
}

#[test]
fn kept_connections_serve_many_and_are_replaced_without_an_error() {
    let connections = Arc::new(Mutex::new(0));
    let record = Arc::clone(&connections);
    let origin = Origin::scripted(move |_, mut stream, _| {
        *record.lock().unwrap() += 1;
        for _ in 0..5 {
            if read_head(&mut stream).is_empty() || stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let report =
        only(&plan(origin.address, Duration::from_millis(300), class(Connection::Kept, Pace::Closed(Retry::Instant))));
    let made: u64 = *connections.lock().unwrap();
    assert_eq!(report.outcomes.keys().copied().collect::<Vec<_>>(), [Outcome::Status(200)], "{report:?}");
    assert!(made > 4, "they were replaced");
    assert!(made <= report.completed / 5 + 8, "{made} connections for {} answers", report.completed);
}

#[test]
fn a_stall_delays_all_that_were_due_meanwhile() {
    // One answer in the middle takes 400 ms. A closed loop would see one slow answer among many fast ones.
    let origin = Origin::scripted(|_, mut stream, _| {
        for number in 0.. {
            if read_head(&mut stream).is_empty() {
                return;
            }
            if number == 20 {
                thread::sleep(Duration::from_millis(400));
            }
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let steady = Class { connections: 1, ..class(Connection::Kept, Pace::Open { per_second: 100, once: false }) };
    let report = only(&plan(origin.address, Duration::from_secs(1), steady));
    assert!(report.completed > 21, "it went on after the stall: {report:?}");
    // 40 of 100 were due during the stall; a tenth of all waited for 300 ms or more.
    assert!(report.latency.p90 >= 200_000, "{report:?}");
}

#[test]
fn what_was_never_answered_is_not_hidden() {
    let origin = Origin::scripted(|_, mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
    let steady = Class { connections: 2, ..class(Connection::New, Pace::Open { per_second: 50, once: false }) };
    let report = only(&plan(origin.address, Duration::from_millis(500), steady));
    assert_eq!((report.attempts, report.completed, report.open_at_end), (2, 0, 2), "{report:?}");
    assert!(report.overdue > 0, "{report:?}");
    assert!(report.latency.max >= 400_000, "those that wait have waited: {report:?}");
}

#[test]
fn a_crowd_that_comes_on_schedule_and_once_ends_by_itself() {
    // So slow that as many again would be due meanwhile.
    let origin = Origin::scripted(|_, mut stream, _| {
        read_head(&mut stream);
        thread::sleep(Duration::from_millis(50));
        stream.write_all(ANSWER).unwrap();
    });
    let crowd = class(Connection::New, Pace::Open { per_second: 100, once: true });
    let report = only(&plan(origin.address, LONG, crowd));
    assert_eq!((report.attempts, count(&report, Outcome::Status(200)), report.overdue), (4, 4, 0), "{report:?}");
}

#[test]
fn a_head_arrives_byte_by_byte_or_not_at_all() {
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&pieces);
    let origin = Origin::scripted(move |number, mut stream, _| {
        let mut piece = [0; 64];
        if number == 3 {
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").unwrap();
            return drop(stream.read_to_end(&mut Vec::new()));
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let n = stream.read(&mut piece).unwrap_or_default();
            if n == 0 {
                return;
            }
            record.lock().unwrap().push(n);
            head.extend_from_slice(&piece[..n]);
        }
        stream.write_all(ANSWER).unwrap();
    });
    let slow = |pause| Class {
        manner: Manner::Drip(Duration::from_millis(pause)),
        ..class(Connection::New, Pace::Closed(Retry::Never))
    };
    let report = only(&plan(origin.address, LONG, slow(5)));
    assert_eq!((count(&report, Outcome::Status(200)), count(&report, Outcome::Status(408))), (3, 1), "{report:?}");
    assert!(pieces.lock().unwrap().len() > 3 * 10, "{pieces:?}");

    pieces.lock().unwrap().clear();
    let mute = Class { patience: Duration::from_millis(50), ..slow(60_000) };
    let report = only(&plan(origin.address, LONG, mute));
    assert_eq!((count(&report, Outcome::Failed(Failure::Timeout)), report.sent), (4, 0), "{report:?}");
    assert!(pieces.lock().unwrap().is_empty(), "{pieces:?}");
}

#[test]
fn a_receiver_stalls_where_it_should_and_notices_only_a_reset() {
    let origin = Origin::scripted(|number, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        stream.write_all(&[0; 8192]).unwrap();
        if number == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        } else if number == 1 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        } else {
            while stream.write_all(&[0; 8192]).is_ok() {}
        }
    });
    let stalled = Class {
        manner: Manner::Stall { after: 5000 },
        patience: Duration::from_secs(1),
        ..class(Connection::New, Pace::Closed(Retry::Never))
    };
    let report = only(&plan(origin.address, LONG, stalled));
    let failed = |failure| count(&report, Outcome::Failed(failure));
    assert_eq!((failed(Failure::Reset), failed(Failure::Timeout), report.received), (1, 3, 4 * 5000), "{report:?}");
}

#[test]
fn tunnels_with_a_request_inside_and_held_ones() {
    let origin = Origin::ok("inside");
    let rig = Rig::new(&[origin.address]);
    let tunnel = Some(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address).into_bytes().into());
    let exchange = Exchange { tunnel, request: (*b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").into() };

    let once = Class { exchange: exchange.clone(), ..class(Connection::New, Pace::Closed(Retry::Never)) };
    let report = only(&plan(rig.proxy, LONG, once));
    assert_eq!(count(&report, Outcome::Status(200)), 4, "{report:?}");

    let refused = Exchange {
        tunnel: Some((*b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n").into()),
        ..exchange.clone()
    };
    let denied = Class { exchange: refused, ..class(Connection::New, Pace::Closed(Retry::Never)) };
    let report = only(&plan(rig.proxy, LONG, denied));
    assert_eq!(count(&report, Outcome::Status(403)), 4, "{report:?}");

    let hold = Class { connections: 100, exchange, ..class(Connection::Kept, Pace::Hold) };
    let mut open = 0;
    let report = play(&plan(rig.proxy, Duration::from_millis(1), hold), |_| {
        open = rig.gateway.counters.tunnels_open.load(Relaxed);
    });
    let report = report.class("load").unwrap();
    assert_eq!((report.held, report.lost, report.completed, open), (100, 0, 100, 100), "{report:?}");
    rig.settled();
}

#[test]
fn a_held_connection_that_the_other_side_ends_is_lost() {
    let origin = Origin::scripted(|number, mut stream, _| {
        read_head(&mut stream);
        stream.write_all(ANSWER).unwrap();
        if number > 0 {
            drop(stream.read(&mut [0; 1]));
        }
    });
    let hold = class(Connection::Kept, Pace::Hold);
    let report = only(&plan(origin.address, Duration::from_millis(300), hold));
    assert_eq!((report.held, report.lost), (3, 1), "{report:?}");
}

#[test]
fn a_report_is_one_object_with_a_class_each() {
    let origin = Origin::answering(ANSWER);
    let report = play(&plan(origin.address, LONG, class(Connection::New, Pace::Closed(Retry::Never))), drop).to_json();
    let class = &report["classes"]["load"];
    assert_eq!((&class["attempts"], &class["completed"], &class["outcomes"]["200"]), (&4.into(), &4.into(), &4.into()));
    for quantile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(class["latency_us"][quantile].is_u64(), "{class}");
    }
    assert!(class["per_second"].is_array() && report["duration_s"].is_f64() && report["clients"] == 1, "{report}");
}

#[test]
fn a_plan_out_of_bounds_is_not_played() {
    let good = || class(Connection::New, Pace::Closed(Retry::Never));
    let wrong = [
        Class { connections: 0, ..good() },
        Class { connections: load::MAX_CONNECTIONS + 1, ..good() },
        Class { patience: Duration::ZERO, ..good() },
        Class { exchange: Exchange { tunnel: None, request: Box::default() }, ..good() },
        Class { sources: vec!["::1".parse().unwrap()], ..good() },
        class(Connection::New, Pace::Open { per_second: 0, once: false }),
        class(Connection::New, Pace::Hold),
        Class { manner: Manner::Stall { after: 1 }, ..class(Connection::Kept, Pace::Closed(Retry::Instant)) },
    ];
    for class in wrong {
        let plan = plan(closed_port(), LONG, class);
        assert!(plan.check().is_err(), "{plan:?}");
    }
    let mut twice = plan(closed_port(), LONG, good());
    assert_eq!(twice.check(), Ok(()));
    twice.classes.push(good());
    assert!(twice.check().is_err(), "two classes of one name");
}
