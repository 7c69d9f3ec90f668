//! Captures of real networks, read by our own pipeline, against what tshark found in them.
//!
//! They lie outside the repository, in the folder that `FLOODGATE_CAPTURES` names, each beside its `NAME.truth.json`; without it
//! this test says so and passes.
#![cfg(feature = "tools")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod differences;
mod pipeline;
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

#[test]
fn every_capture_holds_what_tshark_found_in_it() {
    let Some(folder) = std::env::var_os("FLOODGATE_CAPTURES") else {
        // Not `eprintln!`, which the test harness hides.
        drop(std::io::stderr().write_all(b"skipped: FLOODGATE_CAPTURES is not set\n"));
        return;
    };
    let captures = captures(Path::new(&folder));
    assert!(!captures.is_empty(), "no capture in {}", folder.display());
    let mut met = BTreeSet::new();
    for (name, path, truth) in &captures {
        for difference in truth.differences(&pipeline::read(path)) {
            met.insert((name.clone(), difference));
        }
    }
    let listed: BTreeSet<_> =
        DIFFERENCES.iter().map(|(name, difference, _)| ((*name).to_owned(), (*difference).to_owned())).collect();
    let show = |set: Vec<&(String, String)>| {
        set.iter().map(|(name, difference)| format!("{name}: {difference}")).collect::<Vec<_>>().join("\n")
    };
    let (new, gone) = (show(met.difference(&listed).collect()), show(listed.difference(&met).collect()));
    assert!(new.is_empty(), "differs from tshark's findings:\n{new}");
    assert!(gone.is_empty(), "differs no longer; take it off the list:\n{gone}");
}
