use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use super::body::Body;
use super::rename::{Class, Renaming};
use super::{CLASSES, Options, Pace, Recorder, Recording};
use crate::load::{Lane, Retry, Rhythm, Script, Step, Then};
use crate::pcap::Time;
use crate::pcap::http::{Answer, Request, Witness};
use crate::pcap::stream::{Conversation, End, Side};

const PROXY: &str = "10.115.5.2:3128";
const TO: &str = "198.18.0.1:8080";

fn renamed(map: Option<&str>, head: &str) -> Option<(String, Class)> {
    let map = map.map(|map| map.parse().unwrap());
    let proxies = [("10.115.5.2".parse().unwrap(), vec![3128]), ("2001:db8::1".parse().unwrap(), vec![3129])];
    let renaming = Renaming { proxies: proxies.into_iter().collect(), to: TO.parse().unwrap(), map };
    let (bytes, class) = renaming.head(head.as_bytes())?;
    Some((String::from_utf8(bytes).unwrap(), class))
}

#[test]
fn what_names_the_old_proxy_names_the_new_one_with_the_ports_that_meant_the_same() {
    for (before, after) in [
        (
            "GET http://10.115.5.2/a HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n",
            "GET http://198.18.0.1/a HTTP/1.1\r\nHost: 198.18.0.1\r\n\r\n",
        ),
        (
            "GET http://10.115.5.2:3128/ HTTP/1.1\r\nHOST:10.115.5.2:3128 \r\nX: 10.115.5.2\r\n\r\n",
            "GET http://198.18.0.1:8080/ HTTP/1.1\r\nHOST:198.18.0.1:8080 \r\nX: 10.115.5.2\r\n\r\n",
        ),
        ("GET http://10.115.5.2:8443/ HTTP/1.1\r\n\r\n", "GET http://198.18.0.1:8443/ HTTP/1.1\r\n\r\n"),
        // Spelled as only some stacks read it, with userinfo, inside an IPv6 address, of another proxy of the capture.
        ("GET http://175310082/?a HTTP/1.0\r\n\r\n", "GET http://198.18.0.1/?a HTTP/1.0\r\n\r\n"),
        ("GET http://u@10.115.5.2/ HTTP/1.1\r\n\r\n", "GET http://u@198.18.0.1/ HTTP/1.1\r\n\r\n"),
        ("GET http://[::ffff:10.115.5.2]/ HTTP/1.1\r\n\r\n", "GET http://198.18.0.1/ HTTP/1.1\r\n\r\n"),
        ("GET http://[64:ff9b::a73:502]:3128/ HTTP/1.1\r\n\r\n", "GET http://198.18.0.1:8080/ HTTP/1.1\r\n\r\n"),
        ("GET http://[2001:db8::1]:3129/ HTTP/1.1\r\n\r\n", "GET http://198.18.0.1:8080/ HTTP/1.1\r\n\r\n"),
        // What means the box on any box.
        (
            "GET http://localhost:3128/ HTTP/1.1\r\nHost: localhost:3128\r\n\r\n",
            "GET http://localhost:8080/ HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
        ),
        (
            "GET http://u@127.1:3128/ HTTP/1.1\r\nHost: *\r\n\r\n",
            "GET http://u@127.1:8080/ HTTP/1.1\r\nHost: *\r\n\r\n",
        ),
        ("CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", "CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n"),
        (
            "CONNECT 10.115.5.2:443 HTTP/1.1\r\nHost: 10.115.5.2:443\r\n\r\n",
            "CONNECT 198.18.0.1:443 HTTP/1.1\r\nHost: 198.18.0.1:443\r\n\r\n",
        ),
        // Origin-form, and a line end and a version that are odd: they stay so.
        ("\r\nGET /x  HTTP/1.1\nHost: 10.115.5.2\n\n", "GET /x  HTTP/1.1\nHost: 198.18.0.1\n\n"),
        ("GET http://10.115.5.2/\r\n\r\n", "GET http://198.18.0.1/\r\n\r\n"),
    ] {
        assert_eq!(renamed(None, before), Some((after.to_owned(), Class::SelfTarget)), "{before}");
        assert_eq!(renamed(Some("198.19.0.2:80"), before), Some((after.to_owned(), Class::SelfTarget)), "{before}");
    }
}

