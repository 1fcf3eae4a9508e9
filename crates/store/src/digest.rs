//! Order-independent digests of sets of records, in buckets.
//!
//! A record contributes the first 16 bytes of SHA-256 over a tag and its header: the header names key and version and
//! holds the body's hash, so the same version with other bytes contributes something else. A bucket is the wrapping sum of
//! its records' contributions and their number; two sets are the same if their buckets are. The sums show errors and
//! losses; they do not withstand somebody who may choose many records' headers freely, and every record is signed.
//!
//! ```text
//! record key ─ top 6 bits: partition of the index (64) ─ next 4 bits: bucket in the partition (16)
//! ```
//! Does not know whose records belong to a set: the store keeps one digest per signer and flow, and callers merge them.

use std::fmt;

use model::{KeyId, Record, RecordKey};
use sha2::Digest as _;

use crate::keys::PARTITIONS;

/// Buckets of a digest.
pub const BUCKETS: usize = 1024;
/// Flow classes from this number on are counted together as this one, so that a peer that invents numbers cannot make
/// the digests grow.
pub const OTHER_FLOWS: u32 = 64;

/// Buckets of one partition.
const SHARE: usize = BUCKETS / PARTITIONS;
const TAG: &[u8] = b"tiermesh digest v1\0";
/// Bytes of one bucket in the index: sum and count.
const BUCKET_BYTES: usize = 24;

/// The bucket of a record: the top ten bits of its key, of which the top six are its partition.
pub fn bucket_of(key: &RecordKey) -> u16 {
    u16::from_be_bytes([key.0[0], key.0[1]]) >> 6
}

/// The lowest and the highest key of a bucket; none if there is no such bucket.
pub(crate) fn keys_of(bucket: u16) -> Option<(RecordKey, RecordKey)> {
    let with = |low: u16, rest: u8| {
        let mut key = [rest; 16];
        key[..2].copy_from_slice(&(bucket << 6 | low).to_be_bytes());
        RecordKey(key)
    };
    (usize::from(bucket) < BUCKETS).then(|| (with(0, 0), with(0x3F, 0xFF)))
}

/// What a record adds to the sum of its bucket.
pub fn contribution(record: &Record) -> u128 {
    let hash: [u8; 32] =
        sha2::Sha256::new().chain_update(TAG).chain_update(record.header_bytes()).finalize().into();
    let (first, _) = hash.split_first_chunk::<16>().expect("a SHA-256 hash has 32 bytes");
    u128::from_be_bytes(*first)
}

/// The records that are counted together: those of one signing key in one flow class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub signer: KeyId,
    pub flow: u32,
}

/// One bucket: the wrapping sum of its records' contributions, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketDigest {
    pub sum: u128,
    pub count: u64,
}

impl BucketDigest {
    /// Two sets together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { sum: self.sum.wrapping_add(other.sum), count: self.count.wrapping_add(other.count) }
    }

    /// With one more record: see [`contribution`].
    #[must_use]
    pub fn with(self, contribution: u128) -> Self {
        self.plus(Self { sum: contribution, count: 1 })
    }

    /// Without a record that was in it.
    #[must_use]
    pub fn without(self, contribution: u128) -> Self {
        self.plus(Self { sum: contribution.wrapping_neg(), count: 1u64.wrapping_neg() })
    }
}

/// The buckets of one partition. As a change of them, sums and counts are wrapping differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PartitionDigest {
    sums: [u128; SHARE],
    counts: [u64; SHARE],
}

/// Bytes that are not a partition's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotADigest;

impl PartitionDigest {
    pub(crate) fn add(&mut self, bucket: u16, contribution: u128) {
        self.change(usize::from(bucket) % SHARE, contribution, 1);
    }

    pub(crate) fn remove(&mut self, bucket: u16, contribution: u128) {
        self.change(usize::from(bucket) % SHARE, contribution.wrapping_neg(), 1u64.wrapping_neg());
    }

