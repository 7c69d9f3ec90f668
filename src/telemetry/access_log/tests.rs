use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{AccessLog, LINE_BYTES, QUEUE_BYTES, Record};
use crate::config::settings::{AccessFormat, AccessTarget};
use crate::outcome::RequestEnd;

fn record(line: &[u8]) -> Record {
    Record {
        client: "192.0.2.1".parse().unwrap(),
        at: SystemTime::now(),
        request_line: line.into(),
        status: Some(200),
        end: RequestEnd::Forwarded,
        from_client: 1,
        to_client: 2,
        took: Duration::from_millis(3),
        upstream: None,
        count: 1,
    }
}

fn start(path: &Path, format: AccessFormat) -> AccessLog {
    AccessLog::start(&AccessTarget::File(path.to_owned()), format).unwrap()
}

/// Until so many records are written or dropped: a busy machine may need more than one wait.
fn settle(log: &AccessLog, records: u64) {
    while log.written() + log.dropped() < records {
        log.flush();
    }
}

#[test]
fn off_is_silent() {
    for log in [AccessLog::off(), AccessLog::start(&AccessTarget::Off, AccessFormat::Main).unwrap()] {
        assert!(!log.is_on());
        log.write(record(b"GET / HTTP/1.1"));
        log.reopen();
        log.flush();
        assert_eq!((log.written(), log.dropped(), log.errors()), (0, 0, 0));
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nowhere/access.log");
    let error = AccessLog::start(&AccessTarget::File(path.clone()), AccessFormat::Main).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn every_record_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = start(&path, AccessFormat::Json);
    assert!(log.is_on());
    let lines: [&[u8]; 4] =
        [b"GET http://o/ HTTP/1.1", b"GET http://user:secret@o/ HTTP/1.1", b"\n\xff\"\\\x00", &[b'a'; 3 * LINE_BYTES]];
    for line in lines {
        log.write(record(line));
    }
    settle(&log, 4);
    assert_eq!((log.written(), log.dropped(), log.errors()), (4, 0, 0));
    let text = fs::read_to_string(&path).unwrap();
    let requests: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|value| value["request"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        requests,
        [
            "GET http://o/ HTTP/1.1".to_owned(),
            "GET http://***@o/ HTTP/1.1".to_owned(),
            "\n\u{ff}\"\\\0".to_owned(),
            "a".repeat(LINE_BYTES),
        ]
    );
}

#[test]
fn more_than_a_batch_arrives_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = start(&path, AccessFormat::Main);
    for i in 0..4_000 {
        log.write(record(format!("GET /{i} HTTP/1.1").as_bytes()));
    }
    settle(&log, 4_000);
    assert_eq!(log.written(), 4_000);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 4_000);
    for (i, line) in text.lines().enumerate() {
        assert!(line.contains(&format!("GET /{i} ")), "{line}");
    }
}

#[test]
fn a_renamed_file_is_left_behind_on_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("access.log"), dir.path().join("old.log"));
    let log = start(&path, AccessFormat::Main);
    log.write(record(b"GET /first HTTP/1.1"));
    settle(&log, 1);
    fs::rename(&path, &old).unwrap();
    log.write(record(b"GET /second HTTP/1.1"));
    settle(&log, 2);
    log.reopen();
    log.write(record(b"GET /third HTTP/1.1"));
    settle(&log, 3);
    let old = fs::read_to_string(&old).unwrap();
    assert!(old.contains("/first") && old.contains("/second") && !old.contains("/third"));
    let new = fs::read_to_string(&path).unwrap();
    assert!(new.contains("/third") && new.lines().count() == 1);
}

#[test]
fn if_reopening_fails_lines_go_on_to_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("log");
    fs::create_dir(&folder).unwrap();
    let log = start(&folder.join("access.log"), AccessFormat::Main);
    let moved = dir.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    log.reopen();
    log.write(record(b"GET / HTTP/1.1"));
    settle(&log, 1);
    assert_eq!((log.written(), log.dropped(), log.errors()), (1, 0, 1));
    assert!(!fs::read(moved.join("access.log")).unwrap().is_empty());
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = start(&path, AccessFormat::Main);
    for _ in 0..100 {
        log.write(record(b"GET / HTTP/1.1"));
    }
    settle(&log, 100);
    assert_eq!((log.written(), log.dropped()), (0, 100));
    // One attempt, not one per line: the next is five seconds later.
    assert_eq!(log.errors(), 1);

    // There is room again, and the operator says so.
    fs::remove_file(&path).unwrap();
    log.reopen();
    log.write(record(b"GET /again HTTP/1.1"));
    settle(&log, 101);
    assert_eq!((log.written(), log.dropped()), (1, 100));
    assert!(fs::read_to_string(&path).unwrap().contains("/again"));
}

#[test]
fn a_fifo_nobody_reads_never_blocks_a_caller() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let log = start(&path, AccessFormat::Main);
    // The pipe and the writer's buffer take some 200 KiB, the queue 4 MiB.
    let sent = 4 * QUEUE_BYTES / LINE_BYTES;
    for _ in 0..sent {
        log.write(record(&[b'a'; LINE_BYTES]));
    }
    assert!(log.dropped() > sent as u64 / 2, "{}", log.dropped());
    let before = Instant::now();
    log.flush();
    assert!(before.elapsed() >= super::FLUSH_WAIT);

    // A reader turns up: what was queued arrives.
    let kept = sent as u64 - log.dropped();
    let mut reader = fs::File::open(&path).unwrap();
    let mut lines = 0;
    let mut chunk = [0; 8_192];
    while lines < kept {
        let n = reader.read(&mut chunk).unwrap();
        lines += memchr::memchr_iter(b'\n', &chunk[..n]).count() as u64;
    }
    settle(&log, sent as u64);
    assert_eq!(log.written(), kept);
    assert_eq!(log.errors(), 0);
}

#[test]
fn a_full_queue_of_short_lines_drops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let log = AccessLog::start_with(&AccessTarget::File(path), AccessFormat::Main, 16).unwrap();
    // The pipe takes 64 KiB; the loop ends because nothing more fits.
    while log.dropped() < 1_000 {
        log.write(record(b"GET / HTTP/1.1"));
    }
}
