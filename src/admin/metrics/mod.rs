//! The metrics, read at each scrape from the atomics and the kernel's view ([`kernel`]).
//!
//! Owns: their names, as they are exported, and what is said of each. Called by: the desk, for each page of them. Never: counts
//! anything itself, or writes zero for what the kernel does not tell: that is an absent series.

mod kernel;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Board;
use super::desk::TurnedAway;
use super::process::Process;
use crate::alarm::deliver::Event;
use crate::alarm::{Alarm, Severity};
use crate::config::settings::WebhookKind;
use crate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};
use crate::telemetry::Direction;
use crate::telemetry::counters::Histogram;
use crate::telemetry::errors::is_failure;

/// Writes every metric of the gateway.
#[derive(Debug)]
pub(super) struct Exporter {
    board: Arc<Board>,
    turned_away: Arc<TurnedAway>,
    /// Seconds since 1970.
    started: f64,
}

impl Exporter {
    pub(super) fn new(board: Arc<Board>, turned_away: Arc<TurnedAway>) -> Self {
        let started = SystemTime::now()
            .checked_sub(board.started.elapsed())
            .and_then(|started| started.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        Self { board, turned_away, started: started.as_secs_f64() }
    }
}

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(&mut encoder);
        // Ends before beginnings: then a sum of outcomes is never above its total.
        self.ends(&mut page)?;
        self.traffic(&mut page)?;
        self.gateway(&mut page)?;
        self.guard(&mut page)?;
        self.alarms(&mut page)?;
        if let Some(kernel) = self.board.kernel.load_full() {
            kernel::encode(&kernel, &mut page)?;
        }
        self.process(&mut page)
    }
}

impl Exporter {
    fn ends(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let counters = &self.board.counters;
        let connections = ConnectionEnd::ALL.iter().map(|end| {
            let count = counters.connection_ends.get(end.index());
            ([("scope", "connection"), ("outcome", end.label())], count)
        });
        let requests = RequestEnd::ALL.iter().map(|end| {
            let count = counters.request_ends.get(end.index());
            ([("scope", "request"), ("outcome", end.label())], count)
        });
        page.counters(
            "floodgate_outcomes_total",
            "Connections and requests by how they ended",
            connections.chain(requests),
        )?;
        let refusals = Reason::ALL.iter().flat_map(|reason| {
            Form::ALL.iter().map(|form| {
                let labels = [("reason", reason.label()), ("form", form.label())];
                (labels, counters.refusals(*reason, *form))
            })
        });
        page.counters(
            "floodgate_refusals_total",
            "Complete refusals by reason and by what the client got to see",
            refusals,
        )?;
        let untracked = Reason::ALL.iter().map(|reason| {
            let count = self.board.refusals.overflow(*reason);
            ([("reason", reason.label())], count)
        });
        page.counters(
            "floodgate_refusals_untracked_total",
            "Refusals that no client was charged with because the table of a second was full",
            untracked,
        )?;
        let untracked = RequestEnd::ALL.iter().filter(|end| is_failure(**end)).map(|end| {
            let count = counters.failures_untracked.get(end.index());
            ([("outcome", end.label())], count)
        });
        page.counters(
            "floodgate_failures_untracked_total",
            "Requests that failed at a destination which is not told of because the table of a second was full",
            untracked,
        )
    }

    fn traffic(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let counters = &self.board.counters;
        page.counters(
            "floodgate_connections_total",
            "Connections accepted",
            counters
                .connections
                .iter()
                .map(|(listener, count)| ([("listener", listener.as_str())], count.load(Relaxed))),
        )?;
        page.counter("floodgate_requests_total", "Requests read", &counters.requests.load(Relaxed))?;
        for (name, help, value) in [
            ("floodgate_connections_open", "Connections from clients that are open", &counters.connections_open),
            ("floodgate_tunnels_open", "Tunnels that are open", &counters.tunnels_open),
            (
                "floodgate_upstreams_open",
                "Connections to origins that are open, pooled ones included",
                &counters.upstreams_open,
            ),
            ("floodgate_upstreams_idle", "Connections to origins that wait in the pool", &counters.upstreams_idle),
        ] {
            page.gauge(name, help, Some(value.load(Relaxed)))?;
        }
        page.counters(
            "floodgate_bytes_total",
            "Bytes moved",
            Direction::ALL.iter().map(|direction| {
                let bytes = counters.bytes.get(*direction as usize);
                ([("direction", direction.label())], bytes)
            }),
        )?;
        page.histogram(
            "floodgate_upstream_connect_seconds",
            "Time to connect to an origin",
            &counters.connect_seconds,
        )?;
        page.histogram(
            "floodgate_request_seconds",
            "Time from a complete request head to the last byte of the answer, tunnels excluded",
            &counters.request_seconds,
        )?;
        page.histogram("floodgate_dns_seconds", "Time to resolve a name", &counters.dns_seconds)
    }

