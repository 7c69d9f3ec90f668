//! Who may see what from the LAN.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::super::connection::{self, Visitor};
use super::super::desk::Desk;
use super::super::token::Token;
use super::{TOKEN, board, metrics, settings, status_of};

const READ: &str = "read-read-read-read";

/// A gateway that is asked from wherever it is told.
struct Lan {
    desk: Arc<Desk>,
    listener: TcpListener,
}

impl Lan {
    async fn new(read_token: Option<Result<Token, String>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut board = board(&listener);
        board.read_token = read_token;
        let mut settings = settings();
        settings.admin.allow = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        board.settings.store(Arc::new(settings));
        Self { desk: Arc::new(Desk::new(Arc::new(board))), listener }
    }

    async fn with_token() -> Self {
        Self::new(Some(Ok(Token::parse(READ.as_bytes()).unwrap()))).await
    }

    /// Head and body of the answer to a request from this address.
    async fn ask(&self, from: &str, request: String) -> (String, String) {
        let to = self.listener.local_addr().unwrap();
        let (asks, accepted) = tokio::join!(TcpSocket::new_v4().unwrap().connect(to), self.listener.accept());
        let visitor = Visitor::new(from.parse().unwrap(), to, &self.desk.places).unwrap();
        let served = tokio::spawn(connection::serve(Arc::clone(&self.desk), accepted.unwrap().0, visitor));
        let (mut asks, mut answer) = (asks.unwrap(), String::new());
        asks.write_all(request.as_bytes()).await.unwrap();
        asks.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn get(&self, from: &str, target: &str, fields: &str) -> (String, String) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        self.ask(from, request).await
    }

