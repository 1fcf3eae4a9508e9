//! What proves that a store holds what it should: digests, and keys by bucket.

use model::{KeyId, RecordKey};

use super::Store;
use crate::digest::Digest;
use crate::error::ReadError;

impl Store {
    /// The digest of the current records (tombstones as well) whose signing key and flow class `of` accepts, and the
    /// position at exactly which it is that. Flow classes from [`crate::OTHER_FLOWS`] on are asked about as that one.
    /// Quarantined records are not in it. The position may be ahead of what [`Store::watch_head`] has announced.
    pub fn digest(&self, of: &dyn Fn(&KeyId, u32) -> bool) -> (u64, Digest) {
        self.handle.shared.view.read().digest(of)
    }

    /// Keys of the records held in a bucket (see [`crate::bucket_of`]), ascending, those after `after`, at most `limit`.
    pub fn bucket(
        &self,
        bucket: u16,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        self.handle.shared.bucket(bucket, after, limit)
    }

    /// The position of the commit that the held version of a record came with.
    pub fn lsn(&self, key: &RecordKey) -> Result<Option<u64>, ReadError> {
        Ok(self.handle.shared.pointer(key)?.map(|pointer| pointer.lsn))
    }
}
