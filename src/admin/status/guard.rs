//! The guard: how short the box is, what is in force, who is kept out.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use super::super::limits::{CONNECTIONS, LISTENERS};
use super::super::token::Token;
use super::super::{Desk, Limit};
use super::Wall;
use super::clients::Census;
use crate::config::settings::{self, GuardMode, LadderMode, Rate, StallChoice};
use crate::guard::Guard;
use crate::guard::fence::Row;
use crate::guard::holds::HOLD_BYTES;
use crate::guard::pressure::Level;

pub(super) fn pressure(guard: &Guard) -> Value {
    let report = guard.pressure.report.load();
    let signals: Map<String, Value> =
        report.signals.iter().map(|(signal, used)| ((*signal).to_owned(), (*used).into())).collect();
    json!({
        "level": guard.pressure.level() as u8,
        "signals": signals,
        "driver": report.driver,
        "forecast": report.forecast.map(|forecast| json!({ "signal": forecast.signal, "seconds": forecast.seconds })),
    })
}

pub(super) fn fences(guard: &Guard) -> Vec<Value> {
    let wall = Wall::new(&guard.clock);
    guard.fences.list().iter().map(|row| fence(row, &wall)).collect()
}

pub(super) fn fence(row: &Row, wall: &Wall) -> Value {
    json!({
        "address": row.client.to_string(),
        "since": wall.unix(row.since),
        "until": wall.unix(row.until),
        "half_open": row.half_open,
        "reason": row.reason.label(),
        "syns": row.syns,
        "times": row.times,
    })
}

pub(super) fn guard(desk: &Desk, census: &Census) -> Value {
    let board = &*desk.board;
    let (guard, settings) = (&board.guard, board.settings.load());
    let backend = guard.fences.backend.load();
    json!({
        "mode": match settings.guard.mode {
            GuardMode::Enforce => "enforce",
            GuardMode::Observe => "observe",
        },
        "ladder": match settings.guard.ladder {
            LadderMode::Auto => "auto",
            LadderMode::Answer => "answer",
        },
        "stall": stall(guard, &settings.guard),
        "fence": { "backend": backend.name, "why_not": backend.why_not },
        "fenced_syns": guard.fences.syns.load(Relaxed),
        "holds": {
            "open": guard.holds.open(),
            "bytes": guard.holds.bytes(),
            "budget": settings.guard.hold_memory,
            "turned_away": guard.holds.turned_away(),
        },
        "observed": { "stalls": guard.observed.load(Relaxed), "fences": guard.fences.observed.load(Relaxed) },
        "limits": limits(desk, &settings, census),
        "changes": with_token(&board.token),
        "reading": board.read_token.as_ref().map_or_else(|| "for all of allow".to_owned(), with_token),
    })
}

fn with_token(token: &Result<Token, String>) -> String {
    token.as_ref().map_or_else(|why| format!("off: {why}"), |_| "with the token".to_owned())
}

/// What really becomes of a refusal that is to be stalled, if its request has been read to its end.
pub(in crate::admin) fn stall(guard: &Guard, settings: &settings::Guard) -> &'static str {
    let never = settings.mode == GuardMode::Observe || settings.ladder == LadderMode::Answer;
    if never {
        "answer"
    } else if guard.may_drop && settings.stall != StallChoice::Hold {
        "drop"
    } else if guard.pressure.level() >= Level::High || (settings.hold_memory as u64) < HOLD_BYTES {
        "answer"
    } else {
        "hold"
    }
}

/// Every limit with its present use; of those that go for each client, the use by whoever uses most.
fn limits(desk: &Desk, settings: &settings::Settings, census: &Census) -> Map<String, Value> {
    let board = &*desk.board;
    let limits = &settings.limits;
    let counters = &board.counters;
    let count = |open: i64| Some(u64::try_from(open).unwrap_or(0));
    let kernel = board.kernel.load();
    let descriptors = kernel.as_ref().and_then(|kernel| Some((kernel.descriptor_limit?, kernel.descriptors)));
    let known = [
        ("connections", limits.connections.into(), count(counters.connections_open.load(Relaxed))),
        ("client_connections", limits.client_connections.into(), Some(census.most_open.into())),
        ("clients_tracked", limits.clients_tracked as u64, Some(board.guard.book.tracked() as u64)),
        ("heads", limits.heads.into(), Some(board.guard.book.heads().into())),
        ("client_heads", limits.client_heads.into(), Some(census.most_heads.into())),
        ("client_openings", limits.client_openings.into(), None),
        ("client_lookups", limits.client_lookups.into(), None),
        ("hold_memory", settings.guard.hold_memory as u64, Some(board.guard.holds.bytes())),
        ("idle_upstreams", idle_upstreams(settings), count(counters.upstreams_idle.load(Relaxed))),
        ("admin_connections", CONNECTIONS.all as u64, Some(desk.connections() as u64)),
        ("admin_listeners", LISTENERS.all as u64, Some(board.events.listeners() as u64)),
        ("head_size", limits.head_size as u64, None),
        ("target_size", limits.target_size as u64, None),
        ("head_fields", limits.head_fields as u64, None),
    ];
    let known = known.into_iter().map(|(name, limit, used)| Limit { name, limit, used });
    let descriptors = descriptors.map(|(limit, used)| Limit { name: "descriptors", limit, used });
    let rows = known.chain(descriptors).chain((board.limits)());
    let rates = [
        ("client_connection_rate", limits.client_connection_rate, census.most_arrivals),
        ("client_request_rate", limits.client_request_rate, census.most_requests),
    ];
    let rate = |(name, rate, used): (&'static str, Rate, u32)| {
        (name.to_owned(), json!({ "limit": rate.per_second, "burst": rate.burst, "used": used }))
    };
    rows.map(|row| (row.name.to_owned(), json!({ "limit": row.limit, "used": row.used })))
        .chain(rates.into_iter().map(rate))
        .collect()
}

/// Of all workers.
fn idle_upstreams(settings: &settings::Settings) -> u64 {
    settings.upstream.idle_connections.saturating_mul(settings.runtime.workers) as u64
}
