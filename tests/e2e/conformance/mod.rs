//! One test for each rule of docs/CONFORMANCE.md: raw bytes in, and byte for byte what the origin and the client got.
//!
//! The name of a test begins with the id of its rule. [`chain`] is what they share.

mod chain;
mod connect;
mod fields;
mod hop_by_hop;
mod request_line;
mod table;
