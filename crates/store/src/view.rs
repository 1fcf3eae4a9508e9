//! What is kept in memory of everything that is committed, and how a commit changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::KeyId;
use prost::Message;

use crate::content::{Change, Content, FeedValue, WriterState};
use crate::digest::{BucketDigest, Class, Digest, PartitionDigest};
use crate::index::meta::CountChange;
use crate::index::{Index, IndexFailed, PartitionMeta, for_each};
use crate::keys::{Key, PARTITIONS};
use crate::overlay::Overlay;
use crate::types::{FeedId, FeedPosition};

/// State of the store that changes with every commit. Invariant: it shows only what is durable in the log.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub active: Overlay,
    pub folding: Option<Arc<Overlay>>,
    pub feeds: BTreeMap<FeedId, FeedPosition>,
    pub writer: WriterState,
    /// Counts of everything, in the shape of one partition's.
    pub totals: PartitionMeta,
    /// Digests of the current records, by who signed them and their flow class.
    pub digests: BTreeMap<Class, Digest>,
    /// The position up to which all of this is: the head, or ahead of what was announced of it.
    pub lsn: u64,
}

impl View {
    /// What is in memory of what the index covers.
    pub(crate) fn load(index: &dyn Index, metas: &[PartitionMeta]) -> Result<Self, IndexFailed> {
        let mut view = Self::default();
        for (partition, meta) in metas.iter().enumerate() {
            view.totals.add_all(meta);
            view.load_feeds(index, partition as u8)?;
            view.load_digests(index, partition as u8)?;
        }
        if let Some(value) = index.get(&Key::Writer.encode())? {
            view.writer = WriterState::decode(value.as_slice()).map_err(|_| IndexFailed)?;
        }
        Ok(view)
    }

    fn load_feeds(&mut self, index: &dyn Index, partition: u8) -> Result<(), IndexFailed> {
        let mut bad = false;
        for_each(index, &Key::feed_table(partition), &mut |key, value| match (
            Key::decode(key),
            FeedValue::decode(value).ok().and_then(|value| value.position()),
        ) {
            (Some(Key::Feed(feed)), Some(position)) => drop(self.feeds.insert(feed, position)),
            _ => bad = true,
        })?;
        if bad { Err(IndexFailed) } else { Ok(()) }
    }

    fn load_digests(&mut self, index: &dyn Index, partition: u8) -> Result<(), IndexFailed> {
        let mut bad = false;
        for_each(index, &Key::digest_table(partition), &mut |key, value| match (
            Key::decode(key),
            PartitionDigest::of_value(value),
        ) {
            (Some(Key::Digest { class, .. }), Ok(digest)) => {
                self.digests.entry(class).or_default().merge_partition(usize::from(partition), &digest);
            }
            _ => bad = true,
        })?;
        if bad { Err(IndexFailed) } else { Ok(()) }
    }

    /// Takes the changes of one frame, but for the partitions that cover it already.
    pub(crate) fn absorb(
        &mut self,
        content: &Content,
        changes: &[Change],
        covered: Option<&[u64; PARTITIONS]>,
    ) {
        let mut counts = CountChange::default();
        for change in changes {
            let partition = usize::from(change.key().partition());
            if covered.is_some_and(|covered| covered[partition] >= content.lsn) {
                continue;
            }
            if let Change::Feed { feed, position } = change {
                self.feeds.insert(*feed, *position);
            }
            if let Change::Record { key, pointer, supersedes } = change {
                let digest = self.digests.entry(pointer.class()).or_default();
                if !pointer.forgotten {
                    digest.add(key, pointer.digest());
                }
                if let Some(old) = supersedes.filter(|old| !old.forgotten) {
                    self.digests.entry(old.class()).or_default().remove(key, old.digest());
                }
            }
            self.writer.follow(change);
            counts.take(change);
            self.active.take(change, &self.writer);
        }
        self.totals.add(&counts);
        if content.part {
            return;
        }
        self.active.reach(content.lsn, content.end);
        self.lsn = content.lsn;
    }

    /// The digest of the classes that `of` accepts, and the position at which it is that.
    pub(crate) fn digest(&self, of: &dyn Fn(&KeyId, u32) -> bool) -> (u64, Digest) {
        let mut digest = Digest::default();
        let accepted = self.digests.iter().filter(|(class, _)| of(&class.signer, class.flow));
        accepted.for_each(|(_, held)| digest.merge(held));
        (self.lsn, digest)
    }

    /// One bucket of it.
    pub(crate) fn bucket_digest(&self, bucket: u16, of: &dyn Fn(&KeyId, u32) -> bool) -> (u64, BucketDigest) {
        let accepted = self.digests.iter().filter(|(class, _)| of(&class.signer, class.flow));
        let digest = accepted.fold(BucketDigest::default(), |sum, (_, held)| sum.plus(held.bucket(bucket)));
        (self.lsn, digest)
    }

    pub(crate) fn overlay_bytes(&self) -> usize {
        self.active.bytes() + self.folding.as_ref().map_or(0, |folding| folding.bytes())
    }
}
