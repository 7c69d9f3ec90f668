//! What the journey asks before it serves: who is inside, how fast they come, how much of the box is left.
//!
//! Owns: the client book, the rate limiters, admission. Called by: accept and the journey (ask), admin (reads).
//! Never: touches a socket or a file. A limit stands in the settings; a full table has a stated behaviour.

pub mod admission;
pub mod clients;
pub mod limits;

pub use admission::{Admission, Capacity, admit};
pub use clients::{ClientBook, Seat};
pub use limits::Limiter;
