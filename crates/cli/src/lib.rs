//! Online commands: a client over the public protocol.

pub mod client;
mod connector;
mod error;
mod exit;

pub use error::{CliError, Refusal};
pub use exit::Exit;
