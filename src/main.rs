//! The `floodgate` program: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    floodgate::cli::run(std::env::args_os())
}
