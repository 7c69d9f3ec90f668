//! Storms: what is one, what is none, and what is told of one.

use super::super::findings::{Storm, Weight};
use super::{BOX, End, PROXY, Scene, Side, connect, get, heaviest, ip};

const CLIENT: &str = "10.115.20.21";

/// The storms among these: when an attempt begins, how long it takes, who, what, and its status.
fn storms(attempts: &[(u64, u64, &str, &str, u16)]) -> Vec<Storm> {
    let mut scene = Scene::told(&[PROXY]);
    for &(at, took, client, head, status) in attempts {
        scene.exchange(at, took, client, PROXY, head, status);
    }
    scene.proxy().storms
}

/// `count` attempts of a client that tries again `gap` after the end of the last, each of which takes `took`.
fn again(count: u64, took: u64, gap: u64) -> Vec<(u64, u64, &'static str, &'static str, u16)> {
    let head = "GET http://10.115.5.2/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n";
    (0..count).map(|n| (n * (took + gap), took, CLIENT, head, 403)).collect()
}

#[test]
fn the_incident_is_one() {
    // The answer is there after half of the 40 µs, the next attempt 28 µs after it: ten within 9 × 48 µs.
    let storms = storms(&again(100, 40, 8));
    let [storm] = &storms[..] else { panic!("{storms:?}") };
    assert_eq!((storm.client, storm.attempts, storm.of, storm.self_target), (ip(CLIENT), 100, 100, 100));
    assert_eq!(storm.peak_per_s, 100);
    assert_eq!(storm.fastest_ten_ns, Some(9 * 48_000));
    assert_eq!(storm.closed_loop, Some(true));
    assert!(storm.same_request > 0.99);
    assert_eq!(storm.request, "GET http://10.115.5.2/ Host: 10.115.5.2");
    assert_eq!(storm.concurrency, 1);
    let gap = storm.gap.as_ref().unwrap();
    assert_eq!(gap.count, 99);
    assert!((26_000..=30_000).contains(&gap.p50), "{gap:?}");
    assert_eq!(gap.histogram, [(30_000, 99)]);
}

#[test]
fn the_peak_is_that_of_a_second_that_slides() {
    // Twenty a second for five seconds, and thirty within half a second that lies across two of the clock's.
    let mut attempts = again(100, 1_000, 49_000);
    let burst = again(30, 100, 16_500).into_iter();
    attempts.extend(burst.map(|(at, took, client, head, status)| (at + 7_750_000, took, client, head, status)));
    let storm = storms(&attempts).remove(0);
    assert_eq!((storm.attempts, storm.peak_per_s), (130, 30));
    assert_eq!(storm.fastest_ten_ns, Some(9 * 16_600_000));
    // After a pause of months nothing of the past counts.
    let mut attempts = again(30, 100, 16_500);
    attempts.extend(
        attempts
            .clone()
            .into_iter()
            .map(|(at, took, client, head, status)| (at + 10_000_000_000_000, took, client, head, status)),
    );
    assert_eq!(storms(&attempts)[0].peak_per_s, 30);
}

#[test]
fn it_takes_twenty_in_two_seconds() {
    assert_eq!(storms(&again(20, 1_000, 99_000)).len(), 1);
    assert_eq!(storms(&again(19, 1_000, 0)).len(), 0);
    assert_eq!(storms(&again(200, 1_000, 110_000)).len(), 0);
}

#[test]
fn a_start_is_none() {
    // 35 connections in 26 s, ten of them within one: to many places, and they are answered.
    let hosts: Vec<String> = (0..35).map(|n| connect(&format!("host{n}.example.com:443"))).collect();
    let at = |n: u64| if n < 10 { n * 100_000 } else { n * 1_000_000 - 9_000_000 };
    let starts: Vec<_> =
        (0..35).map(|n| (at(n), 900, CLIENT, hosts[usize::try_from(n).unwrap()].as_str(), 200)).collect();
    assert!(storms(&starts).is_empty());
}

#[test]
fn fifty_good_clients_behind_one_address_are_none() {
    let heads: Vec<String> = (0..50).map(|n| get(&format!("http://host{n}.example.com/"))).collect();
    let good: Vec<_> = (0..5_000_u64)
        .map(|n| (n * 2_000, 1_900, CLIENT, heads[usize::try_from(n % 50).unwrap()].as_str(), 200))
        .collect();
    assert!(storms(&good).is_empty());
    // One of them storms among them: it is told by itself.
    let mut mixed = good;
    mixed.extend(again(300, 1_000, 300));
    mixed.sort_by_key(|attempt| attempt.0);
    let storms = storms(&mixed);
    let [storm] = &storms[..] else { panic!("{storms:?}") };
    assert_eq!((storm.attempts, storm.of, storm.closed_loop), (300, 5_300, Some(true)));
    assert!(storm.same_request > 0.99);
}

