//! What the tests of this package share: hospitals that write under faults, and the oracle over what was acknowledged.
//!
//! The oracle, always: every acknowledged write is present exactly once, with the bytes that were acknowledged.

pub mod faults;
pub mod mesh;
mod oracle;
pub mod simulation;
mod writers;

pub use oracle::{Held, check, check_at_least, held_by};
pub use writers::{Acknowledged, Ledger, Writers};
