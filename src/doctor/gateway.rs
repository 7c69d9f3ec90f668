//! What a running gateway says of its clients.

use serde_json::Value;

use super::evidence::{Client, Gateway};

/// Clients that are kept.
const CLIENTS: usize = 64;
/// Characters of a text of theirs.
const TEXT: usize = 512;

/// The answer to `/api/v1/status` of the gateway at `at`; none if it is not one of ours.
pub fn read(at: &str, status: &Value) -> Option<Gateway> {
    let gateway = status.get("gateway")?;
    let rows = status.get("clients")?.as_array()?;
    Some(Gateway {
        at: at.to_owned(),
        version: text(gateway, "version").unwrap_or_default(),
        pressure: status.pointer("/pressure/level").and_then(Value::as_u64),
        fenced: status.get("fences")?.as_array()?.len() as u64,
        clients: rows.iter().take(CLIENTS).filter_map(client).collect(),
    })
}

fn client(row: &Value) -> Option<Client> {
    Some(Client {
        address: text(row, "address")?,
        kernel_bytes: row.get("kernel_bytes").and_then(Value::as_u64),
        sockets: row.get("sockets").and_then(Value::as_u64),
        refusals_per_minute: row.get("refusals_per_minute").and_then(Value::as_f64).unwrap_or(0.0),
        outcome: text(row, "outcome"),
        step: text(row, "step").unwrap_or_default(),
        why: text(row, "why"),
        sample: text(row, "sample"),
    })
}

fn text(object: &Value, name: &str) -> Option<String> {
    Some(object.get(name)?.as_str()?.chars().take(TEXT).collect())
}