#[test]
fn what_origins_say_about_many_requests_is_none() {
    let heads: Vec<String> = (0..100).map(|n| get(&format!("http://www.example.com/page{n}"))).collect();
    let crawl = |status: u16| -> Vec<_> {
        heads.iter().zip(0..).map(|(head, n)| (n * 10_000, 900, CLIENT, head.as_str(), status)).collect()
    };
    for status in [404, 410, 401, 407, 304] {
        assert!(storms(&crawl(status)).is_empty(), "{status}");
    }
    for status in [403, 429, 502, 503] {
        assert_eq!(storms(&crawl(status)).len(), 1, "{status}");
    }
    // The same one again and again is another thing.
    let head = heads[0].as_str();
    let same: Vec<_> = (0..100).map(|n| (n * 10_000, 900, CLIENT, head, 404)).collect();
    assert_eq!(storms(&same).len(), 1);
}

#[test]
fn a_schedule_is_no_closed_loop() {
    let head = get("http://10.115.5.2/");
    // Every 5 ms whatever happens; answers take between 0.2 and 3 ms.
    let schedule: Vec<_> =
        (0..500_u64).map(|n| (n * 5_000, 200 + n * 7_919 % 2_800, CLIENT, head.as_str(), 403)).collect();
    assert_eq!(storms(&schedule)[0].closed_loop, Some(false));
}

#[test]
fn a_schedule_that_outruns_the_answers_is_no_closed_loop() {
    let mut scene = Scene::told(&[PROXY]);
    let mut open = Vec::new();
    for n in 0..200_u64 {
        let mut talk = scene.connect(n * 1_000, CLIENT, PROXY);
        scene.ask(&mut talk, n * 1_000 + 1, &get("http://10.115.5.2/"));
        open.push(talk);
    }
    for (talk, n) in open.into_iter().zip(0..) {
        scene.close(talk, 5_000_000 + n * 1_000, End::Finished(Side::Client));
    }
    let storm = scene.proxy().storms.remove(0);
    assert_eq!((storm.closed_loop, storm.concurrency, storm.gap), (Some(false), 200, None));
}

#[test]
fn parallel_loops_are_closed_too() {
    let mut attempts = Vec::new();
    for slot in 0..16_u64 {
        let mut at = slot * 37;
        for n in 0..40 {
            let took = 2_000 + (slot * 131 + n * 977) % 3_000;
            attempts.push((at, took, CLIENT, "GET http://10.115.5.2/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n", 403));
            at += took + 150;
        }
    }
    attempts.sort_by_key(|attempt| attempt.0);
    let mut scene = Scene::told(&[PROXY]);
    // Answers come in the order of their own times.
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (number, (at, took, ..)) in attempts.iter().enumerate() {
        events.extend([(*at, number, true), (at + took, number, false)]);
    }
    events.sort_unstable();
    let mut open: Vec<Option<super::Talk>> = attempts.iter().map(|_| None).collect();
    for (at, number, begins) in events {
        if begins {
            let mut talk = scene.connect(at, CLIENT, PROXY);
            scene.ask(&mut talk, at + 10, attempts[number].3);
            open[number] = Some(talk);
        } else if let Some(mut talk) = open[number].take() {
            scene.answer(&mut talk, at, 403, false);
            scene.close(talk, at, End::Finished(Side::Server));
        }
    }
    let storm = scene.proxy().storms.remove(0);
    assert_eq!((storm.attempts, storm.concurrency, storm.closed_loop), (640, 16, Some(true)));
}

#[test]
fn requests_on_a_kept_connection_are_attempts() {
    let mut scene = Scene::told(&[PROXY]);
    let mut talk = scene.connect(0, CLIENT, PROXY);
    for n in 0..50 {
        scene.ask(&mut talk, 100 + n * 1_000, &get("http://10.115.5.2/"));
        scene.answer(&mut talk, 600 + n * 1_000, 403, true);
    }
    scene.close(talk, 60_000, End::Finished(Side::Client));
    let proxy = scene.proxy();
    let storm = &proxy.storms[0];
    assert_eq!((storm.attempts, storm.of, proxy.connections.total, storm.closed_loop), (50, 50, 1, Some(true)));
    assert!((proxy.cost.connections_per_refused - 0.02).abs() < 0.001, "{:?}", proxy.cost);
}

