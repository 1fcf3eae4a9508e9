//! The index: pointers into the log and lookup keys, all of which can be made from the log again.
//!
//! An index promises atomicity inside one partition only; nothing above relies on more. Two implementations:
//! [`memory`] and [`sled`], the default. It may lose anything and be wrong about everything: what it says is believed
//! only as far as [`PartitionMeta`] vouches for it, and the way out is always to rebuild.

pub(crate) mod block;
pub(crate) mod memory;
pub(crate) mod meta;
pub(crate) mod sled;

use std::fmt::Debug;

pub(crate) use meta::PartitionMeta;

/// A key and its value, encoded.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The index failed; details are in the trace. It is not used any more, and rebuilt at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexFailed;

/// Sorted keys in partitions; the first byte of a key is its partition.
pub(crate) trait Index: Send + Sync + Debug {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexFailed>;
    /// Up to `limit` pairs whose keys begin with `prefix` and come after `after`, in key order.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexFailed>;
    /// Puts all pairs or none. They are all of one partition.
    fn apply(&self, pairs: Vec<Pair>) -> Result<(), IndexFailed>;
    /// Hands everything to the system, so that a kill loses none of it.
    fn flush(&self) -> Result<(), IndexFailed>;
    /// Makes everything durable and ends the use of the index; a digest of its files, if it has any.
    fn close(&self) -> Result<Option<u64>, IndexFailed>;
    /// Bytes on disk.
    fn bytes(&self) -> u64;
}

/// Pairs read at a time when a whole partition is walked.
const WALK: usize = 1024;

/// Calls `each` with every pair whose key begins with `prefix`.
pub(crate) fn for_each(
    index: &dyn Index,
    prefix: &[u8],
    each: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), IndexFailed> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let pairs = index.scan(prefix, after.as_deref(), WALK)?;
        for (key, value) in &pairs {
            each(key, value);
        }
        if pairs.len() < WALK {
            return Ok(());
        }
        after = pairs.into_iter().next_back().map(|(key, _)| key);
    }
}
