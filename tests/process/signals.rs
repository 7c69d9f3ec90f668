//! SIGUSR1, SIGTERM and SIGKILL.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;

use crate::rig::{Client, Floodgate, config, echo, eventually, origin, serve};

#[test]
fn usr1_opens_the_access_log_again_and_loses_no_line() {
    let origin = origin("logged");
    let folder = tempfile::tempdir().unwrap();
    let (log, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let floodgate = Floodgate::start(&[origin], &format!("[log]\naccess = \"{}\"", log.display()));
    let lines = |path| std::fs::read_to_string(path).unwrap_or_default().lines().count();

    let (enough, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = floodgate.client();
            while !enough.load(SeqCst) {
                let number = asked.fetch_add(1, SeqCst);
                assert!(client.get(origin, &format!("/{number}")).ends_with("logged"));
            }
        });
        eventually("lines in the log", || lines(&log) > 20);
        std::fs::rename(&log, &rotated).unwrap();
        floodgate.signal(Signal::USR1);
        eventually("lines in the new log", || lines(&log) > 20);
        enough.store(true, SeqCst);
    });
    let asked = asked.into_inner();
    eventually("every line", || lines(&log) + lines(&rotated) >= asked);
    let text = std::fs::read_to_string(&rotated).unwrap() + &std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), asked);
    for number in 0..asked {
        let found = text.matches(&format!("/{number} HTTP/1.1\" 200 ")).count();
        assert_eq!(found, 1, "/{number}");
    }
}

#[test]
fn term_finishes_a_slow_download_and_nothing_else_keeps_it() {
    const PIECE: &[u8] = &[b'x'; 1000];
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let slow = serve(move |mut client| {
        client.head();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 3 * PIECE.len()));
        for () in gone.lock().unwrap().iter() {
            client.send(PIECE);
        }
    });
    let quick = origin("quick");
    let mut floodgate = Floodgate::start(&[slow, quick], "");
    let mut idle = floodgate.client();
    assert!(idle.get(quick, "/").ends_with("quick"));
    let mut download = floodgate.client();
    download.send(format!("GET http://{slow}/ HTTP/1.1\r\nHost: {slow}\r\n\r\n"));
    go.send(()).unwrap();
    let head = download.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");

    floodgate.signal(Signal::TERM);
    floodgate.says("draining", 1);
    assert_eq!(idle.rest(), "", "an idle connection is closed, not reset");
    eventually("new connections are refused", || {
        TcpStream::connect(floodgate.proxy).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(floodgate.ask_admin("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(floodgate.ask_admin("/healthz").starts_with("HTTP/1.1 200 "));
    // It goes on to trickle.
    go.send(()).unwrap();
    go.send(()).unwrap();
    let body = download.rest();
    assert_eq!(body.len(), 3 * PIECE.len());
    drop(go);
    assert!(floodgate.wait().success());
    floodgate.says("stopped", 1);
}

#[test]
fn term_waits_no_longer_than_it_was_told() {
    let echo = echo();
    let mut floodgate = Floodgate::start(&[echo], "[timeouts]\ndrain = '200ms'");
    let mut tunnel = floodgate.client();
    tunnel.tunnel(echo);
    floodgate.signal(Signal::TERM);
    assert!(floodgate.wait().success());
    floodgate.says("connections=1", 1);
    assert!(tunnel.0.write_all(b"more").is_err() || tunnel.head().is_empty());
}

#[test]
fn a_second_signal_ends_the_wait() {
    let echo = echo();
    let mut floodgate = Floodgate::start(&[echo], "[timeouts]\ndrain = '1h'");
    let mut tunnel = floodgate.client();
    tunnel.tunnel(echo);
    floodgate.signal(Signal::TERM);
    floodgate.says("draining", 1);
    floodgate.signal(Signal::INT);
    assert!(floodgate.wait().success());
    floodgate.says("connections=1", 1);
}

#[test]
fn int_ends_it_as_term_does() {
    let mut floodgate = Floodgate::start(&[], "");
    floodgate.signal(Signal::INT);
    assert!(floodgate.wait().success());
}

#[test]
fn kill_leaves_nothing_and_the_next_one_starts_at_once() {
    let (echo, origin) = (echo(), origin("again"));
    let mut first = Floodgate::start(&[echo, origin], "");
    let clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = first.client();
            client.tunnel(echo);
            client
        })
        .collect();
    let children = first.proc(&format!("task/{}/children", first.pid().as_raw_nonzero()));
    assert_eq!(std::fs::read_to_string(children).unwrap_or_default(), "", "it starts no process");
    first.signal(Signal::KILL);
    assert!(!first.wait().success());
    let left: Vec<_> =
        std::fs::read_dir(first.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["floodgate.toml"], "no file but the one that was there");

    // On the same ports, with the connections of the dead one still in the kernel.
    let same = config(&[echo, origin], "").replacen("127.0.0.1:0", &first.proxy.to_string(), 1).replacen(
        "127.0.0.1:0",
        &first.admin.to_string(),
        1,
    );
    let second = Floodgate::with(&same, std::process::Command::new(crate::rig::BINARY));
    assert_eq!((second.proxy, second.admin), (first.proxy, first.admin));
    assert!(second.get(origin, "/").ends_with("again"));
    drop(Arc::new(clients));
}
