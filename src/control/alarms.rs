//! Alarms, once a second: the facts are gathered, the judge says what is wrong, the book what is told of it.
//!
//! Owns: the judge, the book and the way to whoever delivers. Called by: control. Never: waits for a delivery: what finds no
//! room on the way waits in the book.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use jiff::Zoned;
use jiff::civil::Time;
use tracing::{info, warn};

use super::fences::Fences;
use crate::alarm::book::{Book, Register, Today};
use crate::alarm::deliver::Report;
use crate::alarm::facts::{Counts, Facts, Failing, Fenced, Patience, Refused, Undelivered};
use crate::alarm::judge::Judge;
use crate::alarm::{Message, Outbox, Stage};
use crate::config::Settings;
use crate::config::settings::AccessTarget;
use crate::guard::Moment;
use crate::guard::ladder::Class;
use crate::http1::target::Host;
use crate::kernel::view::KernelView;
use crate::proxy::Shared;
use crate::telemetry::access_log::escape::printable;
use crate::telemetry::errors::Failure;
use crate::telemetry::refusals::Aggregate;

/// Destinations looked at for how often they have failed. More than fail at once while the way out is there.
const FAILING: usize = 256;

/// Control's side of the alarms.
#[derive(Debug)]
pub(crate) struct Alarms {
    judge: Judge,
    book: Book,
    /// What was counted a second ago.
    before: Option<Counts>,
    register: Arc<Register>,
    outbox: Option<Outbox>,
    /// How deliveries fare.
    deliveries: Arc<Report>,
}

/// Requests that came to no good end within a second.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) refused: &'a [Aggregate],
    pub(crate) failures: Vec<Failure>,
}

impl Alarms {
    /// `outbox`: where messages go besides the log.
    pub(crate) fn new(register: Arc<Register>, outbox: Option<Outbox>, deliveries: Arc<Report>) -> Self {
        Self { judge: Judge::default(), book: Book::default(), before: None, register, outbox, deliveries }
    }

    /// A second has passed.
    pub(crate) fn tick(
        &mut self,
        shared: &Shared,
        kernel: Arc<KernelView>,
        ended: Ended<'_>,
        fences: &Fences,
        now: Moment,
    ) {
        let settings = Arc::clone(&shared.rules.load().settings);
        let facts = self.facts(shared, &settings, kernel, ended, fences, now);
        let seen = self.judge.judge(&facts, &settings.alarm.thresholds, now);
        let date = SystemTime::now();
        let clock = clock(date);
        let silences = &settings.alarm.silences;
        let today = Today {
            now,
            date,
            gateway: &settings.alarm.name,
            window: settings.alarm.window,
            silenced: &|alarm| silences.iter().any(|silence| silence.covers(alarm, date, clock)),
            room: self.outbox.as_ref().map_or(usize::MAX, room),
        };
        let told = self.book.tell(seen, &today);
        for alarm in &told.begun {
            self.register.begun.add(alarm.index(), 1);
        }
        self.register.messages.fetch_add(told.messages.len() as u64, Relaxed);
        self.register.waiting.store(told.waiting as u64, Relaxed);
        let standing = self.book.standing(&today);
        if !standing.is_empty() || !self.register.standing.load().is_empty() {
            self.register.standing.store(Arc::new(standing));
        }
        for message in told.messages {
            log(&message);
            if let Some(outbox) = &self.outbox
                && outbox.try_send(message).is_err()
            {
                // There was room: nobody is left who would take it.
                self.outbox = None;
            }
        }
    }

