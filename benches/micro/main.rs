//! What the parts cost, one at a time.
//!
//! `cargo bench --bench micro`, or with a word to choose: `cargo bench --bench micro -- limiter`
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod guard;
mod kernel;
mod refusal;
mod request;

use criterion::{criterion_group, criterion_main};

criterion_group!(parts, request::bench, guard::bench, kernel::bench, refusal::bench);
criterion_main!(parts);
