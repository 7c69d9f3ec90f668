//! Messages to whoever is to read them: queues on disk, and a task for each destination.
//!
//! Owns: the thread, the queues, the connections to webhooks. Called by: the gateway ([`start`]), the command line ([`test()`],
//! [`check`]); the admin and control read the [`Report`]. Never: holds up who sends a message, goes through a proxy, or shows an
//! address or a secret.
//!
//! Every message arrives at least once: it waits, over an outage and over a restart, until the other side has said that it has
//! it. One destination never waits for another, and none for the disk.

mod command;
mod destination;
mod endpoint;
mod failure;
mod http;
mod item;
mod kinds;
mod pace;
mod queue;
mod report;
mod spool;
mod transport;
mod trial;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use ring::digest;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

pub use self::endpoint::check;
pub use self::failure::{Failure, Trouble};
pub use self::report::{Event, Failing, Report};
pub use self::trial::{Trial, test};

use self::destination::{Destination, Order};
use self::endpoint::Trust;
use self::item::Item;
use self::queue::Queue;
use self::spool::Spool;
use self::transport::Way;
use super::{Message, Stage};
use crate::alarm::Language;
use crate::config::Settings;
use crate::config::settings::{Webhook, WebhookPlace};

/// How often the settings are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Messages on their way to a destination's queue.
const ORDERS: usize = 64;
/// Threads that look up names and wait for the disk: each destination has one call to the disk, and a few look-ups that nobody
/// waits for any more.
const BLOCKING: usize = 64;
/// A destination that is no more may take so long to write what has no file yet.
const FAREWELL: Duration = Duration::from_secs(3);

/// The deliveries of a gateway.
#[derive(Debug)]
pub struct Deliveries {
    /// How they go.
    pub report: Arc<Report>,
    thread: JoinHandle<()>,
}

impl Deliveries {
    /// Waits until what the senders have sent is on disk; call it when the last of them is gone.
    pub fn finish(self) {
        if self.thread.join().is_err() {
            warn!("the thread of the deliveries panicked");
        }
    }
}

/// Starts to deliver what comes in, to the webhooks of the settings in force; they may change. Queues are kept in the folder
/// `state`, or in memory alone where there is none.
///
/// # Errors
///
/// There is no thread, or no runtime, for it.
pub fn start(
    messages: Receiver<Message>,
    settings: Arc<ArcSwap<Settings>>,
    state: Option<PathBuf>,
) -> io::Result<Deliveries> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING)
        .thread_name("alarm-post")
        .enable_all()
        .build()?;
    let report = Arc::new(Report::default());
    let mut office =
        Office { settings, seen: None, runtime, state, spool: None, branches: Vec::new(), report: Arc::clone(&report) };
    let thread = thread::Builder::new().name("alarm".to_owned()).spawn(move || {
        office.run(&messages);
        office.close();
    })?;
    Ok(Deliveries { report, thread })
}

/// Hands each message to those whom it concerns.
struct Office {
    settings: Arc<ArcSwap<Settings>>,
    /// The settings that the branches are those of.
    seen: Option<Arc<Settings>>,
    runtime: Runtime,
    state: Option<PathBuf>,
    spool: Option<Spool>,
    branches: Vec<Branch>,
    report: Arc<Report>,
}

/// A destination, from outside.
struct Branch {
    name: String,
    folder: String,
    webhook: Webhook,
    way: Arc<Way>,
    orders: mpsc::Sender<Order<Way>>,
    task: tokio::task::JoinHandle<()>,
}

impl Office {
    /// Until the last sender is gone.
    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            self.follow();
            match messages.recv_timeout(LOOK) {
                Ok(message) => {
                    self.follow();
                    self.hand_out(&message);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hand_out(&self, message: &Message) {
        let severity = message.severity();
        let usual = self.seen.as_ref().map_or_else(Language::default, |settings| settings.alarm.language);
        for Branch { webhook, orders, .. } in &self.branches {
            if severity < webhook.severity && message.stage != Stage::Test {
                continue;
            }
            let load = kinds::pack(webhook, message, webhook.language.unwrap_or(usual));
            let item = Item::new(message, load, SystemTime::now());
            // It only ever waits for a task that waits for nothing else.
            if orders.blocking_send(Order::Deliver(Bytes::from(item.to_bytes()))).is_err() {
                self.report.add(webhook.kind, Event::Dropped, 1);
            }
        }
    }

    /// Takes over settings that have changed. Who was there before keeps his queue, and reads his files again.
    fn follow(&mut self) {
        let settings = self.settings.load_full();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &settings)) {
            return;
        }
        self.open_spool(&settings);
        let trust = Trust::default();
        let mut before = std::mem::take(&mut self.branches);
        for webhook in &settings.webhooks {
            let folder = folder(webhook);
            let way = Way::new(webhook.clone(), trust.clone(), Arc::clone(&self.report));
            let known = before.iter().position(|branch| branch.folder == folder).map(|at| before.swap_remove(at));
            let branch = match known {
                Some(branch) => {
                    let way = Arc::new(way.succeed(&branch.way));
                    // Its task ends with the runtime only.
                    branch.orders.blocking_send(Order::Change(Arc::clone(&way))).unwrap_or_default();
                    Branch { webhook: webhook.clone(), way, ..branch }
                }
                None => self.open(name(webhook, &settings.webhooks), folder, webhook.clone(), Arc::new(way)),
            };
            self.branches.push(branch);
        }
        for branch in before {
            drop(branch.orders);
            drop(self.runtime.block_on(async { timeout(FAREWELL, branch.task).await }));
            self.report.forget(&branch.name);
        }
        self.clear_spool();
        self.seen = Some(settings);
    }

