//! What happened: proxies, self-target requests, storms, bypass, and what to do about it.
//!
//! Owns: the evidence, and what it means. Called by: the command line. Never: keeps more than its limits, or prints.

mod evidence;
pub mod findings;
mod judge;
pub mod limits;
pub mod show;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Time;
use super::decode::{self, Decoder};
use super::http::Interpreter;
use super::read::{self, ReadError, Reader};
use super::stream::{self, Streams};
use evidence::Gatherer;
use findings::{Counters, File, Findings};

/// What the analysis is told beforehand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--proxy`: these are proxies, and the addresses are all of one box.
    pub proxies: Vec<Told>,
}

/// A proxy that is known beforehand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// Its address.
    pub address: IpAddr,
    /// Its port; none: every port that gets requests.
    pub port: Option<u16>,
}

impl Told {
    fn names(&self, endpoint: SocketAddr) -> bool {
        self.address.to_canonical() == endpoint.ip().to_canonical()
            && self.port.is_none_or(|port| port == endpoint.port())
    }
}

/// Reads captures (`-` is standard input) one after the other, as one: a conversation may go on in the next file. Whatever cannot be
/// read stands in [`Findings::files`].
pub fn analyze(files: &[PathBuf], options: Options) -> Findings {
    let mut analysis = Analysis::new(options);
    for path in files {
        let name = path.display().to_string();
        match read::open(path) {
            Ok(input) => analysis.read(name, input),
            Err(error) => analysis.unreadable(name, &ReadError::Input(error)),
        }
    }
    analysis.finish()
}

/// An analysis under way: the whole road of a packet.
#[derive(Debug)]
pub struct Analysis {
    decoder: Decoder,
    streams: Streams<Interpreter<Gatherer>>,
    interpreter: Interpreter<Gatherer>,
    files: Vec<File>,
    counters: Counters,
    /// The earliest and the latest time.
    span: Option<(Time, Time)>,
}

impl Analysis {
    /// One that has read nothing.
    pub fn new(options: Options) -> Self {
        Self {
            decoder: Decoder::new(),
            streams: Streams::new(stream::Limits::default()),
            interpreter: Interpreter::new(Gatherer::new(options)),
            files: Vec::new(),
            counters: Counters::default(),
            span: None,
        }
    }

    /// Reads a capture to its end.
    pub fn read(&mut self, name: String, input: impl Read) {
        let mut reader = Reader::new(input);
        let (mut first, mut last) = self.span.unwrap_or((Time(u64::MAX), Time(0)));
        loop {
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return self.unreadable(name, &error),
            };
            self.counters.bytes += u64::from(frame.length);
            first = first.min(frame.time);
            last = last.max(frame.time);
            if let Some(segment) = self.decoder.segment(&frame) {
                self.streams.segment(&mut self.interpreter, frame.time, &segment);
            }
        }
        let counters = reader.counters();
        self.counters.packets += counters.frames;
        self.counters.cut += counters.cut;
        if counters.frames > 0 {
            self.span = Some((first, last));
        }
        let mut problems: Vec<String> = reader.damage().iter().map(ToString::to_string).collect();
        let untold = counters.damages.saturating_sub(problems.len() as u64);
        if untold > 0 {
            problems.push(format!("and {untold} more places"));
        }
        self.files.push(File { name, packets: counters.frames, problems, readable: true });
    }

    fn unreadable(&mut self, name: String, error: &ReadError) {
        self.files.push(File { name, packets: 0, problems: vec![error.to_string()], readable: false });
    }

    /// The end of the last capture: what it all means.
    pub fn finish(mut self) -> Findings {
        let last = self.span.map_or(Time(0), |(_, last)| last);
        self.streams.finish(&mut self.interpreter, last);
        let streams = *self.streams.counters();
        let decoded = self.decoder.counters();
        let (gatherer, http) = self.interpreter.into_parts();
        let mut findings = judge::judge(&gatherer.evidence);
        let kinds = decoded.kinds();
        let unknown_link = |(kind, _): &&(decode::Kind, u64)| matches!(kind, decode::Kind::Link(_));
        findings.counters = Counters {
            segments: streams.segments,
            flows: streams.conversations,
            retransmissions: streams.retransmissions,
            gaps: streams.gaps,
            evicted: streams.evicted,
            unknown_link: kinds.iter().filter(unknown_link).map(|(_, count)| count).sum(),
            untracked: findings.counters.untracked,
            others: others(&[
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
                ("tunnels", http.tunnels),
                ("swapped", http.swapped),
            ]),
            kinds: kinds.into_iter().map(|(kind, count)| (kind.to_string(), count)).collect(),
            ..self.counters
        };
        findings.files = self.files;
        findings.span = self.span;
        findings
    }
}

/// Those that counted anything.
fn others(all: &[(&'static str, u64)]) -> Vec<(&'static str, u64)> {
    all.iter().copied().filter(|(_, count)| *count > 0).collect()
}
