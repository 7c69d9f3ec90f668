//! Where the bytes of a capture come from: a file or standard input, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames (RFC 8878 section 3.1.2) have sixteen magic numbers; pzstd begins its files with one.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// What is read of compressed data at once.
const BLOCK: usize = 128 * 1024;
/// The largest zstd window: what RFC 8878 section 3.1.1.1.2 asks decoders to support, and `zstd -19` uses.
const WINDOW: u64 = 8 * 1024 * 1024;

/// Opens a capture: a file, or standard input for `-`. What is compressed is decompressed while it is read.
///
/// # Errors
/// The file cannot be opened, or its first bytes not be read.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file =
        if path == Path::new("-") { File::from(io::stdin().as_fd().try_clone_to_owned()?) } else { File::open(path)? };
    decompressed(file)
}

/// What `input` holds once it is decompressed; itself, if it is not compressed. Knows gzip (any number of members) and zstd (any
/// number of frames, windows of at most 8 MiB) by how they begin.
///
/// # Errors
/// The first bytes of `input` cannot be read.
pub fn decompressed(mut input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut begin = Vec::new();
    input.by_ref().take(ZSTD.len() as u64).read_to_end(&mut begin)?;
    let gzip = begin.starts_with(&GZIP);
    let zstd = begin == ZSTD || matches!(*begin, [0x50..=0x5f, ref rest @ ..] if rest == ZSTD_SKIPPABLE);
    let whole = io::Cursor::new(begin).chain(input);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, whole)))
    } else if zstd {
        Box::new(Zstd::new(BufReader::with_capacity(BLOCK, whole)))
    } else {
        Box::new(whole)
    })
}

/// Decodes zstd frames, one after the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { input, decoder, within: false }
    }

    /// Begins the next frame that holds something; false if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.input.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within && self.decoder.can_collect() > 0 {
                return self.decoder.read(into);
            }
            if !self.within || self.decoder.is_finished() {
                self.within = self.begin()?;
                if !self.within {
                    return Ok(0);
                }
            } else {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
        }
    }
}
