//! Reclaiming in the background: lets the store rewrite its log piece by piece, seldom and at a part of the disk's pace.
//!
//! What is rewritten, and when it is worth it, the store knows. Nothing here is kept over a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Clock;
use store::{Reclaimed, Store};
use tokio::time::Instant;

use crate::Parts;
use crate::scrub::blocking;

/// From the start to the first look: a node that starts has other things to read.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// From one look to the next. A look reads all of the index.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The same while the disk is full or the log could not be read.
const HURRIED_EVERY: Duration = Duration::from_secs(60);
/// Bytes of the log read at once.
const PIECE: u64 = 4 << 20;
/// The pause after a piece, in times that the piece took: three quarters of the disk are left to others.
const PAUSE: u32 = 3;

/// The reclaiming of one node's log. Cheap to clone; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Reclaimer {
    store: Store,
    clock: Arc<dyn Clock>,
    looked_ms: Arc<AtomicU64>,
}

impl Reclaimer {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self { store: parts.store.clone(), clock: parts.clock.clone(), looked_ms: Arc::default() }
    }

    /// This node's clock when it last had nothing more to do; 0 before the first time.
    pub(crate) fn looked_ms(&self) -> u64 {
        self.looked_ms.load(Ordering::Relaxed)
    }

    /// Reclaims until it is dropped. To be run once.
    pub async fn run(self) {
        let mut due = Instant::now() + FIRST_AFTER;
        loop {
            tokio::time::sleep_until(due).await;
            let began = Instant::now();
            let store = self.store.clone();
            let done = match blocking(move || store.reclaim(PIECE)).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be rewritten now; it is tried later");
                    due = Instant::now() + HURRIED_EVERY;
                    continue;
                }
            };
            if !done.more {
                self.looked_ms.store(self.clock.now_ms(), Ordering::Relaxed);
            }
            due = Instant::now() + pause(&done, began.elapsed(), self.store.status().disk_full);
        }
    }
}

/// How long to wait after a piece that took so long.
fn pause(done: &Reclaimed, took: Duration, disk_full: bool) -> Duration {
    match (done.more, disk_full) {
        // Nobody writes, and everybody waits for room.
        (true, true) => Duration::ZERO,
        (true, false) => took * PAUSE,
        (false, true) => HURRIED_EVERY,
        (false, false) => LOOK_EVERY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_no_pause_and_an_ordinary_one_most_of_the_time() {
        let took = Duration::from_millis(40);
        let more = Reclaimed { more: true, ..Reclaimed::default() };
        assert_eq!(pause(&more, took, true), Duration::ZERO);
        assert_eq!(pause(&more, took, false), took * 3);
        assert_eq!(pause(&Reclaimed::default(), took, false), LOOK_EVERY);
        assert_eq!(pause(&Reclaimed::default(), took, true), HURRIED_EVERY);
    }
}
