//! Capture files into a recording.

use std::path::PathBuf;

use super::record::{Recorder, Recording};
use crate::pcap::analyze::{self, Told, analyze_with};
use crate::pcap::road::File;

/// Hears these files, one after the other: a conversation may go on in the next. Which servers are proxies the analysis says, and
/// those who know: `told`.
pub fn hear(files: &[PathBuf], told: &[Told]) -> (Recording, Vec<File>) {
    let options = analyze::Options { proxies: told.to_vec() };
    let (findings, recorder) = analyze_with(files, options, Recorder::new());
    (recorder.finish(findings.proxies.iter().map(|proxy| proxy.endpoint)), findings.files)
}
