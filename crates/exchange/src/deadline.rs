//! How long a caller still waits; shrinks at every hop, so that the nearer node has time left to answer with what it has.

use std::time::Duration;

use tokio::time::Instant;

/// The moment after which nobody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// In this long from now.
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// How long is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn instant(&self) -> Instant {
        self.0
    }

    /// The deadline to give the next hop: nine tenths of what is left.
    #[must_use]
    pub fn shrink(&self) -> Self {
        Self::after(self.remaining().mul_f64(0.9))
    }
}
