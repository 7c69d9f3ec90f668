//! Captures of real networks, read by our own pipeline, against what tshark found in them.
//!
//! They lie outside the repository, in the folder that `FLOODGATE_CAPTURES` names, each beside its `NAME.truth.json`; without it
//! this test says so and passes.
#![cfg(feature = "tools")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod differences;
mod pipeline;
mod proxies;
mod truth;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use differences::DIFFERENCES;
use truth::Truth;

/// Every capture of the folder, with what tshark found in it.
fn captures(folder: &Path) -> Vec<(String, PathBuf, Truth)> {
    let mut captures: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let truth = entry.unwrap().path();
            let name = truth.file_name()?.to_str()?.strip_suffix(".truth.json")?.to_owned();
            Some((name.clone(), folder.join(name), Truth::read(&truth)))
        })
        .collect();
    captures.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    captures
}

/// Holds what `differences` finds in each capture against the list.
fn compare(listed: &[(&str, &str, &str)], differences: impl Fn(&Path, &Truth) -> Vec<String>) {
    let Some(folder) = std::env::var_os("FLOODGATE_CAPTURES") else {
        // Not `eprintln!`, which the test harness hides.
        drop(std::io::stderr().write_all(b"skipped: FLOODGATE_CAPTURES is not set\n"));
        return;
    };
    let captures = captures(Path::new(&folder));
    assert!(!captures.is_empty(), "no capture in {}", folder.display());
    let met: BTreeSet<_> = captures
        .iter()
        .flat_map(|(name, path, truth)| differences(path, truth).into_iter().map(move |met| format!("{name}: {met}")))
        .collect();
    let listed: BTreeSet<_> = listed
        .iter()
        .filter(|(listed, ..)| captures.iter().any(|(name, ..)| name == listed))
        .map(|(name, difference, _)| format!("{name}: {difference}"))
        .collect();
    let new: Vec<_> = met.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&met).collect();
    assert!(new.is_empty(), "differs from what tshark found: {new:#?}");
    assert!(gone.is_empty(), "differs no longer, and must be taken off the list: {gone:#?}");
}

#[test]
fn every_capture_holds_what_tshark_found_in_it() {
    compare(DIFFERENCES, |path, truth| truth.differences(&pipeline::read(path)));
}
