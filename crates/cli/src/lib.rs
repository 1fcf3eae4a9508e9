//! Online commands: a client over the public protocol.
//!
//! ```text
//! Command ── patient ── register, find, show           one module per noun: arguments, call, text
//!         ├─ document ─ submit, find, get, …
//!         ├─ move ───── institution
//!         ├─ person ─── reviews, pair, link, separate, undo
//!         ├─ quarantine
//!         ├─ scrub
//!         └─ status
//! connection ─ whom to talk to, as whom                 text, output ─ for people
//! connector ── TLS under tonic                          json ───────── for programs (`--json`), documented there
//! client ───── the calls, typed: also for demo and bench
//! ```
//!
//! Data goes to standard output, messages to standard error, and how it ended to the exit code: [`Exit`].
//!
//! What it does not do: judge input beyond its form (the node validates once, for every edge), repeat calls, read the
//! system's clock, keep state between commands.

/// Arguments hold personal data, so none of them is printed.
macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(\"...\")"))
            }
        }
    )*};
}

mod command;
mod connection;
mod connector;
mod document;
mod error;
mod exit;
mod json;
mod moves;
mod output;
mod patient;
mod person;
mod quarantine;
mod scrub;
mod status;
mod text;

pub mod client;

#[cfg(test)]
mod tests;

pub use command::{Command, run};
pub use connection::Global;
pub use document::Document;
pub use error::{CliError, Refusal};
pub use exit::Exit;
pub use moves::Move;
pub use patient::Patient;
pub use person::Person;
pub use quarantine::Quarantine;
pub use scrub::Scrub;
pub use status::Status;
