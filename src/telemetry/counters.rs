//! Atomic counters and histograms: one relaxed addition each, summed by whoever reads.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::exemplars::Exemplars;
use crate::outcome::{ConnectionEnd, Form, Reason, RequestEnd};

/// Where bytes went; the label `direction` of `floodgate_bytes_total`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Direction {
    /// Read from a client.
    FromClient,
    /// Written to a client.
    ToClient,
    /// Read from an upstream.
    FromUpstream,
    /// Written to an upstream.
    ToUpstream,
}

impl Direction {
    /// Every direction, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::FromClient, Self::ToClient, Self::FromUpstream, Self::ToUpstream];

    /// The stable word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FromClient => "from_client",
            Self::ToClient => "to_client",
            Self::FromUpstream => "from_upstream",
            Self::ToUpstream => "to_upstream",
        }
    }
}

/// One counter per variant of an enumeration.
#[derive(Debug)]
pub struct PerVariant<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for PerVariant<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> PerVariant<N> {
    /// Adds `n` to the counter at `index`; an index outside the table is ignored (it cannot come from the enumeration).
    pub fn add(&self, index: usize, n: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(n, Relaxed);
        }
    }

    /// The counter at `index`.
    pub fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |counter| counter.load(Relaxed))
    }

    /// The sum over all variants.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|counter| counter.load(Relaxed)).sum()
    }
}

/// Upper bounds of the histogram buckets, in seconds.
pub const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// One bucket more, for what is above the last bound.
const SLOTS: usize = BUCKETS.len() + 1;

/// A histogram of durations with fixed buckets; recording is two relaxed additions.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: PerVariant<SLOTS>,
    micros: AtomicU64,
    /// One example for each bucket, if somebody wants any.
    pub exemplars: Exemplars<SLOTS>,
}

impl Histogram {
    /// Records one duration.
    pub fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let index = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets.add(index, 1);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.exemplars.note(index, took);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.sum()
    }

    /// Their sum, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.micros.load(Relaxed)).as_secs_f64()
    }

    /// `(upper bound in seconds, count in this bucket alone)`; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BUCKETS.iter().copied().chain([f64::INFINITY]).enumerate().map(|(i, bound)| (bound, self.buckets.get(i)))
    }
}

/// Everything the gateway counts about its own traffic.
#[derive(Debug, Default)]
pub struct Counters {
    /// `floodgate_connections_total{listener}`: the configured address, and connections accepted on it.
    pub connections: Vec<(String, AtomicU64)>,
    /// `floodgate_requests_total`.
    pub requests: AtomicU64,
    /// `floodgate_outcomes_total{scope="connection"}`.
    pub connection_ends: PerVariant<{ ConnectionEnd::COUNT }>,
    /// `floodgate_outcomes_total{scope="request"}`.
    pub request_ends: PerVariant<{ RequestEnd::COUNT }>,
    /// `floodgate_refusals_total{reason,form}`; see [`Counters::refused`].
    pub refusals: PerVariant<{ Reason::COUNT * Form::COUNT }>,
    /// `floodgate_failures_untracked_total{outcome}`: see [`Errors::note`](super::errors::Errors::note).
    pub failures_untracked: PerVariant<{ RequestEnd::COUNT }>,
    /// `floodgate_bytes_total{direction}`.
    pub bytes: PerVariant<4>,
    /// `floodgate_connections_open`: connections from clients.
    pub connections_open: AtomicI64,
    /// `floodgate_tunnels_open`.
    pub tunnels_open: AtomicI64,
    /// `floodgate_upstreams_open`: connections to origins, pooled ones included.
    pub upstreams_open: AtomicI64,
    /// `floodgate_upstreams_idle`: pooled connections to origins.
    pub upstreams_idle: AtomicI64,
    /// `floodgate_accept_errors_total`: failed accept calls of every kind.
    pub accept_errors: AtomicU64,
    /// `floodgate_panics_total`.
    pub panics: AtomicU64,
    /// `floodgate_config_reloads_total{result="applied"}`.
    pub reloads_applied: AtomicU64,
    /// `floodgate_config_reloads_total{result="refused"}`.
    pub reloads_refused: AtomicU64,
    /// `floodgate_upstream_connect_seconds`.
    pub connect_seconds: Histogram,
    /// `floodgate_request_seconds`: from the complete head to the last byte of the answer, tunnels excluded.
    pub request_seconds: Histogram,
    /// `floodgate_dns_seconds`.
    pub dns_seconds: Histogram,
}

impl Counters {
    /// Counters for these listeners.
    pub fn new(listeners: impl IntoIterator<Item = String>) -> Self {
        Self { connections: listeners.into_iter().map(|name| (name, AtomicU64::new(0))).collect(), ..Self::default() }
    }

    /// Counts one complete refusal.
    pub fn refused(&self, reason: Reason, form: Form) {
        self.refusals.add(reason.index() * Form::COUNT + form.index(), 1);
    }

    /// How many refusals of this reason took this form.
    pub fn refusals(&self, reason: Reason, form: Form) -> u64 {
        self.refusals.get(reason.index() * Form::COUNT + form.index())
    }

    /// Every histogram, by the name it is exported under.
    pub fn histograms(&self) -> [(&'static str, &Histogram); 3] {
        [
            ("floodgate_upstream_connect_seconds", &self.connect_seconds),
            ("floodgate_request_seconds", &self.request_seconds),
            ("floodgate_dns_seconds", &self.dns_seconds),
        ]
    }

    /// Counts bytes moved.
    pub fn moved(&self, direction: Direction, bytes: usize) {
        self.bytes.add(direction as usize, bytes as u64);
    }
}
