//! Everything as JSON, with stable names: times in seconds since 1970-01-01 UTC.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::super::findings::{Findings, Onward, Proxy, Quantiles, SelfTarget, Series, Storm};
use super::super::limits::{SOCKET_BYTES, TIME_WAIT_BYTES};
use crate::figures::real;
use crate::pcap::Time;

/// One object on many lines. Keys are in alphabetical order, and none is ever renamed.
pub fn json(findings: &Findings) -> String {
    let files: Vec<Value> = findings
        .files
        .iter()
        .map(|file| {
            json!({"name": file.name, "packets": file.packets, "problems": file.problems, "readable": file.readable})
        })
        .collect();
    let verdict: Vec<Value> = findings
        .verdicts
        .iter()
        .map(|one| {
            json!({"weight": one.weight.label(), "cause": one.cause, "evidence": one.evidence, "remedy": one.remedy})
        })
        .collect();
    let all = json!({
        "files": files,
        "counters": counters(findings),
        "not_tcp": counts(findings.counters.kinds.iter().map(|(kind, number)| (kind, *number))),
        "first_time": findings.span.map(|(first, _)| seconds(first)),
        "last_time": findings.span.map(|(_, last)| seconds(last)),
        "requests": findings.requests,
        "tunnelled_requests": findings.tunnelled,
        "proxies": findings.proxies.iter().map(proxy).collect::<Vec<_>>(),
        "more_proxies": findings.more_proxies,
        "verdict": verdict,
    });
    format!("{all:#}\n")
}

fn seconds(time: Time) -> f64 {
    real(time.0) / 1e9
}

fn micros(nanos: u64) -> f64 {
    real(nanos) / 1e3
}

/// `{"GET": 3}`.
fn counts<T: ToString>(items: impl IntoIterator<Item = (T, u64)>) -> Value {
    Value::Object(items.into_iter().map(|(name, number)| (name.to_string(), number.into())).collect())
}

fn counters(findings: &Findings) -> Value {
    let counters = &findings.counters;
    let fixed = [
        ("packets", counters.packets),
        ("bytes", counters.bytes),
        ("segments", counters.segments),
        ("flows", counters.flows),
        ("retransmissions", counters.retransmissions),
        ("gaps", counters.gaps),
        ("cut", counters.cut),
        ("evicted", counters.evicted),
        ("unknown_link", counters.unknown_link),
        ("untracked", findings.untracked),
    ];
    // The fixed ones come last: no other may take their names.
    counts(counters.others.iter().copied().chain(fixed))
}

fn proxy(proxy: &Proxy) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    put("endpoint", proxy.endpoint.to_string().into());
    put("because", proxy.because.words().into());
    put("requests", proxy.requests.into());
    put("by_form", counts(proxy.by_form.iter().map(|(form, number)| (form.label(), *number))));
    put("by_method", counts(proxy.by_method.iter().copied()));
    put("statuses", counts(proxy.statuses.iter().copied()));
    put("clients", proxy.clients.into());
    put(
        "busiest",
        proxy.busiest.map(|(client, number)| json!({"client": client.to_string(), "connections": number})).into(),
    );
    put("hosts", json!({"at_least": proxy.hosts.at_least, "exact": proxy.hosts.exact}));
    put("connect_targets", counts(proxy.connect_targets.iter().map(|(target, number)| (target, *number))));
    put("connect_others", proxy.connect_others.into());
    let failing = proxy.failing.iter();
    put(
        "failing",
        failing.map(|(target, of, failed)| json!({"target": target, "requests": of, "failed": failed})).collect(),
    );
    let connections = &proxy.connections;
    put(
        "connections",
        json!({
            "total": connections.total, "peak": connections.peak, "packets": connections.packets, "bytes": connections.bytes,
            "refused": connections.refused, "unanswered": connections.unanswered,
            "reset_by_client": connections.reset_by_client, "reset_by_proxy": connections.reset_by_proxy,
            "silent": connections.silent,
        }),
    );
    let answers = &proxy.answers;
    put(
        "answers",
        json!({
            "answered": answers.answered, "refused": answers.refused, "never": answers.never, "late": answers.late,
            "slow_heads": answers.slow_heads,
        }),
    );
    put("self_target", proxy.self_target.iter().map(self_target).collect());
    put("storms", proxy.storms.iter().map(storm).collect());
    let cost = &proxy.cost;
    put(
        "cost",
        json!({
            "refused": cost.refused, "connections_per_refused": cost.connections_per_refused,
            "packets_per_refused": cost.packets_per_refused, "sockets": cost.sockets, "time_wait": cost.time_wait,
            "socket_bytes": SOCKET_BYTES, "time_wait_bytes": TIME_WAIT_BYTES,
        }),
    );
    put("estimated_kernel_bytes", cost.kernel_bytes.into());
    put("bypass", proxy.bypass.iter().map(|one| {
        json!({
            "client": one.client.to_string(), "destination": one.destination.to_string(), "host": one.host,
            "relation": one.relation.label(), "private": one.private, "connections": one.connections, "bytes": one.bytes,
            "first_time": seconds(one.first),
        })
    }).collect());
    put(
        "keep_alive_misuse",
        proxy
            .keep_alive_misuse
            .iter()
            .map(|one| json!({"client": one.client.to_string(), "closed": one.closed, "of": one.of}))
            .collect(),
    );
    put("onward", onward(&proxy.onward));
    put("series", proxy.series.iter().map(series).collect());
    Value::Object(map)
}

fn onward(onward: &Onward) -> Value {
    let destination = |(to, number, failed): &(SocketAddr, u64, u64)| json!({"destination": to.to_string(), "connections": number, "failed": failed});
    json!({
        "connections": onward.connections, "refused": onward.refused, "unanswered": onward.unanswered,
        "to_itself": onward.to_itself, "to_own_proxy": onward.to_own_proxy, "peak": onward.peak,
        "addresses": onward.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "destinations": onward.destinations.iter().map(destination).collect::<Vec<_>>(),
    })
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn self_target(one: &SelfTarget) -> Value {
    json!({
        "client": one.client.to_string(),
        "count": one.count,
        "kind": one.kind.label(),
        "form": one.kind.form.label(),
        "first_time": seconds(one.first),
        "sample": String::from_utf8_lossy(&one.sample),
        "sample_hex": hex(&one.sample),
    })
}

fn storm(one: &Storm) -> Value {
    json!({
        "client": one.client.to_string(),
        "attempts": one.attempts,
        "of": one.of,
        "first_time": seconds(one.span.0),
        "last_time": seconds(one.span.1),
        "peak_per_s": one.peak_per_s,
        "fastest_ten_us": one.fastest_ten_ns.map(micros),
        "gap_us": one.gap.as_ref().map(quantiles),
        "same_request": one.same_request,
        "closed_loop": one.closed_loop,
        "concurrency": one.concurrency,
        "self_target": one.self_target,
        "request": one.request,
    })
}

fn quantiles(of: &Quantiles) -> Value {
    let histogram: Vec<Value> =
        of.histogram.iter().map(|(edge, number)| json!({"below": micros(*edge), "count": number})).collect();
    json!({
        "count": of.count, "p50": micros(of.p50), "p90": micros(of.p90), "p99": micros(of.p99), "max": micros(of.max),
        "histogram": histogram,
    })
}

fn series(one: &Series) -> Value {
    json!({
        "client": one.client.to_string(), "first_time": seconds(one.start), "width_us": micros(one.width), "attempts": one.bins,
    })
}
