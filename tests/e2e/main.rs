//! The gateway in this process, real sockets on loopback, raw clients and scripted origins.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::string_slice,
    let_underscore_drop,
    reason = "a test fails by panicking"
)]

mod admin;
mod alarms;
mod cases;
mod closes;
mod conformance;
mod connect;
mod corpus;
mod faults;
mod forward;
mod guard;
mod limits;
#[cfg(feature = "tools")]
mod load;
mod patience;
mod pressure;
#[cfg(feature = "tools")]
mod replay;
mod rig;
mod self_target;
