//! Addresses and sockets: who a client is, which addresses are ours, how a socket is opened and closed.
//!
//! Owns: [`ClientKey`], own addresses, address classes, listener sockets, the close.
//! Called by: the journey, admin, control. Never: reads a request or decides a policy.

pub mod client;
pub mod own;

pub use client::ClientKey;
