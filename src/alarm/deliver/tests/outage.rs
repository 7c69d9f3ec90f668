//! A destination over hours, with a transport that fails as it is told, on a clock that runs as fast as it can.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::alarm::Stage;
use crate::alarm::deliver::destination::{Destination, Order};
use crate::alarm::deliver::failure::{Failure, Trouble};
use crate::alarm::deliver::item::Item;
use crate::alarm::deliver::queue::{MOST_MESSAGES, Queue};
use crate::alarm::deliver::report::{Event, Report};
use crate::alarm::deliver::spool::Spool;
use crate::alarm::deliver::transport::Transport;
use crate::config::settings::WebhookKind;

/// Fails as long as `trouble` says so; remembers what arrived.
#[derive(Debug, Default)]
struct Road {
    trouble: Mutex<Option<Failure>>,
    /// Only this one.
    poison: Mutex<Option<String>>,
    attempts: Mutex<Vec<Instant>>,
    arrived: Mutex<Vec<(String, Instant)>>,
    news: Notify,
}

impl Transport for Road {
    async fn send(&self, item: &Item) -> Result<(), Failure> {
        let now = Instant::now();
        self.attempts.lock().push(now);
        // As a network does, it takes time.
        sleep(Duration::from_millis(5)).await;
        let trouble = self.trouble.lock().clone();
        let poison = self.poison.lock().as_ref().is_some_and(|id| *id == item.id);
        match trouble {
            Some(failure) if poison || self.poison.lock().is_none() => Err(failure),
            _ => {
                self.arrived.lock().push((item.id.clone(), now));
                self.news.notify_one();
                Ok(())
            }
        }
    }
}

impl Road {
    async fn arrived(&self, times: usize) -> Vec<String> {
        loop {
            let news = self.news.notified();
            let arrived: Vec<_> = self.arrived.lock().iter().map(|(id, _)| id.clone()).collect();
            if arrived.len() >= times {
                return arrived;
            }
            news.await;
        }
    }
}

struct Rig {
    road: Arc<Road>,
    report: Arc<Report>,
    orders: mpsc::Sender<Order<Road>>,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(kind: WebhookKind, state: Option<&Path>) -> Self {
        let (road, report) = (Arc::new(Road::default()), Arc::new(Report::default()));
        let found = state.map(|state| Spool::open(state).unwrap().folder("json-x").unwrap());
        let (folder, waiting) = found.unzip();
        let (orders, inbox) = mpsc::channel(8);
        let destination = Destination {
            name: "json x".to_owned(),
            kind,
            orders: inbox,
            transport: Arc::clone(&road),
            queue: Queue::new(waiting.unwrap_or_default()),
            folder,
            report: Arc::clone(&report),
        };
        Self { road, report, orders, task: tokio::spawn(destination.run()) }
    }

    async fn deliver(&self, id: impl ToString) {
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.deliver_of(id, made).await;
    }

    async fn deliver_of(&self, id: impl ToString, made: u64) {
        let item = Item { id: id.to_string(), made, stage: Stage::Firing, load: json!({ "text": "x".repeat(200) }) };
        self.orders.send(Order::Deliver(Bytes::from(item.to_bytes()))).await.unwrap();
    }

    fn fail(&self, trouble: Trouble) {
        *self.road.trouble.lock() = Some(Failure::new(trouble, "as it was told"));
    }

    fn count(&self, event: Event) -> u64 {
        self.report.count(WebhookKind::Json, event)
    }

