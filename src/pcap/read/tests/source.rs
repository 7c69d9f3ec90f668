//! Where the bytes come from: what is no capture, what fails, what is compressed.

use std::io::{self, Cursor, Write};

use super::*;

#[test]
fn what_is_no_capture_is_named() {
    assert!(refused(&b""[..]).contains("is empty"));
    assert!(refused(&usual()[..20]).contains("ends within the header"));
    assert!(refused(&b"PK\x03\x04\x14\0\0\0"[..]).contains("zip"));
    assert!(refused(&b"<html><body>Forbidden</body></html>"[..]).contains("web page"));
    assert!(refused(&[b'#'; 100][..]).contains("\"########\""));
    let mut reader = Reader::new(&b"what"[..]);
    assert!(reader.next().is_err() && reader.next().unwrap().is_none());
}

/// Gives what it has, then an interruption, then fails for good.
struct Failing<'f>(Vec<&'f [u8]>);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(b"") => Err(io::ErrorKind::Interrupted.into()),
            Some(piece) => {
                into[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
            None => Err(io::Error::other("the disk is gone")),
        }
    }
}

#[test]
fn what_was_read_before_an_error_counts() {
    let file = [usual(), nth(1), nth(2)].concat();
    let (frames, damage, _) = read(Failing(vec![&[], &file[30..], &[], &file[..30], &[]]));
    assert_eq!(frames.len(), 2);
    assert_eq!(damage.len(), 1);
    assert!(damage[0].offset == 59 && damage[0].what.contains("the disk is gone"), "{damage:?}");
    assert!(refused(Failing(vec![])).contains("the disk is gone"));
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compressed_in_parts() {
    let file = [usual(), nth(1), nth(2), nth(3)].concat();
    let (one, two) = file.split_at(50);
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0any";
    for packed in [
        file.clone(),
        [gzip(one), gzip(two)].concat(),
        [zstd(one), zstd(two)].concat(),
        [&skippable[..], &zstd(one), skippable, &zstd(two), skippable].concat(),
    ] {
        let (frames, damage, _) = read(decompressed(Cursor::new(packed)).unwrap());
        assert_eq!(frames.into_iter().map(|frame| frame.bytes).collect::<Vec<_>>(), nths(1..=3));
        assert_eq!(damage, []);
    }
}

#[test]
fn a_damaged_compression_is_damage_where_it_begins() {
    let noise = |n: u32| record(Little, T + n, 0, &n.wrapping_mul(0x9e37_79b9).to_le_bytes());
    let one = [usual(), (0..5000).flat_map(noise).collect()].concat();
    let two = (5000..10_000).flat_map(noise).collect::<Vec<_>>();
    for mut packed in [[gzip(&one), gzip(&two)].concat(), [zstd(&one), zstd(&two)].concat()] {
        packed.pop();
        packed.truncate(packed.len() - 20);
        let (frames, damage, counters) = read(decompressed(Cursor::new(packed)).unwrap());
        assert!((5000..10_000).contains(&frames.len()), "{}", frames.len());
        let last = damage.last().unwrap();
        assert!(last.offset == counters.bytes && last.what.contains("could not be read further"), "{damage:?}");
    }
    // A window of 16 MiB.
    let packed = b"\x28\xb5\x2f\xfd\0\x70\x01\0\0";
    assert!(refused(decompressed(Cursor::new(packed)).unwrap()).contains("window"));
}

#[test]
fn files_are_opened_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap.gz");
    std::fs::write(&path, gzip(&[usual(), nth(1)].concat())).unwrap();
    assert_eq!(read(open(&path).unwrap()).0.len(), 1);
    assert_eq!(open(&folder.path().join("none")).err().unwrap().kind(), io::ErrorKind::NotFound);
}
