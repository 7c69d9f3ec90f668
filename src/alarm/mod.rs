//! What is wrong with the box, told before it dies, in words that say what to do.
//!
//! Owns: the catalogue of alarms ([`catalogue`]), what was seen of them ([`sighting`]), and the messages ([`message`]).
//! Called by: control (once a second), admin (reads), the command line (`alarm test`). Never: reads the kernel, waits for a
//! delivery, or tells of the same thing twice in one window.

pub mod catalogue;
pub mod message;
pub mod sighting;

pub use catalogue::{Alarm, Severity};
pub use message::{Language, Message, Rendered, Stage};
pub use sighting::{Sample, Sighting};