    fn change(&mut self, at: usize, sum: u128, count: u64) {
        self.sums[at] = self.sums[at].wrapping_add(sum);
        self.counts[at] = self.counts[at].wrapping_add(count);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for at in 0..SHARE {
            self.change(at, other.sums[at], other.counts[at]);
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Value in the index: a bit for each bucket that is not empty, then their sums and counts, little endian. The same
    /// buckets always have the same bytes.
    pub(crate) fn to_value(self) -> Vec<u8> {
        let held = |at: &usize| self.counts[*at] != 0 || self.sums[*at] != 0;
        let mask = (0..SHARE).filter(held).fold(0u16, |mask, at| mask | 1 << at);
        let mut value = mask.to_le_bytes().to_vec();
        for at in (0..SHARE).filter(held) {
            value.extend_from_slice(&self.sums[at].to_le_bytes());
            value.extend_from_slice(&self.counts[at].to_le_bytes());
        }
        value
    }

    pub(crate) fn of_value(value: &[u8]) -> Result<Self, NotADigest> {
        let (mask, buckets) = value.split_first_chunk().ok_or(NotADigest)?;
        let mask = u16::from_le_bytes(*mask);
        if buckets.len() != mask.count_ones() as usize * BUCKET_BYTES {
            return Err(NotADigest);
        }
        let mut digest = Self::default();
        let held = (0..SHARE).filter(|at| mask & 1 << at != 0);
        for (at, bytes) in held.zip(buckets.chunks_exact(BUCKET_BYTES)) {
            let (sum, count) = bytes.split_first_chunk().ok_or(NotADigest)?;
            digest.sums[at] = u128::from_le_bytes(*sum);
            digest.counts[at] = u64::from_le_bytes(count.try_into().map_err(|_| NotADigest)?);
        }
        Ok(digest)
    }
}

/// A digest of a set of records. Takes half a kilobyte and up to 24 more, as partitions fill.
#[derive(Clone)]
pub struct Digest {
    partitions: [Option<Box<PartitionDigest>>; PARTITIONS],
}

impl Digest {
    /// Adds a record: see [`contribution`].
    pub fn add(&mut self, key: &RecordKey, contribution: u128) {
        let bucket = bucket_of(key);
        self.partition(bucket).add(bucket, contribution);
    }

    /// Takes a record out that was added.
    pub fn remove(&mut self, key: &RecordKey, contribution: u128) {
        let bucket = bucket_of(key);
        self.partition(bucket).remove(bucket, contribution);
    }

    /// Adds all records of another set; those that are in both count twice.
    pub fn merge(&mut self, other: &Self) {
        for (partition, theirs) in other.partitions.iter().enumerate() {
            if let Some(theirs) = theirs {
                self.merge_partition(partition, theirs);
            }
        }
    }

    pub(crate) fn merge_partition(&mut self, partition: usize, theirs: &PartitionDigest) {
        if !theirs.is_empty() {
            self.partitions[partition].get_or_insert_default().merge(theirs);
        }
    }

    fn partition(&mut self, bucket: u16) -> &mut PartitionDigest {
        self.partitions[usize::from(bucket) / SHARE].get_or_insert_default()
    }

    /// All buckets together.
    pub fn total(&self) -> BucketDigest {
        self.buckets().fold(BucketDigest::default(), |total, (_, bucket)| total.plus(bucket))
    }

    /// One bucket; an empty one if there is none of this number.
    pub fn bucket(&self, bucket: u16) -> BucketDigest {
        let (partition, at) = (usize::from(bucket) / SHARE, usize::from(bucket) % SHARE);
        let held = self.partitions.get(partition).and_then(Option::as_ref);
        held.map_or_else(BucketDigest::default, |held| BucketDigest {
            sum: held.sums[at],
            count: held.counts[at],
        })
    }

    /// The buckets that are not empty, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, BucketDigest)> + '_ {
        (0..BUCKETS as u16)
            .map(|bucket| (bucket, self.bucket(bucket)))
            .filter(|(_, held)| *held != BucketDigest::default())
    }

    /// Numbers of the buckets in which two sets differ, ascending.
    pub fn differing(&self, other: &Self) -> Vec<u16> {
        (0..BUCKETS as u16).filter(|bucket| self.bucket(*bucket) != other.bucket(*bucket)).collect()
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self { partitions: [const { None }; PARTITIONS] }
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        // A partition whose records have all been taken out is as good as none.
        (0..BUCKETS as u16).all(|bucket| self.bucket(bucket) == other.bucket(bucket))
    }
}

impl Eq for Digest {}

impl FromIterator<(u16, BucketDigest)> for Digest {
    /// Puts a digest together from buckets, as a peer sent them. Numbers that are no bucket's are left out.
    fn from_iter<T: IntoIterator<Item = (u16, BucketDigest)>>(buckets: T) -> Self {
        let mut digest = Self::default();
        for (bucket, held) in buckets.into_iter().filter(|(bucket, _)| usize::from(*bucket) < BUCKETS) {
            digest.partition(bucket).change(usize::from(bucket) % SHARE, held.sum, held.count);
        }
        digest
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BucketDigest { sum, count } = self.total();
        f.debug_struct("Digest").field("sum", &format_args!("{sum:032x}")).field("count", &count).finish()
    }
}

#[cfg(test)]
mod tests;
