//! What proves that a store holds what it should, and mends what it does not: digests, keys by bucket, scrub, repair.

use std::sync::atomic::Ordering;

use model::{KeyId, Record, RecordKey};
use tokio::sync::watch;

use super::Store;
use crate::digest::{BucketDigest, Digest};
use crate::error::{CommitError, ReadError};
use crate::types::{Reclaimed, Recomputed, ScrubPlace, Scrubbed};
use crate::writer::{Answer, Request};

impl Store {
    /// The digest of the current records (tombstones as well) whose signing key and flow class `of` accepts, and the
    /// position at exactly which it is that. Flow classes from [`crate::OTHER_FLOWS`] on are asked about as that one.
    /// Quarantined records are not in it. The position may be ahead of what [`Store::watch_head`] has announced.
    pub fn digest(&self, of: &dyn Fn(&KeyId, u32) -> bool) -> (u64, Digest) {
        self.handle.shared.view.read().digest(of)
    }

    /// One bucket of [`Store::digest`], for less than all of them cost.
    pub fn bucket_digest(&self, bucket: u16, of: &dyn Fn(&KeyId, u32) -> bool) -> (u64, BucketDigest) {
        self.handle.shared.view.read().bucket_digest(bucket, of)
    }

    /// Keys of the records held or forgotten in a bucket (see [`crate::bucket_of`]), ascending, those after `after`, at most `limit`.
    pub fn bucket(
        &self,
        bucket: u16,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        self.handle.shared.bucket(bucket, after, limit)
    }

    /// Reads the whole index again and compares it with its checksums: at 1 million records some seconds of a blocking call, while
    /// commits go on. False: it is damaged. Then nothing is read from it any more, and the next opening makes it again.
    pub fn verify_index(&self) -> Result<bool, ReadError> {
        self.handle.shared.verify_index()
    }

    /// Waits until the index has failed, so that the store must be opened again; for ever if it does not.
    pub async fn index_failure(&self) {
        let shared = &self.handle.shared;
        let failed = shared.index_failure.notified();
        tokio::pin!(failed);
        // Registered before looking, so that nothing is missed in between.
        failed.as_mut().enable();
        if !shared.index_failed.load(Ordering::SeqCst) {
            failed.await;
        }
    }

    /// The position of the commit that the held version of a record came with.
    pub fn lsn(&self, key: &RecordKey) -> Result<Option<u64>, ReadError> {
        Ok(self.handle.shared.current(key)?.map(|pointer| pointer.lsn))
    }

    /// Which key signed the held version of a record, without reading the record: it may be damaged.
    pub fn signer(&self, key: &RecordKey) -> Result<Option<KeyId>, ReadError> {
        Ok(self.handle.shared.current(key)?.map(|pointer| pointer.class().signer))
    }

    /// Tells when there is something new for [`Store::damaged_keys`]: a damaged place was found, by a read or a scrub, or
    /// one that was held for healed is not. Damage found before this call is not told.
    pub fn watch_damage(&self) -> watch::Receiver<u64> {
        self.handle.shared.log.damage_news.subscribe()
    }

    /// Reads the log's bytes again from a place on, at most about `max_bytes` (but at least one commit, and all of a
    /// damaged place), and checks their checksums up to the head as it is now. Blocks.
    ///
    /// [`ReadError::Io`] if the log cannot be read for another reason than damage: try again.
    pub fn scrub(&self, from: ScrubPlace, max_bytes: u64) -> Result<Scrubbed, ReadError> {
        self.handle.shared.scrub(from, max_bytes)
    }

    /// The digest as it is kept and as the log's records say, both at the same position. Blocks: reads all of the log up
    /// to the head. Fails where the log is damaged, also where that was repaired since, until the segment
    /// is rewritten.
    pub fn recompute_digest(&self, of: &dyn Fn(&KeyId, u32) -> bool) -> Result<Recomputed, ReadError> {
        self.handle.shared.recompute_digest(of)
    }

    /// Takes superseded records out of closed segments, reading at most about `max_bytes` of the log (but at least one
    /// commit): rewrites one segment after the other, those with the most dead bytes first, and remembers between calls how
    /// far it has come. Blocks; the first call of a round looks through all of the index. Reads and writes go on beside it.
    /// What keeps it from doing so shows in the status, and is no error.
    ///
    /// [`ReadError::Io`] if the log cannot be read: try again later. [`ReadError::Index`] if the index failed.
    pub fn reclaim(&self, max_bytes: u64) -> Result<Reclaimed, ReadError> {
        self.handle.shared.reclaim(max_bytes)
    }

    /// Keys of up to `limit` records whose current version is in a damaged place known since the start (by a read or a
    /// scrub) and cannot be read. Blocks: the first time after a place was found it looks through all of the index.
    pub fn damaged_keys(&self, limit: usize) -> Result<Vec<RecordKey>, ReadError> {
        self.handle.shared.damaged_keys(limit)
    }

    /// Writes a record anew whose bytes here are damaged, at the end of the feed. False, and nothing is done, if another
    /// version or none is held or the held one can be read. The caller has verified the record's signature, as for
    /// [`Store::apply`]; that it is the very record that was here is checked by its digest.
    ///
    /// [`CommitError::Different`] if it is another record of the same version, else as [`Store::apply`].
    pub async fn repair(&self, record: Record) -> Result<bool, CommitError> {
        match self.ask(Request::Repair(Box::new(record))).await? {
            Answer::Repaired(repaired) => Ok(repaired),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }
}
