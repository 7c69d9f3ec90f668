//! The wire of HTTP/1.1 (RFC 9112), without I/O: heads, targets, body framing, chunked, rewriting.
//!
//! Owns: what is valid, what is ambiguous (rejected, never repaired), and how a message is worded when it is passed on.
//! Called by: the journey, the fuzz targets. Never: touches a socket, reads a clock, or knows a policy.

pub mod body;
pub mod chunked;
pub mod head;
pub mod rewrite;
pub mod target;