    async fn status(&self, from: &str, target: &str, fields: &str) -> u16 {
        status_of(&self.get(from, target, fields).await.0)
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

const ALL: [&str; 8] = [
    "/",
    "/app.js",
    "/metrics",
    "/api/v1/status",
    "/api/v1/history",
    "/api/v1/clients/10.0.0.1",
    "/api/v1/events?x",
    "/nothing",
];

#[tokio::test]
async fn without_a_token_file_the_address_decides() {
    let lan = Lan::new(None).await;
    for from in ["127.0.0.1", "10.0.0.7", "::ffff:10.0.0.7"] {
        assert_eq!(lan.status(from, "/api/v1/status", "").await, 200, "{from}");
    }
    assert_eq!(lan.status("192.168.0.1", "/api/v1/status", "").await, 403);
}

#[tokio::test]
async fn the_lan_shows_the_token_and_this_box_does_not() {
    let lan = Lan::with_token().await;
    for target in ALL {
        let (head, body) = lan.get("10.0.0.7", target, "").await;
        assert_eq!(status_of(&head), 401, "{target}");
        assert!(head.contains("\r\nwww-authenticate: Bearer realm=\"floodgate\"\r\n"), "{head}");
        assert!(body.contains("admin.read-token-file") && body.lines().count() == 1, "{body}");
        for shown in [READ, TOKEN] {
            assert_ne!(lan.status("10.0.0.7", &target.replace("events?x", "status"), &bearer(shown)).await, 401);
        }
        assert_ne!(lan.status("127.0.0.1", &target.replace("events?x", "status"), "").await, 401, "{target}");
    }
    for target in ["/healthz", "/readyz"] {
        assert_eq!(lan.status("10.0.0.7", target, "").await, 200, "{target}");
    }
    assert_eq!(lan.status("::ffff:127.0.0.1", "/metrics", "").await, 200);
    // Whoever may see may not change.
    let release = |token: &str| {
        format!(
            "POST /api/v1/fences/release HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Length: 13\r\n\r\n{{\"all\": true}}",
            bearer(token)
        )
    };
    assert_eq!(status_of(&lan.ask("10.0.0.7", release(READ)).await.0), 401);
    assert_eq!(status_of(&lan.ask("10.0.0.7", release(TOKEN)).await.0), 202);
}

#[tokio::test]
async fn the_page_is_opened_once_with_the_token_and_then_with_a_cookie() {
    let lan = Lan::with_token().await;
    for token in [READ, TOKEN, "%72ead-read-read-read"] {
        let (head, body) = lan.get("10.0.0.7", &format!("/?token={token}"), "").await;
        assert_eq!(status_of(&head), 303, "{token}");
        assert!(head.contains("\r\nlocation: /\r\n") && !body.contains(token), "{head}");
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        assert!(pair.starts_with("floodgate_read=") && !pair.contains(READ) && !pair.contains(TOKEN), "{pair}");

        let fields = format!("Cookie: theme=dark; {pair}\r\n");
        for target in ALL {
            let status = lan.status("10.0.0.7", &target.replace("events?x", "status"), &fields).await;
            assert!([200, 404].contains(&status), "{target}: {status}");
        }
        // What is in the address is not to stay there.
        let (head, _) = lan.get("10.0.0.7", "/?token=old", &fields).await;
        assert!(status_of(&head) == 303 && !head.contains("set-cookie"), "{head}");
        // It changes nothing, and is not the token.
        let release = format!(
            "POST /api/v1/fences/release HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: 13\r\n\r\n{{\"all\": true}}"
        );
        assert_eq!(status_of(&lan.ask("10.0.0.7", release).await.0), 401);
        let value = pair.strip_prefix("floodgate_read=").unwrap();
        assert_eq!(lan.status("10.0.0.7", "/metrics", &bearer(value)).await, 401);
    }
    assert_eq!(
        lan.status("10.0.0.7", "/metrics", &format!("Cookie: floodgate_read={}\r\n", "0".repeat(64))).await,
        401
    );
    assert_eq!(lan.status("10.0.0.7", &format!("/metrics?token={READ}"), "").await, 401, "of the page only");
    // To this box the address says nothing.
    assert_eq!(lan.status("127.0.0.1", "/?token=old", "").await, 200);
}

#[tokio::test]
async fn guesses_are_few_and_counted() {
    let lan = Lan::with_token().await;
    let right = lan.get("10.0.0.7", &format!("/?token={READ}"), "").await.0;
    let cookie = right.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let mut wrong = 0;
    let head = loop {
        let (head, _) = lan.get("10.0.0.8", "/metrics", &bearer("wrong-wrong-wrong-wrong")).await;
        wrong += 1;
        if status_of(&head) != 401 {
            break head;
        }
    };
    assert!(wrong > 10, "{wrong}");
    assert!(status_of(&head) == 429 && head.contains("\r\nretry-after: 1"), "{head}");
    // The others' tokens are looked at. Those who are in stay in, and who shows nothing is told what to show.
    assert_eq!(lan.status("10.0.0.8", "/metrics", &bearer(READ)).await, 429);
    wrong += 1;
    assert_eq!(lan.status("10.0.0.9", "/metrics", &bearer(READ)).await, 200);
    assert_eq!(lan.status("10.0.0.7", "/api/v1/status", &cookie).await, 200);
    assert_eq!(lan.status("10.0.0.9", "/api/v1/status", "").await, 401);
    let (_, page) = lan.get("127.0.0.1", "/metrics", "").await;
    let counted = metrics::series(&page).find(|(name, _)| *name == "floodgate_admin_credentials_refused_total");
    assert_eq!(counted.map(|(_, count)| count), Some(f64::from(wrong)));
}

#[tokio::test]
async fn guesses_at_what_may_change_are_as_few() {
    let lan = Lan::new(None).await;
    let release = |token: &str| {
        format!(
            "POST /api/v1/fences/release HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Length: 13\r\n\r\n{{\"all\": true}}",
            bearer(token)
        )
    };
    let mut wrong = 0;
    while status_of(&lan.ask("10.0.0.8", release("wrong-wrong-wrong-wrong")).await.0) == 401 {
        wrong += 1;
        assert!(wrong < 1_000, "nobody is counting");
    }
    assert!(wrong >= 10, "{wrong}");
    for (from, status) in [("10.0.0.8", 429), ("10.0.0.9", 202), ("127.0.0.1", 202)] {
        assert_eq!(status_of(&lan.ask(from, release(TOKEN)).await.0), status, "{from}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_used_lets_nobody_in() {
    let lan = Lan::new(Some(Err("others may read it".to_owned()))).await;
    for fields in [String::new(), bearer(READ), bearer("others may read it"), bearer("")] {
        assert_eq!(lan.status("10.0.0.7", "/api/v1/status", &fields).await, 401, "{fields}");
    }
    assert_eq!(lan.status("10.0.0.7", "/api/v1/status", &bearer(TOKEN)).await, 200);
    let (_, body) = lan.get("127.0.0.1", "/api/v1/status", "").await;
    assert!(body.contains(r#""reading":"off: others may read it""#), "{body}");
}
