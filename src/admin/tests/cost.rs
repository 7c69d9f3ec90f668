//! What it costs to show ten thousand clients. Figures are printed, not judged:
//! `cargo test --release --lib admin::tests::cost -- --nocapture`.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use tokio::net::TcpListener;

use super::super::desk::Desk;
use super::board;
use crate::config::Settings;
use crate::guard::Refusal;
use crate::net::ClientKey;
use crate::outcome::{Form, RequestEnd};

const CLIENTS: u32 = 10_000;

#[tokio::test]
async fn a_status_of_ten_thousand_clients() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let desk = Desk::new(Arc::new(board(&listener)));
    let empty = desk.status().len();
    let (guard, refusals) = (&desk.board.guard, &desk.board.refusals);
    let (settings, now) = (Settings::defaults().guard, guard.clock.now());
    let key = |n: u32| ClientKey::new(Ipv4Addr::from_bits(0x0a00_0000 + n).into());
    let _seats: Vec<_> =
        (0..CLIENTS).flat_map(|n| (0..=n % 3).map(move |_| n)).map(|n| guard.book.enter(key(n), now)).collect();
    // One in ten is refused, one in a hundred storms.
    for n in (0..CLIENTS).step_by(10) {
        let client = guard.book.find(key(n), now);
        let times = if n % 100 == 0 { 50 } else { 1 };
        for _ in 0..times {
            let refusal = Refusal { client: &client, exempt: false, end: RequestEnd::SelfTarget, whole: true };
            drop(guard.refused(&refusal, &settings, now));
            let line = || format!("GET http://10.0.0.1/{} HTTP/1.1", "x".repeat(200)).into_bytes().into();
            refusals.note(key(n), key(n).address(), RequestEnd::SelfTarget, Form::Answered, line);
        }
    }
    refusals.drain();
    guard.book.tick(now.after(Duration::from_secs(1)), |_, _| {});
    assert_eq!(guard.book.tracked(), CLIENTS as usize);

    let figures = |make: &dyn Fn() -> String| {
        let mut took: Vec<_> = (0..50)
            .map(|_| {
                let begun = Instant::now();
                let length = make().len();
                (begun.elapsed(), length)
            })
            .collect();
        took.sort_unstable();
        let (median, length) = took[took.len() / 2];
        (median, took[0].0, length)
    };
    let resident = fs::read_to_string("/proc/self/status").unwrap();
    let resident = resident.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    for (name, (median, least, length)) in
        [("status", figures(&|| desk.status())), ("metrics", figures(&|| desk.metrics()))]
    {
        // Not `println!`, which the test harness hides.
        writeln!(io::stderr(), "{name}: {median:?} (least {least:?}), {length} bytes, {CLIENTS} clients; {resident}")
            .unwrap();
        assert!(length > 0);
    }
    let full = desk.status().len();
    assert!(full > empty && full < 256 << 10, "{full} bytes, {empty} without clients");
}
