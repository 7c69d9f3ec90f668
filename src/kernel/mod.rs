//! The one room that talks to the kernel beyond sockets.
//!
//! Owns: [`view`] (looks), [`diag`] (looks at single sockets), [`fence`] (drops new connections), [`conntrack`] (forgets
//! dropped ones), [`privilege`] and the few system calls no safe crate offers. Called by: control, the command line, the
//! journey's close. Never: decides anything. What cannot be read is absent, never zero.

pub mod conntrack;
pub mod diag;
pub mod fence;
mod netlink;
pub mod privilege;
pub(crate) mod sys;
pub mod view;
