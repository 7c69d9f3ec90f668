//! A second for the history: what the kernel said, and what was counted since the tick before.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::guard::pressure::signals;
use crate::kernel::view::KernelView;
use crate::outcome::{Form, Reason, RequestEnd};
use crate::proxy::Shared;
use crate::telemetry::counters::{Counters, Direction};
use crate::telemetry::errors::is_failure;
use crate::telemetry::history::{Column, Distribution, Second, When};

/// Makes seconds of ticks.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    before: Option<(Totals, Instant)>,
}

impl Recorder {
    pub(super) fn tick(&mut self, shared: &Shared, view: &KernelView) {
        let mut second = Second::default();
        set_kernel(&mut second, view);
        set_gateway(&mut second, shared);
        let (totals, now) = (Totals::of(&shared.counters, shared.guard.fences.syns.load(Relaxed)), Instant::now());
        if let Some((before, then)) = &self.before {
            totals.set_rates(&mut second, before, now.saturating_duration_since(*then));
        }
        self.before = Some((totals, now));
        shared.history.lock().push(when(), second);
    }
}

fn when() -> When {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    When { uptime: u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0), unix }
}

fn set_kernel(second: &mut Second, view: &KernelView) {
    let slab = |caches: &[&str]| {
        let bytes = view.slab.iter().filter(|(cache, _)| caches.contains(cache)).map(|(_, slab)| slab.bytes);
        bytes.reduce(u64::saturating_add)
    };
    let sockets = [view.sockets.inuse_v4, view.sockets.inuse_v6].into_iter().flatten().reduce(u64::saturating_add);
    for (column, value) in [
        (Column::SlabTcp, slab(&["TCP"])),
        (Column::SlabTcpV6, slab(&["TCPv6"])),
        (Column::SlabTimeWait, slab(&["tw_sock_TCP", "tw_sock_TCPv6"])),
        (Column::SlabRequest, slab(&["request_sock_TCP", "request_sock_TCPv6"])),
        (Column::TcpMemory, view.tcp_memory),
        (Column::Orphans, view.sockets.orphan),
        (Column::TimeWait, view.sockets.time_wait),
        (Column::Sockets, sockets),
    ] {
        second.set(column, value.map(number));
    }
    second.set(Column::CpuBusy, view.cpu.map(|cpu| cpu.busy()));
    second.set(Column::CpuIoWait, view.cpu.map(|cpu| cpu.iowait));
}

fn set_gateway(second: &mut Second, shared: &Shared) {
    let (guard, counters) = (&shared.guard, &shared.counters);
    let open = |count: i64| u64::try_from(count).unwrap_or(0);
    for (column, value) in [
        (Column::PressureLevel, guard.pressure.level() as u64),
        (Column::Connections, open(counters.connections_open.load(Relaxed))),
        (Column::Tunnels, open(counters.tunnels_open.load(Relaxed))),
        (Column::Holds, guard.holds.open()),
        (Column::Fences, guard.fences.list().len() as u64),
    ] {
        second.set(column, Some(number(value)));
    }
    second.set(Column::PressureWorst, signals::worst(&guard.pressure.report.load().signals).map(|(_, used)| used));
}

/// What only ever grows.
#[derive(Debug)]
struct Totals {
    counts: [(Column, u64); 10],
    request_seconds: Distribution,
    connect_seconds: Distribution,
}

impl Totals {
    fn of(counters: &Counters, fenced_syns: u64) -> Self {
        let refusals = |form| Reason::ALL.iter().map(|reason| counters.refusals(*reason, form)).sum::<u64>();
        let failures = RequestEnd::ALL.iter().filter(|end| is_failure(**end));
        let bytes = |direction: Direction| counters.bytes.get(direction as usize);
        Self {
            counts: [
                (Column::FencedSyns, fenced_syns),
                (Column::Requests, counters.requests.load(Relaxed)),
                // Form::Reset is never used.
                (Column::RefusalsAnswered, refusals(Form::Answered)),
                (Column::RefusalsHeld, refusals(Form::Held)),
                (Column::RefusalsDropped, refusals(Form::Dropped)),
                (Column::Failures, failures.map(|end| counters.request_ends.get(end.index())).sum()),
                (Column::FromClient, bytes(Direction::FromClient)),
                (Column::ToClient, bytes(Direction::ToClient)),
                (Column::FromUpstream, bytes(Direction::FromUpstream)),
                (Column::ToUpstream, bytes(Direction::ToUpstream)),
            ],
            request_seconds: Distribution::of(&counters.request_seconds),
            connect_seconds: Distribution::of(&counters.connect_seconds),
        }
    }

