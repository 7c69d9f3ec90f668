//! The JSON object behind the page.

use std::sync::Arc;

use serde_json::Value;

use super::super::Board;
use super::{get, start};
use crate::kernel::view::{Absent, KernelView, Slab};
use crate::net::ClientKey;
use crate::outcome::RequestEnd;

fn refuse(board: &Board, address: &str, times: u32, line: &[u8]) {
    let address = address.parse().unwrap();
    for _ in 0..times {
        board.refusals.note(ClientKey::new(address), address, RequestEnd::SelfTarget, || line.into());
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
    for later in ["pressure", "fences", "alarms", "guard"] {
        assert!(status.get(later).is_none(), "{later}");
    }

    board.kernel.store(Some(Arc::new(KernelView {
        slab: vec![("TCP", Slab { objects: 3, bytes: 4 })],
        orphan_limit: Some(8_192),
        tcp_memory: Some(5),
        descriptors: Some(11),
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
    assert_eq!(kernel["absent"][0]["source"], "/proc/net/netstat");
}

#[tokio::test]
async fn clients_and_offenders_are_merged() {
    let board = start().await;
    refuse(&board, "10.0.0.1", 30, b"GET /<script>\x1b[31m\xe2\x80\xae\" HTTP/1.1");
    refuse(&board, "2001:db8::7", 20, b"GET http://u:secret@x/ HTTP/1.1");
    board.refusals.drain();
    let (_, body) = get(&board, "/api/v1/status").await;
    assert!(body.is_ascii());
    let status: Value = serde_json::from_str(&body).unwrap();
    let clients = status["clients"].as_array().unwrap();
    let rows: Vec<_> = clients
        .iter()
        .map(|c| (c["address"].as_str().unwrap(), c["sockets"].as_u64(), c["refusals"].as_u64()))
        .collect();
    assert_eq!(
        rows,
        [("10.0.0.1", Some(3), Some(30)), ("2001:db8::/64", Some(0), Some(20)), ("10.0.0.9", Some(40), Some(0)),]
    );
    assert_eq!(clients[0]["why"], "self_target");
    assert_eq!(clients[0]["sample"], r"GET /<script>\x1B[31m\xE2\x80\xAE\x22 HTTP/1.1");
    assert_eq!(clients[1]["from"], "2001:db8::7");
    assert_eq!(clients[1]["sample"], "GET http://***@x/ HTTP/1.1");
    assert_eq!(clients[2]["why"], Value::Null);
}