proptest! {
    #[test]
    fn a_head_that_does_not_name_the_proxy_is_not_touched(
        head in "(\r\n)?(GET|CONNECT|) {0,2}(http://)?[ -~]{0,30}( HTTP/1\\.1)?\r?\n(Host ?: ?[!-~]{0,20} ?\r?\n)?(X:[ -~]{0,9}\r\n)?\r\n",
    ) {
        let proxies = [("10.115.5.2".parse().unwrap(), vec![3128])].into_iter().collect();
        let renaming = Renaming { proxies, to: PROXY.parse().unwrap(), map: None };
        if let Some((out, _)) = renaming.head(head.as_bytes()) {
            prop_assert_eq!(String::from_utf8(out).unwrap(), head.trim_start_matches("\r\n"));
        }
    }
}

#[test]
fn others_stay_or_are_mapped_to_one() {
    let map = Some("198.19.0.2:81");
    for (before, mapped, class) in [
        (
            "GET http://example.net/a?b HTTP/1.1\r\nhost: example.net\r\nHost: b\r\n\r\n",
            "GET http://198.19.0.2:81/a?b HTTP/1.1\r\nhost: 198.19.0.2:81\r\nHost: 198.19.0.2:81\r\n\r\n",
            Class::Good,
        ),
        (
            "CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n",
            "CONNECT 198.19.0.2:81 HTTP/1.1\r\nHost: 198.19.0.2:81\r\n\r\n",
            Class::Connect,
        ),
        // The target wins (RFC 9112 section 3.2.2), whatever Host says; and an authority that nobody understands is another.
        (
            "GET http://a/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n",
            "GET http://198.19.0.2:81/ HTTP/1.1\r\nHost: 198.18.0.1\r\n\r\n",
            Class::Good,
        ),
        (
            "GET http://%31/ HTTP/1.1\r\nHost:\r\n\r\n",
            "GET http://198.19.0.2:81/ HTTP/1.1\r\nHost:\r\n\r\n",
            Class::Good,
        ),
    ] {
        assert_eq!(renamed(map, before), Some((mapped.to_owned(), class)));
        let kept = before.replace("10.115.5.2", "198.18.0.1");
        assert_eq!(renamed(None, before), Some((kept, class)));
    }
    assert_eq!(renamed(map, "GET /x HTTP/1.1\r\nHost: example.net\r\n\r\n"), None, "origin-form for a server");
    assert_eq!(renamed(map, "GET /x HTTP/1.1\r\n\r\n"), None);
    for no_request in ["", "\r\n", "GET", "GET \r\n", "GET\n\n"] {
        assert_eq!(renamed(map, no_request), None, "{no_request:?}");
    }
}

fn body(head: &str, pieces: &[&[u8]], room: usize) -> (String, u64) {
    let mut body = Body::announced(head.as_bytes()).unwrap();
    for piece in pieces {
        body.take(piece, room);
    }
    let (bytes, filler) = body.complete();
    (String::from_utf8(bytes).unwrap().strip_prefix(head).unwrap().to_owned(), filler)
}

#[test]
fn a_body_is_as_long_as_was_announced_whatever_was_captured_of_it() {
    let length = "POST / HTTP/1.1\r\nContent-length: 5 \r\n\r\n";
    assert_eq!(body(length, &[b"he", b"llo"], 9), ("hello".to_owned(), 0));
    assert_eq!(body(length, &[b"he"], 9), ("he".to_owned(), 3));
    assert_eq!(body(length, &[b"hello, and more"], 99), ("hello".to_owned(), 0));
    assert_eq!(body(length, &[b"hello"], 1), ("h".to_owned(), 4));
    let huge = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    assert_eq!(body(&huge, &[b"a"], 9), ("a".to_owned(), u64::MAX - 1));
    for none in
        ["", "Content-Length: 0\r\n", "Content-Length: -1\r\n", "Content-Length: 99999999999999999999\r\n", "X: 1\r\n"]
    {
        assert!(Body::announced(format!("POST / HTTP/1.1\r\n{none}\r\n").as_bytes()).is_none(), "{none}");
    }
}

