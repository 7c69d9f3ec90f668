//! What happened: proxies, self-target requests, storms, bypass, and what to do about it.
//!
//! Owns: the evidence, and what it means. Called by: the command line. Never: keeps more than its limits, or prints.

pub mod findings;
pub mod limits;
