//! The whole road of a packet: files in, a witness told.
//!
//! Owns: the order of the rooms, and what passed through them. Called by: [`super::analyze`], and whoever wants a capture told.
//! Never: gives up a file because another is damaged.

use std::io::Read;
use std::path::PathBuf;

use super::Time;
use super::decode::{self, Decoder};
use super::http::{Interpreter, Witness};
use super::read::{self, ReadError, Reader};
use super::stream::{self, Streams};

/// A capture file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// As given; `-` is standard input.
    pub name: String,
    /// Packets read from it.
    pub packets: u64,
    /// What was wrong with it, in words, with the offset; the rest was analysed.
    pub problems: Vec<String>,
    /// Whether anything could be read at all.
    pub readable: bool,
}

/// What passed by.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets in the files.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// TCP conversations.
    pub flows: u64,
    /// Segments that brought nothing but bytes that were there already.
    pub retransmissions: u64,
    /// Stretches of bytes that were sent but never captured.
    pub gaps: u64,
    /// Packets that were captured in part only.
    pub cut: u64,
    /// Conversations forgotten because the table of conversations was full.
    pub evicted: u64,
    /// Packets of a link layer that is not understood.
    pub unknown_link: u64,
    /// The other counters of the rooms before: name and count, in their order; zeros left out.
    pub others: Vec<(&'static str, u64)>,
    /// What the packets held that are no TCP, the most frequent first.
    pub kinds: Vec<(String, u64)>,
}

/// What passed, and how it was to be read.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// What was read, in the order given.
    pub files: Vec<File>,
    /// What passed by, and what could not be looked at.
    pub counters: Counters,
    /// Times of the earliest and the latest packet; none in an empty capture.
    pub span: Option<(Time, Time)>,
}

/// A road that is travelled. What is read belongs together: a conversation may go on in the next file.
#[derive(Debug)]
pub struct Road<W: Witness> {
    decoder: Decoder,
    streams: Streams<Interpreter<W>>,
    interpreter: Interpreter<W>,
    passed: Passed,
}

impl<W: Witness> Road<W> {
    /// One that leads to `witness`.
    pub fn new(witness: W) -> Self {
        Self {
            decoder: Decoder::new(),
            streams: Streams::new(stream::Limits::default()),
            interpreter: Interpreter::new(witness),
            passed: Passed::default(),
        }
    }

    /// Reads captures one after the other; `-` is standard input.
    pub fn open(&mut self, files: &[PathBuf]) {
        for path in files {
            let name = path.display().to_string();
            match read::open(path) {
                Ok(input) => self.read(name, input),
                Err(error) => self.unreadable(name, &ReadError::Input(error)),
            }
        }
    }

    /// Reads a capture to its end.
    pub fn read(&mut self, name: String, input: impl Read) {
        let mut reader = Reader::new(input);
        let (mut first, mut last) = self.passed.span.unwrap_or((Time(u64::MAX), Time(0)));
        loop {
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return self.unreadable(name, &error),
            };
            self.passed.counters.bytes += u64::from(frame.length);
            first = first.min(frame.time);
            last = last.max(frame.time);
            if let Some(segment) = self.decoder.segment(&frame) {
                self.streams.segment(&mut self.interpreter, frame.time, &segment);
            }
        }
        let counters = reader.counters();
        self.passed.counters.packets += counters.frames;
        self.passed.counters.cut += counters.cut;
        if counters.frames > 0 {
            self.passed.span = Some((first, last));
        }
        let mut problems: Vec<String> = reader.damage().iter().map(ToString::to_string).collect();
        let untold = counters.damages.saturating_sub(problems.len() as u64);
        if untold > 0 {
            problems.push(format!("and {untold} more places"));
        }
        // A header with nothing but nonsense behind it was no more readable than nonsense alone.
        let readable = counters.frames > 0 || counters.damages == 0;
        self.passed.files.push(File { name, packets: counters.frames, problems, readable });
    }

    fn unreadable(&mut self, name: String, error: &ReadError) {
        self.passed.files.push(File { name, packets: 0, problems: vec![error.to_string()], readable: false });
    }

    /// The end of the last capture: whatever is still open is closed.
    pub fn finish(mut self) -> (W, Passed) {
        let last = self.passed.span.map_or(Time(0), |(_, last)| last);
        self.streams.finish(&mut self.interpreter, last);
        let streams = *self.streams.counters();
        let decoded = self.decoder.counters();
        let (witness, http) = self.interpreter.into_parts();
        let kinds = decoded.kinds();
        let unknown_link = |(kind, _): &&(decode::Kind, u64)| matches!(kind, decode::Kind::Link(_));
        let others = [
            ("midstream", streams.midstream),
            ("reused_ports", streams.reused_ports),
            ("overlaps", streams.overlaps),
            ("out_of_order", streams.out_of_order),
            ("keep_alives", streams.keep_alives),
            ("strays", streams.strays),
            ("late", streams.late),
            ("missing_bytes", streams.missing),
            ("cut_bytes", streams.cut),
            ("fragments", decoded.fragments),
            ("incomplete_datagrams", decoded.incomplete()),
            ("cut_headers", decoded.cut_headers),
            ("malformed_packets", decoded.malformed),
            ("too_deep", decoded.too_deep),
            ("incomplete_heads", http.incomplete),
            ("heads_too_long", http.heads_too_long),
            ("heads_crowded_out", http.heads_crowded_out),
            ("resynchronised", http.resynchronised),
            ("lost_track", http.lost_track),
            ("early", http.early),
            ("tunnels", http.tunnels),
            ("swapped", http.swapped),
        ];
        let counters = Counters {
            segments: streams.segments,
            flows: streams.conversations,
            retransmissions: streams.retransmissions,
            gaps: streams.gaps,
            evicted: streams.evicted,
            unknown_link: kinds.iter().filter(unknown_link).map(|(_, count)| count).sum(),
            others: others.into_iter().filter(|(_, count)| *count > 0).collect(),
            kinds: kinds.into_iter().map(|(kind, count)| (kind.to_string(), count)).collect(),
            ..self.passed.counters
        };
        (witness, Passed { counters, ..self.passed })
    }
}
