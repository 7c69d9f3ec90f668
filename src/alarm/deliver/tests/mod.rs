//! Deliveries to servers that fail in every way.

mod alertmanager;
mod command;
mod endpoints;
mod faults;
mod outage;
mod rig;
mod whole;