#[test]
fn a_chunked_body_is_framed_anew_and_ends() {
    let chunked = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
    assert_eq!(body(chunked, &[b"3;x=y\r\nab", b"c\r\n0\r\n\r\n"], 99), ("3\r\nabc\r\n0\r\n\r\n".to_owned(), 0));
    assert_eq!(
        body(chunked, &[b"1\r\na\r\n1", b"0\r\n012345"], 99),
        ("7\r\na012345\r\n0\r\n\r\n".to_owned(), 0),
        "cut"
    );
    assert_eq!(
        body(chunked, &[b"1\r\na\r\n", b"no", b"1\r\nb\r\n"], 99),
        ("1\r\na\r\n0\r\n\r\n".to_owned(), 0),
        "torn"
    );
    assert_eq!(body(chunked, &[], 99), ("0\r\n\r\n".to_owned(), 0));
    assert_eq!(body(chunked, &[b"3\r\nabc\r\n0\r\n\r\n"], 2).0, "2\r\nab\r\n0\r\n\r\n");
}

/// What is asked when, and when that is answered with what.
type Said = (u64, String, Option<(u64, u16)>);

/// A conversation as it is told.
struct Talk {
    client: &'static str,
    server: &'static str,
    said: Vec<Said>,
    closed: u64,
}

const fn ms(n: u64) -> Time {
    Time(1_000_000_000 + n * 1_000_000)
}

fn tell(recorder: &mut Recorder, number: u64, talk: &Talk) {
    let ends = |text: &str| text.parse::<SocketAddr>().unwrap();
    let conversation = Conversation {
        number,
        client: ends(talk.client),
        server: ends(talk.server),
        opened: ms(talk.said.first().map_or(0, |said| said.0)),
        midstream: false,
        accepted: true,
        packets: [0; 2],
        bytes: [0; 2],
    };
    let mut unanswered = 0;
    for (number, (at, said, answered)) in (0..).zip(&talk.said) {
        let (head, body) = said
            .split_once("\r\n\r\n")
            .map_or_else(|| (said.clone(), ""), |(head, body)| (format!("{head}\r\n\r\n"), body));
        let mut words = head.lines().next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let host = head.lines().find_map(|line| line.strip_prefix("Host: "));
        recorder.request(
            &conversation,
            &Request {
                number,
                began: ms(*at),
                at: ms(*at),
                head: head.as_bytes(),
                method: method.as_bytes(),
                target: target.as_bytes(),
                version: b"HTTP/1.1",
                host: host.map(str::as_bytes),
                user_agent: None,
                to_a_proxy: head.contains("Proxy-Connection"),
                keep_alive: true,
                tunnelled: head.contains("tunnelled"),
            },
        );
        recorder.body(&conversation, body.as_bytes());
        unanswered += u32::from(answered.is_none());
        for (at, status) in answered.iter().flat_map(|(at, status)| [(*at, 100), (*at, *status)]) {
            let answer = Answer {
                to: Some(number),
                asked: None,
                at: ms(at),
                head: b"",
                status,
                keep_alive: true,
                tunnelled: false,
            };
            recorder.answer(&conversation, &answer);
        }
    }
    recorder.closed(&conversation, ms(talk.closed), End::Finished(Side::Client), unanswered);
}

fn record(talks: &[Talk]) -> Recording {
    recorded(talks, &[PROXY])
}

