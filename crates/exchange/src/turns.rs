//! Turns: writes of one record at a time, so that callers who write the same one wait for each other instead of failing.
//!
//! A convenience, not a rule: the store's writer checks every draft against what is held anyway.

use std::sync::Arc;

use model::RecordKey;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Records that happen to share a turn wait for each other; with so many that is seldom.
const TURNS: usize = 1024;

/// A fixed number of locks, shared by all records.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Vec<Arc<Mutex<()>>>>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new((0..TURNS).map(|_| Arc::default()).collect()))
    }
}

impl Turns {
    /// Waits for the turn to write this record. Waiters are served in order.
    pub async fn of(&self, key: &RecordKey) -> OwnedMutexGuard<()> {
        let at = usize::from(u16::from_be_bytes([key.0[14], key.0[15]])) % TURNS;
        self.0[at].clone().lock_owned().await
    }
}
