use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::super::findings::{
    Answers, Because, Bypass, Connections, Cost, Counters, Distinct, File, Findings, Form, Misuse, Onward, Proxy,
    Quantiles, Relation, SelfKind, SelfTarget, Series, Spelling, Storm, Verdict, Weight,
};
use super::{json, svg, text};
use crate::pcap::Time;

const BEGIN: u64 = 1_606_093_200_000_000_000;

fn pc(last: u8) -> IpAddr {
    IpAddr::from([10, 115, 20, last])
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn storm(client: IpAddr, attempts: u64) -> Storm {
    let gap = Quantiles {
        count: 59,
        p50: 410_000,
        p90: 530_000,
        p99: 1_200_000,
        max: 1_900_000,
        histogram: vec![(500_000, 59)],
    };
    Storm {
        client,
        attempts,
        of: attempts + 3,
        span: (Time(BEGIN), Time(BEGIN + 2_000_000_000)),
        peak_per_s: 36,
        fastest_ten_ns: Some(380_000),
        gap: Some(gap),
        same_request: 1.0,
        closed_loop: Some(true),
        concurrency: 12,
        self_target: attempts,
        request: "GET http://10.115.5.2/mmtls/98b82b03 (Host: 10.115.5.2)".into(),
    }
}

fn named(client: IpAddr, count: u64) -> SelfTarget {
    SelfTarget {
        client,
        kind: SelfKind { form: Form::Absolute, spelling: Spelling::Plain, other_port: false },
        count,
        first: Time(BEGIN + 352_334_000),
        sample: b"GET http://10.115.5.2/mmtls/98b82b03 HTTP/1.1\r\nHost: 10.115.5.2\r\n\r\n".to_vec(),
    }
}

/// A proxy with two storming clients and one that only asked for it twice.
fn proxy() -> Proxy {
    Proxy {
        endpoint: endpoint("10.115.5.2:3128"),
        because: Because::ManyHosts,
        requests: 120,
        by_form: vec![(Form::Absolute, 118), (Form::Authority, 2)],
        by_method: vec![("GET", 118), ("CONNECT", 2)],
        statuses: vec![(200, 6), (404, 114)],
        clients: 3,
        busiest: Some((pc(21), 12)),
        hosts: Distinct { at_least: 4, exact: true },
        connect_targets: vec![("szlong.weixin.qq.com:443".into(), 2)],
        connect_others: 0,
        failing: vec![("update.example.net".into(), 4, 3)],
        connections: Connections {
            total: 1_120,
            peak: 24,
            packets: 1_200,
            bytes: 90_000,
            silent: 1,
            ..Connections::default()
        },
        answers: Answers { answered: 120, refused: 114, never: 0, late: 1, slow_heads: 0 },
        self_target: vec![named(pc(21), 60), named(pc(22), 52), named(pc(23), 2)],
        storms: vec![storm(pc(21), 60), storm(pc(22), 52)],
        cost: Cost {
            refused: 114,
            connections_per_refused: 2.0,
            packets_per_refused: 20.0,
            sockets: 40,
            time_wait: 228,
            kernel_bytes: 160_768,
        },
        bypass: vec![Bypass {
            client: pc(23),
            destination: endpoint("203.0.113.140:80"),
            host: Some("szfile.weixin.qq.com".into()),
            relation: Relation::Sibling,
            private: false,
            connections: 2,
            bytes: 61_440,
            first: Time(BEGIN),
        }],
        keep_alive_misuse: vec![Misuse { client: pc(23), closed: 11, of: 12 }],
        onward: Onward {
            connections: 120,
            to_itself: 114,
            peak: 3,
            destinations: vec![(endpoint("10.115.5.2:80"), 114, 0)],
            ..Onward::default()
        },
        series: vec![
            Series { client: pc(21), start: Time(BEGIN), width: 10_000_000, bins: vec![12, 0, 0, 48] },
            Series { client: pc(22), start: Time(BEGIN + 200_000_000), width: 10_000_000, bins: vec![52] },
        ],
    }
}

fn findings() -> Findings {
    let verdict = |weight, cause: &str, evidence: &str, remedy: &str| Verdict {
        weight,
        cause: cause.into(),
        evidence: evidence.into(),
        remedy: remedy.into(),
    };
    Findings {
        files: vec![File { name: "storm.pcap".into(), packets: 3_440, problems: Vec::new(), readable: true }],
        counters: Counters {
            packets: 3_440,
            bytes: 354_000,
            flows: 1_240,
            retransmissions: 7,
            others: vec![("midstream", 3)],
            kinds: vec![("ARP".into(), 2)],
            ..Counters::default()
        },
        span: Some((Time(BEGIN), Time(BEGIN + 2_100_000_000))),
        requests: 240,
        proxies: vec![proxy()],
        verdicts: vec![
            verdict(Weight::Critical, "The proxy 10.115.5.2:3128 connects to itself.", "114 of 120.", "Run floodgate."),
            verdict(Weight::Note, "A client keeps nothing alive.", "11 of 12 connections.", "Leave room for it."),
            verdict(Weight::Note, "And so does another.", "Also 11 of 12.", "Leave room for it."),
        ],
        ..Findings::default()
    }
}

const SCREEN: &str = "\
storm.pcap: 3,440 packets (346 KiB), 1,240 TCP connections, 240 HTTP requests,
2.1 s from 2020-11-23 01:00:00 UTC
7 retransmissions

CRITICAL: The proxy 10.115.5.2:3128 connects to itself.
NOTE: A client keeps nothing alive.
  11 of 12 connections.
NOTE: And so does another.
  Also 11 of 12.

Proxy 10.115.5.2:3128: clients ask it for several other hosts in absolute-form
  requests  120 of 3 clients: GET ×118, CONNECT ×2; absolute-form ×118,
            authority-form ×2
  answers   200 ×6, 404 ×114, 1 late
  connected 1,120 in, 24 at once, 1 without a request; 120 onward, 3 at once,
            114 to itself
  CONNECT   szlong.weixin.qq.com:443 ×2
  failing   update.example.net ×3
  Client        in vain  of  itself  peak/s   10 in  again in  waits  at once
  10.115.20.21       60  63      60      36  380 µs    410 µs    yes       12
  10.115.20.22       52  55      52      36  380 µs    410 µs    yes       12
  10.115.20.23        -   -       2       -       -         -      -        -
  itself    absolute-form ×114; the first at 01:00:00.352334 UTC:
    GET http://10.115.5.2/mmtls/98b82b03 HTTP/1.1 | Host: 10.115.5.2
  cost      2.0 connections and 20 packets for each in vain; at most 40 sockets
            and 228 in TIME_WAIT: 157 KiB of kernel memory (2560 and 256 B each)
  Past the proxy  times   bytes  kind     destination
  10.115.20.23        2  60 KiB  sibling  203.0.113.140:80 szfile.weixin.qq.com
  Asks for keep-alive  closed after one answer  of connections
  10.115.20.23                              11              12

What to do
1. Run floodgate.
2. Leave room for it.
";

#[test]
fn the_text_tells_what_is_wrong_who_how_much_and_what_to_do() {
    let text = text(&findings());
    assert!(text == SCREEN, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let mut findings = findings();
    let proxy = &mut findings.proxies[0];
    proxy.storms = (1..=30).map(|last| storm(pc(last), 40)).collect();
    proxy.connect_targets = (0..30).map(|number| (format!("h{number}.example:443"), 3)).collect();
    findings.more_proxies = 5;
    findings.files = (0..30).map(|number| File { name: format!("{number}.pcap"), ..File::default() }).collect();
    let text = text(&findings);
    assert!(text.contains("  and 22 more: --json has all\n"), "{text}");
    assert!(text.contains("h4.example:443 ×3 and 25 more"), "{text}");
    assert!(text.starts_with("0.pcap, 1.pcap, 2.pcap, 3.pcap, 4.pcap and 25 more: "), "{text}");
    assert!(text.contains("\nAnd 5 more proxy endpoints: --json"), "{text}");
    assert!(text.lines().count() < 50);
}

#[test]
fn nothing_found_is_a_text_too() {
    let text = text(&Findings::default());
    assert!(text.starts_with(": 0 packets (0 B), 0 TCP connections, 0 HTTP requests\n"), "{text}");
    assert_well_formed(&svg(&Findings::default()));
    serde_json::from_str::<Value>(&json(&Findings::default())).unwrap();
}

/// What a stranger may have put wherever there is room for a name.
const HOSTILE: &str =
    "a\x1b]0;owned\x07\x1b[2J\r\n\u{9b}31m\u{202e}\u{200b}<script>alert(\"1\")</script>&'\u{0}\u{ffff}]]>";

fn hostile() -> Findings {
    let mut findings = findings();
    findings.files[0].name = HOSTILE.into();
    findings.files[0].problems = vec![HOSTILE.into()];
    findings.counters.kinds = vec![(HOSTILE.into(), 1)];
    for verdict in &mut findings.verdicts {
        verdict.cause = HOSTILE.into();
        verdict.evidence = HOSTILE.into();
        verdict.remedy = HOSTILE.into();
    }
    let proxy = &mut findings.proxies[0];
    proxy.connect_targets = vec![(HOSTILE.into(), 1)];
    proxy.self_target[0].sample = [HOSTILE.as_bytes(), &[0xff, 0x80, 0x1b]].concat();
    proxy.self_target.truncate(1);
    proxy.failing = vec![(HOSTILE.into(), 1, 1)];
    proxy.storms[0].request = HOSTILE.into();
    proxy.bypass[0].host = Some(HOSTILE.into());
    findings
}

#[test]
fn a_stranger_commands_no_terminal() {
    let text = text(&hostile());
    let commands: Vec<char> = text.chars().filter(|char| char.is_control() && *char != '\n').collect();
    assert!(commands.is_empty(), "{commands:?}");
    assert!(!text.contains(['\u{202e}', '\u{200b}']));
    assert!(text.contains("\\u{1b}[2J"), "{text}");
    assert!(text.contains("\\x1b]0;owned"), "{text}");
}

#[test]
fn a_stranger_commands_no_browser() {
    let svg = svg(&hostile());
    assert_well_formed(&svg);
    assert!(!svg.contains("<script"), "{svg}");
    assert!(svg.contains("&lt;script&gt;"));
}

/// Elements are closed in order, attributes quoted, and there is no other `<` or `&` than those of markup.
fn assert_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some((text, markup)) = rest.split_once('<') {
        assert_text(text);
        let (tag, after) = markup.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(["svg", "title", "style", "text", "line", "g", "rect"].contains(&name), "{name}");
        let quoted: Vec<&str> = attributes.split('"').collect();
        assert!(quoted.len() % 2 == 1, "{attributes}");
        quoted.chunks(2).filter(|pair| pair.len() == 2).for_each(|pair| {
            assert!(pair[0].trim_start().ends_with('='), "{attributes}");
            assert_text(pair[1]);
        });
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
}

fn assert_text(text: &str) {
    assert!(!text.contains('>'), "{text}");
    assert!(text.chars().all(|char| char == '\n' || !char.is_control() && char != '\u{ffff}'), "{text:?}");
    for entity in text.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| entity.starts_with(known)), "{entity}");
    }
}