fn recorded(talks: &[Talk], proxies: &[&str]) -> Recording {
    let mut recorder = Recorder::new();
    (0..).zip(talks).for_each(|(number, talk)| tell(&mut recorder, number, talk));
    recorder.finish(proxies.iter().map(|proxy| proxy.parse().unwrap()))
}

fn once(client: &'static str, at: u64, request: &str, answered: Option<u64>, closed: u64) -> Talk {
    let answered = answered.map(|at| (at, 403));
    Talk { client, server: PROXY, said: vec![(at, request.to_owned(), answered)], closed }
}

const STORM: &str = "GET http://10.115.5.2/ HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n";
const GOOD: &str = "GET http://example.net/ HTTP/1.1\r\nHost: example.net\r\n\r\n";

fn options() -> Options {
    Options {
        to: TO.parse().unwrap(),
        map_destination: None,
        proxies: Vec::new(),
        source: None,
        clients: None,
        concurrency: 1,
        pace: Pace::Times(1.0),
        retry: Retry::Never,
        duration: None,
        patience: Duration::from_secs(5),
        connections: 100,
    }
}

fn script(recording: &Recording, options: &Options) -> Script {
    let (script, _) = recording.script(options).unwrap();
    assert_eq!(script.check(), Ok(()));
    script
}

/// A lane: part, begin and steps: due, class and what becomes of the connection.
type Course<'s> = (usize, u64, Vec<(u64, &'s str, Then)>);

fn course(script: &Script) -> Vec<Course<'_>> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
    let step = |step: &Step| (millis(step.due), CLASSES[usize::from(step.class)], step.then);
    let lane = |lane: &Lane| (lane.part, millis(lane.begins), lane.steps.iter().map(step).collect());
    script.lanes.iter().map(lane).collect()
}

fn mixed() -> Recording {
    let connect = "CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n".to_owned();
    record(&[
        // One retrier on two lanes: the third attempt begins when the first is answered.
        once("10.0.0.1:1001", 0, STORM, Some(10), 12),
        once("10.0.0.1:1002", 5, STORM, Some(20), 22),
        once("10.0.0.1:1003", 10, STORM, None, 50),
        // A kept connection, and a tunnel.
        Talk {
            client: "10.0.0.2:1001",
            server: PROXY,
            said: vec![(20, GOOD.to_owned(), Some((30, 200))), (100, STORM.to_owned(), Some((110, 200)))],
            closed: 200,
        },
        Talk { client: "10.0.0.1:1004", server: PROXY, said: vec![(40, connect, Some((50, 200)))], closed: 80 },
    ])
}

#[test]
fn the_original_pace_is_a_lane_for_each_connection() {
    let script_of = |pace| script(&mixed(), &Options { pace, ..options() });
    let hold = |ms| Then::Hold(Duration::from_millis(ms));
    let original = script_of(Pace::Times(1.0));
    assert_eq!(
        course(&original),
        [
            (0, 0, vec![(0, "self_target", Then::Close)]),
            (0, 5, vec![(5, "self_target", Then::Close)]),
            (0, 10, vec![(10, "self_target", Then::Close)]),
            (1, 20, vec![(20, "good", Then::Keep), (100, "self_target", Then::Close)]),
            (0, 40, vec![(40, "connect", hold(30))]),
        ]
    );
    assert!(original.lanes.iter().all(|lane| lane.rhythm == Rhythm::OnTime));
    assert_eq!(original.duration, Duration::from_millis(100) + Duration::from_secs(5));
    assert_eq!(original.requests.len(), 3, "the same request is there once");
    assert!(original.requests[0].bytes.starts_with(b"GET http://198.18.0.1/ HTTP/1.1\r\nHost: 198.18.0.1\r\n"));

    let fast = script_of(Pace::Times(10.0));
    assert_eq!(course(&fast)[4], (0, 4, vec![(4, "connect", hold(3))]));
}

