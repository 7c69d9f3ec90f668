//! The program as its users meet it: the real binary, its files, its signals and its exit codes.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod access_log;
mod alarm;
#[cfg(feature = "tools")]
mod captures;
mod commands;
mod crowd;
#[cfg(feature = "tools")]
mod demo;
mod doctor;
mod fence;
mod names;
mod network;
mod packaging;
#[cfg(feature = "tools")]
mod pcap_replay;
mod privilege;
mod reload;
mod rig;
mod shortage;
mod signals;
mod start;
mod storm;
#[path = "../toolkit/mod.rs"]
mod toolkit;
#[cfg(feature = "tools")]
mod top;
