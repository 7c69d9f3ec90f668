//! Dashboards that listen, and those who ask beside them.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::yield_now;

use super::super::Board;
use super::super::limits::{CONNECTIONS, LIFE, LISTENERS};
use super::{connect, get, metrics, settings, speak, start, status_of};

const REQUEST: &[u8] = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A page that listens.
struct Dashboard(BufReader<TcpStream>);

impl Dashboard {
    async fn open(board: &Board) -> Self {
        Self::over(connect(board).await).await
    }

    async fn over(mut stream: TcpStream) -> Self {
        stream.write_all(REQUEST).await.unwrap();
        let mut dashboard = Self(BufReader::new(stream));
        assert_eq!(dashboard.line().await.as_deref(), Some("HTTP/1.1 200 OK"));
        let mut kind = None;
        while let Some(field) = dashboard.line().await.filter(|field| !field.is_empty()) {
            kind = field.strip_prefix("content-type: ").map(str::to_owned).or(kind);
        }
        assert_eq!(kind.as_deref(), Some("text/event-stream"));
        dashboard
    }

    /// `None` at the end of the connection.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event: its number and its status.
    async fn next(&mut self) -> Option<(u64, Value)> {
        let (mut number, mut kind) = (0, None);
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => number = id.parse().unwrap(),
                Some(("event", event)) => kind = Some(event.to_owned()),
                Some(("retry", time)) => assert_eq!(time, "1000"),
                Some(("data", data)) => {
                    assert_eq!(kind.as_deref(), Some("status"));
                    return Some((number, serde_json::from_str(data).unwrap()));
                }
                // Sizes of chunks, and the line that ends an event.
                _ => assert!(line.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}"),
            }
        }
    }
}

/// Until so many listen: the server has to see that others are gone.
async fn listeners(board: &Board, count: usize) {
    while board.events.listeners() != count {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_a_second_longer_than_any_connection_that_asks() {
    let board = start().await;
    let mut kept = connect(&board).await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut dashboards = [Dashboard::open(&board).await, Dashboard::open(&board).await];
    for number in 1..=LIFE.as_secs() + 30 {
        let [one, other] = &mut dashboards;
        let (event, status) = one.next().await.unwrap();
        assert_eq!(event, number);
        assert_eq!(status["gateway"]["name"], "floodgate");
        assert_eq!(status["guard"]["limits"]["admin_listeners"]["used"], 2);
        assert_eq!(other.next().await.unwrap(), (event, status));
    }
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "the one that asks was closed: {answer}");
}

#[tokio::test]
async fn dashboards_take_no_place_from_who_asks() {
    let board = start().await;
    let mut dashboards = Vec::new();
    for _ in 0..LISTENERS.all {
        dashboards.push(Dashboard::open(&board).await);
    }
    let (head, _) = get(&board, "/api/v1/events").await;
    assert_eq!(status_of(&head), 503);
    assert!(head.contains("\r\nretry-after: 1"), "{head}");

    let mut kept = Vec::new();
    let mut chunk = [0; 1_024];
    // With one place left for the metrics.
    for _ in 1..CONNECTIONS.all {
        let mut stream = connect(&board).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut chunk).await.unwrap() > 0);
        kept.push(stream);
    }
    let (_, page) = get(&board, "/metrics").await;
    let value = |name: &str| metrics::series(&page).find(|(series, _)| *series == name).map(|(_, value)| value);
    assert_eq!(value("floodgate_admin_listeners"), Some(128.0));
    assert_eq!(value("floodgate_admin_listeners_refused_total"), Some(1.0));
    assert_eq!(value("floodgate_admin_connections_refused_total"), Some(0.0));

    // Who leaves gives his place to another.
    drop(dashboards);
    listeners(&board, 0).await;
    assert!(Dashboard::open(&board).await.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_given_up_and_the_others_go_on() {
    let board = start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_304).unwrap();
    let silent = Dashboard::over(socket.connect(board.admin_address).await.unwrap()).await;
    let mut reads = Dashboard::open(&board).await;
    let mut last = 0;
    while board.events.listeners() == 2 {
        let (number, _) = reads.next().await.unwrap();
        assert_eq!(number, last + 1, "nobody waits for another");
        last = number;
    }
    assert!(reads.next().await.is_some());
    // It gets what the kernel had for it, which is bounded, and then the end.
    let Dashboard(mut silent) = silent;
    let (mut got, mut chunk) = (0, [0; 4_096]);
    while let Ok(read @ 1..) = silent.read(&mut chunk).await {
        got += read;
    }
    assert!(got < 200_000, "{got}");
    let (_, page) = get(&board, "/metrics").await;
    let given_up = metrics::series(&page).find(|(name, _)| *name == "floodgate_admin_connections_given_up_total");
    assert_eq!(given_up.map(|(_, count)| count), Some(1.0));
}

#[tokio::test]
async fn the_end_comes_cleanly() {
    let board = start().await;
    let mut dashboard = Dashboard::open(&board).await;
    assert!(dashboard.next().await.is_some());
    board.events.end();
    let mut rest = String::new();
    dashboard.0.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "the last chunk is missing: {rest:?}");
    assert_eq!(status_of(&get(&board, "/api/v1/events").await.0), 503);
    assert_eq!(status_of(&get(&board, "/api/v1/status").await.0), 200);
}

#[tokio::test(start_paused = true)]
async fn who_may_no_longer_see_hears_no_more() {
    let board = start().await;
    let mut dashboard = Dashboard::open(&board).await;
    assert!(dashboard.next().await.is_some());
    let mut settings = settings();
    settings.admin.allow = vec!["10.0.0.0/8".parse().unwrap()];
    board.settings.store(Arc::new(settings));
    assert!(dashboard.next().await.is_none());
    listeners(&board, 0).await;
}

#[tokio::test]
async fn who_may_not_listen_takes_no_place() {
    let board = start().await;
    for (field, status) in
        [("Origin: http://evil.example", 403), ("Sec-Fetch-Site: cross-site", 403), ("Sec-Fetch-Site: same-site", 403)]
    {
        let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}\r\n\r\n");
        assert_eq!(status_of(&speak(&board, &request).await.0), status, "{field}");
    }
    let request = |method: &str, host: &str| {
        format!("{method} /api/v1/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    };
    assert_eq!(status_of(&speak(&board, &request("GET", "evil.example")).await.0), 403);
    assert_eq!(status_of(&speak(&board, &request("POST", "localhost")).await.0), 405);
    let (head, body) = speak(&board, &request("HEAD", "localhost")).await;
    assert_eq!((status_of(&head), body.as_str()), (200, ""));
    assert_eq!(board.events.listeners(), 0);
}
