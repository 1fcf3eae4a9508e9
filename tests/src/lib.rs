//! What the tests of this package share: hospitals that write under faults, and the oracle over what was acknowledged.
//!
//! The oracle, always: every acknowledged write is present exactly once, with the bytes that were acknowledged.

pub mod faults;
pub mod mesh;
mod oracle;
pub mod simulation;
mod writers;

use sha2::Digest;

/// A name that nobody else has, for whoever is registered under this id: no linker may take two for one person.
pub fn name_of(id: &str) -> String {
    let hash = sha2::Sha256::digest(id);
    let rare = |at: usize| char::from_u32(0x4E00 + u32::from(hash[at]) * 64 + u32::from(hash[at + 1]) % 64);
    [0, 2, 4].into_iter().filter_map(rare).collect()
}

pub use oracle::{Held, check, check_at_least, held_by};
pub use writers::{Acknowledged, Ledger, Writers};
