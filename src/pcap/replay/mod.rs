//! A capture's requests, played again by live clients.
//!
//! Owns: what is kept of a capture, and what becomes of it. Called by: the command line. Never: sends anything itself, that is for
//! [`load`](crate::load); plays what was said inside a tunnel.
//!
//! A [`Recorder`] hears the capture and makes a [`Recording`]; [`Recording::script`] turns that into a
//! [`Script`](crate::load::Script) for live clients; [`Account`] says in words what came of it.

mod account;
mod body;
mod cast;
mod hear;
mod lanes;
mod record;
mod rename;
#[cfg(test)]
mod tests;

pub use account::Account;
pub use cast::{Cast, Options, Pace, Unplayable};
pub use hear::hear;
pub use record::{LeftOut, Recorder, Recording};

/// The names of the classes in scripts and reports, by [`Class`](rename::Class).
pub const CLASSES: [&str; 3] = ["self_target", "good", "connect"];
