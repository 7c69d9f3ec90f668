//! One client of a plan: the same question, again and again.
//!
//! Owns: when it asks. Called by: `run`, as a task each. Never: decides when the run is over; it is dropped then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::caller::{Caller, Question, recover};
use super::pace::Schedule;
use super::plan::{Class, Connection, Retry};
use super::report::Failure;
use super::tally::Tally;

/// A client and its state.
#[derive(Debug)]
pub(super) struct Client {
    caller: Caller,
    class: Arc<Class>,
    tally: Arc<Tally>,
}

impl Client {
    pub(super) fn new(number: usize, target: SocketAddr, class: Arc<Class>, tally: Arc<Tally>) -> Self {
        let source = class.sources.get(number % class.sources.len().max(1)).copied();
        Self { caller: Caller::new(target, source, class.patience), class, tally }
    }

    /// Asks again when it has its answer.
    pub(super) async fn in_a_loop(mut self, retry: Retry) {
        loop {
            let result = self.attempt(Instant::now()).await;
            recover(result).await;
            match retry {
                Retry::Never => return,
                Retry::Instant => {}
                Retry::After(pause) => sleep(pause).await,
            }
        }
    }

    /// Asks when it is time, or as soon after as it can; once or again and again.
    pub(super) async fn on_schedule(mut self, schedule: Arc<Schedule>, once: bool) {
        loop {
            let due = schedule.next().await;
            self.attempt(due).await.map(drop).unwrap_or_default();
            if once {
                return;
            }
        }
    }

    /// Asks once; the client itself if it has a connection to hold now.
    pub(super) async fn open_in_turn(mut self, turns: Arc<Semaphore>) -> Option<Self> {
        let turn = turns.acquire().await;
        self.attempt(Instant::now()).await.map(drop).unwrap_or_default();
        drop(turn);
        self.caller.is_connected().then_some(self)
    }

    /// Keeps its connection until the other side ends it.
    pub(super) async fn hold(self) {
        self.tally.held();
        self.caller.ended().await;
        self.tally.lost();
    }

    async fn attempt(&mut self, since: Instant) -> Result<u16, Failure> {
        let exchange = &self.class.exchange;
        let keep = self.class.connection == Connection::Kept;
        let (tunnel, manner) = (exchange.tunnel.as_deref(), self.class.manner);
        let question = Question { tunnel, request: &exchange.request, filler: 0, manner, keep };
        self.caller.ask(question, since, &self.tally).await
    }
}
