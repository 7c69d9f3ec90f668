//! The one room that talks to the kernel beyond sockets.
//!
//! Owns: [`view`] (looks), [`fence`] (drops new connections) and the few system calls no safe crate offers. Called by:
//! control, the journey's close. Never: decides anything. What cannot be read is absent, never zero.

pub mod fence;
pub mod diag;
mod netlink;
pub(crate) mod sys;
pub mod view;
