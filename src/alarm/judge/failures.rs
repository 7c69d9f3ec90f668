//! What lies behind the gateway: names, destinations, the share of errors, the time that requests take.

use std::cmp::Reverse;
use std::time::Duration;

use super::rates::{Happened, Rates};
use super::{Second, words};
use crate::alarm::Alarm;
use crate::alarm::facts::{Counts, Facts, Failing, Failure, LATENCIES, Last, Patience, quantile};
use crate::outcome::RequestEnd;

/// With fewer requests in a minute, a share of errors or a percentile says nothing.
const LEAST: u64 = 20;
/// The percentile that is watched.
const P99: f64 = 0.99;

/// The ends that are alarms of their own.
const ALARMS: [(RequestEnd, Alarm); 5] = [
    (RequestEnd::DnsFailure, Alarm::DnsFailure),
    (RequestEnd::DnsTimeout, Alarm::DnsTimeout),
    (RequestEnd::ConnectTimeout, Alarm::ConnectTimeout),
    (RequestEnd::FirstByteTimeout, Alarm::ResponseTimeout),
    (RequestEnd::UpstreamMalformed, Alarm::InvalidResponse),
];

/// The last minute.
#[derive(Debug, Default)]
pub(super) struct Failures {
    ends: Last<60, { RequestEnd::COUNT }>,
    latencies: Last<60, LATENCIES>,
}

impl Failures {
    pub(super) fn look(&mut self, second: &mut Second<'_>, rates: &mut Rates) {
        for (end, alarm) in ALARMS {
            failed(end, alarm, second, rates);
        }
        fenced(second);
        let counts = &second.facts.counts;
        self.ends.add(second.now, counts.ends);
        self.latencies.add(second.now, counts.latencies);
        self.error_ratio(second);
        self.latency(second);
    }

    fn error_ratio(&self, second: &mut Second<'_>) {
        let counts = Counts { ends: self.ends.sums(), ..Counts::default() };
        let [errors, requests] = counts.errors();
        if requests < LEAST {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
        let share = errors as f64 / requests as f64;
        if !second.stands(Alarm::ErrorRatio, "", share) {
            return;
        }
        let worst = counts.worst();
        let mut values = vec![
            ("used", words::percent(share)),
            ("errors", words::count(errors)),
            ("requests", words::count(requests)),
        ];
        values.extend(worst.map(|end| ("reason", end.label().to_owned())));
        let most = worst.and_then(|end| most(second.facts, end));
        second.see(Alarm::ErrorRatio, "", 1, values, most.map(|failure| failure.sample.clone()));
    }

    fn latency(&self, second: &mut Second<'_>) {
        let latencies = self.latencies.sums();
        let requests = latencies.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let Some(p99) = quantile(P99, &latencies).filter(|_| requests >= LEAST) else { return };
        if second.stands(Alarm::Latency, "", p99) {
            let values = [("used", words::seconds(p99)), ("requests", words::count(requests))];
            second.see(Alarm::Latency, "", 1, values, None);
        }
    }
}

/// The failure of this kind that was the most frequent in this second; they are handed over in no order.
fn most(facts: &Facts, end: RequestEnd) -> Option<&Failure> {
    let failures = facts.failures.iter().filter(|failure| failure.end == end);
    failures.max_by_key(|failure| (failure.count, Reverse(&failure.subject)))
}

/// One kind of failure, of all destinations; the one that fails most is named.
fn failed(end: RequestEnd, alarm: Alarm, second: &Second<'_>, rates: &mut Rates) {
    let facts = second.facts;
    let most = most(facts, end);
    let upstream = most.and_then(|failure| failure.sample.upstream);
    let (limit, given_up) = patience(facts, alarm).unzip();
    let count = if given_up == Some(false) { noted(facts, end) } else { facts.counts.ended(end) };
    let values = [
        most.map(|failure| ("destination", failure.subject.clone())),
        upstream.map(|upstream| ("upstream", upstream.to_string())),
        upstream.map(|upstream| ("address", upstream.ip().to_string())),
        limit.map(|limit| ("limit", words::span(limit.as_secs_f64()))),
    ];
    let happened = Happened {
        alarm,
        subject: String::new(),
        count,
        certain: false,
        values: values.into_iter().flatten().collect(),
        sample: most.map(|failure| failure.sample.clone()),
    };
    rates.add(second, happened);
}

/// Those of a kind whose destination is known, who may be waiting still: they are counted when they have waited for long, and
/// not again when they end.
fn noted(facts: &Facts, end: RequestEnd) -> u64 {
    let noted = facts.failures.iter().filter(|failure| failure.end == end);
    noted.fold(0, |sum, failure| sum.saturating_add(failure.count))
}

/// How long it was waited for, and whether it was given up then.
fn patience(facts: &Facts, alarm: Alarm) -> Option<(Duration, bool)> {
    let Patience { dns, connect, first_byte, slow } = facts.patience;
    let waits = [
        (Alarm::DnsTimeout, dns, true),
        (Alarm::ConnectTimeout, connect.min(slow), connect <= slow),
        (Alarm::ResponseTimeout, first_byte.min(slow), first_byte <= slow),
    ];
    waits.into_iter().find(|(of, ..)| *of == alarm).map(|(_, limit, given_up)| (limit, given_up))
}

/// Destinations that are answered for from memory.
fn fenced(second: &mut Second<'_>) {
    let facts = second.facts;
    for Failing { destination, end, times } in &facts.failing {
        if second.stands(Alarm::DestinationFenced, destination, f64::from(*times)) {
            let values =
                [("destination", destination.clone()), ("used", times.to_string()), ("reason", end.label().to_owned())];
            let same = facts.failures.iter().find(|failure| failure.subject == *destination);
            let sample = same.map(|failure| failure.sample.clone());
            second.see(Alarm::DestinationFenced, destination.as_str(), 1, values, sample);
        }
    }
}
