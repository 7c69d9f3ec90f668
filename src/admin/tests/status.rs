//! The JSON object behind the page.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::super::Board;
use super::{fence, get, start};
use crate::alarm::book::Standing;
use crate::alarm::{Alarm, Sample, Severity};
use crate::config::Settings;
use crate::config::settings::{self, GuardMode, StallChoice};
use crate::guard::fence::{Backend, Row};
use crate::guard::pressure::{Forecast, Level, Report};
use crate::guard::{Guard, Manner, Refusal};
use crate::kernel::view::{Absent, CpuShares, Disk, KernelView, Slab};
use crate::net::ClientKey;
use crate::outcome::{Form, RequestEnd};

fn key(address: &str) -> ClientKey {
    ClientKey::new(address.parse().unwrap())
}

async fn json(board: &Board) -> Value {
    serde_json::from_str(&get(board, "/api/v1/status").await.1).unwrap()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn refuse(board: &Board, address: &str, times: u32, line: &[u8]) {
    let address = address.parse().unwrap();
    for _ in 0..times {
        board.refusals.note(ClientKey::new(address), address, RequestEnd::SelfTarget, Form::Answered, || line.into());
    }
}

#[tokio::test]
async fn the_status_has_its_shape() {
    let board = start().await;
    let (_, body) = get(&board, "/api/v1/status").await;
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["gateway"]["name"], "floodgate");
    assert_eq!(status["gateway"]["listeners"][0], "0.0.0.0:3128");
    assert!(status["gateway"]["uptime_s"].is_u64());
    assert_eq!(status["kernel"], Value::Null);
    assert_eq!(status["traffic"]["connections"]["open"], 0);
    assert_eq!(status["traffic"]["outcomes"]["connection"]["served"], 0);
    assert_eq!(status["traffic"]["outcomes"]["request"]["forwarded"], 0);
    assert_eq!(status["traffic"]["refusals"]["self_target"], 0);
    assert_eq!(status["traffic"]["bytes"]["to_upstream"], 0);
    assert_eq!(status["alarms"], json!([]));

    board.kernel.store(Some(Arc::new(KernelView {
        slab: vec![("TCP", Slab { objects: 3, bytes: 4 })],
        orphan_limit: Some(8_192),
        tcp_memory: Some(5),
        descriptors: Some(11),
        ram: Some(12),
        cpu: Some(CpuShares { softirq: 0.25, idle: 0.75, ..CpuShares::default() }),
        load: Some(1.5),
        io_stall: Some(8_173),
        conntrack: Some((13, 14)),
        disks: vec![Disk { path: "/var/log".into(), free: 15, total: 16 }],
        absent: vec![Absent { source: "/proc/net/netstat", why: "it is not there".to_owned() }],
        ..KernelView::default()
    })));
    let (_, body) = get(&board, "/api/v1/status").await;
    let kernel = serde_json::from_str::<Value>(&body).unwrap()["kernel"].take();
    assert_eq!(kernel["slab"]["TCP"]["objects"], 3);
    assert_eq!(kernel["slab"]["TCP"]["bytes"], 4);
    assert!(kernel["slab"].get("TCPv6").is_none());
    assert_eq!(kernel["sockets"]["orphan"], Value::Null);
    assert_eq!(kernel["orphan_limit"], 8_192);
    assert_eq!(kernel["time_wait_limit"], Value::Null);
    assert_eq!(kernel["tcp_memory"]["bytes"], 5);
    assert_eq!(kernel["tcp_memory"]["high"], Value::Null);
    assert_eq!(kernel["descriptors"]["open"], 11);
    let cpu = json!({ "user": 0.0, "system": 0.0, "softirq": 0.25, "iowait": 0.0, "steal": 0.0, "idle": 0.75 });
    assert_eq!((&kernel["cpu"], &kernel["load"]), (&cpu, &json!(1.5)));
    assert_eq!(kernel["memory"], json!({ "total": 12, "available": null }));
    assert_eq!(kernel["stall"], json!({ "memory": null, "cpu": null, "io": 0.8173 }));
    assert_eq!(kernel["conntrack"], json!({ "count": 13, "limit": 14 }));
    assert_eq!(kernel["disks"], json!([{ "path": "/var/log", "free": 15, "total": 16 }]));
    assert_eq!(kernel["absent"][0]["source"], "/proc/net/netstat");
}

