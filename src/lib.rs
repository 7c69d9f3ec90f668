//! floodgate: a forward proxy for the gateway of a network, and the guard inside it.
//!
//! Two roads lead through the program. [`proxy`] is the road of a connection: accept, read the request, judge it, then
//! tunnel, forward or refuse. `control` is the road of a second: read the kernel, report, forget. Between them stand a
//! few shared things, all of them in [`proxy::Shared`].
//!
//! The other rooms are asked by these two: [`http1`] knows the wire, [`guard`] who may come in, [`net`] addresses and
//! closing, [`kernel`] what TCP costs, [`config`] what the operator wants, [`telemetry`] and [`admin`] what he gets to
//! see, [`alarm`] what he is told. [`outcome`] is the table of every way things can end. The tools stand apart: [`doctor`]
//! finds out why a box is slow, [`pcap`] reads, explains and replays captures, [`load`] is clients to measure a gateway with.

pub mod admin;
pub mod alarm;
pub mod cli;
pub mod config;
mod control;
#[cfg(feature = "tools")]
mod demo;
pub mod doctor;
mod figures;
pub mod gateway;
pub mod guard;
pub mod http1;
pub mod kernel;
#[cfg(feature = "tools")]
pub mod load;
pub mod net;
pub mod outcome;
#[cfg(feature = "tools")]
pub mod pcap;
pub mod proxy;
pub mod telemetry;
#[cfg(test)]
#[path = "../tests/toolkit/mod.rs"]
mod toolkit;
