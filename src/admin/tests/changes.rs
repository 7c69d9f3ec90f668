//! Fences released over HTTP: who may, how it is asked for, what comes of it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::Board;
use super::{TOKEN, ask, connect, fence, speak, start, status_of};
use crate::guard::fence::Release;
use crate::net::ClientKey;

const PATH: &str = "/api/v1/fences/release";

async fn post(board: &Board, fields: &str, body: &str) -> (String, String) {
    let length = body.len();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    speak(board, &request).await
}

async fn with_token(board: &Board, body: &str) -> (u16, String) {
    let (head, body) = post(board, &format!("Authorization: Bearer {TOKEN}\r\n"), body).await;
    (status_of(&head), body)
}

async fn fenced(addresses: &[&str]) -> Arc<Board> {
    let board = start().await;
    let now = board.guard.clock.now();
    board.guard.fences.rows.store(Arc::new(addresses.iter().map(|address| fence(address, now)).collect()));
    board
}

#[tokio::test]
async fn who_is_fenced_is_let_in_again() {
    let board = fenced(&["10.0.0.1", "10.0.0.2", "2001:db8::1"]).await;
    let released = |body: &str| serde_json::from_str::<Value>(body).unwrap();
    for (asked, address) in [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.2", "10.0.0.2"),
        ("2001:db8::ffff", "2001:db8::1"),
        ("2001:db8::/64", "2001:db8::1"),
    ] {
        let (status, body) = with_token(&board, &json!({ "address": asked }).to_string()).await;
        assert_eq!((status, released(&body)), (202, json!({ "released": 1 })), "{asked}");
        let client = ClientKey::new(address.parse().unwrap());
        assert_eq!(board.guard.fences.take_wishes(), [Release::One(client)], "{asked}");
    }
    let (status, body) = with_token(&board, r#"{"all": true}"#).await;
    assert_eq!((status, released(&body)), (202, json!({ "released": 3 })));
    assert_eq!(board.guard.fences.take_wishes(), [Release::All]);

    let (status, body) = with_token(&board, r#"{"address": "10.0.0.3"}"#).await;
    assert_eq!((status, body.as_str()), (404, "10.0.0.3/32 is not fenced.\n"));
    assert!(board.guard.fences.take_wishes().is_empty());
}

#[tokio::test]
async fn too_many_wishes_are_refused_until_they_are_taken() {
    let board = fenced(&["10.0.0.1"]).await;
    while board.guard.fences.release(Release::All) {}
    let (head, _) = post(&board, &format!("Authorization: Bearer {TOKEN}\r\n"), r#"{"all": true}"#).await;
    assert_eq!(status_of(&head), 503);
    assert!(head.contains("retry-after: 1"));
    board.guard.fences.take_wishes();
    assert_eq!(with_token(&board, r#"{"all": true}"#).await.0, 202);
}

#[tokio::test]
async fn nobody_else_may() {
    let board = fenced(&["10.0.0.1"]).await;
    let all = r#"{"all": true}"#;
    for fields in [
        "",
        "Authorization: Bearer 0123456789abcdee\r\n",
        "Authorization: Basic 0123456789abcdef\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer 0123456789abcdef\r\nAuthorization: Bearer 0123456789abcdef\r\n",
        "Cookie: token=0123456789abcdef\r\n",
    ] {
        let (head, _) = post(&board, fields, all).await;
        assert_eq!(status_of(&head), 401, "{fields}");
        assert!(head.contains("\r\nwww-authenticate: bearer realm=\"floodgate\""), "{head}");
    }
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for fields in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let (head, _) = post(&board, &format!("{token}{fields}"), all).await;
        assert_eq!(status_of(&head), 403, "{fields}");
    }
    let request =
        format!("POST {PATH} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{token}Content-Length: 0\r\n\r\n");
    assert_eq!(status_of(&speak(&board, &request).await.0), 403);
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = ask(&board, method, PATH, "localhost").await;
        assert_eq!(status_of(&head), 405, "{method}");
        assert!(head.contains("\r\nallow: post\r\n"), "{head}");
    }
    assert!(board.guard.fences.take_wishes().is_empty());
}

#[tokio::test]
async fn a_hostile_body_costs_an_answer() {
    let board = fenced(&["10.0.0.1"]).await;
    for body in ["", "{}", "[[[[", "{\"address\": \"10.0.0.300\"}", "\u{0}\u{1}"] {
        let (status, told) = with_token(&board, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(told.ends_with('\n') && told.lines().count() == 1, "{told}");
    }
    let long = format!("{{\"address\": \"{}\"}}", "1".repeat(5_000));
    assert_eq!(with_token(&board, &long).await.0, 413);
    let head =
        format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n");
    // Endless, in chunks.
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
    let (answer, _) = speak(&board, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(5))).await;
    assert_eq!(status_of(&answer), 413);
    let (answer, _) = speak(&board, &format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
    assert_eq!(status_of(&answer), 400);
    // A head beyond every measure.
    let mut stream = connect(&board).await;
    let field = format!("X: {}\r\n", "y".repeat(1_000));
    // The rest of it may meet a connection that is closed.
    stream.write_all(format!("{head}{}", field.repeat(40)).as_bytes()).await.unwrap_or_default();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap_or_default();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    assert!(board.guard.fences.take_wishes().is_empty());
    assert_eq!(with_token(&board, r#"{"all": true}"#).await.0, 202, "it goes on");
}
