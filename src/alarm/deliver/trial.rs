//! `floodgate alarm test`: one message to every destination, at once, past the queues.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::endpoint::Trust;
use super::failure::{Failure, Trouble};
use super::item::Item;
use super::report::Report;
use super::transport::{Transport, Way};
use super::{kinds, name};
use crate::alarm::{Alarm, Message, Stage};
use crate::config::Settings;
use crate::config::settings::WebhookKind;

/// What came of it at one destination.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What is spoken there.
    pub kind: WebhookKind,
    /// Its kind, and what tells it from others of its kind.
    pub destination: String,
    /// Whether it arrived.
    pub result: Result<(), Failure>,
}

/// Sends one test message to every webhook, whatever its severity, and waits for what comes of it; in the order of the
/// configuration.
///
/// # Errors
///
/// There is no runtime for it.
pub fn test(settings: &Settings) -> io::Result<Vec<Trial>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (trust, report) = (Trust::default(), Arc::new(Report::default()));
    let message = message(&settings.alarm.name, SystemTime::now());
    let mut trials = runtime.block_on(async {
        let mut running = JoinSet::new();
        for (index, webhook) in settings.webhooks.iter().enumerate() {
            let load = kinds::pack(webhook, &message, webhook.language.unwrap_or(settings.alarm.language));
            let item = Item::new(&message, load, SystemTime::now());
            let way = Way::new(webhook.clone(), trust.clone(), Arc::clone(&report));
            let (kind, destination) = (webhook.kind, name(webhook, &settings.webhooks));
            running.spawn(async move {
                let result = way.send(&item).await;
                (index, Trial { kind, destination, result })
            });
        }
        let mut trials = Vec::new();
        while let Some(done) = running.join_next().await {
            trials.extend(done.ok());
        }
        trials
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    trials.sort_by_key(|(index, _)| *index);
    let trials: Vec<_> = trials.into_iter().map(|(_, trial)| trial).collect();
    if trials.len() < settings.webhooks.len() {
        return Err(io::Error::other("a defect of floodgate: a delivery panicked"));
    }
    Ok(trials.into_iter().map(|trial| with_clock(trial, report.skew())).collect())
}

/// What arrived is told nothing of; but a clock that is wrong will be in the way some day, and no other alarm tells of it.
fn with_clock(trial: Trial, skew: Option<i64>) -> Trial {
    match (trial.result, skew) {
        (Ok(()), Some(skew)) => {
            let why = format!("it arrived, but the clock of this box differs by {skew} s from those of others");
            Trial { result: Err(Failure::new(Trouble::Clock, why)), ..trial }
        }
        (result, _) => Trial { result, ..trial },
    }
}

fn message(gateway: &str, now: SystemTime) -> Message {
    Message {
        alarm: Alarm::Delivery,
        stage: Stage::Test,
        gateway: gateway.to_owned(),
        subject: String::new(),
        first: now,
        last: now,
        count: 1,
        window: Duration::from_mins(5),
        values: Vec::new(),
        sample: None,
    }
}