    /// What came since `before`, so long ago, for each second.
    fn set_rates(&self, second: &mut Second, before: &Self, passed: Duration) {
        let passed = Some(passed.as_secs_f64()).filter(|passed| *passed > 0.0);
        for ((column, now), (_, then)) in self.counts.iter().zip(before.counts) {
            second.set(*column, passed.map(|passed| number(now.saturating_sub(then)) / passed));
        }
        let requests = self.request_seconds.since(&before.request_seconds);
        second.set(Column::RequestP50, requests.quantile(0.5));
        second.set(Column::RequestP99, requests.quantile(0.99));
        second.set(Column::ConnectP99, self.connect_seconds.since(&before.connect_seconds).quantile(0.99));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot shows a few digits")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Settings;
    use crate::guard::pressure::Report;
    use crate::kernel::view::{CpuShares, Slab, Sockets};
    use crate::proxy::Worker;

    #[test]
    fn a_tick_is_a_second_of_the_history() {
        let worker = Worker::alone(Settings::defaults());
        let shared = &worker.shared;
        let view = KernelView { tcp_memory: Some(4_096), ..KernelView::default() };
        shared.counters.requests.store(5, Relaxed);
        let last = || *shared.history.lock().since(None).last().unwrap();
        let mut recorder = Recorder::default();
        recorder.tick(shared, &view);
        assert_eq!((last().get(Column::TcpMemory), last().get(Column::Tunnels)), (Some(4_096.0), Some(0.0)));
        assert_eq!(last().get(Column::Requests), None, "since when is not known");
        assert_eq!(last().get(Column::PressureWorst), None, "nothing was measured");
        let report = Report { signals: vec![("slab", 0.25), ("ports", 0.75)], ..Report::default() };
        shared.guard.pressure.report.store(Arc::new(report));
        shared.counters.requests.store(6, Relaxed);
        shared.counters.tunnels_open.store(-1, Relaxed);
        recorder.tick(shared, &view);
        assert!(last().get(Column::Requests).is_some_and(|rate| rate > 0.0));
        assert_eq!((last().get(Column::PressureWorst), last().get(Column::Tunnels)), (Some(0.75), Some(0.0)));
    }

    #[test]
    fn what_was_counted_becomes_a_rate() {
        let counters = Counters::new([]);
        counters.requests.store(1_000, Relaxed);
        counters.request_seconds.record(Duration::from_secs(50));
        let before = Totals::of(&counters, 7);
        counters.requests.fetch_add(30, Relaxed);
        counters.refused(Reason::SelfTarget, Form::Dropped);
        counters.refused(Reason::Malformed, Form::Dropped);
        counters.refused(Reason::Malformed, Form::Held);
        counters.request_ends.add(RequestEnd::DnsFailure.index(), 3);
        counters.request_ends.add(RequestEnd::ConnectTimeout.index(), 1);
        counters.request_ends.add(RequestEnd::DestinationFailing.index(), 100);
        counters.moved(Direction::ToUpstream, 3_000);
        counters.request_seconds.record(Duration::from_micros(400));
        let mut second = Second::default();
        Totals::of(&counters, 10).set_rates(&mut second, &before, Duration::from_millis(1_500));
        for (column, expected) in [
            (Column::Requests, Some(20.0)),
            (Column::FencedSyns, Some(2.0)),
            (Column::RefusalsAnswered, Some(0.0)),
            (Column::RefusalsHeld, Some(1.0 / 1.5)),
            (Column::RefusalsDropped, Some(2.0 / 1.5)),
            (Column::Failures, Some(4.0 / 1.5)),
            (Column::FromClient, Some(0.0)),
            (Column::ToUpstream, Some(2_000.0)),
            (Column::RequestP50, Some(0.000_5)),
            (Column::RequestP99, Some(0.000_5)),
            (Column::ConnectP99, None),
        ] {
            assert_eq!(second.get(column), expected, "{column:?}");
        }
        // The time between two ticks is never nothing; if it were, no rate would be known.
        Totals::of(&counters, 10).set_rates(&mut second, &before, Duration::ZERO);
        assert_eq!((second.get(Column::Requests), second.get(Column::RequestP50)), (None, Some(0.000_5)));
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_known() {
        let mut second = Second::default();
        set_kernel(&mut second, &KernelView::default());
        assert!(Column::ALL.iter().all(|column| second.get(*column).is_none()));
        let slab = |bytes| Slab { objects: 1, bytes };
        let view = KernelView {
            slab: vec![("TCP", slab(1)), ("tw_sock_TCP", slab(2)), ("tw_sock_TCPv6", slab(3))],
            sockets: Sockets { inuse_v4: Some(4), orphan: Some(0), ..Sockets::default() },
            cpu: Some(CpuShares { user: 0.25, softirq: 0.25, iowait: 0.5, ..CpuShares::default() }),
            ..KernelView::default()
        };
        set_kernel(&mut second, &view);
        let known: Vec<_> =
            Column::ALL.iter().filter_map(|column| Some((column.label(), second.get(*column)?))).collect();
        assert_eq!(
            known,
            [
                ("slab_tcp_bytes", 1.0),
                ("slab_time_wait_bytes", 5.0),
                ("orphans", 0.0),
                ("sockets", 4.0),
                ("cpu_busy", 0.5),
                ("cpu_iowait", 0.5),
            ]
        );
    }
}
