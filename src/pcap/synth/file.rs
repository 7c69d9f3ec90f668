//! The file: legacy pcap with times in microseconds.

use std::io::{self, Write};

use super::message::Filler;
use super::packet::Packet;

/// When captures begin: 2020-11-23 09:00 in the time zone of the incident, in seconds since 1970-01-01 UTC.
const BEGIN: u64 = 1_606_093_200;
/// Bytes of the file's header and of a record's (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>).
const FILE_HEADER: u64 = 24;
const RECORD_HEADER: u64 = 16;
const LINKTYPE_ETHERNET: u32 = 1;
/// tcpdump's default.
const SNAP_LENGTH: u32 = 262_144;

/// A capture that is being written.
#[derive(Debug)]
pub(super) struct File<W> {
    writer: W,
    filler: Filler,
    frame: Vec<u8>,
    /// The largest the file may become, bytes.
    most: u64,
    /// What has been written.
    pub bytes: u64,
    pub packets: u64,
    /// When the last packet was captured, nanoseconds after the first could have been.
    pub last: u64,
}

impl<W: Write> File<W> {
    /// Writes the file's header.
    pub(super) fn new(mut writer: W, filler: Filler, most: u64) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(0xa1b2_c3d4_u32.to_le_bytes());
        header.extend(2_u16.to_le_bytes());
        header.extend(4_u16.to_le_bytes());
        header.extend([0; 8]);
        header.extend(SNAP_LENGTH.to_le_bytes());
        header.extend(LINKTYPE_ETHERNET.to_le_bytes());
        writer.write_all(&header)?;
        Ok(Self { writer, filler, frame: Vec::new(), most, bytes: FILE_HEADER, packets: 0, last: 0 })
    }

    /// Writes a packet that was captured at `at` (nanoseconds). False, and nothing is written, if the file would become too
    /// large.
    pub(super) fn record(&mut self, at: u64, packet: &Packet) -> io::Result<bool> {
        let record = RECORD_HEADER + packet.len();
        if self.bytes + record > self.most {
            return Ok(false);
        }
        let id = u16::try_from(self.packets & 0xffff).unwrap_or_default();
        packet.write(&mut self.frame, &self.filler, id);
        let length = u32::try_from(self.frame.len()).unwrap_or_default().to_le_bytes();
        let seconds = u32::try_from(BEGIN + at / 1_000_000_000).unwrap_or(u32::MAX).to_le_bytes();
        let micros = u32::try_from(at % 1_000_000_000 / 1_000).unwrap_or_default().to_le_bytes();
        for part in [seconds, micros, length, length] {
            self.writer.write_all(&part)?;
        }
        self.writer.write_all(&self.frame)?;
        self.bytes += record;
        self.packets += 1;
        self.last = at;
        Ok(true)
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
