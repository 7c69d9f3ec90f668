//! One client in detail: everything of its row in the list, and what is known of those who climbed a ladder.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::Board;
use super::super::words::deed;
use super::clients::Subject;
use super::{Wall, guard};
use crate::config::settings::GuardMode;
use crate::guard::Client;
use crate::guard::attribution::Held;
use crate::guard::clients::Rung;
use crate::guard::clients::detail::{Act, GAPS, Seen};
use crate::http1::target::Host;
use crate::net::ClientKey;
use crate::telemetry::access_log::escape::printable;

/// What is known of a client; `None` if nothing is.
pub(in crate::admin) fn client(board: &Board, key: ClientKey) -> Option<Value> {
    let book = &board.guard.book;
    // The /64s of one site share an entry when there are many.
    let found = book.known(key).map(|client| (key, client));
    let found = found.or_else(|| key.site().and_then(|site| Some((site, book.known(site)?))));
    let key = found.as_ref().map_or(key, |(key, _)| *key);
    let client = found.as_ref().map(|(_, client)| &**client);
    let fences = board.guard.fences.list();
    let fence = fences.iter().find(|row| row.client == key);
    let offender = board.refusals.board().into_iter().find(|offender| offender.client == key);
    if client.is_none() && fence.is_none() && offender.is_none() {
        return None;
    }

    let wall = Wall::new(&board.guard.clock);
    let subject = Subject {
        key,
        client,
        fence,
        offender: offender.as_ref(),
        kernel_bytes: (board.kernel_bytes)(key),
        observing: board.settings.load().guard.mode == GuardMode::Observe,
    };
    let mut told = subject.row(wall.now);
    let held = board.guard.memory.latest.load().as_ref().map(|latest| kernel(&latest.of(key)));
    let fields = told.as_object_mut()?;
    let mut tell = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    tell("kernel", held.into());
    tell("fence", fence.map(|row| guard::fence(row, &wall)).into());
    if let Some(client) = client {
        let rates = client.rates();
        tell("since", wall.unix(rates.since).into());
        tell("progress", rates.progress.and_then(|moment| wall.unix(moment)).into());
        tell("under_way", json!({ "heads": client.heads(), "openings": client.opening(), "lookups": client.asking() }));
        tell("ladder", client.rungs(wall.now).iter().map(|rung| ladder(rung, &wall, subject.observing)).collect());
    }
    let seen = client.and_then(Client::detail);
    tell("timing", seen.as_ref().map(timing).into());
    tell("first_sample", seen.as_ref().and_then(|seen| seen.sample.as_deref()).map(printable).into());
    tell("destinations", seen.as_ref().map(destinations).into());
    tell("events", seen.as_ref().map(|seen| events(seen, &wall)).into());
    Some(told)
}

/// What the kernel holds for it.
fn kernel(held: &Held) -> Value {
    json!({
        "sockets": {
            "live": held.live,
            "queued": held.queued,
            "orphans": held.orphans,
            "time_wait": held.time_wait,
            "half_open": held.half_open,
        },
        "client_bytes": held.client_side,
        "upstream_bytes": held.upstream_side,
        "buffer_bytes": held.buffers,
    })
}

/// Where it stands in one class. `until`: when that is forgotten, if it is not refused again; `trial`: when one of its
/// refusals is answered again, to see.
fn ladder(rung: &Rung, wall: &Wall, observing: bool) -> Value {
    let stalled = rung.stalled.as_ref();
    let step = if stalled.is_some() && !observing { "stall" } else { "answer" };
    json!({
        "class": rung.class.label(),
        "refusals": rung.refusals,
        "step": step,
        "why": stalled.map(|_| deed(rung.class)),
        "since": stalled.and_then(|stalled| wall.unix(stalled.since)),
        "until": stalled.and_then(|stalled| wall.unix(stalled.until)),
        "trial": stalled.and_then(|stalled| wall.unix(stalled.trial)),
        "last": rung.last.and_then(|last| wall.unix(last)),
    })
}

/// How long after a refusal it was back, in bins; the last has no end.
fn timing(seen: &Seen) -> Value {
    let ends = GAPS.iter().map(|ms| json!(Duration::from_millis(*ms).as_secs_f64())).chain([Value::Null]);
    ends.zip(seen.gaps).map(|(end, count)| json!({ "up_to_s": end, "count": count })).collect()
}

/// Where its requests could not be brought to.
fn destinations(seen: &Seen) -> Value {
    let row =
        |(host, port, count): &(Host, u16, u32)| json!({ "host": host.to_string(), "port": port, "count": count });
    let first: Vec<_> = seen.destinations.iter().flatten().map(row).collect();
    json!({ "first": first, "others": seen.others })
}

/// What the guard did with it, the latest first.
fn events(seen: &Seen, wall: &Wall) -> Value {
    let told = seen.acts.iter().rev().map(|(moment, act)| {
        let (event, reason) = match act {
            Act::Stalled(class) => ("stalled", Some(deed(*class))),
            Act::Fenced(class) => ("fenced", Some(deed(*class))),
            Act::HalfOpened => ("fence half open", None),
            Act::FencedAgain => ("fenced again", Some("it still storms")),
            Act::Released(why) => ("released", Some(why.label())),
            Act::FencedInVain => ("released", Some("fencing it did not help")),
        };
        let text = reason.map_or_else(|| event.to_owned(), |reason| format!("{event}: {reason}"));
        json!({ "at": wall.unix(*moment), "event": event, "text": text })
    });
    told.collect()
}
