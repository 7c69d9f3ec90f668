//! One attempt, and everything that can go wrong with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::net::TcpListener;

use super::rig::{Act, NOW, Server, answer, at, certificate, content, item, message, secret_file, send, webhook};
use crate::alarm::Stage;
use crate::alarm::deliver::endpoint::Trust;
use crate::alarm::deliver::failure::Trouble;
use crate::alarm::deliver::report::Report;
use crate::alarm::deliver::transport::{Transport, Way};
use crate::config::settings::{Webhook, WebhookKind, WebhookPlace};

#[tokio::test]
async fn every_kind_posts_what_it_should() {
    let server = Server::start(content()).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    secret_file(&key, "SECkey\n");
    let kinds = [
        WebhookKind::Wecom,
        WebhookKind::Dingtalk,
        WebhookKind::Feishu,
        WebhookKind::Slack,
        WebhookKind::Alertmanager,
        WebhookKind::Json,
    ];
    for kind in kinds {
        let signed = matches!(kind, WebhookKind::Dingtalk | WebhookKind::Feishu | WebhookKind::Json);
        let webhook = Webhook { secret_file: signed.then(|| key.clone()), ..at(kind, &server.url()) };
        assert_eq!(send(&webhook).await, Ok(()), "{}", kind.label());
    }
    let requests = server.requests();
    assert_eq!(requests.len(), kinds.len());
    for request in &requests {
        assert!(request.head.starts_with("post /"), "{}", request.head);
        assert_eq!(request.field("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(request.field("connection"), Some("close"));
        assert!(request.field("user-agent").unwrap().starts_with("floodgate/"));
        assert!(!request.head.contains("seckey") && !request.body.contains("SECkey"));
        assert!(request.json().is_object() || request.json().is_array());
    }
    let text = |index: usize, path: &str| requests[index].json().pointer(path).unwrap().as_str().unwrap().to_owned();
    for (index, path) in [(0, "/text/content"), (1, "/text/content"), (2, "/content/text"), (3, "/text")] {
        assert!(text(index, path).contains("gate-1"), "{index}");
    }
    assert!(requests[1].head.contains("&timestamp=") && requests[1].head.contains("&sign="));
    assert!(!text(2, "/sign").is_empty() && !text(2, "/timestamp").is_empty());
    assert!(requests[4].head.contains("/api/v2/alerts?key="), "{}", requests[4].head);
    assert!(requests[5].field("x-floodgate-signature").unwrap().starts_with("sha256="));
}

/// What comes of an answer.
async fn outcome(kind: WebhookKind, act: Act) -> (Trouble, String) {
    let server = Server::start(act).await;
    let failure = send(&at(kind, &server.url())).await.unwrap_err();
    assert!(!failure.why.contains("secret"), "{}", failure.why);
    (failure.trouble, failure.why)
}

#[tokio::test]
async fn answers_that_are_no_success() {
    for (kind, act, trouble, part) in [
        (WebhookKind::Json, answer("500 No", "", "out of order"), Trouble::Server, "status 500: out of order"),
        (WebhookKind::Json, answer("503 No", "", ""), Trouble::Server, "status 503"),
        (WebhookKind::Json, answer("429 No", "Retry-After: 7\r\n", ""), Trouble::Rate, "status 429"),
        (WebhookKind::Json, answer("408 No", "", ""), Trouble::Timeout, "status 408"),
        (WebhookKind::Slack, answer("404 No", "", "no_service"), Trouble::Refused, "status 404: no_service"),
        (WebhookKind::Slack, answer("403 No", "", "invalid_token"), Trouble::Refused, "invalid_token"),
        (WebhookKind::Slack, answer("400 No", "", "invalid_payload"), Trouble::Message, "invalid_payload"),
        (WebhookKind::Alertmanager, answer("413 No", "", ""), Trouble::Message, "status 413"),
        (
            WebhookKind::Json,
            answer("302 Go", "Location: http://127.0.0.1:1/secret\r\n", ""),
            Trouble::Refused,
            "redirect",
        ),
        (
            WebhookKind::Json,
            answer("404 No", "", "cannot POST /cgi-bin/webhook/send?key=0123-secret-4567"),
            Trouble::Refused,
            "cannot POST …",
        ),
        (WebhookKind::Json, Act::Say("SSH-2.0-OpenSSH\r\n".to_owned()), Trouble::Connection, ""),
        (WebhookKind::Json, Act::Say(String::new()), Trouble::Connection, ""),
        (WebhookKind::Json, Act::Reset, Trouble::Connection, ""),
        (
            WebhookKind::Wecom,
            answer("200 OK", "", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
            Trouble::Refused,
            "code 93000: invalid webhook url",
        ),
        (
            WebhookKind::Wecom,
            answer("200 OK", "", r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#),
            Trouble::Rate,
            "45009",
        ),
        (WebhookKind::Wecom, answer("200 OK", "", r#"{"errcode":-1,"errmsg":"system busy"}"#), Trouble::Server, "busy"),
        (
            WebhookKind::Wecom,
            answer("200 OK", "", "<html>a captive portal</html>"),
            Trouble::Server,
            "no code in: <html>",
        ),
        (WebhookKind::Wecom, answer("502 No", "", r#"{"errcode":0}"#), Trouble::Server, "status 502"),
        (
            WebhookKind::Dingtalk,
            answer("200 OK", "", r#"{"errcode":310000,"errmsg":"sign not match"}"#),
            Trouble::Refused,
            "sign not match",
        ),
        (
            WebhookKind::Feishu,
            answer("400 No", "", r#"{"code":19001,"msg":"param invalid"}"#),
            Trouble::Refused,
            "19001",
        ),
        (
            WebhookKind::Feishu,
            answer("200 OK", "", r#"{"code":11232,"msg":"frequency limited"}"#),
            Trouble::Rate,
            "11232",
        ),
        (WebhookKind::Feishu, Act::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned()), Trouble::Server, "length limit"),
        (WebhookKind::Json, Act::Endless("HTTP/1.1 500 No\r\n\r\n".to_owned()), Trouble::Server, "status 500"),
        (WebhookKind::Json, Act::Endless("HTTP/1.1 200 OK\r\nX: ".to_owned()), Trouble::Connection, ""),
    ] {
        let shown = format!("{act:?}");
        let (found, why) = outcome(kind, act).await;
        assert_eq!(found, trouble, "{shown}: {why}");
        assert!(why.contains(part), "{shown}: {why}");
    }
}

#[tokio::test]
async fn a_success_needs_no_body() {
    for act in [
        answer("204 None", "", ""),
        Act::Stop("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()),
        Act::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned()),
    ] {
        let server = Server::start(act).await;
        assert_eq!(send(&at(WebhookKind::Json, &server.url())).await, Ok(()));
    }
}

#[tokio::test]
async fn what_hangs_is_given_up_in_time() {
    let (tls, ca) = certificate(&["127.0.0.1"], NOW);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    for (kind, act) in [
        (WebhookKind::Json, Act::Mute),
        (WebhookKind::Json, Act::Stop(String::new())),
        (WebhookKind::Json, Act::Stop("HTTP/1.1 200 OK\r\nX: y".to_owned())),
        (WebhookKind::Wecom, Act::Stop("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned())),
    ] {
        for scheme in ["http", "https"] {
            let acceptor = (scheme == "https").then(|| tls.clone());
            let script = act.clone();
            let server = Server::scripted(move |_| script.clone(), acceptor).await;
            let url = server.url().replace("http", scheme);
            let webhook = Webhook { ca_file: Some(ca_file.clone()), ..at(kind, &url) };
            // From the moment on that it hangs, nobody has to wait: the clock runs as fast as it can.
            let hurry = async {
                server.met().await;
                tokio::time::pause();
            };
            let (result, ()) = tokio::join!(send(&webhook), hurry);
            tokio::time::resume();
            let failure = result.unwrap_err();
            assert_eq!(failure.trouble, Trouble::Timeout, "{scheme} {act:?}: {}", failure.why);
            assert!(failure.why.ends_with("within 5 s"), "{scheme} {act:?}: {}", failure.why);
        }
    }
}

#[tokio::test]
async fn nobody_there() {
    // Bound and closed again: refused.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = send(&at(WebhookKind::Json, &format!("http://{address}/"))).await.unwrap_err();
    assert_eq!(failure.trouble, Trouble::Connection);
    assert!(failure.why.contains("refused"), "{}", failure.why);
    // A label of 64 letters: nobody is even asked for it (RFC 1035 section 2.3.4).
    let failure = send(&at(WebhookKind::Json, &format!("http://{}.example/", "a".repeat(64)))).await.unwrap_err();
    assert_eq!(failure.trouble, Trouble::Name, "{}", failure.why);
}

#[tokio::test]
async fn certificates_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let good = ["127.0.0.1"];
    for (names, valid, trusted, expected) in [
        (&good[..], NOW, true, None),
        (&good[..], NOW, false, Some((Trouble::Certificate, "signed by nobody that this box trusts"))),
        (&["hooks.example.net"][..], NOW, true, Some((Trouble::Certificate, "for other names"))),
        (&good[..], (2020, 2021), true, Some((Trouble::Certificate, "was valid until 2021-01-01T00:00:00Z"))),
        (&good[..], (3999, 4000), true, Some((Trouble::Clock, "is valid from 3999-01-01T00:00:00Z"))),
    ] {
        let (tls, ca) = certificate(names, valid);
        std::fs::write(&ca_file, ca).unwrap();
        let server = Server::scripted(|_| content(), Some(tls)).await;
        let webhook = Webhook {
            ca_file: trusted.then(|| ca_file.clone()),
            ..at(WebhookKind::Wecom, &server.url().replace("http", "https"))
        };
        match (send(&webhook).await, expected) {
            (Ok(()), None) => assert_eq!(server.requests().len(), 1),
            (Err(failure), Some((trouble, part))) => {
                assert_eq!(failure.trouble, trouble, "{}", failure.why);
                assert!(failure.why.contains(part), "{}", failure.why);
                assert!(server.requests().is_empty(), "nothing was sent to it");
            }
            (result, _) => panic!("{names:?} {valid:?} {trusted}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn plain_http_is_no_tls() {
    let server = Server::start(content()).await;
    let failure = send(&at(WebhookKind::Wecom, &server.url().replace("http", "https"))).await.unwrap_err();
    assert_eq!(failure.trouble, Trouble::Connection);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_out() {
    let hours_ago = |hours: u64| {
        let time = Timestamp::try_from(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        format!("Date: {}\r\n", DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap())
    };
    let report = Arc::new(Report::default());
    for (hours, refused, expected) in
        [(0, true, Trouble::Refused), (2, false, Trouble::Clock), (2, true, Trouble::Clock)]
    {
        let code = if refused { 310_000 } else { 0 };
        let body = format!(r#"{{"errcode":{code},"errmsg":"invalid timestamp"}}"#);
        let server = Server::start(answer("200 OK", &hours_ago(hours), &body)).await;
        let webhook = at(WebhookKind::Dingtalk, &server.url());
        let way = Way::new(webhook.clone(), Trust::default(), Arc::clone(&report));
        let result = way.send(&item(&webhook, &message("", Stage::Firing))).await;
        assert_eq!(result.as_ref().err().map(|failure| failure.trouble), refused.then_some(expected), "{result:?}");
        let skew = report.skew();
        assert_eq!(skew.is_some(), hours > 0, "{skew:?}");
    }
    assert!((-7_260..=-7_140).contains(&report.skew().unwrap()));
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_passed_on() {
    let date = Timestamp::try_from(SystemTime::now() + Duration::from_secs(90)).unwrap();
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
    for (field, least, most) in [("7".to_owned(), 7, 7), (date, 80, 90), ("soon".to_owned(), 0, 0)] {
        let server = Server::start(answer("429 No", &format!("Retry-After: {field}\r\n"), "")).await;
        let failure = send(&at(WebhookKind::Json, &server.url())).await.unwrap_err();
        let wait = failure.wait.unwrap_or_default().as_secs();
        assert!((least..=most).contains(&wait), "{field}: {wait}");
    }
    // A robot does not say how long; its minute is known.
    let server = Server::start(answer("200 OK", "", r#"{"errcode":45009}"#)).await;
    let failure = send(&at(WebhookKind::Wecom, &server.url())).await.unwrap_err();
    assert_eq!(failure.wait, Some(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_file_that_was_mended_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let webhook = webhook(WebhookKind::Wecom, WebhookPlace::UrlFile(path.clone()));
    let way = Way::new(webhook.clone(), Trust::default(), Arc::new(Report::default()));
    let item = item(&webhook, &message("", Stage::Firing));
    let failure = way.send(&item).await.unwrap_err();
    assert_eq!(failure.trouble, Trouble::Setting);
    assert!(failure.why.starts_with(path.to_str().unwrap()), "{}", failure.why);
    let wrong = Server::start(answer("200 OK", "", r#"{"errcode":93000}"#)).await;
    secret_file(&path, &wrong.url());
    assert_eq!(way.send(&item).await.unwrap_err().trouble, Trouble::Refused);
    let right = Server::start(content()).await;
    secret_file(&path, &format!("{}\n", right.url()));
    assert_eq!(way.send(&item).await, Ok(()));
    assert_eq!((wrong.requests().len(), right.requests().len()), (1, 1));
}
