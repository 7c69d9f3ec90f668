//! From a file to checked settings.
//!
//! Owns: the table of keys, [`settings::Settings`], the problems. Called by: the command line and the reload.
//! Never: acts on a setting.

mod alarms;
mod check;
mod file;
mod hosts;
mod keys;
mod kinds;
mod load;
mod print;
mod problem;
pub mod settings;
pub(crate) mod state;
mod units;
mod webhook;

#[cfg(test)]
mod tests;

pub use check::warnings;
pub use keys::restart_keys;
pub use load::{DEFAULT_PATH, LoadError, Overrides, load};
pub use print::print;
pub use problem::{Problem, Problems};
pub use settings::Settings;
pub(crate) use webhook::address as webhook_address;

/// Reads `16KiB` as the configuration does, for flags that take sizes; bytes, or what is wrong.
#[cfg(feature = "tools")]
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bytes = units::size(text).map_err(|fault| format!("{}; {}", fault.reason, fault.remedy))?;
    u64::try_from(bytes).map_err(|error| error.to_string())
}

impl Settings {
    /// What is used where nothing is configured: the defaults of the table of keys.
    pub fn defaults() -> Self {
        file::defaults()
    }

    /// Reads and checks the text of a configuration file; what it does not set has its default.
    ///
    /// # Errors
    ///
    /// All problems at once, in the order of the file. Only errors of TOML itself hide the others: what follows a
    /// broken line cannot be trusted.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        file::read(text)?.finish()
    }
}