#[tokio::test]
async fn clients_and_offenders_are_merged() {
    let board = start().await;
    let _seats: Vec<_> = [("10.0.0.9", 40), ("10.0.0.1", 3)]
        .into_iter()
        .flat_map(|(address, seats)| std::iter::repeat_n(address, seats))
        .map(|address| board.guard.book.enter(key(address), board.guard.clock.now()))
        .collect();
    refuse(&board, "10.0.0.1", 30, b"GET /<script>\x1b[31m\xe2\x80\xae\" HTTP/1.1");
    refuse(&board, "2001:db8::7", 20, b"GET http://u:secret@x/ HTTP/1.1");
    board.refusals.drain();
    let (_, body) = get(&board, "/api/v1/status").await;
    assert!(body.is_ascii());
    let status: Value = serde_json::from_str(&body).unwrap();
    let clients = status["clients"].as_array().unwrap();
    let rows: Vec<_> = clients
        .iter()
        .map(|c| (c["address"].as_str().unwrap(), c["sockets"].as_u64(), c["refusals_per_minute"].as_f64().unwrap()))
        .collect();
    assert_eq!(rows, [("10.0.0.1", Some(3), 30.0), ("2001:db8::/64", None, 20.0), ("10.0.0.9", Some(40), 0.0)]);
    assert_eq!(clients[0]["outcome"], "self_target");
    assert_eq!(clients[0]["step"], "answer");
    assert_eq!(clients[0]["why"], "refused 0 s ago: requests that name this proxy");
    assert_eq!(clients[0]["kernel_bytes"], Value::Null);
    assert_eq!(clients[0]["sample"], r"GET /<script>\x1B[31m\xE2\x80\xAE\x22 HTTP/1.1");
    assert_eq!(clients[1]["from"], "2001:db8::7");
    assert_eq!(clients[1]["sample"], "GET http://***@x/ HTTP/1.1");
    assert_eq!((&clients[1]["rates"], &clients[1]["refusals"]), (&Value::Null, &Value::Null));
    assert_eq!(clients[2]["why"], Value::Null);
    assert_eq!(clients[2]["kernel_bytes"], 4_096);
    assert_eq!(clients[2]["refusals"]["self_target"], 0);
}

#[tokio::test]
async fn a_storm_shows_its_step_and_why() {
    let board = start().await;
    let (guard, settings) = (&board.guard, Settings::defaults().guard);
    let now = guard.clock.now();
    let client = guard.book.find(key("10.0.0.1"), now);
    for _ in 0..100 {
        client.asked();
        client.moved(1_000);
        let end = RequestEnd::SelfTarget;
        let manner = guard.refused(&Refusal { client: &client, exempt: false, end, whole: true }, &settings, now);
        drop(manner);
    }
    guard.book.tick(now.after(Duration::from_secs(1)), |_, _| {});
    let first = |status: Value| status["clients"][0].clone();
    let row = first(json(&board).await);
    assert_eq!((&row["address"], &row["step"]), (&"10.0.0.1".into(), &"stall".into()));
    assert_eq!(row["why"], "stalled: requests that name this proxy for 0 s");
    assert_eq!(
        row["refusals"],
        json!({ "self_target": 100, "malformed": 0, "over_limit": 0, "denied": 0, "failing": 0 })
    );
    assert_eq!(row["rates"]["requests"], row["rates"]["refusals"]);
    assert!(row["rates"]["refusals"].as_u64().is_some_and(|rate| (50..=100).contains(&rate)), "{row}");
    assert_eq!((&row["rates"]["bytes"], &row["rates"]["arrivals"]), (&100_000.into(), &0.into()));
    assert_eq!(row["stalled"], 91);

    let mut observing = super::settings();
    observing.guard.mode = GuardMode::Observe;
    board.settings.store(Arc::new(observing));
    let status = json(&board).await;
    assert_eq!(status["guard"]["stall"], "answer");
    let row = first(status);
    assert_eq!(
        (&row["step"], &row["why"]),
        (&"answer".into(), &"would be stalled: requests that name this proxy for 0 s".into())
    );

    guard.fences.rows.store(Arc::new(vec![Row { half_open: true, ..fence("10.0.0.1", now) }]));
    let row = first(json(&board).await);
    assert_eq!(row["step"], "fence");
    let why = row["why"].as_str().unwrap();
    assert!(why.starts_with("fenced for ") && why.ends_with("on trial: some of its connections are let in"), "{why}");
}

