//! What the last quarter of an hour was like: one value a second of everything that an operator looks back at.
//!
//! Owns: [`Column`], which values; [`History`], the ring; [`Distribution`], percentiles of a second. Called by: control
//! ([`History::push`], each second), admin ([`History::to_json`]). Never: reads a clock or a counter; grows.

mod distribution;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

pub use distribution::Distribution;

use crate::outcome::labelled;

/// Seconds that are remembered: 15 minutes.
pub const SECONDS: usize = 900;

labelled! {
    /// A value that is remembered. Its label names its unit, but for counts of things and for shares from 0 to 1.
    Column {
        /// The level of pressure, 0 to 3.
        PressureLevel = "pressure_level",
        /// The worst of its signals, 0 to 1.
        PressureWorst = "pressure_worst",
        /// The slab cache `TCP`.
        SlabTcp = "slab_tcp_bytes",
        /// The slab cache `TCPv6`.
        SlabTcpV6 = "slab_tcpv6_bytes",
        /// The slab caches `tw_sock_TCP` and `tw_sock_TCPv6`.
        SlabTimeWait = "slab_time_wait_bytes",
        /// The slab caches `request_sock_TCP` and `request_sock_TCPv6`.
        SlabRequest = "slab_request_bytes",
        /// TCP's buffers.
        TcpMemory = "tcp_memory_bytes",
        /// Orphans.
        Orphans = "orphans",
        /// Connections in `TIME_WAIT`.
        TimeWait = "time_wait",
        /// TCP sockets in use, of both families.
        Sockets = "sockets",
        /// Connections from clients.
        Connections = "connections",
        /// Tunnels.
        Tunnels = "tunnels",
        /// Refused connections whose answer is held back.
        Holds = "holds",
        /// Clients that the kernel keeps out.
        Fences = "fences",
        /// Their connection attempts that it dropped.
        FencedSyns = "fenced_syns_per_s",
        /// Requests read.
        Requests = "requests_per_s",
        /// Refusals that were answered at once.
        RefusalsAnswered = "refusals_answered_per_s",
        /// Refusals that were answered late.
        RefusalsHeld = "refusals_held_per_s",
        /// Refusals that were not answered.
        RefusalsDropped = "refusals_dropped_per_s",
        /// Requests that failed at their destination: see [`is_failure`](super::errors::is_failure).
        Failures = "failures_per_s",
        /// Bytes read from clients.
        FromClient = "from_client_bytes_per_s",
        /// Bytes written to clients.
        ToClient = "to_client_bytes_per_s",
        /// Bytes read from upstreams.
        FromUpstream = "from_upstream_bytes_per_s",
        /// Bytes written to upstreams.
        ToUpstream = "to_upstream_bytes_per_s",
        /// Half of the forwarded requests took no longer.
        RequestP50 = "request_p50_s",
        /// 99 of 100 took no longer.
        RequestP99 = "request_p99_s",
        /// 99 of 100 connections to upstreams took no longer to be established.
        ConnectP99 = "connect_p99_s",
        /// The share of the cores' time that was neither idle nor waiting for a disk.
        CpuBusy = "cpu_busy",
        /// The share that waited for a disk.
        CpuIoWait = "cpu_iowait",
    }
}

/// The values of one second; those that are not known are no numbers.
#[derive(Clone, Copy, Debug)]
pub struct Second([f32; Column::COUNT]);

// The whole ring: 104,400 bytes.
const _: () = assert!(SECONDS * size_of::<Second>() <= 128 << 10);

impl Default for Second {
    fn default() -> Self {
        Self([f32::NAN; Column::COUNT])
    }
}

impl Second {
    /// Sets a value, which is kept to seven digits; `None`: it is not known.
    pub fn set(&mut self, column: Column, value: Option<f64>) {
        if let Some(place) = self.0.get_mut(column.index()) {
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a plot shows")]
            let value = value.map_or(f32::NAN, |value| value as f32);
            *place = value;
        }
    }

    /// A value, if it is known.
    pub fn get(&self, column: Column) -> Option<f32> {
        self.0.get(column.index()).copied().filter(|value| value.is_finite())
    }
}

/// When a second was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct When {
    /// Seconds on a clock that nobody sets and that goes on while the box sleeps (`CLOCK_BOOTTIME`).
    pub uptime: u64,
    /// Seconds since 1970, as the box has it now.
    pub unix: u64,
}

/// The last [`SECONDS`] seconds, without a hole: what is not known has a place too.
#[derive(Debug)]
pub struct History {
    /// The oldest first.
    rows: VecDeque<Second>,
    /// When the last of them was.
    last: Option<When>,
}

impl Default for History {
    fn default() -> Self {
        Self { rows: VecDeque::with_capacity(SECONDS), last: None }
    }
}

impl History {
    /// Adds a second. Those left out since the last one stay unknown: the box was asleep, or had no time.
    pub fn push(&mut self, when: When, second: Second) {
        match self.last.map_or(1, |last| when.uptime.saturating_sub(last.uptime)) {
            // Two within one second: the later one counts.
            0 => drop(self.rows.pop_back()),
            1 => {}
            // A clock that ticks a little late leaves out one now and then, and what it tells is of both.
            2 => self.keep(second),
            passed => (1..passed).take(SECONDS).for_each(|_| self.keep(Second::default())),
        }
        self.keep(second);
        let before = self.last.unwrap_or_default();
        self.last = Some(When { uptime: when.uptime.max(before.uptime), ..when });
    }

    fn keep(&mut self, second: Second) {
        if self.rows.len() >= SECONDS {
            self.rows.pop_front();
        }
        self.rows.push_back(second);
    }

    /// The seconds after `since` (since 1970), the oldest first; all without it, or if it lies ahead, as it does when the
    /// clock of the box has been set back.
    pub fn since(&self, since: Option<u64>) -> impl ExactSizeIterator<Item = &Second> + Clone {
        let age = self.last.zip(since).and_then(|(last, since)| last.unix.checked_sub(since));
        let wanted = age.map_or(SECONDS, |age| usize::try_from(age).unwrap_or(SECONDS));
        self.rows.iter().skip(self.rows.len().saturating_sub(wanted))
    }

    /// The same as columns: `{"step_s":1,"end":1700000000,"columns":{"requests_per_s":[12,null,9.5],…}}`.
    ///
    /// `end` is when the last value of each column was, in seconds since 1970 (null before the first); `null` stands for
    /// what is not known. All columns are there, and of one length. Values have six decimals at most.
    pub fn to_json(&self, since: Option<u64>) -> Value {
        let rows = self.since(since);
        let columns: Map<String, Value> = Column::ALL
            .iter()
            .map(|column| {
                let values: Vec<Value> = rows.clone().map(|row| row.get(*column).map_or(Value::Null, number)).collect();
                (column.label().to_owned(), values.into())
            })
            .collect();
        json!({ "step_s": 1, "end": self.last.map(|last| last.unix), "columns": columns })
    }
}

/// Short to write: whole numbers without a point, others to the millionth.
fn number(value: f32) -> Value {
    let value = f64::from(value);
    #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2 to the 53rd")]
    if value.fract() == 0.0 && value.abs() < 9e15 {
        Value::from(value as i64)
    } else {
        Value::from((value * 1e6).round() / 1e6)
    }
}
