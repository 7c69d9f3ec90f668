//! The kernel fence for real: each test in a network namespace of its own, where its connections meet it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod both;
mod forwarded;
mod nftables;
mod rig;
mod socket_filter;
#[path = "../toolkit/mod.rs"]
mod toolkit;