    fn open_spool(&mut self, settings: &Settings) {
        if self.spool.is_some() || settings.webhooks.is_empty() {
            return;
        }
        let why = match self.state.as_ref().map(|state| Spool::open(state)) {
            Some(Ok(spool)) => {
                self.spool = Some(spool);
                return;
            }
            Some(Err(error)) => error.to_string(),
            None => "there is no folder for it (STATE_DIRECTORY, XDG_RUNTIME_DIR)".to_owned(),
        };
        if self.report.disk(Some(why.clone())) {
            warn!(why, "alarms that wait cannot be kept on disk: they are in memory alone, and lost with the process");
        }
    }

    fn open(&self, name: String, folder: String, webhook: Webhook, way: Arc<Way>) -> Branch {
        let (on_disk, found) = match self.spool.as_ref().map(|spool| spool.folder(&folder)) {
            Some(Ok((on_disk, found))) => (Some(on_disk), found),
            Some(Err(error)) => {
                warn!(%error, folder, "a queue cannot be opened: it is in memory alone");
                self.report.disk(Some(error.to_string()));
                (None, Vec::new())
            }
            None => (None, Vec::new()),
        };
        let (orders, inbox) = mpsc::channel(ORDERS);
        let destination = Destination {
            name: name.clone(),
            kind: webhook.kind,
            orders: inbox,
            transport: Arc::clone(&way),
            queue: Queue::new(found),
            folder: on_disk,
            report: Arc::clone(&self.report),
        };
        let task = self.runtime.spawn(destination.run());
        Branch { name, folder, webhook, way, orders, task }
    }

    /// Messages for whom nobody delivers to any more are dropped.
    fn clear_spool(&self) {
        let Some(spool) = &self.spool else { return };
        match spool.clear(|name| self.branches.iter().any(|branch| branch.folder == name)) {
            Ok(gone) => {
                for (folder, messages) in gone {
                    info!(folder, messages, "this destination is no longer configured: what waited for it is dropped");
                }
            }
            Err(error) => warn!(%error, "queues that nobody uses cannot be removed"),
        }
    }

    /// Whatever has no file yet gets one, if the disk is not too slow.
    fn close(self) {
        let tasks: Vec<_> = self.branches.into_iter().map(|branch| branch.task).collect();
        self.runtime.block_on(async {
            let all = async {
                for task in tasks {
                    // One that has panicked has nothing left to write.
                    drop(task.await);
                }
            };
            drop(timeout(FAREWELL, all).await);
        });
        self.runtime.shutdown_background();
    }
}

/// Where a webhook is, for people: its kind, and the file, host or program that tells it from others of its kind.
fn name(webhook: &Webhook, all: &[Webhook]) -> String {
    let plain = |webhook: &Webhook| match &webhook.place {
        WebhookPlace::Url(url) => format!("{} {}", webhook.kind.label(), url.host_str().unwrap_or_default()),
        WebhookPlace::UrlFile(path) => format!("{} {}", webhook.kind.label(), path.display()),
        WebhookPlace::Command(command) => command.first().cloned().unwrap_or_default(),
    };
    let name = plain(webhook);
    // Two addresses on one host, or one program with two arguments.
    let alone = all.iter().filter(|other| plain(other) == name).count() < 2;
    if alone { name } else { format!("{name} ({})", folder(webhook)) }
}

/// The folder of its queue: the same as long as kind and place are. The hash keeps an address out of the file system.
fn folder(webhook: &Webhook) -> String {
    let place = match &webhook.place {
        WebhookPlace::Url(url) => url.as_str().to_owned(),
        WebhookPlace::UrlFile(path) => path.display().to_string(),
        WebhookPlace::Command(command) => command.join("\0"),
    };
    let hash = digest::digest(&digest::SHA256, place.as_bytes());
    let digits = hash.as_ref().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("{}-{digits}", webhook.kind.label())
}
