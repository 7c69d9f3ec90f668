//! Addresses and sockets: who a client is, which addresses are ours, how a socket is opened and closed.
//!
//! Owns: [`ClientKey`], own addresses, own connections, address classes, listener sockets, kernel
//! buffers, the close and who waits for it.
//! Called by: the journey, admin, control. Never: reads a request or decides a policy.

pub mod buffers;
pub mod class;
pub mod client;
pub mod close;
pub mod lingering;
pub mod listener;
pub mod loops;
pub mod own;

pub use class::Class;
pub use client::ClientKey;
