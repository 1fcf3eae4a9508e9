//! What a store is opened with.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Clock, OriginId, Record, SigningKey};

use crate::error::OpenError;
use crate::index::memory::MemoryIndex;
use crate::storage::Storage;

/// Everything a store needs from outside.
#[derive(Debug)]
pub struct Options {
    pub storage: Arc<dyn Storage>,
    pub index: IndexChoice,
    pub derivation: Arc<dyn Derivation>,
    pub clock: Arc<dyn Clock>,
    /// Names this run of the operating system: another one without a clean close means that the power failed.
    pub boot_id: String,
    /// Origin of this node. A log belongs to one node for ever.
    pub node: OriginId,
    /// Signs this node's records.
    pub signing: SigningKey,
    pub run: Run,
    pub limits: Limits,
}

/// Which index, and where.
#[derive(Debug, Clone)]
pub enum IndexChoice {
    /// sled in a directory of its own, which the store may remove and make again.
    Sled {
        path: PathBuf,
        cache_bytes: u64,
    },
    Memory(MemoryIndex),
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// A thread that writes and one that folds.
    Threads,
    /// The caller, inside its call: for simulations, where nothing may happen on its own.
    Inline,
}

/// Bounds. The defaults suit a node of any tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment with so many bytes is closed; at most 1 GiB.
    pub segment_bytes: u64,
    /// Most bytes of what is not in the index yet. Full: the writer waits for the index.
    pub overlay_bytes: usize,
    /// Most commits of one sync; at most 65,535.
    pub group_commits: usize,
    /// A group with so many bytes is written.
    pub group_bytes: usize,
    /// Most commits that wait. Full: [`crate::CommitError::Overloaded`].
    pub queue: usize,
    /// Most bytes of the commits that wait. Full: [`crate::CommitError::Overloaded`].
    pub queue_bytes: usize,
    /// Added to every sync, to measure as on a slow disk.
    pub sync_delay_ms: u64,
    /// Room that the log leaves on the disk, so that the index can take what is in the overlay and the store can close:
    /// with less, writes are refused.
    pub reserve_bytes: u64,
    /// A closed segment is rewritten when at least so many percent of its records' bytes are superseded: 1 to 100.
    pub reclaim_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            overlay_bytes: 32 << 20,
            group_commits: 512,
            group_bytes: 4 << 20,
            queue: 4096,
            queue_bytes: 64 << 20,
            sync_delay_ms: 0,
            reserve_bytes: 64 << 20,
            reclaim_percent: 50,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let fail = |why| Err(OpenError::Limits(why));
        if self.segment_bytes > 1 << 30 {
            // Offsets are 32 bits, and a segment may exceed its size by one group.
            return fail("segment_bytes is over 1 GiB");
        }
        if self.group_commits == 0 || self.group_commits > usize::from(u16::MAX) {
            return fail("group_commits is not between 1 and 65535");
        }
        if self.queue == 0 || self.queue_bytes == 0 || self.overlay_bytes == 0 || self.group_bytes > 1 << 30 {
            return fail("queue, queue_bytes and overlay_bytes must not be 0, nor group_bytes over 1 GiB");
        }
        if !(1..=100).contains(&self.reclaim_percent) {
            return fail("reclaim_percent is not between 1 and 100");
        }
        Ok(())
    }
}

/// Lookup terms of records. Another version means that the index is made again, so a version must be raised whenever
/// the terms of any record change.
pub trait Derivation: Send + Sync + Debug {
    fn version(&self) -> u32;
    /// Appends the terms of one record; reads nothing but the record.
    fn terms(&self, record: &Record, out: &mut Vec<Term>);
}

/// An entry of the inverted index: leads from a term to the records that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Which kind of term; numbered by the derivation.
    pub space: u8,
    /// A keyed hash of the term's text.
    pub term: [u8; 16],
}
