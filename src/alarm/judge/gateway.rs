//! The gateway itself: what it could not write, read or take over.

use std::time::Duration;

use ahash::AHashSet;

use super::{Second, words};
use crate::alarm::Alarm;
use crate::alarm::facts::{Reload, Undelivered};
use crate::guard::Moment;

/// Control looks once a second. If it has not for so long, there was no time for it: the box stands still.
const LATE: Duration = Duration::from_secs(10);

/// What is remembered of it.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// Sources that have never reported: this kernel has none, or we may not read it.
    never: Option<AHashSet<&'static str>>,
    looked: Option<Moment>,
}

impl Gateway {
    pub(super) fn look(&mut self, second: &mut Second<'_>) {
        let facts = second.facts;
        if let Some(Reload { file, why }) = &facts.reload {
            second.see(Alarm::ReloadFailed, "", 1, [("file", file.clone()), ("why", why.clone())], None);
        }
        if facts.counts.log_drops > 0 {
            let file: Vec<_> = facts.access_log.iter().map(|file| ("file", file.clone())).collect();
            second.see(Alarm::AccessLogDrops, "", facts.counts.log_drops, file, None);
        }
        if facts.counts.panics > 0 {
            second.see(Alarm::Panic, "", facts.counts.panics, Vec::new(), None);
        }
        for Undelivered { webhook, why } in &facts.deliveries {
            if second.stands(Alarm::Delivery, webhook, 1.0) {
                let values = [("webhook", webhook.clone()), ("why", why.clone())];
                second.see(Alarm::Delivery, webhook.as_str(), 1, values, None);
            }
        }
        self.no_data(second);
    }

    fn no_data(&mut self, second: &mut Second<'_>) {
        let absent = &second.facts.kernel.absent;
        let never = self.never.get_or_insert_with(|| absent.iter().map(|absent| absent.source).collect());
        never.retain(|source| absent.iter().any(|absent| absent.source == *source));
        for lost in absent.iter().filter(|absent| !never.contains(absent.source)) {
            if second.stands(Alarm::NoData, lost.source, 1.0) {
                let values = [("source", lost.source.to_owned()), ("why", lost.why.clone())];
                second.see(Alarm::NoData, lost.source, 1, values, None);
            }
        }
        let late = self.looked.replace(second.now).map_or(Duration::ZERO, |looked| second.now.since(looked));
        if late >= LATE {
            let why = format!("nothing was read for {}", words::span(late.as_secs_f64()));
            second.see(Alarm::NoData, "control", 1, [("source", "control".to_owned()), ("why", why)], None);
        }
    }
}