#[test]
fn flat_out_each_lane_follows_its_answers() {
    let script = script(&mixed(), &Options { pace: Pace::FlatOut, ..options() });
    let storm = (0, "self_target", Then::Close);
    let connect = (0, "connect", Then::Hold(Duration::ZERO));
    assert_eq!(
        course(&script),
        [
            (0, 0, vec![storm, storm]),
            // The tunnel was asked for when this lane was free.
            (0, 0, vec![storm, connect]),
            (1, 0, vec![(0, "good", Then::Keep), storm]),
        ]
    );
    assert!(script.lanes.iter().all(|lane| lane.rhythm == Rhythm::InTurn));
}

#[test]
fn a_retrier_is_a_lane_that_never_ends_and_the_others_keep_their_pace() {
    let pause = Duration::from_millis(7);
    let options = Options { retry: Retry::After(pause), concurrency: 3, ..options() };
    let (script, cast) = mixed().script(&options).unwrap();
    let storm = |at| (at, "self_target", Then::Close);
    assert_eq!(
        course(&script),
        [
            (0, 0, vec![storm(0)]),
            (0, 5, vec![storm(5)]),
            // What did not begin with a storm is no retrier.
            (1, 20, vec![(20, "good", Then::Keep), storm(100)]),
            (0, 40, vec![(40, "connect", Then::Hold(Duration::from_millis(30)))]),
        ]
    );
    let rhythms: Vec<_> = script.lanes.iter().map(|lane| lane.rhythm).collect();
    assert_eq!(rhythms, [Rhythm::Again(pause), Rhythm::Again(pause), Rhythm::OnTime, Rhythm::OnTime]);
    assert_eq!((cast.retriers, script.duration), (6, Duration::from_secs(15)));
}

#[test]
fn what_follows_a_storm_on_its_connection_is_played_once() {
    let said = [(0, STORM, Some((5, 403))), (10, GOOD, Some((15, 200))), (20, STORM, Some((25, 403)))];
    let said = said.map(|(at, request, answered)| (at, request.to_owned(), answered)).to_vec();
    let recording = record(&[Talk { client: "10.0.0.1:1001", server: PROXY, said, closed: 30 }]);
    let script = script(&recording, &Options { retry: Retry::Instant, ..options() });
    let expected = [(0, 0, vec![(0, "self_target", Then::Close)]), (0, 10, vec![(10, "good", Then::Close)])];
    assert_eq!(course(&script), expected);
}

#[test]
fn clients_take_the_parts_and_the_addresses_in_turn() {
    let roles = |clients, source: &str| {
        let options = Options { clients, source: Some(source.parse().unwrap()), ..options() };
        let (script, cast) = mixed().script(&options).unwrap();
        let roles: Vec<_> = script.clients.iter().map(|role| (role.source.unwrap(), role.part)).collect();
        (roles, cast.sources)
    };
    let host = |n| IpAddr::from(Ipv4Addr::new(198, 18, 1, n));
    assert_eq!(roles(None, "198.18.1.0/24"), (vec![(host(1), 0), (host(2), 1)], 2));
    assert_eq!(roles(Some(1), "198.18.1.0/24"), (vec![(host(1), 0)], 1));
    assert_eq!(
        roles(Some(5), "198.18.1.4/30"),
        (vec![(host(5), 0), (host(6), 1), (host(5), 0), (host(6), 1), (host(5), 0)], 2)
    );
    assert_eq!(roles(Some(3), "198.18.1.9/32"), (vec![(host(9), 0), (host(9), 1), (host(9), 0)], 1));
    let (script, cast) = mixed().script(&options()).unwrap();
    assert!(script.clients.iter().all(|role| role.source.is_none()) && cast.sources == 0);
}

