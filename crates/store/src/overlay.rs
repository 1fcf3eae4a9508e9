//! What is committed but not in the index yet, in memory.
//!
//! Two overlays at most: the *active* one, which takes every commit, and the one that is being *folded* into the index.
//! Readers ask the active one, then the folding one, then the index, in this order: the index gets everything before
//! the folding overlay goes, so nothing is missed on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use model::RecordKey;
use prost::Message;

use crate::content::{Change, FeedValue, QuarantineValue, WriterState};
use crate::digest::{Class, NotADigest, PartitionDigest, bucket_of};
use crate::index::meta::{CountChange, pair_hash};
use crate::index::{Index, IndexFailed, Pair, PartitionMeta};
use crate::keys::{Key, PARTITIONS};
use crate::log::Place;
use crate::log::item::Pointer;
use crate::types::{FeedId, FeedPosition};

/// Rough bytes of memory per entry, with its share of the tree.
const RECORD_BYTES: usize = 300;
const LINK_BYTES: usize = 88;

/// A record's current place, and the one that the index has or will have from the overlay before.
#[derive(Debug, Clone, Copy)]
struct Held {
    pointer: Pointer,
    base: Option<Pointer>,
}

/// Changes of consecutive frames, merged.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    records: BTreeMap<RecordKey, Held>,
    /// Keys without a value, and whether each is certainly not in the index.
    links: BTreeMap<Key, bool>,
    feeds: BTreeMap<FeedId, FeedPosition>,
    quarantine: BTreeMap<(FeedId, [u8; 32]), QuarantineValue>,
    writer: Option<WriterState>,
    counts: BTreeMap<u8, CountChange>,
    /// Partitions and classes in which records were only in passing. They get digests all the same, so that it does not
    /// matter how frames are grouped into overlays.
    passed: BTreeSet<(u8, Class)>,
    bytes: usize,
    last_lsn: u64,
    end: Place,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.last_lsn == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn record(&self, key: &RecordKey) -> Option<Pointer> {
        self.records.get(key).map(|held| held.pointer)
    }

    pub(crate) fn has_quarantined(&self, hash: &[u8; 32], from: &FeedId) -> bool {
        self.quarantine.contains_key(&(*from, *hash))
    }

    /// What is quarantined, of one feed or of all.
    pub(crate) fn quarantined(
        &self,
        of: Option<FeedId>,
    ) -> impl Iterator<Item = (&(FeedId, [u8; 32]), &QuarantineValue)> {
        self.quarantine.iter().filter(move |((from, _), _)| of.is_none_or(|of| *from == of))
    }

    /// Records whose keys are after `from` and up to `to`, in order of their keys.
    pub(crate) fn records(
        &self,
        from: Bound<RecordKey>,
        to: RecordKey,
    ) -> impl Iterator<Item = (&RecordKey, &Pointer)> {
        let empty = match from {
            Bound::Included(from) => from > to,
            Bound::Excluded(from) => from >= to,
            Bound::Unbounded => false,
        };
        let bounds =
            if empty { (Bound::Included(to), Bound::Excluded(to)) } else { (from, Bound::Included(to)) };
        self.records.range(bounds).map(|(key, held)| (key, &held.pointer))
    }

    pub(crate) fn all_records(&self) -> impl Iterator<Item = (&RecordKey, &Pointer)> {
        self.records.iter().map(|(key, held)| (key, &held.pointer))
    }

    /// Links after `from` up to `to`, in order.
    pub(crate) fn links(&self, from: Key, to: Key) -> impl Iterator<Item = &Key> {
        use std::ops::Bound::{Excluded, Included};
        let empty = from >= to;
        let bounds = if empty { (Included(to), Excluded(to)) } else { (Excluded(from), Included(to)) };
        self.links.range(bounds).map(|(key, _)| key)
    }

    /// Notes that everything up to this frame is in here (or was in the index before).
    pub(crate) fn reach(&mut self, lsn: u64, end: Place) {
        self.last_lsn = lsn;
        self.end = end;
    }

    /// Takes one change. `writer` is the own writer's state after it.
    pub(crate) fn take(&mut self, change: &Change, writer: &WriterState) {
        self.counts.entry(change.key().partition()).or_default().take(change);
        match change {
            Change::Record { key, pointer, supersedes } => self.take_record(*key, *pointer, *supersedes),
            Change::Link { key, fresh } => {
                self.links.entry(*key).or_insert_with(|| {
                    self.bytes += LINK_BYTES;
                    *fresh
                });
            }
            Change::Feed { feed, position } => {
                self.feeds.insert(*feed, *position);
            }
            Change::Quarantine { from, hash, value } => {
                self.quarantine.insert((*from, *hash), value.clone());
                self.bytes += RECORD_BYTES;
            }
            Change::Seq(_) | Change::Epoch { .. } => self.writer = Some(writer.clone()),
        }
    }

    fn take_record(&mut self, key: RecordKey, pointer: Pointer, supersedes: Option<Pointer>) {
        let bytes = &mut self.bytes;
        let held = self.records.entry(key).or_insert_with(|| {
            *bytes += RECORD_BYTES;
            Held { pointer, base: supersedes }
        });
        let before = std::mem::replace(&mut held.pointer, pointer);
        if before.class() != pointer.class()
            && self.passed.insert((Key::Record { key }.partition(), before.class()))
        {
            *bytes += LINK_BYTES;
        }
    }

    /// What to put into the index, per partition and sorted, with the metas moved on accordingly.
    pub(crate) fn batches(
        &self,
        index: &dyn Index,
        metas: &mut [PartitionMeta],
    ) -> Result<Vec<Vec<Pair>>, IndexFailed> {
        let mut batches = Batches { pairs: vec![Vec::new(); PARTITIONS], metas };
        for (key, held) in &self.records {
            let old = held.base.map(|base| base.encode_to_vec());
            batches.put(&Key::Record { key: *key }, held.pointer.encode_to_vec(), old.as_deref());
        }
        self.digests(index, &mut batches)?;
        for (key, fresh) in &self.links {
            let old = if *fresh { None } else { index.get(&key.encode())? };
            batches.put(key, Vec::new(), old.as_deref());
        }
        for (feed, position) in &self.feeds {
            let key = Key::Feed(*feed);
            let old = index.get(&key.encode())?;
            batches.put(&key, FeedValue::of(position).encode_to_vec(), old.as_deref());
        }
        for ((from, hash), value) in &self.quarantine {
            let key = Key::Quarantine { from: *from, hash: *hash };
            let old = index.get(&key.encode())?;
            batches.put(&key, value.encode_to_vec(), old.as_deref());
        }
        if let Some(writer) = &self.writer {
            let old = index.get(&Key::Writer.encode())?;
            batches.put(&Key::Writer, writer.encode_to_vec(), old.as_deref());
        }
        let Batches { mut pairs, metas } = batches;
        for (partition, meta) in metas.iter_mut().enumerate() {
            if let Some(change) = self.counts.get(&(partition as u8)) {
                meta.add(change);
            }
            // During a replay a partition may be ahead of the rest.
            if self.last_lsn > meta.applied {
                meta.cover(self.last_lsn, self.end);
                pairs[partition].push((Key::Meta { partition: partition as u8 }.encode(), meta.to_value()));
            }
        }
        Ok(pairs)
    }
}