#[test]
fn the_picture_has_a_column_for_each_client_and_time_with_its_figures() {
    let svg = svg(&findings());
    assert_well_formed(&svg);
    // 48 of the four bins and 12 are in the first tenth of a second, 52 in the third.
    assert!(svg.contains("<title>10.115.20.21: 600/s (60 within 100 ms, after 0 ns)</title>"), "{svg}");
    assert!(svg.contains("<title>10.115.20.22: 520/s (52 within 100 ms, after 200 ms)</title>"), "{svg}");
    for part in ["prefers-color-scheme:dark", "attempts per second", "seconds since the first attempt", "storm.pcap"] {
        assert!(svg.contains(part), "{part}");
    }
}

#[test]
fn at_most_eight_clients_have_a_colour() {
    let mut findings = findings();
    let series = |last: u8| Series { client: pc(last), start: Time(BEGIN), width: 10_000_000, bins: vec![last.into()] };
    findings.proxies[0].series = (1..=12).map(series).collect();
    findings.proxies[0].clients = 40;
    let svg = svg(&findings);
    assert_well_formed(&svg);
    assert!(svg.contains(">4 of 32 others: 10, up to 10 in 100 ms</text>"), "{svg}");
    assert!(svg.contains("10.115.20.5: 5") && !svg.contains("10.115.20.4: 4"));
}

