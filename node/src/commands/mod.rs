//! Offline commands: what needs no running node. One module per noun.

pub mod ca;
pub mod check_config;
pub mod doctor;
pub mod init;
pub mod linkage;
pub mod recover;

use std::process::ExitCode;

/// Exit code of an unexpected failure; the others are in `cli::Exit`.
pub const FAILED: u8 = 1;

/// Prints a one-line error on stderr and ends with `code`.
pub fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("tiermesh: {error}");
    ExitCode::from(code)
}

/// Prints one JSON value on stdout.
pub fn print_json(value: &serde_json::Value) {
    println!("{value}");
}