#[test]
fn what_never_gets_an_answer_is_in_vain() {
    let ends = [
        // The client loses patience with a gateway that says nothing.
        (true, End::Finished(Side::Client)),
        (true, End::Reset(Side::Client)),
        // Nobody listens; the SYN is dropped.
        (false, End::Reset(Side::Server)),
        (false, End::Finished(Side::Client)),
    ];
    for (accepted, end) in ends {
        let mut scene = Scene::told(&[PROXY]);
        for n in 0..30 {
            let mut talk = scene.call(n * 20_000, CLIENT, PROXY);
            if accepted {
                talk.conversation.accepted = true;
                talk.conversation.packets[1] = 1;
                scene.ask(&mut talk, n * 20_000 + 10, &get("http://www.example.com/"));
            }
            scene.close(talk, n * 20_000 + 10_000, end);
        }
        let findings = scene.findings();
        assert_eq!(findings.proxies[0].storms[0].attempts, 30, "{end:?}");
    }
}

#[test]
fn what_cannot_be_known_is_not_in_vain() {
    let count = |prepare: fn(&mut super::Talk), end: End, last: u64| {
        let mut scene = Scene::told(&[PROXY]);
        for n in 0..30 {
            let mut talk = scene.connect(n * 20_000, CLIENT, PROXY);
            scene.ask(&mut talk, n * 20_000 + 10, &get("http://www.example.com/"));
            prepare(&mut talk);
            scene.close(talk, last, end);
        }
        scene.proxy().storms.len()
    };
    // The capture ended while they waited, not long after.
    assert_eq!(count(|_| {}, End::Open, 1_000_000), 0);
    assert_eq!(count(|_| {}, End::Open, 60_000_000), 1);
    // What came back was no HTTP that could be read.
    assert_eq!(count(|talk| talk.conversation.bytes[1] = 5_000, End::Finished(Side::Client), 1_000_000), 0);
    // A capture of one direction.
    let deaf = |talk: &mut super::Talk| {
        talk.conversation.accepted = false;
        talk.conversation.packets[1] = 0;
    };
    assert_eq!(count(deaf, End::Finished(Side::Client), 1_000_000), 0);
    // Connections opened in advance, as browsers do.
    let mut scene = Scene::told(&[PROXY]);
    for n in 0..30 {
        let talk = scene.connect(n * 20_000, CLIENT, PROXY);
        scene.close(talk, n * 20_000 + 10_000, End::Finished(Side::Client));
    }
    let proxy = scene.proxy();
    assert_eq!((proxy.storms.len(), proxy.connections.silent), (0, 30));
}

#[test]
fn it_is_told_in_words() {
    let mut scene = Scene::new();
    for (at, took, client, head, status) in again(1_000, 400, 80) {
        scene.exchange(at, took, client, PROXY, head, status);
    }
    let findings = scene.findings();
    heaviest(&findings, Weight::Critical, &["1 client (10.115.20.21)", "1000 of 1000 requests", "absolute-form"]);
    let storm = findings.verdicts.iter().find(|verdict| verdict.cause.contains("again and again")).unwrap();
    assert!(storm.evidence.contains("1000 attempts in vain"), "{}", storm.evidence);
    assert!(storm.evidence.contains("ten within 4.3 ms"), "{}", storm.evidence);
    assert!(storm.remedy.contains("limits.client-connection-rate"), "{}", storm.remedy);
    assert!(storm.remedy.contains("waits for each answer"), "{}", storm.remedy);
}

#[test]
fn the_picture_has_each_attempt_once() {
    let mut scene = Scene::new();
    let head = get("http://www.example.com/");
    for n in 0..3_000_u64 {
        scene.exchange(n * 7_001, 900, CLIENT, PROXY, &head, 200);
    }
    scene.exchange(0, 900, "10.115.20.22", PROXY, &head, 200);
    // What the proxy calls is no attempt of a client.
    scene.exchange(100, 900, BOX, "203.0.113.80:80", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    let series = scene.proxy().series;
    assert_eq!(series.len(), 2);
    assert_eq!((series[0].client, series[1].client), (ip(CLIENT), ip("10.115.20.22")));
    for (series, total) in series.iter().zip([3_000, 1]) {
        assert_eq!(series.bins.iter().sum::<u32>(), total);
        assert!(series.bins.len() <= 600);
        // 21 s in at most 600 bins of 10 ms, doubled as often as that takes.
        assert_eq!((series.width, series.start), (40_000_000, super::time(0)));
    }
    assert!(series[0].bins[..500].iter().all(|count| (5..=6).contains(count)), "{:?}", series[0].bins);
}