impl Overlay {
    /// Adds to the digests in the index what this overlay changes.
    fn digests(&self, index: &dyn Index, batches: &mut Batches<'_>) -> Result<(), IndexFailed> {
        for partition in 0..PARTITIONS as u8 {
            let passed = self.passed.iter().filter(|(passed, _)| *passed == partition);
            let mut changed: BTreeMap<Class, PartitionDigest> =
                passed.map(|(_, class)| (*class, PartitionDigest::default())).collect();
            for (key, held) in self.records.range(first_of(partition)..=last_of(partition)) {
                let bucket = bucket_of(key);
                let Held { pointer, base } = held;
                let digest = changed.entry(pointer.class()).or_default();
                if !pointer.forgotten {
                    digest.add(bucket, pointer.digest());
                }
                if let Some(base) = base.filter(|base| !base.forgotten) {
                    changed.entry(base.class()).or_default().remove(bucket, base.digest());
                }
            }
            for (class, mut digest) in changed {
                let key = Key::Digest { partition, class };
                let old = index.get(&key.encode())?;
                if let Some(old) = &old {
                    digest.merge(&PartitionDigest::of_value(old).map_err(|NotADigest| IndexFailed)?);
                }
                batches.put(&key, digest.to_value(), old.as_deref());
            }
        }
        Ok(())
    }
}

/// The lowest record key of a partition.
fn first_of(partition: u8) -> RecordKey {
    let mut key = [0; 16];
    key[0] = partition << 2;
    RecordKey(key)
}

/// The highest record key of a partition.
fn last_of(partition: u8) -> RecordKey {
    let mut key = [0xFF; 16];
    key[0] = partition << 2 | 0b11;
    RecordKey(key)
}

struct Batches<'a> {
    pairs: Vec<Vec<Pair>>,
    metas: &'a mut [PartitionMeta],
}

impl Batches<'_> {
    /// Puts a pair whose key has `old` as its value so far.
    fn put(&mut self, key: &Key, value: Vec<u8>, old: Option<&[u8]>) {
        let partition = usize::from(key.partition());
        let key = key.encode();
        let checksum = &mut self.metas[partition].checksum;
        *checksum = checksum.wrapping_add(pair_hash(&key, &value));
        if let Some(old) = old {
            *checksum = checksum.wrapping_sub(pair_hash(&key, old));
        }
        self.pairs[partition].push((key, value));
    }
}
