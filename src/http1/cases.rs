//! Cases from outside the repository, for the tests of this room: heads recorded from real clients, spellings of addresses.
//!
//! Owns: where they lie. Called by: tests only. Never: fails when there are none; it says so where people see it.

use std::io::Write;

/// The JSON file `name` of the folder in `FLOODGATE_CASES`; None, with a line on the terminal, if that is not set.
pub(super) fn json(name: &str) -> Option<serde_json::Value> {
    let Some(folder) = std::env::var_os("FLOODGATE_CASES") else {
        // Not `eprintln!`, which the test harness hides.
        drop(std::io::stderr().write_all(b"skipped: FLOODGATE_CASES is not set\n"));
        return None;
    };
    let path = std::path::Path::new(&folder).join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&text).unwrap())
}