    fn facts(
        &mut self,
        shared: &Shared,
        settings: &Settings,
        kernel: Arc<KernelView>,
        Ended { refused, failures }: Ended<'_>,
        fences: &Fences,
        now: Moment,
    ) -> Facts {
        let guard = &shared.guard;
        let counts = Counts::read(&shared.counters, &kernel, shared.access.dropped());
        let before = self.before.replace(counts.clone());
        let upstream = &settings.upstream;
        Facts {
            kernel,
            level: guard.pressure.level(),
            report: guard.pressure.report.load_full(),
            busiest: shared.loops.busiest().map(|(destination, open)| (destination, open.into())),
            counts: counts.since(before.as_ref().unwrap_or(&counts)),
            refused: refused.iter().map(|refused| offence(shared, refused, now)).collect(),
            fenced: fenced(shared, now),
            fence_events: fences.events().to_vec(),
            no_fence: fences.missing(settings),
            failing: guard.failing.each(FAILING).into_iter().map(failing).collect(),
            failures,
            patience: Patience {
                dns: upstream.dns_timeout,
                connect: upstream.connect_timeout,
                first_byte: upstream.first_byte_timeout,
                slow: settings.alarm.slow,
            },
            reload: self.register.reload.load().as_deref().cloned(),
            access_log: match &settings.log.access {
                AccessTarget::File(path) => Some(path.display().to_string()),
                AccessTarget::Off | AccessTarget::Stdout => None,
            },
            deliveries: undelivered(&self.deliveries),
        }
    }
}

/// What messages do not reach, and why they may not.
fn undelivered(report: &Report) -> Vec<Undelivered> {
    let failing =
        report.failing().into_iter().map(|failing| Undelivered { webhook: failing.destination, why: failing.why });
    let clock = report.skew().map(|skew| format!("the clock of this box differs by {skew} s from those of others"));
    let disk = report.unstored().map(|why| format!("messages that wait are in memory alone: {why}"));
    let own = [clock, disk].into_iter().flatten().map(|why| Undelivered { webhook: "–".to_owned(), why });
    failing.chain(own).collect()
}

/// Messages that the outbox still takes. Nobody else sends there, so that there is no less when it comes to it.
fn room(outbox: &Outbox) -> usize {
    outbox.capacity().map_or(usize::MAX, |capacity| capacity.saturating_sub(outbox.len()))
}

/// What a clock on the wall of this place shows.
fn clock(date: SystemTime) -> Time {
    Zoned::try_from(date).map_or(Time::midnight(), |zoned| zoned.time())
}

fn offence(shared: &Shared, refused: &Aggregate, now: Moment) -> Refused {
    let stalled = || {
        let (class, client) = Class::of(refused.end).zip(shared.guard.book.known(refused.client))?;
        Some(client.stalled_in(now).iter().any(|(stalled, _)| *stalled == class))
    };
    Refused {
        client: refused.client,
        address: refused.address,
        end: refused.end,
        count: refused.count.into(),
        stalled: stalled().unwrap_or(false),
        request_line: refused.sample.clone(),
    }
}

fn fenced(shared: &Shared, now: Moment) -> Vec<Fenced> {
    let (rows, today) = (shared.guard.fences.list(), SystemTime::now());
    let until = |lasts: Duration| today.checked_add(lasts).map(clock).unwrap_or_default();
    let fenced = rows.iter().map(|row| Fenced {
        row: row.clone(),
        until: until(row.until.since(now)).strftime("%H:%M:%S").to_string(),
        request_line: shared.guard.book.known(row.client).and_then(|client| client.detail()?.sample),
    });
    fenced.collect()
}

fn failing((host, port, end, times): (Host, u16, crate::outcome::RequestEnd, u8)) -> Failing {
    let destination = match host {
        Host::Address(address) => SocketAddr::new(address, port).to_string(),
        Host::Name(name) => format!("{name}:{port}"),
    };
    Failing { destination, end, times: times.into() }
}

/// One line for each message: who reads the log needs no webhook.
fn log(message: &Message) {
    let Message { alarm, stage, subject, count, window, values, sample, .. } = message;
    let values: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (alarm, seconds, values) = (alarm.label(), window.as_secs(), values.join(" "));
    let sample = sample.as_ref().map(|sample| printable(&sample.request_line)).unwrap_or_default();
    if *stage == Stage::Resolved {
        info!(alarm, subject, count, seconds, values, sample, "alarm resolved");
    } else {
        warn!(alarm, subject, count, seconds, values, sample, "alarm");
    }
}
