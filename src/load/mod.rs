//! The load of many clients, made by one process: storms, steady good clients, tunnels, bulk, idle connections.
//!
//! Owns: the clients, their pace, and what they saw. Called by: the lab (`benches/lab`), `pcap replay`. Never: part of the
//! gateway's journey.
//!
//! What is played is data. A [`Plan`] has classes of clients that do the same again and again, each with an exchange, a life of
//! connections and a pace: [`run`] plays it. A [`Script`] says attempt by attempt who asks what, when, and on which connection:
//! [`play`] plays it. Both return a [`Report`], and are meant for a current-thread runtime, whose thread costs less per attempt
//! than the gateway's.

mod answer;
mod caller;
mod client;
mod pace;
mod plan;
mod play;
mod report;
mod script;
mod tally;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use plan::{Class, Connection, Exchange, MAX_CONNECTIONS, MAX_DURATION, Manner, Pace, Plan, PlanError, Retry};
pub use play::{Progress, play};
pub use report::{ClassReport, Failure, Latency, Outcome, Report};
pub use script::{Lane, Request, Rhythm, Role, Script, Step, Then};
pub use watch::{Glance, Watch};

use client::Client;
use pace::Schedule;
use tally::Tally;

/// How many connections that are to be held are being opened at a time.
const OPENING: usize = 64;

/// The bounds of the part that is measured, told while everything is still open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// Held connections stand, the warm-up is over: counting begins.
    Begin,
    /// Counting has ended.
    End,
}

/// Plays a plan: first the connections that are held, then the warm-up, then the part that is measured. Ends early if no
/// client has anything left to do. `at` hears the marks; what it does then delays the load.
pub async fn run(plan: &Plan, at: impl FnMut(Mark)) -> Result<Report, PlanError> {
    run_watched(plan, at, &Watch::default()).await
}

/// The same, while somebody looks.
pub async fn run_watched(plan: &Plan, mut at: impl FnMut(Mark), watch: &Watch) -> Result<Report, PlanError> {
    plan.check()?;
    let tallies = plan
        .classes
        .iter()
        .map(|class| Tally::new(&class.name, class.is_open_loop()).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    watch.begin(&tallies);
    let parts: Vec<_> = plan.classes.iter().cloned().map(Arc::new).zip(&tallies).collect();
    let clients = |class: &Arc<Class>, tally: &Arc<Tally>| {
        let (class, tally, target) = (Arc::clone(class), Arc::clone(tally), plan.target);
        (0..class.connections).map(move |number| Client::new(number, target, Arc::clone(&class), Arc::clone(&tally)))
    };

    let mut held = JoinSet::new();
    timeout(plan.settle, async {
        let mut opening = JoinSet::new();
        let turns = Arc::new(Semaphore::new(OPENING));
        for (class, tally) in parts.iter().filter(|(class, _)| class.pace == Pace::Hold) {
            // They are few operations, and are counted from the first.
            tally.begin(Instant::now());
            clients(class, tally).for_each(|client| drop(opening.spawn(client.open_in_turn(Arc::clone(&turns)))));
        }
        while let Some(client) = opening.join_next().await {
            if let Ok(Some(client)) = client {
                held.spawn(client.hold());
            }
        }
    })
    .await
    .unwrap_or_default();

    let mut schedules = Vec::new();
    // Most clocks never end, so nobody waits for them.
    let (mut clocks, mut others) = (JoinSet::new(), JoinSet::new());
    for (class, tally) in &parts {
        match class.pace {
            Pace::Open { per_second, once } => {
                let schedule = Arc::new(Schedule::new(per_second));
                schedules.push((Arc::clone(&schedule), tally));
                let most = if once { class.connections as u64 } else { u64::MAX };
                clocks.spawn(Arc::clone(&schedule).keep(most));
                clients(class, tally)
                    .for_each(|client| drop(others.spawn(client.on_schedule(Arc::clone(&schedule), once))));
            }
            Pace::Closed(retry) => {
                clients(class, tally).for_each(|client| drop(others.spawn(client.in_a_loop(retry))));
            }
            Pace::Hold => {}
        }
    }
    // Without a warm-up the first attempts are counted too: no client has run yet.
    if !plan.warm_up.is_zero() {
        sleep(plan.warm_up).await;
    }
    let begun = Instant::now();
    for tally in &tallies {
        tally.begin(begun);
    }
    at(Mark::Begin);
    timeout(plan.duration, async {
        while others.join_next().await.is_some() {}
        while held.join_next().await.is_some() {}
    })
    .await
    .unwrap_or_default();
    let ended = Instant::now();
    at(Mark::End);
    for tally in &tallies {
        tally.end(ended);
    }
    for (schedule, tally) in schedules {
        schedule.overdue().for_each(|due| tally.overdue(due, 1));
    }
    let classes = tallies.iter().map(|tally| tally.report()).collect();
    Ok(Report { target: plan.target, duration: ended - begun, clients: plan.clients(), classes })
}
