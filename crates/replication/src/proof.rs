//! Proof that both ends of a feed hold the same: digests over what a feed's rule selects (design.md, *Feeds*).
//!
//! The store keeps a digest for each signer and flow class; a feed's is the sum over the signers that its rule names. The
//! receiver adds what it holds in quarantine, because the sender holds it too, unless it lost its disk.

use std::collections::{BTreeMap, BTreeSet};

use model::feed::{BucketSum, Comparison, MAX_GIVEN_BACK, Proof, Verdict};
use model::{KeyId, NodePath, Record, RecordKey, Version};
use store::{BucketDigest, Digest, FeedId, HeldRecord, QuarantinedRecord, ReadError, Store};

use crate::DirectoryView;
use crate::flow::class_goes_up;

/// Most bytes of the records that one verdict gives back.
const MAX_GIVEN_BYTES: usize = 2 * 1024 * 1024;
/// Keys of a bucket looked at together; a few in tests, which so get by with few records.
const PAGE: usize = if cfg!(test) { 4 } else { 1024 };

/// Whether a signer's records belong to the up feed of the node at `subtree`, for that node: what came from above or beside
/// does not go up again.
pub(crate) fn ships_up(view: &DirectoryView, signer: &KeyId, subtree: &NodePath) -> bool {
    view.key_path(signer).is_none_or(|path| subtree.contains(path))
}

/// What the node at `subtree` ships up, and the position of the log at which it is that.
pub(crate) fn shipped(store: &Store, view: &DirectoryView, subtree: &NodePath) -> (u64, Digest) {
    store.digest(&|signer, flow| class_goes_up(flow) && ships_up(view, signer, subtree))
}

/// What is held here of the up feed of a child.
#[derive(Debug)]
pub(crate) struct Received {
    applied: Digest,
    /// With what is in quarantine, which an honest child holds as well; unless it lost it with its disk: what was refused is
    /// not given back.
    with_quarantine: Digest,
}

/// What is held here of the up feed of the child at `subtree`.
pub(crate) fn received(
    store: &Store,
    view: &DirectoryView,
    subtree: &NodePath,
    feed: &FeedId,
) -> Result<Received, ReadError> {
    let from_there = |signer: &KeyId| view.key_path(signer).is_some_and(|path| subtree.contains(path));
    let (_, applied) = store.digest(&|signer, flow| class_goes_up(flow) && from_there(signer));
    let mut with_quarantine = applied.clone();
    let mut highest: BTreeMap<RecordKey, QuarantinedRecord> = BTreeMap::new();
    for one in store.quarantined_records(feed)?.1 {
        if highest.get(&one.key).is_none_or(|held| held.version < one.version) {
            highest.insert(one.key, one);
        }
    }
    for (key, quarantined) in highest {
        let held = store.held(&key)?;
        if held.is_some_and(|held| held.version >= quarantined.version) {
            continue;
        }
        if let Some(held) = held.filter(|held| from_there(&held.signer)) {
            with_quarantine.remove(&key, held.contribution);
        }
        with_quarantine.add(&key, quarantined.contribution);
    }
    Ok(Received { applied, with_quarantine })
}

/// A proof of a digest, with its buckets or only the total.
pub(crate) fn proof(position: u64, digest: &Digest, with_buckets: bool) -> Proof {
    let buckets = if with_buckets { digest.buckets().map(sum).collect() } else { Vec::new() };
    Proof { position, total: sum((0, digest.total())), buckets }
}

fn sum((bucket, digest): (u16, BucketDigest)) -> BucketSum {
    BucketSum { bucket, sum: digest.sum, records: digest.count }
}

/// Compares a proof with what is held here. In each bucket the child has what was refused, or has lost all of it.
pub(crate) fn compare(proof: &Proof, held: &Received) -> Verdict {
    let verdict = |comparison, differing| Verdict {
        position: proof.position,
        comparison,
        differing,
        given_back: Vec::new(),
    };
    if [&held.with_quarantine, &held.applied].iter().any(|held| sum((0, held.total())) == proof.total) {
        return verdict(Comparison::Equal, Vec::new());
    }
    if proof.buckets.is_empty() && proof.total.records > 0 {
        return verdict(Comparison::Different, Vec::new());
    }
    let digest =
        |bucket: &BucketSum| (bucket.bucket, BucketDigest { sum: bucket.sum, count: bucket.records });
    let theirs: Digest = proof.buckets.iter().map(digest).collect();
    let lost = held.applied.differing(&theirs);
    let mut differing = held.with_quarantine.differing(&theirs);
    differing.retain(|bucket| lost.contains(bucket));
    let same = if differing.is_empty() { Comparison::Equal } else { Comparison::Different };
    verdict(same, differing)
}

/// The buckets that hold what the proof says only with what is in quarantine.
pub(crate) fn only_in_quarantine(proof: &Proof, held: &Received) -> Vec<u16> {
    if sum((0, held.applied.total())) == proof.total {
        return Vec::new();
    }
    held.applied.differing(&held.with_quarantine)
}

/// An answer for another position, or when nothing can be compared.
pub(crate) fn not_yet(position: u64) -> Verdict {
    Verdict { position, comparison: Comparison::NotYet, differing: Vec::new(), given_back: Vec::new() }
}

/// The records of these buckets that came from the subtree, but for those that the child has, within the limits of a verdict; the
/// rest in a later one.
pub(crate) fn held_of(
    store: &Store,
    view: &DirectoryView,
    subtree: &NodePath,
    buckets: &[u16],
    is_there: &dyn Fn(&RecordKey, Version) -> bool,
) -> Result<Vec<Record>, ReadError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for bucket in buckets {
        let mut after = None;
        loop {
            let keys = store.bucket(*bucket, after, PAGE)?;
            for key in &keys {
                let wanted = |held: &HeldRecord| {
                    let inside = view.key_path(&held.signer).is_some_and(|path| subtree.contains(path));
                    inside && !is_there(key, held.version)
                };
                if store.held(key)?.as_ref().is_none_or(|held| !wanted(held)) {
                    continue;
                }
                let Some(record) = store.get(key)? else { continue };
                bytes += crate::batch::size_in_batch(&record);
                if bytes > MAX_GIVEN_BYTES || records.len() == MAX_GIVEN_BACK {
                    return Ok(records);
                }
                records.push(record);
            }
            if keys.len() < PAGE {
                break;
            }
            after = keys.last().copied();
        }
    }
    Ok(records)
}

/// Takes the first of these keys for whose records a verdict has room.
pub(crate) fn taken(store: &Store, keys: &mut BTreeSet<RecordKey>) -> Result<Vec<Record>, ReadError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(key) = keys.first().copied() {
        if let Some(record) = store.get(&key)? {
            bytes += crate::batch::size_in_batch(&record);
            if !records.is_empty() && (bytes > MAX_GIVEN_BYTES || records.len() == MAX_GIVEN_BACK) {
                break;
            }
            records.push(record);
        }
        keys.remove(&key);
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
