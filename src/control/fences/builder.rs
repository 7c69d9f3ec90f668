//! The thread "fence": it builds in the kernel what the book has decided, and tells what became of it.
//!
//! It talks to the kernel, which may take seconds; control, which gives the orders, never waits for it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ipnet::IpNet;
use parking_lot::Mutex;
use tracing::warn;

use super::never;
use crate::kernel::fence::{Change, Dropped, Fence};

/// How often routers and name servers are looked up.
const LOOK: Duration = Duration::from_mins(1);

/// Puts up a fence, or says why not.
pub(super) type PutUp = Box<dyn FnMut() -> (Option<Box<dyn Fence>>, Vec<String>) + Send>;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// These changes; and a look at the counters.
    Change(Vec<Change>),
    /// All of it anew, with these members.
    Anew(Vec<Change>),
}

/// What became of the orders since the last answer was taken.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// SYNs dropped per network, as last read.
    pub(super) dropped: AHashMap<IpNet, u64>,
    /// SYNs dropped since the last answer.
    pub(super) syns: u64,
    /// What the kernel had no room for, or refused.
    pub(super) unbuilt: Vec<IpNet>,
    /// The fence is not in force, or nobody knows what of it is.
    pub(super) lost: bool,
    /// It was built anew: with what, or why not.
    pub(super) anew: Option<Result<&'static str, String>>,
    /// The kernel's last word of refusal.
    pub(super) error: Option<io::Error>,
    /// Routers and name servers, if they were looked up.
    pub(super) sacred: Option<Vec<IpAddr>>,
}

/// What the thread works with.
pub(super) struct Builder {
    fence: Option<Box<dyn Fence>>,
    put_up: PutUp,
    /// SYNs that the fence in force has dropped, as last read.
    total: u64,
    looked: Instant,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl Builder {
    /// With a fence that stands.
    pub(super) fn new(fence: Box<dyn Fence>, put_up: PutUp) -> Self {
        Self { fence: Some(fence), put_up, total: 0, looked: Instant::now() }
    }

    /// Does what was ordered.
    pub(super) fn obey(&mut self, order: Order) -> Answer {
        let mut answer = Answer::default();
        match order {
            Order::Change(changes) => self.change(&changes, &mut answer),
            Order::Anew(members) => {
                // The old one first: two tables cannot have one name.
                self.fence = None;
                self.total = 0;
                let (fence, why_not) = (self.put_up)();
                answer.anew = Some(fence.as_ref().map(|fence| fence.name()).ok_or_else(|| why_not.join("; ")));
                self.fence = fence;
                self.change(&members, &mut answer);
            }
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            answer.sacred = never::look_up();
        }
        answer
    }

    fn change(&mut self, changes: &[Change], answer: &mut Answer) {
        match self.try_change(changes) {
            Ok(Some((no_room, dropped))) => {
                answer.unbuilt = no_room.iter().map(Change::network).collect();
                answer.syns = dropped.total.saturating_sub(self.total);
                self.total = dropped.total;
                answer.dropped = dropped.networks;
            }
            // Not in force: these changes are made when it is built anew.
            Ok(None) => answer.lost = true,
            Err(error) => {
                answer.lost = true;
                answer.unbuilt = changes.iter().map(Change::network).collect();
                answer.error = Some(error);
            }
        }
        if self.fence.is_none() {
            answer.unbuilt = changes.iter().map(Change::network).collect();
        }
    }

    fn try_change(&mut self, changes: &[Change]) -> io::Result<Option<(Vec<Change>, Dropped)>> {
        let Some(fence) = &mut self.fence else { return Ok(None) };
        if !fence.is_intact()? {
            return Ok(None);
        }
        let no_room = if changes.is_empty() { Vec::new() } else { fence.apply(changes)? };
        Ok(Some((no_room, fence.dropped()?)))
    }
}

/// The thread, while it runs.
#[derive(Debug)]
pub(crate) struct FenceThread {
    stop: Sender<()>,
    handle: JoinHandle<()>,
}

impl FenceThread {
    /// Takes the fence down and waits until it is: what it has of the listeners is closed then.
    pub(crate) fn take_down(self) {
        drop(self.stop);
        if self.handle.join().is_err() {
            warn!("the fence's thread panicked");
        }
    }
}

/// Control's end.
#[derive(Debug)]
pub(super) struct Link {
    orders: Sender<Order>,
    answer: Arc<Mutex<Answer>>,
}

impl Link {
    /// False if the order before the last is still being carried out: nothing waits, the order is not given.
    pub(super) fn order(&self, order: Order) -> bool {
        match self.orders.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// What became of the orders.
    pub(super) fn answer(&self) -> Answer {
        std::mem::take(&mut *self.answer.lock())
    }
}

/// Starts the thread.
pub(super) fn start(mut builder: Builder) -> io::Result<(Link, FenceThread)> {
    let (orders, ordered) = bounded(1);
    let (stop, stopped) = bounded(0);
    let answer: Arc<Mutex<Answer>> = Arc::default();
    let link = Link { orders, answer: Arc::clone(&answer) };
    let work = move || {
        while let Some(order) = next(&ordered, &stopped) {
            let new = builder.obey(order);
            answer.lock().add(new);
        }
    };
    let handle = thread::Builder::new().name("fence".to_owned()).spawn(work)?;
    Ok((link, FenceThread { stop, handle }))
}

/// The next order; `None` at the end.
fn next(orders: &Receiver<Order>, stopped: &Receiver<()>) -> Option<Order> {
    crossbeam_channel::select! {
        recv(orders) -> order => order.ok(),
        recv(stopped) -> _ => None,
    }
}

impl Answer {
    /// One more, when the one before has not been taken.
    fn add(&mut self, new: Self) {
        self.syns = self.syns.saturating_add(new.syns);
        self.unbuilt.extend(new.unbuilt);
        // What was lost before it was built anew is there again.
        self.lost = new.lost || (self.lost && new.anew.is_none());
        self.anew = new.anew.or_else(|| self.anew.take());
        self.error = new.error.or_else(|| self.error.take());
        self.sacred = new.sacred.or_else(|| self.sacred.take());
        self.dropped = new.dropped;
    }
}
