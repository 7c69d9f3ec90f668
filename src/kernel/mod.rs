//! The one room that talks to the kernel beyond sockets.
//!
//! Owns: [`view`] (looks) and the few system calls no safe crate offers. Called by: control, the journey's close.
//! Never: decides anything. What cannot be read is absent, never zero.

pub(crate) mod sys;
pub mod view;
