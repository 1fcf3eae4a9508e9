//! The linker's links that a human should look at: which they are, not what became of them since.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use model::RecordKey;
use parking_lot::Mutex;

/// Most links that wait; beyond it they are only counted, until others are decided and the linker begins anew.
const MAX_WAITING: usize = 100_000;

/// Links and whom they are about. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    links: BTreeMap<RecordKey, [RecordKey; 2]>,
    beyond: u64,
}

impl Queue {
    pub fn clear(&self) {
        *self.0.lock() = Waiting::default();
    }

    /// A link asks for a human, or does not any more.
    pub fn set(&self, link: RecordKey, pair: [RecordKey; 2], asks: bool) {
        let mut waiting = self.0.lock();
        if !asks {
            waiting.links.remove(&link);
        } else if waiting.links.len() < MAX_WAITING || waiting.links.contains_key(&link) {
            waiting.links.insert(link, pair);
        } else {
            waiting.beyond += 1;
        }
    }

    /// How many wait.
    pub fn len(&self) -> u64 {
        let waiting = self.0.lock();
        waiting.links.len() as u64 + waiting.beyond
    }

    /// Some of those after a link, by key.
    pub fn after(&self, link: Option<RecordKey>, most: usize) -> Vec<(RecordKey, [RecordKey; 2])> {
        let from = link.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = self.0.lock();
        let after = waiting.links.range((from, Bound::Unbounded));
        after.take(most).map(|(link, pair)| (*link, *pair)).collect()
    }
}
