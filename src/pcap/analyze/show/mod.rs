//! What was found, shown: as text, as JSON, as a picture.
//!
//! Owns: words, columns, colours. Called by: the command line. Never: judges; lets a stranger's bytes command a terminal or a
//! browser.

mod figures;
mod json;
mod page;
mod plot;
mod report;
#[cfg(test)]
mod tests;

pub use json::json;
pub use plot::svg;
pub use report::text;
