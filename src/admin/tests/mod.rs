use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::limits::{CONNECTIONS, FIRST_PAUSE, LONGEST_PAUSE};
use super::token::Token;
use super::{Board, Limit, pause_after, serve};
use crate::config::Settings;
use crate::config::settings::{Admin, TokenFile};
use crate::guard::fence::Row;
use crate::guard::ladder::Class;
use crate::guard::{Guard, Moment};
use crate::net::ClientKey;
use crate::telemetry::Counters;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::refusals::Refusals;

mod catalogue;
mod changes;
mod client;
mod cost;
mod events;
mod metrics;
mod readers;
mod status;

/// What changes must carry in these tests.
const TOKEN: &str = "0123456789abcdef";

fn settings() -> Settings {
    Settings {
        admin: Admin {
            address: "127.0.0.1:0".parse().unwrap(),
            allow: vec!["127.0.0.1/32".parse().unwrap()],
            hosts: vec!["gate.example".to_owned()],
            token_file: TokenFile::Off,
            read_token_file: TokenFile::Off,
            exemplars: false,
        },
        ..Settings::defaults()
    }
}

/// A board on a port of its own, served until the runtime of the test ends.
async fn start() -> Arc<Board> {
    start_with(|_| ()).await
}

/// The same, with something changed on it.
async fn start_with(change: impl FnOnce(&mut Board)) -> Arc<Board> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut board = board(&listener);
    change(&mut board);
    let board = Arc::new(board);
    tokio::spawn(serve(listener, Arc::clone(&board)));
    board
}

fn board(listener: &TcpListener) -> Board {
    Board {
        counters: Arc::new(Counters::new(["0.0.0.0:3128".to_owned()])),
        kernel: Arc::new(ArcSwapOption::empty()),
        settings: Arc::new(ArcSwap::from_pointee(settings())),
        listeners: vec!["0.0.0.0:3128".parse().unwrap()],
        admin_address: listener.local_addr().unwrap(),
        started: Instant::now(),
        draining: Arc::new(AtomicBool::new(false)),
        refusals: Arc::new(Refusals::new()),
        deliveries: Arc::default(),
        access: AccessLog::off(),
        guard: Arc::new(Guard::new(10_000, false)),
        alarms: Arc::default(),
        token: Token::parse(TOKEN.as_bytes()).map_err(str::to_owned),
        read_token: None,
        events: Arc::default(),
        history: Arc::new(|_| Value::Null),
        kernel_bytes: Arc::new(|client| (client.to_string() == "10.0.0.9").then_some(4_096)),
        limits: Arc::new(|| vec![Limit { name: "dns_lookups", limit: 512, used: None }]),
        buckets_shared: Arc::new(|| 3),
    }
}

/// A row of the register.
fn fence(address: &str, now: Moment) -> Row {
    Row {
        client: ClientKey::new(address.parse().unwrap()),
        since: now,
        until: now.after(Duration::from_mins(1)),
        half_open: false,
        reason: Class::SelfTarget,
        syns: Some(77),
        times: 1,
    }
}

async fn connect(board: &Board) -> TcpStream {
    TcpSocket::new_v4().unwrap().connect(board.admin_address).await.unwrap()
}

/// Head and body of the answer to a request that asks for the connection to be closed.
async fn speak(board: &Board, request: &str) -> (String, String) {
    let mut stream = connect(board).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

async fn ask(board: &Board, method: &str, target: &str, host: &str) -> (String, String) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    speak(board, &request).await
}

async fn get(board: &Board, target: &str) -> (String, String) {
    ask(board, "GET", target, "localhost").await
}

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let board = start().await;
    for (target, status, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/app.js", 200, "text/javascript; charset=utf-8"),
        ("/style.css", 200, "text/css; charset=utf-8"),
        ("/icon.svg", 200, "image/svg+xml"),
        ("/vendor/uPlot.iife.min.js", 200, "text/javascript; charset=utf-8"),
        ("/healthz", 200, "text/plain; charset=utf-8"),
        ("/readyz", 200, "text/plain; charset=utf-8"),
        ("/api/v1/status?x=1", 200, "application/json"),
        ("/metrics", 200, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/nothing", 404, "text/plain; charset=utf-8"),
        ("/api/v1/status/", 404, "text/plain; charset=utf-8"),
        ("/api/v1/history", 404, "text/plain; charset=utf-8"),
        ("/api/v1/clients/", 400, "text/plain; charset=utf-8"),
        ("/api/v1/clients/10.0.0.1", 404, "text/plain; charset=utf-8"),
    ] {
        let (head, body) = get(&board, target).await;
        assert_eq!(status_of(&head), status, "{target}");
        assert!(!body.is_empty());
        for field in [
            &format!("content-type: {kind}"),
            "cache-control: no-store",
            "content-security-policy: default-src 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(field), "{target}: {field} not in {head}");
        }
        assert!(!head.contains("access-control"));
    }
}