#[test]
fn only_what_was_sent_to_a_proxy_is_played_and_the_rest_is_counted() {
    let to = |server, said: &[&str]| Talk {
        client: "10.0.0.1:1001",
        server,
        said: said.iter().map(|said| (0, (*said).to_owned(), None)).collect(),
        closed: 9,
    };
    let origin = "GET / HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n";
    let talks = [
        to(PROXY, &[GOOD, origin, "GET / HTTP/1.1\r\nHost: example.net\r\n\r\n", "GET http://a/ HTTP/1.1\r\nHo"]),
        // A server may be asked in absolute-form, and by its address.
        to(
            "10.9.9.9:80",
            &["GET http://10.9.9.9/ HTTP/1.1\r\nHost: 10.9.9.9\r\n\r\n", "GET / HTTP/1.1\r\nHost: 10.9.9.9\r\n\r\n"],
        ),
        // A server that does not know CONNECT.
        Talk { said: vec![(0, "CONNECT a:443 HTTP/1.1\r\n\r\n".to_owned(), Some((1, 405)))], ..to("10.9.9.8:80", &[]) },
        to(PROXY, &["GET / HTTP/1.1\r\nHost: tunnelled\r\n\r\n"]),
    ];
    let (script, cast) = record(&talks).script(&options()).unwrap();
    assert_eq!((cast.heard, cast.attempts), (8, [1, 1, 0]));
    assert_eq!(cast.proxies, [PROXY.parse().unwrap()]);
    let left = cast.left_out;
    assert_eq!((left.to_servers, left.tunnelled, left.cut, left.beyond), (4, 1, 1, 0));
    assert_eq!(script.requests[1].bytes, (*b"GET / HTTP/1.1\r\nHost: 198.18.0.1\r\n\r\n").into());

    let (_, cast) = recorded(&talks, &[PROXY, "10.9.9.9:80"]).script(&options()).unwrap();
    assert_eq!(cast.attempts, [3, 1, 0], "another proxy");

    let server_only = record(&[to("10.9.9.9:80", &["GET http://10.9.9.9/ HTTP/1.1\r\n\r\n"])]);
    let why = server_only.script(&options()).unwrap_err().to_string();
    assert!(why.contains("none of its 1 requests can be played: 1 not to a proxy;"), "{why}");
    assert_eq!(record(&[]).script(&options()).unwrap_err().to_string(), "there is no HTTP request in it");
}

#[test]
fn heads_whose_bodies_never_come_are_not_hoarded() {
    let mut recorder = Recorder::new();
    let padding = "x".repeat(60_000);
    for number in 0..2_000 {
        let conversation = Conversation {
            number,
            client: "10.0.0.1:1001".parse().unwrap(),
            server: PROXY.parse().unwrap(),
            opened: ms(0),
            midstream: false,
            accepted: true,
            packets: [0; 2],
            bytes: [0; 2],
        };
        let head = format!("POST http://a/ HTTP/1.1\r\nContent-Length: 9\r\nX: {padding}\r\n\r\n");
        let request = Request {
            number: 0,
            began: ms(0),
            at: ms(0),
            head: head.as_bytes(),
            method: b"POST",
            target: b"http://a/",
            version: b"HTTP/1.1",
            host: None,
            user_agent: None,
            to_a_proxy: false,
            keep_alive: true,
            tunnelled: false,
        };
        recorder.request(&conversation, &request);
        assert!(recorder.held() <= 32 << 20);
    }
    let recording = recorder.finish([PROXY.parse().unwrap()]);
    assert_eq!((recording.requests.len(), recording.requests[0].filler), (1, 9), "they are played all the same");
    assert_eq!((recording.attempts.len(), recording.left_out.beyond), (2_000, 0));
}

#[test]
fn of_a_capture_of_many_days_the_first_is_played() {
    let day = 24 * 3_600 * 1_000;
    let recording = record(&[
        once("10.0.0.1:1001", 0, GOOD, Some(10), 12),
        once("10.0.0.1:1002", 3 * day, GOOD, Some(3 * day + 10), 3 * day + 12),
    ]);
    assert_eq!(script(&recording, &options()).duration, Duration::from_millis(day));
    let fast = script(&recording, &Options { pace: Pace::Times(3_000.0), ..options() });
    assert_eq!(fast.duration, Duration::from_millis(day / 1_000 + 5_000));
}
