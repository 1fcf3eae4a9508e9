//! The index in memory: for tests, simulations and small nodes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Index, IndexFailed, Pair};

/// An index that outlives the store which uses it. Clones are handles to the same index.
#[derive(Debug, Clone, Default)]
pub struct MemoryIndex {
    pairs: Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl MemoryIndex {
    /// A copy as it is now, which does not follow the original: an index that will be behind.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { pairs: Arc::new(RwLock::new(self.pairs.read().clone())) }
    }

    /// Loses everything.
    pub fn lose(&self) {
        self.pairs.write().clear();
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.pairs.read().is_empty()
    }

    /// Changes a random-looking pair behind the store's back, for damage tests: the one at `at` in key order, if there
    /// are so many.
    pub fn damage(&self, at: usize, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some((_, value)) = self.pairs.write().iter_mut().nth(at) {
            change(value);
        }
    }
}

#[cfg(test)]
impl MemoryIndex {
    /// This index with every third partition as in another: what a fold leaves that did not come to its end.
    pub(crate) fn mixed_with(&self, other: &Self) -> Self {
        let third = |key: &[u8]| key.first().is_some_and(|partition| partition % 3 == 0);
        let mut mixed: BTreeMap<_, _> = self.pairs.read().clone();
        mixed.retain(|key, _| !third(key));
        mixed.extend(
            other
                .pairs
                .read()
                .iter()
                .filter(|(key, _)| third(key))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        Self { pairs: Arc::new(RwLock::new(mixed)) }
    }
}

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexFailed> {
        Ok(self.pairs.read().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexFailed> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let pairs = self.pairs.read();
        let found =
            pairs.range::<[u8], _>((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, pairs: Vec<Pair>) -> Result<(), IndexFailed> {
        self.pairs.write().extend(pairs);
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexFailed> {
        Ok(())
    }

    fn close(&self) -> Result<Option<u64>, IndexFailed> {
        Ok(None)
    }

    fn bytes(&self) -> u64 {
        0
    }
}
