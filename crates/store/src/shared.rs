//! What the writer, the folder and the readers share, and the reads.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use model::{Clock, OriginId, Record, RecordKey};
use parking_lot::{Condvar, Mutex, RwLock};
use prost::Message;
use tokio::sync::{Notify, watch};

use crate::content::{Own, QuarantineValue};
use crate::digest::keys_of;
use crate::error::ReadError;
use crate::index::{Index, IndexFailed, PartitionMeta, for_each};
use crate::keys::{Key, PARTITIONS};
use crate::log::Log;
use crate::log::item::{Item, Pointer};
use crate::mark;
use crate::options::{Derivation, Limits};
use crate::overlay::Overlay;
use crate::reclaim::Reclaim;
use crate::types::{FeedId, IndexKind, Quarantined, ReclaimStatus, TailCut};
use crate::view::View;

/// What wakes the folder and holds the writer back.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// There is enough to fold, or somebody waits for it.
    pub wanted: bool,
    pub closing: bool,
    /// There was no room on the disk for the last fold.
    pub no_room: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub log: Arc<Log>,
    pub index: Box<dyn Index>,
    pub index_kind: IndexKind,
    pub derivation: Arc<dyn Derivation>,
    pub clock: Arc<dyn Clock>,
    pub node: OriginId,
    pub signing: model::SigningKey,
    pub limits: Limits,
    pub view: RwLock<View>,
    /// What each partition of the index covers; held while folding, so that there is one fold at a time.
    pub metas: Mutex<Vec<PartitionMeta>>,
    pub index_applied: AtomicU64,
    pub index_failed: AtomicBool,
    pub index_failure: Notify,
    pub gate: Mutex<Gate>,
    pub gate_moved: Condvar,
    /// Last published position.
    pub head: watch::Sender<u64>,
    /// Wakes those who wait for it to move, in the order in which they came (a watch does so in a random one, which a
    /// simulation could not repeat).
    pub moved: Notify,
    /// Free bytes that the last refused write lacked; 0 if the last write was taken.
    pub room_wanted: AtomicU64,
    pub log_failed: AtomicBool,
    pub syncs: AtomicU64,
    pub commits: AtomicU64,
    pub queued_bytes: AtomicUsize,
    pub tail_cut: RwLock<Option<TailCut>>,
    /// What is being rewritten; held while a piece of it is, so that there is one at a time.
    pub reclaim: Mutex<Reclaim>,
    pub reclaim_status: Mutex<ReclaimStatus>,
}

/// With nothing committed for so long, the overlay is folded: an idle node is small and starts fast.
const QUIET: Duration = Duration::from_secs(2);

/// Free bytes without which so much of an overlay is not put into the index.
pub(crate) fn room_to_fold(overlay: u64) -> u64 {
    2 * overlay
}

impl Shared {
    /// Whose log this is.
    pub(crate) fn own(&self) -> Own {
        Own { node: self.node, key: self.signing.id() }
    }

    /// Where the version of a record is that is held and not forgotten.
    pub(crate) fn current(&self, key: &RecordKey) -> Result<Option<Pointer>, ReadError> {
        Ok(self.pointer(key)?.filter(|pointer| !pointer.forgotten))
    }

    /// Where the current version of a record is, or what says that it was forgotten.
    pub(crate) fn pointer(&self, key: &RecordKey) -> Result<Option<Pointer>, ReadError> {
        {
            let view = self.view.read();
            let folding = || view.folding.as_ref().and_then(|folding| folding.record(key));
            if let Some(pointer) = view.active.record(key).or_else(folding) {
                return Ok(Some(pointer));
            }
        }
        let value = self.index_read(|index| index.get(&Key::Record { key: *key }.encode()))?;
        value.map(|value| Pointer::decode(value.as_slice()).map_err(|_| self.index_broken())).transpose()
    }

    pub(crate) fn record(&self, key: &RecordKey) -> Result<Option<Record>, ReadError> {
        let mut before = None;
        loop {
            let Some(pointer) = self.current(key)? else { return Ok(None) };
            match self.log.record(&pointer)? {
                Some(record) if record.key() == *key => return Ok(Some(record)),
                // It was superseded and reclaimed after its place was looked up.
                None if before != Some(pointer) => before = Some(pointer),
                // The log's bytes are right, so it is the pointer that leads to another record, or to none.
                _ => return Err(self.index_broken()),
            }
        }
    }

    pub(crate) fn history(&self, key: &RecordKey, most: usize) -> Result<Vec<(u64, Record)>, ReadError> {
        Ok(self.history_to_end(key, most)?.0)
    }