    /// Ends it as a stop of the gateway does.
    async fn stop(self) {
        drop(self.orders);
        self.task.await.unwrap();
    }
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_a_webhook_loses_nothing() {
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Connection);
    let begin = Instant::now();
    for minute in 0..60 {
        for n in 0..5 {
            rig.deliver(minute * 5 + n).await;
        }
        sleep(Duration::from_mins(1)).await;
    }
    let failing = rig.report.failing();
    assert_eq!((failing.len(), failing[0].trouble), (1, Trouble::Connection));
    assert_eq!(rig.report.queued(WebhookKind::Json), Some(300));
    // 1 s, doubling to 5 minutes: some twenty attempts, not thousands.
    let attempts = rig.road.attempts.lock().clone();
    assert!((15..=40).contains(&attempts.len()), "{}", attempts.len());
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(300_010)), "{pauses:?}");
    assert!(pauses.iter().rev().take(5).all(|pause| *pause >= Duration::from_secs(150)), "{pauses:?}");
    *rig.road.trouble.lock() = None;
    assert_eq!(rig.road.arrived(300).await, ids(0..300), "all of them, the oldest first");
    assert!(begin.elapsed() <= Duration::from_mins(66), "within one pause");
    assert_eq!((rig.count(Event::Delivered), rig.count(Event::Dropped)), (300, 0));
    assert_eq!(rig.count(Event::Failed), attempts.len() as u64);
    // The last is counted before it is told of.
    rig.deliver("one more").await;
    rig.road.arrived(301).await;
    assert!(rig.report.failing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_robot_catches_up_no_faster_than_it_permits() {
    let rig = Rig::start(WebhookKind::Wecom, None);
    rig.fail(Trouble::Timeout);
    for n in 0..100 {
        rig.deliver(n).await;
    }
    sleep(Duration::from_mins(10)).await;
    *rig.road.trouble.lock() = None;
    rig.road.arrived(100).await;
    let arrived: Vec<Instant> = rig.road.arrived.lock().iter().map(|(_, at)| *at).collect();
    for (n, first) in arrived.iter().enumerate() {
        let within = arrived[n..].iter().take_while(|at| **at < *first + Duration::from_mins(1)).count();
        assert!(within <= 20, "{within} within a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_are_cut_to_the_newest() {
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Connection);
    for n in 0..10_000 {
        rig.deliver(n).await;
    }
    sleep(Duration::from_mins(1)).await;
    assert_eq!(rig.report.queued(WebhookKind::Json), Some(MOST_MESSAGES as u64));
    assert_eq!(rig.count(Event::Dropped), 10_000 - MOST_MESSAGES as u64);
    *rig.road.trouble.lock() = None;
    let arrived = rig.road.arrived(MOST_MESSAGES).await;
    // The one that was on its way while the others were dropped may be an older one.
    let first = arrived[0].parse::<usize>().unwrap();
    assert!(first == 10_000 - MOST_MESSAGES || first < 10, "{first}");
    assert_eq!(arrived[1..], ids(10_001 - MOST_MESSAGES..10_000));
}

#[tokio::test(start_paused = true)]
async fn one_bad_message_does_not_hold_up_the_others() {
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Message);
    *rig.road.poison.lock() = Some("1".to_owned());
    for n in 0..4 {
        rig.deliver(n).await;
    }
    assert_eq!(rig.road.arrived(3).await, ["0", "2", "3"]);
    assert_eq!((rig.count(Event::Refused), rig.count(Event::Dropped)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_waits_for_a_day() {
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Refused);
    *rig.road.poison.lock() = Some("old".to_owned());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    rig.deliver_of("old", now - 86_000).await;
    rig.deliver("young").await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!((rig.count(Event::Delivered), rig.count(Event::Dropped)), (0, 0));
    drop(rig);
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Refused);
    *rig.road.poison.lock() = Some("old".to_owned());
    rig.deliver_of("old", now - 87_000).await;
    rig.deliver("young").await;
    assert_eq!(rig.road.arrived(1).await, ["young"]);
    assert_eq!(rig.count(Event::Dropped), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_is_tried_at_once() {
    let rig = Rig::start(WebhookKind::Json, None);
    rig.fail(Trouble::Refused);
    rig.deliver(0).await;
    sleep(Duration::from_mins(30)).await;
    let road = Arc::new(Road::default());
    let begin = Instant::now();
    rig.orders.send(Order::Change(Arc::clone(&road))).await.unwrap();
    assert_eq!(road.arrived(1).await, ["0"]);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_waited() {
    let state = tempfile::tempdir().unwrap();
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    rig.fail(Trouble::Connection);
    for n in 0..50 {
        rig.deliver(n).await;
    }
    rig.stop().await;
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    rig.fail(Trouble::Connection);
    for n in 50..60 {
        rig.deliver(n).await;
    }
    rig.stop().await;
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    assert_eq!(rig.road.arrived(60).await, ids(0..60));
    rig.stop().await;
    let (_, waiting) = Spool::open(state.path()).unwrap().folder("json-x").unwrap();
    assert!(waiting.is_empty(), "what is delivered leaves no file: {waiting:?}");
}

#[tokio::test(start_paused = true)]
async fn damaged_files_are_counted_and_passed_over() {
    let state = tempfile::tempdir().unwrap();
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    rig.fail(Trouble::Connection);
    for n in 0..5 {
        rig.deliver(n).await;
    }
    rig.stop().await;
    let file = |n: usize| state.path().join(format!("alarms/json-x/{n:020}"));
    std::fs::write(file(1), b"{\"id\":").unwrap();
    std::fs::write(file(2), b"").unwrap();
    std::fs::write(file(9), vec![0xff; 100]).unwrap();
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    // Gone between the look and its turn.
    std::fs::remove_file(file(3)).unwrap();
    rig.deliver("last").await;
    assert_eq!(rig.road.arrived(3).await, ["0", "4", "last"]);
    assert_eq!(rig.count(Event::Dropped), 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_keeps_messages_in_memory_and_says_so() {
    let state = tempfile::tempdir().unwrap();
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    rig.fail(Trouble::Connection);
    let draft = state.path().join("alarms/json-x/draft");
    std::os::unix::fs::symlink("/dev/full", &draft).unwrap();
    for n in 0..20 {
        rig.deliver(n).await;
    }
    while rig.report.unstored().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(rig.report.unstored().unwrap().contains("No space left"), "{:?}", rig.report.unstored());
    assert_eq!(rig.report.queued(WebhookKind::Json), Some(20));
    // Somebody makes room: all of them get their file, with the next message.
    std::fs::remove_file(&draft).unwrap();
    rig.deliver(20).await;
    let files = || std::fs::read_dir(state.path().join("alarms/json-x")).unwrap().count();
    while files() < 21 || rig.report.unstored().is_some() {
        sleep(Duration::from_millis(1)).await;
    }
    *rig.road.trouble.lock() = None;
    assert_eq!(rig.road.arrived(21).await, ids(0..21));
    assert_eq!(rig.count(Event::Dropped), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_a_full_disk_did_not_take() {
    let state = tempfile::tempdir().unwrap();
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    rig.fail(Trouble::Connection);
    let draft = state.path().join("alarms/json-x/draft");
    std::os::unix::fs::symlink("/dev/full", &draft).unwrap();
    for n in 0..3 {
        rig.deliver(n).await;
    }
    while rig.report.unstored().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    std::fs::remove_file(&draft).unwrap();
    rig.stop().await;
    let rig = Rig::start(WebhookKind::Json, Some(state.path()));
    assert_eq!(rig.road.arrived(3).await, ids(0..3));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_holds_up_no_other() {
    let (sick, well) = (Rig::start(WebhookKind::Json, None), Rig::start(WebhookKind::Json, None));
    sick.fail(Trouble::Timeout);
    let begin = Instant::now();
    for n in 0..10 {
        sick.deliver(n).await;
        well.deliver(n).await;
    }
    assert_eq!(well.road.arrived(10).await, ids(0..10));
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    assert_eq!(sick.count(Event::Delivered), 0);
}
