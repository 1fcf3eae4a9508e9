//! Real faults for real processes: frozen nodes, bad lines, full and failing disks, and the proof that nothing came of it.
//!
//! Every child reaches its parent through a [`Proxy`] of ours. [`Province::close`] ends each test the same way: a last write at
//! every hospital's node, every link proven equal after it at both ends, and the oracle over everything acknowledged.

mod disk;
mod network;
mod process;
mod proof;
mod province;
mod proxy;

pub use disk::{Disk, Left};
pub use network::Namespace;
pub use process::{freeze, has_strace, thaw};
pub use proof::{LinkProof, Proof};
pub use province::Province;
pub use proxy::{Direction, Proxy};

/// A number from the environment.
///
/// # Panics
/// When the variable holds anything else.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}