    fn gateway(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let Board { counters, access, .. } = self.board.as_ref();
        page.counters(
            "floodgate_config_reloads_total",
            "Reloads of the configuration",
            [
                ([("result", "applied")], &counters.reloads_applied),
                ([("result", "refused")], &counters.reloads_refused),
            ]
            .map(|(labels, count)| (labels, count.load(Relaxed))),
        )?;
        for (name, help, value) in [
            ("floodgate_accept_errors_total", "Accept calls that failed", counters.accept_errors.load(Relaxed)),
            (
                "floodgate_rate_buckets_shared_total",
                "Rate checks of clients beyond limits.clients-tracked, which share buckets",
                (self.board.buckets_shared)(),
            ),
            ("floodgate_panics_total", "Panics contained: defects of the gateway", counters.panics.load(Relaxed)),
            ("floodgate_access_log_lines_total", "Lines of the access log written", access.written()),
            (
                "floodgate_access_log_dropped_total",
                "Lines of the access log dropped because its queue was full or its file could not be written",
                access.dropped(),
            ),
            ("floodgate_access_log_errors_total", "Failed attempts to write or reopen the access log", access.errors()),
            (
                "floodgate_admin_connections_refused_total",
                "Admin connections closed unanswered because too many were open",
                self.turned_away.connections.load(Relaxed),
            ),
            (
                "floodgate_admin_connections_given_up_total",
                "Admin connections closed because their peer took nothing of what waited for it",
                self.turned_away.given_up.load(Relaxed),
            ),
            (
                "floodgate_admin_listeners_refused_total",
                "Dashboards that get no events because too many listen",
                self.board.events.turned_away(),
            ),
            (
                "floodgate_admin_credentials_refused_total",
                "Wrong tokens, and those not looked at because there were too many",
                self.turned_away.credentials.load(Relaxed),
            ),
        ] {
            page.counter(name, help, &value)?;
        }
        page.gauge(
            "floodgate_admin_listeners",
            "Dashboards that get events",
            Some(self.board.events.listeners() as u64),
        )?;
        page.0
            .encode_descriptor("floodgate_build", "The version that runs", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn guard(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let guard = &self.board.guard;
        let report = guard.pressure.report.load();
        page.gauge(
            "floodgate_pressure_level",
            "How short the box is of anything, from 0 (of nothing) to 3 (something is about to run out)",
            Some(u64::from(guard.pressure.level() as u8)),
        )?;
        page.gauges(
            "floodgate_pressure",
            "How much of something is used up, from 0 to 1",
            report.signals.iter().map(|(signal, used)| ([("signal", *signal)], Some(*used))),
        )?;
        for (name, help, value) in [
            ("floodgate_clients_tracked", "Clients with a state of their own", guard.book.tracked() as u64),
            ("floodgate_holds_open", "Refused connections whose answer is held back", guard.holds.open()),
            ("floodgate_holds_memory_bytes", "Kernel memory that they are reckoned to pin", guard.holds.bytes()),
            (
                "floodgate_fences_active",
                "Clients that the kernel keeps out, those on trial included",
                guard.fences.list().len() as u64,
            ),
            ("floodgate_heads_awaited", "Connections whose first request is not complete", guard.book.heads().into()),
            (
                "floodgate_destinations_failing",
                "Destinations that are answered for from memory",
                guard.failing.remembered() as u64,
            ),
        ] {
            page.gauge(name, help, Some(value))?;
        }
        for (name, help, value) in [
            (
                "floodgate_holds_turned_away_total",
                "Refusals answered at once because the memory for held ones was spent",
                guard.holds.turned_away(),
            ),
            (
                "floodgate_connections_shed_total",
                "Connections not served under pressure since their client has more than its share",
                guard.pressure.shed.load(Relaxed),
            ),
            (
                "floodgate_idle_reaped_total",
                "Idle tunnels, and transfers that stood still, that pressure has ended",
                guard.pressure.reaped.load(Relaxed),
            ),
            (
                "floodgate_fenced_syns_total",
                "Connection attempts of fenced clients that the kernel dropped, as far as it counts them",
                guard.fences.syns.load(Relaxed),
            ),
        ] {
            page.counter(name, help, &value)?;
        }
        page.counters(
            "floodgate_guard_observed_total",
            "Refusals that would have been stalled and clients that would have been fenced, while guard.mode is observe",
            [
                ([("step", "stall")], guard.observed.load(Relaxed)),
                ([("step", "fence")], guard.fences.observed.load(Relaxed)),
            ],
        )
    }

    fn alarms(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let alarms = &self.board.alarms;
        let standing = alarms.standing.load();
        let of = |severity| standing.iter().filter(|standing| standing.severity == severity).count() as u64;
        page.gauges(
            "floodgate_alarms_firing",
            "Alarms that stand, silenced ones included; one for each subject, and one for all clients together",
            [Severity::Info, Severity::Warning, Severity::Critical]
                .map(|bad| ([("severity", bad.label())], Some(of(bad)))),
        )?;
        page.counters(
            "floodgate_alarms_total",
            "Alarms that have begun; one for each subject, and one for all clients together",
            Alarm::ALL.iter().map(|alarm| ([("alarm", alarm.label())], alarms.begun.get(alarm.index()))),
        )?;
        page.counter("floodgate_alarm_messages_total", "Messages of alarms made", &alarms.messages.load(Relaxed))?;
        page.gauge(
            "floodgate_alarm_messages_waiting",
            "Messages of alarms that wait, since too many are made already or nobody takes them",
            Some(alarms.waiting.load(Relaxed)),
        )?;
        let report = &self.board.deliveries;
        // Only of kinds that are configured: twenty-eight zeros would say nothing.
        let kinds = || WebhookKind::ALL.iter().filter_map(|kind| Some((*kind, report.queued(*kind)?)));
        let events = kinds().flat_map(|(kind, _)| {
            Event::ALL.iter().map(move |event| {
                let labels = [("kind", kind.label()), ("result", event.label())];
                (labels, report.count(kind, *event))
            })
        });
        page.counters(
            "floodgate_alarm_deliveries_total",
            "Alarms delivered, attempts that failed or were refused, and alarms that were given up, by kind of webhook",
            events,
        )?;
        page.gauges(
            "floodgate_alarm_deliveries_queued",
            "Alarms that wait to be delivered",
            kinds().map(|(kind, queued)| ([("kind", kind.label())], Some(queued))),
        )
    }

    fn process(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let process = Process::read();
        if let Some(seconds) = process.cpu_seconds {
            page.counter("process_cpu_seconds_total", "User and system CPU time of the process", &seconds)?;
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of the process", process.resident),
            ("process_virtual_memory_bytes", "Virtual memory of the process", process.mapped),
            ("process_open_fds", "Open descriptors of the process", process.open_fds),
            ("process_max_fds", "Descriptors the process may have open", process.max_fds),
        ] {
            page.gauge(name, help, value)?;
        }
        page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970", Some(self.started))
    }
}

/// The units that a name may end with.
static UNITS: [Unit; 2] = [Unit::Seconds, Unit::Bytes];

/// The encoder, with names as they are exported and values that may be absent.
struct Page<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Page<'_, '_> {
    /// What stands above the values: name, unit, kind, and what it is.
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        // The encoder appends `_total` to the name of a counter, and the unit to every name.
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let measured = UNITS.iter().find_map(|unit| {
            let stem = stem.strip_suffix(unit.as_str())?.strip_suffix('_')?;
            Some((stem, unit))
        });
        match measured {
            Some((stem, unit)) => self.0.encode_descriptor(stem, help, Some(unit), kind),
            None => self.0.encode_descriptor(stem, help, None, kind),
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: &impl EncodeCounterValue) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<impl EncodeGaugeValue>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, Option<impl EncodeGaugeValue>)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().filter_map(|(labels, value)| Some((labels, value?))).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let sum = histogram.sum_seconds();
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        // Not the histogram's own count, which may be newer: the last bucket must equal the count.
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.family(name, help, MetricType::Histogram)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