#[tokio::test]
async fn ten_thousand_clients_make_a_short_list() {
    let board = start().await;
    let (guard, settings) = (&board.guard, Settings::defaults().guard);
    let now = guard.clock.now();
    let address = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
    let mut seats: Vec<_> = (0..9_000).map(|n| guard.book.enter(ClientKey::new(address(n)), now)).collect();
    // The last of them is the busiest.
    seats.extend((0..50).map(|_| guard.book.enter(ClientKey::new(address(8_999)), now)));
    for n in 9_000..10_000 {
        let client = guard.book.find(ClientKey::new(address(n)), now);
        for _ in 0..(if n == 9_999 { 100 } else { 3 }) {
            let end = RequestEnd::Malformed;
            drop(guard.refused(&Refusal { client: &client, exempt: false, end, whole: true }, &settings, now));
        }
    }
    guard.book.tick(now.after(Duration::from_secs(1)), |_, _| {});
    assert_eq!(guard.book.tracked(), 10_000);
    let status = json(&board).await;
    let clients = status["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 128);
    assert_eq!(clients[0]["address"], address(9_999).to_string());
    assert_eq!((&clients[63]["refusals"]["malformed"], &clients[63]["sockets"]), (&3.into(), &0.into()));
    assert_eq!((&clients[64]["address"], &clients[64]["sockets"]), (&address(8_999).to_string().into(), &51.into()));
    assert_eq!(status["guard"]["limits"]["client_connections"], json!({ "limit": 2_048, "used": 51 }));
    assert_eq!(status["guard"]["limits"]["clients_tracked"], json!({ "limit": 65_536, "used": 10_000 }));
}

#[tokio::test]
async fn pressure_fences_and_the_guard_are_told() {
    let board = start().await;
    let status = json(&board).await;
    let calm = json!({ "level": 0, "signals": {}, "driver": null, "forecast": null });
    assert_eq!((&status["pressure"], &status["fences"]), (&calm, &json!([])));
    let guard = &status["guard"];
    assert_eq!(
        (&guard["mode"], &guard["ladder"], &guard["stall"]),
        (&"enforce".into(), &"auto".into(), &"hold".into())
    );
    assert_eq!(guard["fence"], json!({ "backend": null, "why_not": [] }));
    assert_eq!(guard["holds"], json!({ "open": 0, "bytes": 0, "budget": 4 << 20, "turned_away": 0 }));
    assert_eq!(guard["observed"], json!({ "stalls": 0, "fences": 0 }));
    assert_eq!((&guard["changes"], &guard["reading"]), (&"with the token".into(), &"for all of allow".into()));
    // The connection that asks.
    assert_eq!(guard["limits"]["admin_connections"], json!({ "limit": 64, "used": 1 }));
    assert_eq!(guard["limits"]["admin_listeners"], json!({ "limit": 128, "used": 0 }));
    assert_eq!(guard["limits"]["dns_lookups"], json!({ "limit": 512, "used": null }));
    assert_eq!(guard["limits"]["client_request_rate"], json!({ "limit": 1_000, "burst": 4_000, "used": 0 }));

    let now = board.guard.clock.now();
    board.guard.pressure.set(Level::Elevated);
    board.guard.pressure.report.store(Arc::new(Report {
        signals: vec![("orphans", 0.5)],
        driver: Some("orphans"),
        forecast: Some(Forecast { signal: "orphans", seconds: 90.0 }),
    }));
    board.guard.fences.rows.store(Arc::new(vec![fence("2001:db8::7", now)]));
    let why_not = vec!["nftables: EPERM".to_owned()];
    board.guard.fences.backend.store(Arc::new(Backend { name: Some("socket-filter"), why_not }));
    board.guard.fences.dropped(9);
    let before = unix_now();
    let status = json(&board).await;
    let forecast = json!({ "signal": "orphans", "seconds": 90.0 });
    let told = json!({ "level": 1, "signals": { "orphans": 0.5 }, "driver": "orphans", "forecast": forecast });
    assert_eq!(status["pressure"], told);
    let row = &status["fences"][0];
    assert_eq!((&row["address"], &row["reason"]), (&"2001:db8::/64".into(), &"self_target".into()));
    assert_eq!((&row["half_open"], &row["syns"], &row["times"]), (&false.into(), &77.into(), &1.into()));
    let (since, until) = (row["since"].as_u64().unwrap(), row["until"].as_u64().unwrap());
    assert!(since <= unix_now() && since + 60 >= before, "{row}");
    assert!((59..=61).contains(&(until - since)), "{row}");
    assert_eq!(status["guard"]["fence"], json!({ "backend": "socket-filter", "why_not": ["nftables: EPERM"] }));
    assert_eq!(status["guard"]["fenced_syns"], 9);
}

#[tokio::test]
async fn the_alarms_that_stand_are_told_and_escaped() {
    let board = start().await;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let sample = Sample {
        client: Some("10.0.0.1".parse().unwrap()),
        upstream: Some("192.0.2.1:443".parse().unwrap()),
        request_line: Box::from(&b"GET /\x1b\"<script> HTTP/1.1"[..]),
        answer: Box::from(&b"\xffSSH-2.0"[..]),
    };
    board.alarms.standing.store(Arc::new(vec![Standing {
        alarm: Alarm::InvalidResponse,
        subject: String::new(),
        severity: Severity::Warning,
        since: at(1_000),
        last: at(1_300),
        count: 1_272,
        told: true,
        silenced: false,
        values: vec![("rate", "4.2".to_owned())],
        sample: Some(sample),
    }]));
    let mut alarms = json(&board).await["alarms"].take();
    let [title, meaning, steps] =
        ["title", "meaning", "steps"].map(|part| alarms[0].as_object_mut().unwrap().remove(part).unwrap());
    assert_eq!(
        title,
        json!({ "en": "Invalid upstream response: 4.2 a second", "zh": "上游返回无效响应：每秒 4.2 次" })
    );
    assert!(meaning["en"].is_string() && meaning["zh"].is_string(), "{meaning}");
    assert!(steps["zh"].as_array().unwrap().len() == steps["en"].as_array().unwrap().len(), "{steps}");
    assert_eq!(
        alarms,
        json!([{
            "id": "invalid_response", "severity": "warning", "subject": "", "since": 1_000, "last": 1_300, "count": 1_272,
            "told": true, "silenced": false, "values": { "rate": "4.2" },
            "sample": {
                "client": "10.0.0.1", "upstream": "192.0.2.1:443",
                "request_line": "GET /\\x1B\\x22<script> HTTP/1.1", "answer": "\\xFFSSH-2.0",
            },
        }])
    );
}

/// What the status says a stalled refusal meets is what it meets.
#[test]
fn the_stall_in_force_is_the_one_that_is_done() {
    for may_drop in [false, true] {
        for level in Level::ALL {
            for stall in [StallChoice::Auto, StallChoice::Drop, StallChoice::Hold] {
                for hold_memory in [0, 4 << 20] {
                    let settings = settings::Guard { stall, hold_memory, ..Settings::defaults().guard };
                    let guard = Guard::new(10, may_drop);
                    guard.pressure.set(level);
                    let client = guard.book.find(key("10.0.0.1"), guard.clock.now());
                    let refusal = Refusal { client: &client, exempt: false, end: RequestEnd::SelfTarget, whole: true };
                    let met = (0..50).map(|_| match guard.refused(&refusal, &settings, guard.clock.now()) {
                        Manner::Answer => "answer",
                        Manner::Drop => "drop",
                        Manner::Hold(..) => "hold",
                    });
                    let told = crate::admin::status::stall(&guard, &settings);
                    assert_eq!(met.last(), Some(told), "{may_drop} {level:?} {stall:?} {hold_memory}");
                }
            }
        }
    }
}
