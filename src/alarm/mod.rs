//! What is wrong with the box, told before it dies, in words that say what to do.
//!
//! Owns: the catalogue of alarms ([`catalogue`]), what a second looks like ([`facts`]), what of it is an alarm ([`judge`]),
//! what has been told of it ([`book`]), the messages ([`message`]), and
//! their way to whoever is to read them ([`deliver`]). Called by: control (once a second), admin (reads),
//! the command line (`alarm test`). Never: reads the kernel, waits for a delivery, or tells of the same thing twice in one
//! window.

pub mod book;
pub mod catalogue;
pub mod deliver;
pub mod facts;
pub mod judge;
pub mod message;
pub mod sighting;
pub mod silence;
#[cfg(test)]
mod tests;

pub use catalogue::{Alarm, Severity};
pub use message::{Language, Message, Rendered, Stage};
pub use sighting::{Sample, Sighting};

/// Where messages go: to the thread that delivers them. What finds no room in it waits in the book.
pub type Outbox = crossbeam_channel::Sender<Message>;
