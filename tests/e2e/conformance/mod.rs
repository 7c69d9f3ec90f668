//! One test for each rule of docs/CONFORMANCE.md: raw bytes in, and byte for byte what the origin and the client got.
//!
//! The name of a test begins with the id of its rule. [`chain`] and [`wire`] are what they share.

mod chain;
mod connect;
pub(crate) mod connections;
mod exchange;
mod fields;
mod framing;
mod hop_by_hop;
mod request_line;
mod responses;
mod table;
mod wire;