#[tokio::test]
async fn other_methods_are_not_served() {
    let board = start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        let (head, _) = ask(&board, method, "/metrics", "localhost").await;
        assert_eq!(status_of(&head), 405, "{method}");
        assert!(head.contains("allow: get, head"));
    }
    let (head, body) = ask(&board, "HEAD", "/", "localhost").await;
    assert_eq!(status_of(&head), 200);
    assert!(body.is_empty() && !head.contains("content-length: 0"));
}

#[tokio::test]
async fn the_history_is_that_of_the_board() {
    let board = start_with(|board| board.history = Arc::new(|since| json!({ "since": since }))).await;
    for (target, expected) in [
        ("/api/v1/history", json!({ "since": null })),
        ("/api/v1/history?since=1600000000", json!({ "since": 1_600_000_000 })),
        ("/api/v1/history?x&since=0", json!({ "since": 0 })),
    ] {
        let (head, body) = get(&board, target).await;
        assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected, "{target}");
    }
    for since in ["", "x", "-1", "1.5", "99999999999999999999", "%31"] {
        let (head, _) = get(&board, &format!("/api/v1/history?since={since}")).await;
        assert_eq!(status_of(&head), 400, "{since}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_not_waited_for() {
    let board = start().await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let mut stream = connect(&board).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap_or_default();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn strangers_names_are_refused() {
    let board = start().await;
    let port = board.admin_address.port();
    for host in [
        format!("127.0.0.1:{port}"),
        "127.0.0.1".to_owned(),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "gate.example".to_owned(),
        "GATE.example:8443".to_owned(),
    ] {
        let (head, _) = ask(&board, "GET", "/healthz", &host).await;
        assert_eq!(status_of(&head), 200, "{host}");
    }
    for host in ["evil.example", "", "localhost:1", "10.0.0.1", "localhost@evil.example"] {
        let (head, body) = ask(&board, "GET", "/healthz", host).await;
        assert_eq!(status_of(&head), 403, "{host}");
        assert!(body.contains("hosts of [admin]"));
    }
    for request in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: \u{e4}\r\nConnection: close\r\n\r\n",
    ] {
        let (head, _) = speak(&board, request).await;
        assert!([400, 403].contains(&status_of(&head)), "{request}");
    }
    let (head, _) = ask(&board, "GET", "http://localhost/healthz", "localhost").await;
    assert_eq!(status_of(&head), 200);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_closed() {
    let board = start().await;
    // Kept open across the change: the next request on it is refused.
    let mut kept = connect(&board).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut chunk = [0; 1_024];
    kept.write_all(request).await.unwrap();
    assert!(kept.read(&mut chunk).await.unwrap() > 0);

    let mut settings = settings();
    settings.admin.allow = vec!["10.0.0.0/8".parse().unwrap()];
    board.settings.store(Arc::new(settings));
    let mut stream = connect(&board).await;
    assert!(matches!(stream.read(&mut chunk).await, Ok(0) | Err(_)));

    kept.write_all(request).await.unwrap();
    let n = kept.read(&mut chunk).await.unwrap();
    assert!(chunk[..n].starts_with(b"HTTP/1.1 403 "));
}

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let board = start().await;
    let mut kept = Vec::new();
    let mut chunk = [0; 1_024];
    for _ in 0..CONNECTIONS.all {
        let mut stream = connect(&board).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut chunk).await.unwrap() > 0);
        kept.push(stream);
    }
    let mut one_too_many = connect(&board).await;
    assert!(matches!(one_too_many.read(&mut chunk).await, Ok(0) | Err(_)));
    drop(kept);
    // Until the server has seen that they are gone.
    let page = loop {
        let mut stream = connect(&board).await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut page = String::new();
        let asked = stream.write_all(request).await.is_ok() && stream.read_to_string(&mut page).await.is_ok();
        if asked && !page.is_empty() {
            break page;
        }
    };
    let refused =
        metrics::series(&page).find(|(name, _)| *name == "floodgate_admin_connections_refused_total").unwrap();
    assert!(refused.1 >= 1.0);
}

#[tokio::test]
async fn readiness_ends_with_draining() {
    let board = start().await;
    assert_eq!(status_of(&get(&board, "/readyz").await.0), 200);
    board.draining.store(true, Relaxed);
    assert_eq!(status_of(&get(&board, "/readyz").await.0), 503);
    assert_eq!(status_of(&get(&board, "/healthz").await.0), 200);
}

#[test]
fn a_failing_accept_waits_longer_each_time() {
    let no_descriptors = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    let mut pause = FIRST_PAUSE;
    for _ in 0..20 {
        let next = pause_after(&no_descriptors, pause).unwrap();
        assert!(next > pause || next == LONGEST_PAUSE);
        pause = next;
    }
    assert_eq!(pause, LONGEST_PAUSE);
    let aborted = io::Error::from_raw_os_error(rustix::io::Errno::CONNABORTED.raw_os_error());
    assert_eq!(pause_after(&aborted, FIRST_PAUSE), None);
}
