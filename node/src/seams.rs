//! The real clock and the real randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use model::{Clock, Entropy};

/// The system's wall clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 is as wrong as one at 1970, and `doctor` says so.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness there are no safe ids; on Linux this fails only where no system call can work.
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

/// The id of this boot of the machine, by which a store tells a killed process from a power loss; empty where there is none.
/// `TIERMESH_BOOT_ID` stands in for it, so that a test can reopen the image of a disk as another boot would.
pub fn boot_id() -> String {
    let system = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
    std::env::var("TIERMESH_BOOT_ID").or_else(|_| system()).unwrap_or_default()
}
