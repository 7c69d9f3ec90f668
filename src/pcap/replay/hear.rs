//! Capture files, told to a recorder.
//!
//! Owns: the road from files to a recording. Called by: the command line. Never: gives up because one of them is damaged.

use std::path::{Path, PathBuf};

use super::record::{Recorder, Recording};
use crate::pcap::Time;
use crate::pcap::decode::Decoder;
use crate::pcap::http::Interpreter;
use crate::pcap::read::{Reader, open};
use crate::pcap::stream::{Limits, Streams};

/// What captures say.
#[derive(Debug, Default)]
pub struct Heard {
    /// What is kept of it.
    pub recording: Recording,
    /// How many of the files could be read.
    pub readable: usize,
    /// What is wrong with which file, a line each.
    pub problems: Vec<String>,
}

/// Hears these files, one after the other: a conversation may go on in the next.
pub fn hear(files: &[PathBuf]) -> Heard {
    let mut heard = Heard::default();
    let mut interpreter = Interpreter::new(Recorder::new());
    let (mut decoder, mut streams, mut last) = (Decoder::new(), Streams::new(Limits::default()), Time::default());
    for file in files {
        let name = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
        let input = match open(file) {
            Ok(input) => input,
            Err(error) => {
                heard.problems.push(format!("{name} cannot be opened: {error}"));
                continue;
            }
        };
        let mut reader = Reader::new(input);
        let result = loop {
            match reader.next() {
                Ok(Some(frame)) => {
                    last = last.max(frame.time);
                    if let Some(segment) = decoder.segment(&frame) {
                        streams.segment(&mut interpreter, frame.time, &segment);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match result {
            Ok(()) => heard.readable = heard.readable.saturating_add(1),
            Err(error) => heard.problems.push(format!("{name} {error}")),
        }
        heard.problems.extend(reader.damage().iter().map(|damage| format!("{name} is damaged {damage}")));
    }
    streams.finish(&mut interpreter, last);
    heard.recording = interpreter.into_parts().0.finish();
    heard
}
