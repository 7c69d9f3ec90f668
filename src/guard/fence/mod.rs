//! Whom the kernel keeps out, since when, until when and why.
//!
//! Owns: [`FenceBook`], which decides, and [`Register`], what control writes down once a second, admin shows, and an
//! operator may change. Called by: control, admin. Never: talks to the kernel; the fence itself is built in
//! [`kernel`](crate::kernel).

pub mod book;
pub mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use book::FenceBook;
pub use terms::Terms;

use super::Moment;
use super::ladder::Class;
use crate::net::ClientKey;

/// Wishes of operators that wait for the next second; more are refused.
const WISHES: usize = 256;

/// A fenced client.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Who.
    pub client: ClientKey,
    /// Since when.
    pub since: Moment,
    /// When it will be let in again, a trickle first.
    pub until: Moment,
    /// The trickle: some of its SYNs pass, to see whether it still storms.
    pub half_open: bool,
    /// What it stormed with.
    pub reason: Class,
    /// Its SYNs that were dropped, where the kernel counts them per client.
    pub syns: Option<u64>,
    /// How often it has been fenced.
    pub times: u32,
}

/// Who is to be let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Release {
    /// This client.
    One(ClientKey),
    /// Everybody.
    All,
}

/// How fences are built.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Backend {
    /// `nftables` or `socket-filter`; `None` when there is none.
    pub name: Option<&'static str>,
    /// Why better ones, or all, cannot be used.
    pub why_not: Vec<String>,
}

/// What is known of the fences, for everybody who asks.
#[derive(Debug, Default)]
pub struct Register {
    /// Who is fenced.
    pub rows: ArcSwap<Vec<Row>>,
    /// What fences them.
    pub backend: ArcSwap<Backend>,
    /// SYNs dropped since the start, as far as the kernel tells.
    pub syns: AtomicU64,
    /// Clients that would have been fenced, had it not been told to observe only.
    pub observed: AtomicU64,
    wishes: Mutex<Vec<Release>>,
}

impl Register {
    /// Asks for a release, which happens within a second. False if too many wait already.
    pub fn release(&self, release: Release) -> bool {
        let mut wishes = self.wishes.lock();
        let fits = wishes.len() < WISHES;
        if fits {
            wishes.push(release);
        }
        fits
    }

    /// The releases asked for since the last call.
    pub fn take_wishes(&self) -> Vec<Release> {
        std::mem::take(&mut self.wishes.lock())
    }

    /// Who is fenced at present.
    pub fn list(&self) -> Arc<Vec<Row>> {
        self.rows.load_full()
    }

    /// Whether a filter on the listeners does it.
    pub fn is_by_filter(&self) -> bool {
        self.backend.load().name == Some("socket-filter")
    }

    /// Counts SYNs that were dropped.
    pub fn dropped(&self, syns: u64) {
        self.syns.fetch_add(syns, Relaxed);
    }
}