    /// The same, and whether the last of them is the first that ever was held under this key.
    pub(crate) fn history_to_end(
        &self,
        key: &RecordKey,
        most: usize,
    ) -> Result<(Vec<(u64, Record)>, bool), ReadError> {
        let mut records = Vec::new();
        let mut next = self.current(key)?;
        while let Some(pointer) = next.filter(|_| records.len() < most) {
            match self.log.item(pointer.lsn, pointer.offset, pointer.length) {
                Ok(Some(Item::Record { record, supersedes })) => {
                    records.push((pointer.lsn, record));
                    next = supersedes;
                }
                Err(error) if records.is_empty() => return Err(error),
                // It was superseded and reclaimed after its place was looked up.
                Ok(None) if records.is_empty() => {
                    next = self.current(key)?;
                    if next == Some(pointer) {
                        return Err(self.index_broken());
                    }
                }
                Ok(_) | Err(_) => return Ok((records, false)),
            }
        }
        Ok((records, next.is_none()))
    }

    /// Record keys of links from (excluded) to (included), in order.
    pub(crate) fn links(
        &self,
        prefix: &[u8],
        from: Key,
        to: Key,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let mut found = BTreeSet::new();
        {
            let view = self.view.read();
            let folding = view.folding.iter().flat_map(|folding| folding.links(from, to).take(limit));
            found.extend(view.active.links(from, to).take(limit).chain(folding).copied());
        }
        let pairs = self.index_read(|index| index.scan(prefix, Some(&from.encode()), limit))?;
        for (key, _) in &pairs {
            found.insert(Key::decode(key).ok_or_else(|| self.index_broken())?);
        }
        Ok(found
            .iter()
            .take(limit)
            .filter_map(|key| match key {
                Key::About { key, .. } | Key::Term { key, .. } => Some(*key),
                _ => None,
            })
            .collect())
    }

    /// Keys of records in a bucket, those forgotten as well, in order, those after `after`.
    pub(crate) fn bucket(
        &self,
        bucket: u16,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let Some((first, last)) = keys_of(bucket) else { return Ok(Vec::new()) };
        let from = after.filter(|after| *after >= first).map_or(Bound::Included(first), Bound::Excluded);
        let mut found = BTreeSet::new();
        {
            let view = self.view.read();
            let folding = view.folding.iter().flat_map(|folding| folding.records(from, last).take(limit));
            found.extend(view.active.records(from, last).take(limit).chain(folding).map(|(key, _)| *key));
        }
        let table = Key::record_table(Key::Record { key: first }.partition());
        // Shorter than the key of any record in the bucket, and so before all of them.
        let before = [table.as_slice(), &first.0[..2]].concat();
        let after = match from {
            Bound::Excluded(key) => Key::Record { key }.encode(),
            _ => before,
        };
        let pairs = self.index_read(|index| index.scan(&table, Some(&after), limit))?;
        for (key, _) in &pairs {
            match Key::decode(key) {
                Some(Key::Record { key }) if key > last => break,
                Some(Key::Record { key }) => drop(found.insert(key)),
                _ => return Err(self.index_broken()),
            }
        }
        Ok(found.into_iter().take(limit).collect())
    }

    pub(crate) fn has_quarantined(&self, hash: &[u8; 32], from: &FeedId) -> Result<bool, ReadError> {
        {
            let view = self.view.read();
            let folding = || view.folding.as_ref().is_some_and(|folding| folding.has_quarantined(hash, from));
            if view.active.has_quarantined(hash, from) || folding() {
                return Ok(true);
            }
        }
        let key = Key::Quarantine { from: *from, hash: *hash }.encode();
        Ok(self.index_read(|index| index.get(&key))?.is_some())
    }

