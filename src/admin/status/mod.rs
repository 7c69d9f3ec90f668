//! Everything the page shows, as one JSON object. What cannot be read is null or missing, never zero.

mod alarms;
mod client;
mod clients;
mod guard;

pub(super) use client::client;
#[cfg(test)]
pub(super) use guard::stall;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Board, Desk};
use crate::guard::{Clock, Moment};
use crate::kernel::view::KernelView;
use crate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};
use crate::telemetry::Direction;

pub(super) fn status(desk: &Desk) -> Value {
    let board = &*desk.board;
    let census = clients::Census::of(board);
    json!({
        "gateway": {
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": board.started.elapsed().as_secs(),
            "listeners": board.listeners,
            "draining": board.draining.load(Relaxed),
        },
        "pressure": guard::pressure(&board.guard),
        "kernel": board.kernel.load_full().map(|kernel| view(&kernel)),
        "traffic": traffic(board),
        "clients": clients::rows(board, &census),
        "fences": guard::fences(&board.guard),
        "alarms": alarms::rows(board),
        "guard": guard::guard(desk, &census),
    })
}

fn view(kernel: &KernelView) -> Value {
    let slab: Map<String, Value> = kernel
        .slab
        .iter()
        .map(|(cache, slab)| {
            let numbers = json!({ "objects": slab.objects, "bytes": slab.bytes });
            ((*cache).to_owned(), numbers)
        })
        .collect();
    let [low, pressure, high] = match kernel.tcp_memory_limits {
        Some(limits) => limits.map(Some),
        None => [None; 3],
    };
    let absent: Vec<Value> =
        kernel.absent.iter().map(|absent| json!({ "source": absent.source, "why": absent.why })).collect();
    let disks: Vec<Value> = kernel
        .disks
        .iter()
        .map(|disk| json!({ "path": disk.path.to_string_lossy(), "free": disk.free, "total": disk.total }))
        .collect();
    json!({
        "slab": slab,
        "sockets": {
            "inuse_v4": kernel.sockets.inuse_v4,
            "inuse_v6": kernel.sockets.inuse_v6,
            "orphan": kernel.sockets.orphan,
            "time_wait": kernel.sockets.time_wait,
            "alloc": kernel.sockets.alloc,
        },
        "orphan_limit": kernel.orphan_limit,
        "time_wait_limit": kernel.time_wait_limit,
        "tcp_memory": {
            "bytes": kernel.tcp_memory,
            "low": low,
            "pressure": pressure,
            "high": high,
        },
        "events": {
            "listen_overflows": kernel.tcp_ext.listen_overflows,
            "listen_drops": kernel.tcp_ext.listen_drops,
            "aborts_on_memory": kernel.tcp_ext.aborts_on_memory,
            "memory_pressures": kernel.tcp_ext.memory_pressures,
            "time_wait_overflows": kernel.tcp_ext.time_wait_overflows,
            "syn_cookies": kernel.tcp_ext.syn_cookies,
        },
        "descriptors": { "open": kernel.descriptors, "limit": kernel.descriptor_limit },
        "cpu": kernel.cpu.map(|cpu| {
            json!({
                "user": cpu.user,
                "system": cpu.system,
                "softirq": cpu.softirq,
                "iowait": cpu.iowait,
                "steal": cpu.steal,
                "idle": cpu.idle,
            })
        }),
        "load": kernel.load,
        "memory": { "total": kernel.ram, "available": kernel.memory_available },
        "stall": {
            "memory": kernel.memory_stall.map(ratio),
            "cpu": kernel.cpu_stall.map(ratio),
            "io": kernel.io_stall.map(ratio),
        },
        "conntrack": {
            "count": kernel.conntrack.map(|(count, _)| count),
            "limit": kernel.conntrack.map(|(_, limit)| limit),
        },
        "disks": disks,
        "absent": absent,
    })
}

/// Hundredths of a percent, from 0 to 1.
pub(super) fn ratio(hundredths: u32) -> f64 {
    f64::from(hundredths) / 10_000.0
}

fn traffic(board: &Board) -> Value {
    let counters = &board.counters;
    // Ends before beginnings, as for the metrics.
    let connection_ends =
        numbers(ConnectionEnd::ALL.iter().map(|end| (end.label(), counters.connection_ends.get(end.index()))));
    let request_ends = numbers(RequestEnd::ALL.iter().map(|end| (end.label(), counters.request_ends.get(end.index()))));
    let refusals = numbers(Reason::ALL.iter().map(|reason| {
        let forms = Form::ALL.iter().map(|form| counters.refusals(*reason, *form));
        (reason.label(), forms.sum())
    }));
    let bytes =
        numbers(Direction::ALL.iter().map(|direction| (direction.label(), counters.bytes.get(*direction as usize))));
    let accepted: u64 = counters.connections.iter().map(|(_, count)| count.load(Relaxed)).sum();
    json!({
        "connections": {
            "open": counters.connections_open.load(Relaxed),
            "total": accepted,
        },
        "requests": counters.requests.load(Relaxed),
        "tunnels": counters.tunnels_open.load(Relaxed),
        "upstreams": {
            "open": counters.upstreams_open.load(Relaxed),
            "idle": counters.upstreams_idle.load(Relaxed),
        },
        "outcomes": { "connection": connection_ends, "request": request_ends },
        "refusals": refusals,
        "bytes": bytes,
        "access_log": {
            "on": board.access.is_on(),
            "written": board.access.written(),
            "dropped": board.access.dropped(),
            "errors": board.access.errors(),
        },
        "accept_errors": counters.accept_errors.load(Relaxed),
        "panics": counters.panics.load(Relaxed),
    })
}

fn numbers(rows: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    rows.map(|(label, count)| (label.to_owned(), count.into())).collect()
}

/// The guard's moments on the wall: its clock is never set and stands still while the box sleeps, so they are told from here
/// and now.
struct Wall {
    now: Moment,
    today: SystemTime,
}

impl Wall {
    fn new(clock: &Clock) -> Self {
        Self { now: clock.now(), today: SystemTime::now() }
    }

    /// Seconds since 1970.
    fn unix(&self, moment: Moment) -> Option<u64> {
        let then = self.today.checked_add(moment.since(self.now))?.checked_sub(self.now.since(moment))?;
        Some(unix_seconds(then))
    }
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
