//! Why not a single frame can be read.

use std::fmt;
use std::io;

/// Nothing can be read at all.
#[derive(Debug)]
pub enum ReadError {
    /// Reading failed before a capture was recognized.
    Input(io::Error),
    /// There is not a byte.
    Empty,
    /// It is something else.
    NotACapture {
        /// Its first bytes, escaped.
        begins: String,
        /// What it seems to be, and what to do about that.
        hint: &'static str,
    },
}

/// What strangers bring instead of captures, by its first bytes.
const OTHERS: [(&[u8], &str); 11] = [
    (b"\xfd7zXZ\0", "xz: unpack it with `xz -d` first"),
    (b"BZh", "bzip2: unpack it with `bunzip2` first"),
    (b"\x04\x22\x4d\x18", "lz4: unpack it with `lz4 -d` first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x1f\x8b", "gzip within gzip: unpack it with `gunzip` first"),
    (b"\x28\xb5\x2f\xfd", "zstd within another compression: unpack it with `unzstd` first"),
    (b"snoop\0\0\0", "snoop: convert it with `editcap -F pcap`"),
    (b"GMBU", "Microsoft Network Monitor: convert it with `editcap -F pcap`"),
    (b"RTSS", "Microsoft Network Monitor: convert it with `editcap -F pcap`"),
    (b"<", "a web page: was the download refused?"),
];

impl ReadError {
    pub(super) fn not_a_capture(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        let (begin, _) = bytes.split_at_checked(8).unwrap_or((bytes, &[]));
        let other = OTHERS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, hint)| *hint);
        let hint = other.unwrap_or(if bytes.len() < super::legacy::HEADER {
            "it ends within the header: was the capture stopped, or the copy cut off?"
        } else {
            "give a pcap or pcapng file, as tcpdump, dumpcap and Wireshark write them; it may be compressed with gzip or zstd"
        });
        Self::NotACapture { begins: begin.escape_ascii().to_string(), hint }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => write!(f, "cannot be read: {error}"),
            Self::Empty => write!(f, "is empty: was the capture stopped before it was written?"),
            Self::NotACapture { begins, hint } => write!(f, "is not a capture, it begins with \"{begins}\" ({hint})"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input(error) => Some(error),
            Self::Empty | Self::NotACapture { .. } => None,
        }
    }
}