    /// Up to `limit` quarantined records, of one feed or of all, oldest first; but for those whose place in the log is damaged, of
    /// which the scrub knows.
    pub(crate) fn quarantined(
        &self,
        of: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, ReadError> {
        let mut places: BTreeSet<(u64, u32, u32)> = BTreeSet::new();
        self.quarantine_values(of, &mut |value| {
            places.insert((value.lsn, value.offset, value.length));
            if places.len() > limit {
                places.pop_last();
            }
        })?;
        let read = |(lsn, offset, length): (u64, u32, u32)| match self.log.item(lsn, offset, length) {
            Ok(Some(Item::Quarantined(quarantined))) => Some(Ok(quarantined)),
            Ok(_) => Some(Err(self.index_broken())),
            Err(ReadError::Corrupt { .. }) => None,
            Err(error) => Some(Err(error)),
        };
        places.into_iter().filter_map(read).collect()
    }

    /// Gives every value of the quarantine, of one feed or of all. One that is being folded may be given twice.
    pub(crate) fn quarantine_values(
        &self,
        of: Option<FeedId>,
        give: &mut dyn FnMut(&QuarantineValue),
    ) -> Result<(), ReadError> {
        {
            let view = self.view.read();
            let folding = view.folding.iter().flat_map(|folding| folding.quarantined(of));
            view.active.quarantined(of).chain(folding).for_each(|(_, value)| give(value));
        }
        let prefixes = match of {
            Some(feed) => vec![Key::quarantine_of(&feed)],
            None => (0..PARTITIONS as u8).map(Key::quarantine_table).collect(),
        };
        for prefix in prefixes {
            let mut broken = false;
            self.index_read(|index| {
                for_each(index, &prefix, &mut |_, value| match QuarantineValue::decode(value) {
                    Ok(value) => give(&value),
                    Err(_) => broken = true,
                })
            })?;
            if broken {
                return Err(self.index_broken());
            }
        }
        Ok(())
    }

    pub(crate) fn index_read<T>(
        &self,
        read: impl FnOnce(&dyn Index) -> Result<T, IndexFailed>,
    ) -> Result<T, ReadError> {
        read(self.index.as_ref()).map_err(|IndexFailed| self.index_broken())
    }

    /// Notes that the index cannot be used any more, so that the next start makes it again.
    pub(crate) fn index_broken(&self) -> ReadError {
        if !self.index_failed.swap(true, Ordering::SeqCst) {
            tracing::error!("the index failed; it will be rebuilt at the next start");
            if let Err(error) = mark::ask_for_rebuild(self.log.storage.as_ref()) {
                tracing::error!(%error, "cannot note that the index must be rebuilt");
            }
            self.gate_moved.notify_all();
            self.index_failure.notify_waiters();
        }
        ReadError::Index
    }

    /// Puts the overlay into the index. Whether there was anything to do, or room for it.
    pub(crate) fn fold(&self) -> Result<bool, ReadError> {
        let mut metas = self.metas.lock();
        if self.index_failed.load(Ordering::SeqCst) {
            return Err(ReadError::Index);
        }
        let folding = {
            let mut view = self.view.write();
            if view.active.is_empty() || !self.has_room_to_fold(&view.active) {
                return Ok(false);
            }
            let folding = Arc::new(std::mem::take(&mut view.active));
            view.folding = Some(folding.clone());
            folding
        };
        let applied = folding.batches(self.index.as_ref(), &mut metas).and_then(|batches| {
            batches
                .into_iter()
                .filter(|pairs| !pairs.is_empty())
                .try_for_each(|pairs| self.index.apply(pairs))
        });
        if applied.is_err() {
            // The folding overlay stays where it is, so that what it holds can still be read.
            return Err(self.index_broken());
        }
        self.index_applied
            .store(metas.iter().map(|meta| meta.applied).min().unwrap_or_default(), Ordering::SeqCst);
        // Freed outside the lock: it is large.
        let done = self.view.write().folding.take();
        drop(done);
        self.gate_moved.notify_all();
        Ok(true)
    }

    /// Notes that there was no room for so many bytes more.
    pub(crate) fn lacks_room(&self, bytes: u64) {
        // Where the system counts room in another way (a quota), only more of it than now is a reason to hope.
        let now = self.log.storage.free_bytes().unwrap_or_default();
        self.room_wanted.store(bytes.max(now.saturating_add(1)), Ordering::SeqCst);
    }

    /// Whether a write would find no room, as far as can be told: a node that writes nothing learns so that there is
    /// room again.
    pub(crate) fn disk_full(&self) -> bool {
        let wanted = self.room_wanted.load(Ordering::SeqCst);
        if wanted == 0 {
            return false;
        }
        // While the disk cannot be asked, the last word stands.
        let full = self.log.storage.free_bytes().map_or(true, |free| free < wanted);
        if !full {
            // Unless another write was refused meanwhile.
            let _raced =
                self.room_wanted.compare_exchange(wanted, 0, Ordering::SeqCst, Ordering::SeqCst).is_err();
        }
        full
    }

    fn has_room_to_fold(&self, overlay: &Overlay) -> bool {
        // An index that meets the end of the disk fails for good, so it is kept away from it.
        let room = match self.log.storage.free_bytes() {
            Ok(free) => free >= room_to_fold(overlay.bytes() as u64),
            Err(error) => {
                tracing::warn!(%error, "cannot ask how much room is left on the disk");
                true
            }
        };
        self.gate.lock().no_room = !room;
        if !room {
            self.gate_moved.notify_all();
        }
        room
    }

    /// The folder thread's work, until the store closes.
    pub(crate) fn fold_until_closed(&self) {
        let mut seen = 0;
        loop {
            let (closing, wanted) = {
                let mut gate = self.gate.lock();
                if !gate.wanted && !gate.closing {
                    self.gate_moved.wait_for(&mut gate, QUIET);
                }
                (gate.closing, std::mem::take(&mut gate.wanted))
            };
            if closing {
                return;
            }
            let head = *self.head.borrow();
            let quiet = head == seen;
            seen = head;
            if (wanted || quiet) && self.fold().is_err() {
                return;
            }
        }
    }
}
