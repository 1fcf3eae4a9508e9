//! The clock and randomness seams: nothing in the project asks the system for either except through these.

use std::fmt::Debug;

/// Wall clock. The real one is in `node`; simulations bring their own.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01 UTC. May jump: never compared to decide what is newer.
    fn now_ms(&self) -> u64;
}

/// Randomness for ids and jitter. The real one asks the operating system; simulations bring a seeded one.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// 16 random bytes.
    fn id(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}
