//! The clock seam: nothing in the project asks the system for the time except through this.

/// Wall clock. The real one is in `node`; simulations bring their own.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since 1970-01-01 UTC. May jump: never compared to decide what is newer.
    fn now_ms(&self) -> u64;
}