#[test]
fn a_long_capture_has_no_more_columns_than_there_is_room_for() {
    let mut findings = findings();
    for (bins, width) in [(600_usize, 10_000_000_u64), (600, 600_000_000_000), (2, u64::MAX / 2), (600, u64::MAX / 2)] {
        let series = Series { client: pc(1), start: Time(BEGIN), width, bins: vec![1; bins] };
        findings.proxies[0].series = vec![series];
        let svg = svg(&findings);
        assert_well_formed(&svg);
        let columns = svg.matches("<rect").count();
        assert!((2..=160).contains(&columns), "{columns}");
    }
}

#[test]
fn the_json_has_the_keys_that_programs_rely_on() {
    let text = json(&findings());
    assert_eq!(text, json(&findings()));
    let all: Value = serde_json::from_str(&text).unwrap();
    for key in ["files", "counters", "proxies", "requests", "verdict"] {
        assert!(!all[key].is_null(), "{key}");
    }
    for key in ["packets", "bytes", "flows", "retransmissions", "gaps", "cut", "evicted", "unknown_link"] {
        assert!(all["counters"][key].is_u64(), "{key}");
    }
    assert_eq!(all["counters"]["retransmissions"], 7);
    assert_eq!(all["counters"]["midstream"], 3);
    let proxy = &all["proxies"][0];
    assert_eq!(proxy["endpoint"], "10.115.5.2:3128");
    assert_eq!(proxy["requests"], 120);
    assert_eq!(proxy["by_form"]["absolute"], 118);
    assert_eq!(proxy["by_method"]["CONNECT"], 2);
    assert_eq!(proxy["statuses"]["404"], 114);
    assert_eq!(proxy["estimated_kernel_bytes"], 160_768);
    assert_eq!(proxy["onward"]["to_itself"], 114);
    assert_eq!(proxy["bypass"][0]["relation"], "sibling");
    let named = &proxy["self_target"][0];
    assert_eq!(named["client"], "10.115.20.21");
    assert_eq!(named["count"], 60);
    assert_eq!(named["kind"], "absolute-form");
    assert_eq!(named["first_time"], 1_606_093_200.352_334);
    assert!(named["sample"].as_str().unwrap().starts_with("GET http://10.115.5.2/"));
    assert!(named["sample_hex"].as_str().unwrap().starts_with("474554"));
    let storm = &proxy["storms"][0];
    assert_eq!(storm["client"], "10.115.20.21");
    assert_eq!(storm["peak_per_s"], 36);
    assert_eq!((&storm["gap_us"]["p50"], &storm["gap_us"]["p99"]), (&410.0.into(), &1_200.0.into()));
    assert_eq!(storm["closed_loop"], true);
    let verdict = &all["verdict"][0];
    assert!(["cause", "evidence", "remedy"].iter().all(|key| verdict[key].is_string()));
}
