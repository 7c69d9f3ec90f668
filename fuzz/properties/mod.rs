//! What must hold for any bytes: one function per fuzz target, shared with the test that runs the corpora (`tests/fuzz.rs`).
//!
//! Each `holds` panics where its property does not, and says whether the input came as far as the property's last comparison:
//! a corpus none of whose inputs does proves nothing.

pub mod capture;
pub mod chunked;
pub mod codec;
pub mod head;
mod oracle;
pub mod pages;
pub mod policy;
mod rule;
pub mod streams;

use floodgate::http1::head::HeadLimits;

/// The limits of a gateway without a configuration file.
const LIMITS: HeadLimits = HeadLimits { size: 16 * 1024, target: 8192, fields: 100 };

/// Ways to cut `input` into pieces, as the ends of the pieces in order: at once, byte by byte, and two that the bytes choose.
fn splits(input: &[u8]) -> [Vec<usize>; 4] {
    let chosen = |salt: u8| {
        let mut ends = Vec::new();
        let mut end = 0;
        while let Some(&byte) = input.get(end) {
            end = input.len().min(end + 1 + usize::from(byte.wrapping_mul(salt) >> 4));
            ends.push(end);
        }
        ends
    };
    [vec![input.len()], (1..=input.len()).collect(), chosen(37), chosen(151)]
}
