//! One client in detail.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Board;
use super::{fence, get, start, status_of};
use crate::config::Settings;
use crate::guard::clients::detail::Act;
use crate::guard::fence::book::Why;
use crate::guard::ladder::Class;
use crate::guard::{Moment, Refusal};
use crate::http1::target::Host;
use crate::net::ClientKey;
use crate::outcome::{Form, RequestEnd};

fn key(address: &str) -> ClientKey {
    ClientKey::new(address.parse().unwrap())
}

async fn client(board: &Board, name: &str) -> Value {
    let (head, body) = get(board, &format!("/api/v1/clients/{name}")).await;
    assert_eq!(status_of(&head), 200, "{name}: {body}");
    assert!(body.is_ascii());
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_calm_client_is_shown_without_detail() {
    let board = start().await;
    let now = board.guard.clock.now();
    let _seats = [board.guard.book.enter(key("10.0.0.9"), now), board.guard.book.enter(key("10.0.0.9"), now)];
    let told = client(&board, "10.0.0.9").await;
    assert_eq!((&told["address"], &told["sockets"]), (&"10.0.0.9".into(), &2.into()));
    assert_eq!(told["kernel_bytes"], 4_096);
    assert_eq!(told["under_way"], json!({ "heads": 2, "openings": 0, "lookups": 0 }));
    assert_eq!((&told["fence"], &told["progress"], &told["kernel"]), (&Value::Null, &Value::Null, &Value::Null));
    for name in ["timing", "first_sample", "destinations", "events"] {
        assert_eq!(told[name], Value::Null, "{name}: it never climbed a ladder");
    }
    let ladder = told["ladder"].as_array().unwrap();
    assert_eq!(ladder.len(), Class::COUNT);
    let calm = json!({ "class": "self_target", "refusals": 0, "step": "answer", "why": null, "since": null,
        "until": null, "trial": null, "last": null });
    assert_eq!(ladder[0], calm);
}

#[tokio::test]
async fn a_storming_client_is_shown_with_what_was_done() {
    let board = start().await;
    let (guard, settings) = (&board.guard, Settings::defaults().guard);
    let now = guard.clock.now();
    let storms = guard.book.find(key("10.0.0.1"), now);
    for ms in 0..30 {
        let now = now.after(Duration::from_millis(ms));
        let end = RequestEnd::SelfTarget;
        drop(guard.refused(&Refusal { client: &storms, exempt: false, end, whole: true }, &settings, now));
        drop(guard.book.enter(key("10.0.0.1"), now.after(Duration::from_millis(5))));
    }
    storms.failed_on(&Host::Name("dead.example".into()), 443);
    guard.book.sample(key("10.0.0.1"), b"GET /<script>\x1b[31m\xe2\x80\xae\" HTTP/1.1");
    let later = |seconds| now.after(Duration::from_secs(seconds));
    for (act, at) in [
        (Act::Fenced(Class::SelfTarget), later(5)),
        (Act::HalfOpened, later(65)),
        (Act::FencedAgain, later(70)),
        (Act::Released(Why::Quiet), later(200)),
    ] {
        guard.book.acted(key("10.0.0.1"), act, at);
    }
    guard.fences.rows.store(Arc::new(vec![fence("10.0.0.1", now)]));
    let told = client(&board, "::ffff:10.0.0.1").await;
    assert_eq!((&told["step"], &told["fence"]["reason"]), (&"fence".into(), &"self_target".into()));
    let rung = &told["ladder"][0];
    assert_eq!((&rung["step"], &rung["refusals"]), (&"stall".into(), &30.into()));
    assert_eq!(rung["why"], "requests that name this proxy");
    let time = |name: &str| rung[name].as_u64().unwrap();
    assert!((59..=61).contains(&(time("until") - time("since"))), "{rung}");
    assert!((59..=61).contains(&(time("trial") - time("since"))), "{rung}");
    assert_eq!(told["first_sample"], r"GET /<script>\x1B[31m\xE2\x80\xAE\x22 HTTP/1.1");
    assert_eq!(told["timing"][1], json!({ "up_to_s": 0.01, "count": 21 }));
    assert_eq!(told["timing"][6]["up_to_s"], Value::Null);
    assert_eq!(
        told["destinations"],
        json!({ "first": [{ "host": "dead.example", "port": 443, "count": 1 }], "others": 0 })
    );
    let events = told["events"].as_array().unwrap();
    let texts: Vec<_> = events.iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "released: it has stopped",
            "fenced again: it still storms",
            "fence half open",
            "fenced: requests that name this proxy",
            "stalled: requests that name this proxy",
        ]
    );
    let at: Vec<_> = events.iter().map(|event| event["at"].as_u64().unwrap()).collect();
    assert!(at.is_sorted_by(|a, b| a >= b) && (199..=201).contains(&(at[0] - at[4])), "{at:?}");
}

#[tokio::test]
async fn only_the_latest_acts_are_kept() {
    let board = start().await;
    let (guard, settings) = (&board.guard, Settings::defaults().guard);
    let storms = guard.book.find(key("10.0.0.1"), Moment::default());
    for _ in 0..30 {
        let end = RequestEnd::SelfTarget;
        let refusal = Refusal { client: &storms, exempt: false, end, whole: true };
        drop(guard.refused(&refusal, &settings, Moment::default()));
    }
    for _ in 0..100 {
        storms.acted(Act::HalfOpened, Moment::default());
    }
    let told = client(&board, "10.0.0.1").await;
    let events = told["events"].as_array().unwrap();
    assert!(events.len() == 16 && events.iter().all(|event| event["event"] == "fence half open"), "{events:?}");
}

#[tokio::test]
async fn a_client_has_several_names_and_others_are_nobody() {
    let board = start().await;
    let address = "2001:db8::7".parse().unwrap();
    board
        .refusals
        .note(ClientKey::new(address), address, RequestEnd::Malformed, Form::Answered, || b"x".as_slice().into());
    board.refusals.drain();
    for name in ["2001:db8::7", "2001:db8::/64", "2001%3Adb8%3A%3A%2F64", "2001:DB8::ffff?x=1"] {
        assert_eq!(client(&board, name).await["address"], "2001:db8::/64", "{name}");
    }
    for (name, status) in [
        ("10.0.0.1", 404),
        ("2001:db8:0:1::7", 404),
        ("10.0.0.0/24", 400),
        ("2001:db8::%2", 400),
        ("2001:db8::%zz64", 400),
        ("%ff", 400),
        ("", 400),
        ("somebody", 400),
        ("10.0.0.1/", 400),
        ("..%2f..%2fetc", 400),
    ] {
        let (head, body) = get(&board, &format!("/api/v1/clients/{name}")).await;
        assert_eq!(status_of(&head), status, "{name}");
        assert_eq!(body.lines().count(), 1, "{body}");
    }
}
