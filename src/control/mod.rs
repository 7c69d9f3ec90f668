//! The life of a second: read the kernel, judge who is to be fenced, say what was refused and what is wrong, forget who is
//! gone.
//!
//! Owns: the tick. Called by: the gateway, on the control thread. Never: waits for a connection, nor is waited for.

pub(crate) mod alarms;
pub(crate) mod fences;
mod history;
pub(crate) mod memory;
mod pressure;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use self::alarms::{Alarms, Ended};
use self::fences::Fences;
use self::history::Recorder;
use crate::admin::Events;
use crate::guard::pressure::Watch;
use crate::kernel::view::{KernelView, Sources};
use crate::proxy::Shared;
use crate::telemetry::access_log::Record;
use crate::telemetry::access_log::escape;
use crate::telemetry::refusals::Aggregate;

/// How often idle rate buckets are looked for, in ticks.
const FORGET: u64 = 5;

/// Ticks for ever.
pub(crate) async fn run(
    shared: Arc<Shared>,
    kernel: Arc<ArcSwapOption<KernelView>>,
    mut sources: Sources,
    mut fences: Fences,
    events: Arc<Events>,
    mut alarms: Alarms,
) {
    let (mut said, mut watch, mut recorder) = (Said::default(), Watch::default(), Recorder::default());
    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1_u64.. {
        clock.tick().await;
        let view = Arc::new(sources.read());
        shared.lean_close.store(time_wait_is_short(&view), Relaxed);
        pressure::look(&shared, &view, &mut watch);
        recorder.tick(&shared, &view);
        said.absences(&view);
        said.accept_errors(shared.counters.accept_errors.load(Relaxed));
        kernel.store(Some(Arc::clone(&view)));
        let now = shared.guard.clock.now();
        shared.guard.book.tick(now, |client, rates| fences.see(client, rates));
        fences.tick(&shared, now);
        let refused = report_refusals(&shared);
        alarms.tick(&shared, view, Ended { refused: &refused, failures: shared.errors.drain() }, &fences, now);
        events.tick();
        if tick.is_multiple_of(FORGET) {
            let rules = shared.rules.load();
            rules.connection_rate.forget_idle();
            rules.request_rate.forget_idle();
        }
    }
}

/// Half of the kernel's `TIME_WAIT` places are taken: closing costs none from here on (see [`crate::net::close`]).
fn time_wait_is_short(view: &KernelView) -> bool {
    view.sockets.time_wait.zip(view.time_wait_limit).is_some_and(|(used, limit)| used > limit / 2)
}

/// One line per client, outcome and second in the log, which says how they were met; in the access log one for those who
/// got an answer and one for those who did not.
pub(crate) fn report_refusals(shared: &Shared) -> Vec<Aggregate> {
    let drained = shared.refusals.drain();
    for refused in &drained {
        let [answered, held, dropped, reset] = refused.forms;
        shared.guard.book.sample(refused.client, &refused.sample);
        info!(
            client = %refused.client,
            outcome = refused.end.label(),
            count = refused.count,
            answered,
            held,
            dropped,
            sample = %escape::printable(&refused.sample),
            "refused"
        );
        if shared.access.is_on() {
            let (status, answer) = shared.answers.of(refused.end, false);
            let told = (answered.saturating_add(held), Some(status), answer.len() as u64);
            let untold = (dropped.saturating_add(reset), None, 0);
            for (count, status, to_client) in [told, untold].into_iter().filter(|(count, ..)| *count > 0) {
                shared.access.write(Record {
                    client: refused.address,
                    at: refused.first,
                    request_line: refused.sample.clone(),
                    status,
                    end: refused.end,
                    from_client: 0,
                    to_client,
                    took: Duration::ZERO,
                    upstream: None,
                    count,
                });
            }
        }
    }
    drained
}

/// What has been said already, and is not said again.
#[derive(Debug, Default)]
struct Said {
    absent: Vec<&'static str>,
    accept_errors: u64,
}

impl Said {
    fn absences(&mut self, view: &KernelView) {
        for absent in &view.absent {
            if !self.absent.contains(&absent.source) {
                info!(source = absent.source, why = %absent.why, "cannot be read: its figures are absent");
                self.absent.push(absent.source);
            }
        }
    }

    fn accept_errors(&mut self, total: u64) {
        if total > self.accept_errors {
            let errors = total - self.accept_errors;
            self.accept_errors = total;
            warn!(
                errors,
                "accept(2) failed: if descriptors are short, raise the open-files limit or lower limits.connections"
            );
        }
    }
}
