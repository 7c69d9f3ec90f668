//! What lies in the queue of a destination: a message in the words of that destination, complete but for time and signature.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::alarm::{Message, Stage};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    /// Stays the same however often it is sent.
    pub(super) id: String,
    /// When it was made, in seconds since 1970.
    pub(super) made: u64,
    /// What the message says of the alarm.
    pub(super) stage: Stage,
    /// As the kind of the destination has packed it.
    pub(super) load: Value,
}

impl Item {
    pub(super) fn new(message: &Message, load: Value, now: SystemTime) -> Self {
        let made = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { id: format!("{:016x}", chance()), made, stage: message.stage, load }
    }

    /// As it is kept.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self { id, made, stage, load } = self;
        json!({ "id": id, "made": made, "stage": stage.label(), "load": load }).to_string().into_bytes()
    }

    /// `None` for what is no item: the file was damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        let label = value.get("stage")?.as_str()?;
        let stages = [Stage::Firing, Stage::Resolved, Stage::Test];
        let stage = stages.into_iter().find(|stage| stage.label() == label)?;
        let id = value.get("id")?.as_str()?.to_owned();
        let made = value.get("made")?.as_u64()?;
        Some(Self { id, made, stage, load: value.get_mut("load")?.take() })
    }
}

/// A number nobody can know before; not for secrets.
pub(super) fn chance() -> u64 {
    ahash::RandomState::new().hash_one(SystemTime::now())
}
