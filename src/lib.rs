//! floodgate: a load-guarding forward proxy.
pub mod config;
pub mod http1;
pub mod kernel;
pub mod net;
pub mod outcome;
pub mod telemetry;
