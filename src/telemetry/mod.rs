//! What the gateway counts and writes down.
//!
//! Owns: counters, histograms and their examples, the access log, the tables of refusals and failures per second, the history. Called by: the
//! journey and control (write), admin and control (read). Never: blocks the journey, allocates on a counter, or knows a client
//! address as a metric label.

pub mod access_log;
pub(crate) mod clock;
pub mod counters;
pub mod errors;
pub mod exemplars;
pub mod history;
pub mod refusals;

pub use counters::{Counters, Direction};
