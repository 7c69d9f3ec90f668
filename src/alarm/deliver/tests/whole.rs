//! The whole of it: from the channel to the servers, over reloads, a kill and a full disk.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::{Sender, bounded};
use tokio::runtime::Runtime;

use super::rig::{Server, answer, at, content, message, secret_file, webhook};
use crate::alarm::deliver::{self, Deliveries, Event, Trouble};
use crate::alarm::{Message, Severity, Stage};
use crate::config::Settings;
use crate::config::settings::{Webhook, WebhookKind, WebhookPlace};

/// Where a child of this test has its state, and the file with the address that it posts to.
const STATE: &str = "FLOODGATE_TEST_STATE";
const URL: &str = "FLOODGATE_TEST_URL";
/// Messages that wait when a child is killed.
const WAITING: usize = 30;

fn settings(webhooks: Vec<Webhook>) -> Settings {
    Settings { webhooks, ..Settings::defaults() }
}

struct Rig {
    messages: Sender<Message>,
    settings: Arc<ArcSwap<Settings>>,
    deliveries: Deliveries,
}

impl Rig {
    fn start(webhooks: Vec<Webhook>, state: Option<&Path>) -> Self {
        let (messages, receiver) = bounded(16);
        let settings = Arc::new(ArcSwap::from_pointee(settings(webhooks)));
        let deliveries = deliver::start(receiver, Arc::clone(&settings), state.map(Path::to_owned)).unwrap();
        Self { messages, settings, deliveries }
    }

    fn tell(&self, subject: &str) {
        self.messages.send(message(subject, Stage::Firing)).unwrap();
    }

    fn finish(self) {
        drop(self.messages);
        self.deliveries.finish();
    }
}

