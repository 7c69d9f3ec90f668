//! From a file to checked settings.
//!
//! Owns: the table of keys, [`settings::Settings`], the problems. Called by: the command line and the reload. Never: acts on a setting.

pub mod settings;

pub use settings::Settings;