fn subjects(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.json()["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn messages_arrive_whatever_happens_to_the_other_destination() {
    let runtime = Runtime::new().unwrap();
    let well = runtime.block_on(Server::start(content()));
    let sick = runtime.block_on(Server::start(answer("500 No", "", "")));
    let rig = Rig::start(vec![at(WebhookKind::Json, &well.url()), at(WebhookKind::Slack, &sick.url())], None);
    for n in 0..50 {
        rig.tell(&n.to_string());
    }
    runtime.block_on(well.asked(50));
    assert_eq!(subjects(&well), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    runtime.block_on(sick.asked(1));
    let report = Arc::clone(&rig.deliveries.report);
    while report.failing().is_empty() {
        std::thread::yield_now();
    }
    let failing = report.failing();
    let [failing] = &*failing else { panic!("{failing:?}") };
    assert_eq!((&*failing.destination, failing.trouble), ("slack 127.0.0.1", Trouble::Server));
    rig.finish();
    assert_eq!(report.count(WebhookKind::Json, Event::Delivered), 50);
    assert_eq!(report.count(WebhookKind::Slack, Event::Delivered), 0);
    assert!(report.unstored().is_some(), "there is no folder");
}

#[test]
fn each_gets_what_is_severe_enough() {
    let runtime = Runtime::new().unwrap();
    let (all, few) = (runtime.block_on(Server::start(content())), runtime.block_on(Server::start(content())));
    let critical = Webhook { severity: Severity::Critical, ..at(WebhookKind::Json, &few.url()) };
    let rig = Rig::start(vec![at(WebhookKind::Json, &all.url()), critical], None);
    // As severe as the table of words has it: not critical.
    rig.tell("a");
    rig.messages.send(message("b", Stage::Test)).unwrap();
    runtime.block_on(all.asked(2));
    runtime.block_on(few.asked(1));
    rig.finish();
    assert_eq!((subjects(&all), subjects(&few)), (vec!["a".to_owned(), "b".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn a_reload_changes_the_way_and_keeps_the_queue() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let (wrong, right) =
        (runtime.block_on(Server::start(answer("404 No", "", ""))), runtime.block_on(Server::start(content())));
    secret_file(&path, &wrong.url());
    let hook = webhook(WebhookKind::Json, WebhookPlace::UrlFile(path.clone()));
    let gone = at(WebhookKind::Json, &wrong.url());
    let rig = Rig::start(vec![hook.clone(), gone], Some(folder.path()));
    for n in 0..5 {
        rig.tell(&n.to_string());
    }
    let report = Arc::clone(&rig.deliveries.report);
    while report.failing().len() < 2 {
        std::thread::yield_now();
    }
    let folders = || {
        let all = std::fs::read_dir(folder.path().join("alarms")).unwrap().map(Result::unwrap);
        all.filter(|entry| entry.path().is_dir()).count()
    };
    assert_eq!(folders(), 2);
    secret_file(&path, &right.url());
    rig.settings.store(Arc::new(settings(vec![hook])));
    runtime.block_on(right.asked(5));
    assert_eq!(subjects(&right), ["0", "1", "2", "3", "4"]);
    // What nobody delivers to has no queue.
    while folders() > 1 {
        std::thread::yield_now();
    }
    rig.finish();
    assert!(report.failing().is_empty());
}

/// Runs one of the tests below, which are nothing by themselves, in a process of its own.
fn child(name: &str, state: &Path, url: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("alarm::deliver::tests::whole::{name}"), "--nocapture", "--include-ignored"]);
    command.env(STATE, state).env(URL, url).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A child's part: messages for nobody, until it is killed.
#[test]
#[ignore = "a part of a_kill_loses_nothing"]
fn child_that_is_killed() {
    let Some(state) = env::var_os(STATE) else { return };
    let place = WebhookPlace::UrlFile(env::var(URL).unwrap().into());
    let rig = Rig::start(vec![webhook(WebhookKind::Json, place)], Some(Path::new(&state)));
    for n in 0..WAITING {
        rig.tell(&n.to_string());
    }
    let queue = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_dir(entry.unwrap().path()).ok();
    let files = || {
        let queues = std::fs::read_dir(Path::new(&state).join("alarms")).into_iter().flatten().filter_map(queue);
        let named = |file: std::io::Result<std::fs::DirEntry>| file.is_ok_and(|file| file.file_name() != "draft");
        queues.flatten().filter_map(|file| named(file).then_some(())).count()
    };
    while files() < WAITING {
        std::thread::yield_now();
    }
    println!("\nall are on disk");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_kill_loses_nothing() {
    let runtime = Runtime::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    let server = runtime.block_on(Server::start(content()));
    // It waits where nobody is, then goes where somebody is: the place is a file, and its content changes.
    let url = format!("http://{}/", server.address);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = state.path().join("url");
    secret_file(&place, &format!("http://{nobody}/"));
    let mut killed = child("child_that_is_killed", state.path(), place.to_str().unwrap()).spawn().unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "all are on disk"), "it ended before");
    killed.kill().unwrap();
    killed.wait().unwrap();
    secret_file(&place, &url);
    let hook = webhook(WebhookKind::Json, WebhookPlace::UrlFile(place));
    let rig = Rig::start(vec![hook], Some(state.path()));
    rig.tell("after");
    runtime.block_on(server.asked(WAITING + 1));
    rig.finish();
    let mut expected: Vec<_> = (0..WAITING).map(|n| n.to_string()).collect();
    expected.push("after".to_owned());
    assert_eq!(subjects(&server), expected);
    let ids: std::collections::BTreeSet<_> =
        server.requests().iter().map(|request| request.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), WAITING + 1);
}

/// A child's part: on a disk of 64 KiB.
#[test]
#[ignore = "a part of a_full_disk_stops_nobody"]
fn child_on_a_full_disk() {
    let Some(state) = env::var_os(STATE) else { return };
    let place = WebhookPlace::UrlFile(env::var(URL).unwrap().into());
    let rig = Rig::start(vec![webhook(WebhookKind::Json, place)], Some(Path::new(&state)));
    let report = Arc::clone(&rig.deliveries.report);
    let mut told = 0;
    while report.unstored().is_none() {
        rig.tell(&told.to_string());
        told += 1;
    }
    println!("\nfull: {}", report.unstored().unwrap());
    // Now somebody is there.
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(content()));
    let path = env::var(URL).unwrap();
    secret_file(Path::new(&path), &server.url());
    rig.settings.store(Arc::new(Settings::clone(&rig.settings.load())));
    runtime.block_on(server.asked(told));
    rig.finish();
    let arrived = subjects(&server);
    assert_eq!(arrived, (0..told).map(|n| n.to_string()).collect::<Vec<_>>());
    println!("\nall {told} arrived");
}

#[test]
fn a_full_disk_stops_nobody() {
    let state = tempfile::tempdir().unwrap();
    let disk = state.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let place = state.path().join("url");
    secret_file(&place, "http://127.0.0.1:1/");
    let test = child("child_on_a_full_disk", &disk, place.to_str().unwrap());
    // A disk of 64 KiB that only this process, and what it starts, sees.
    let script = "mount -t tmpfs -o size=64k none \"$FLOODGATE_TEST_STATE\" || exit 99; exec \"$@\"";
    // As root, or as root of a user namespace of its own.
    let run = |kind: &&[&str]| {
        let mut inside = Command::new("unshare");
        inside.args(*kind).args(["sh", "-c", script, "sh"]).arg(test.get_program()).args(test.get_args());
        let output = inside.env(STATE, &disk).env(URL, &place).output().ok()?;
        // 101 is a test that failed (`std::process::ExitCode` of a panic).
        matches!(output.status.code(), Some(0 | 101)).then_some(output)
    };
    let kinds: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    let Some(output) = kinds.iter().find_map(run) else {
        drop(std::io::stderr().write_all(b"skipped: no disk may be mounted here\n"));
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("full: No space left") && told.contains(" arrived"), "{told}");
}

#[test]
fn a_trial_asks_everybody_once() {
    let runtime = Runtime::new().unwrap();
    let (well, sick) = (
        runtime.block_on(Server::start(content())),
        runtime.block_on(Server::start(answer("200 OK", "", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#))),
    );
    let critical = Webhook { severity: Severity::Critical, ..at(WebhookKind::Json, &well.url()) };
    let all = vec![
        at(WebhookKind::Wecom, &sick.url()),
        critical,
        webhook(WebhookKind::Slack, WebhookPlace::UrlFile("/nonexistent".into())),
    ];
    let trials = deliver::test(&settings(all)).unwrap();
    let told: Vec<_> =
        trials.iter().map(|trial| (trial.kind, trial.result.as_ref().err().map(|f| f.trouble))).collect();
    let expected = [
        (WebhookKind::Wecom, Some(Trouble::Refused)),
        (WebhookKind::Json, None),
        (WebhookKind::Slack, Some(Trouble::Setting)),
    ];
    assert_eq!(told, expected);
    assert_eq!((well.requests().len(), sick.requests().len()), (1, 1));
    assert_eq!(well.requests()[0].json()["stage"], "test");
}
