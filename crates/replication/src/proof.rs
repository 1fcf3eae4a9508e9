//! Proof that both ends of a feed hold the same: digests over what a feed's rule selects (design.md, *Feeds*).
//!
//! The store keeps a digest for each signer and flow class; a feed's is the sum over the signers that its rule names. The
//! receiver adds what it holds in quarantine, because the sender holds it too.

use std::collections::BTreeMap;

use model::feed::{BucketSum, Comparison, MAX_GIVEN_BACK, Proof, Verdict};
use model::{KeyId, NodePath, Record, RecordKey};
use prost::Message;
use store::{BucketDigest, Digest, FeedId, ReadError, Store};

use crate::DirectoryView;
use crate::flow::class_goes_up;

/// Most bytes of the records that one verdict gives back.
const MAX_GIVEN_BYTES: usize = 2 * 1024 * 1024;
/// Most quarantined records looked through; with more, nothing can be compared.
const MAX_QUARANTINED: usize = 10_000;

/// Whether a signer's records belong to the up feed of the node at `subtree`, for that node: what came from above or beside
/// does not go up again.
pub(crate) fn ships_up(view: &DirectoryView, signer: &KeyId, subtree: &NodePath) -> bool {
    view.key_path(signer).is_none_or(|path| subtree.contains(path))
}

/// What the node at `subtree` ships up, and the position of the log at which it is that.
pub(crate) fn shipped(store: &Store, view: &DirectoryView, subtree: &NodePath) -> (u64, Digest) {
    store.digest(&|signer, flow| class_goes_up(flow) && ships_up(view, signer, subtree))
}

/// What is held here of the up feed of the child at `subtree`, quarantine included; none if too much is there.
pub(crate) fn received(
    store: &Store,
    view: &DirectoryView,
    subtree: &NodePath,
    feed: &FeedId,
) -> Result<Option<Digest>, ReadError> {
    let from_there = |signer: &KeyId| view.key_path(signer).is_some_and(|path| subtree.contains(path));
    let (_, mut digest) = store.digest(&|signer, flow| class_goes_up(flow) && from_there(signer));
    if store.status().quarantined == 0 {
        return Ok(Some(digest));
    }
    let held = store.quarantine(MAX_QUARANTINED)?;
    if held.len() == MAX_QUARANTINED {
        return Ok(None);
    }
    let mut highest: BTreeMap<RecordKey, Record> = BTreeMap::new();
    for one in held.iter().filter(|one| one.from == *feed) {
        let raw = model::body::RawRecord::decode(&one.raw[..]).ok();
        let Some(record) = raw.and_then(|raw| Record::from_raw(raw).ok()) else { continue };
        let newer = |held: &Record| held.envelope().version < record.envelope().version;
        if highest.get(&record.key()).is_none_or(newer) {
            highest.insert(record.key(), record);
        }
    }
    for (key, quarantined) in highest {
        let held = store.get(&key)?;
        if held.as_ref().is_some_and(|held| held.envelope().version >= quarantined.envelope().version) {
            continue;
        }
        if let Some(held) = held.filter(|held| from_there(&held.envelope().key_id)) {
            digest.remove(&key, store::contribution(&held));
        }
        digest.add(&key, store::contribution(&quarantined));
    }
    Ok(Some(digest))
}

/// A proof of a digest, with its buckets or only the total.
pub(crate) fn proof(position: u64, digest: &Digest, with_buckets: bool) -> Proof {
    let buckets = if with_buckets { digest.buckets().map(sum).collect() } else { Vec::new() };
    Proof { position, total: sum((0, digest.total())), buckets }
}

fn sum((bucket, digest): (u16, BucketDigest)) -> BucketSum {
    BucketSum { bucket, sum: digest.sum, records: digest.count }
}

/// Compares a proof with what is held here.
pub(crate) fn compare(proof: &Proof, held: &Digest) -> Verdict {
    let verdict = |comparison, differing| Verdict {
        position: proof.position,
        comparison,
        differing,
        given_back: Vec::new(),
    };
    if sum((0, held.total())) == proof.total {
        return verdict(Comparison::Equal, Vec::new());
    }
    if proof.buckets.is_empty() && proof.total.records > 0 {
        return verdict(Comparison::Different, Vec::new());
    }
    let digest =
        |bucket: &BucketSum| (bucket.bucket, BucketDigest { sum: bucket.sum, count: bucket.records });
    let theirs: Digest = proof.buckets.iter().map(digest).collect();
    verdict(Comparison::Different, held.differing(&theirs))
}

/// An answer for another position, or when nothing can be compared.
pub(crate) fn not_yet(position: u64) -> Verdict {
    Verdict { position, comparison: Comparison::NotYet, differing: Vec::new(), given_back: Vec::new() }
}

/// The records of these buckets that came from the subtree, within the limits of a verdict; the rest in a later one.
pub(crate) fn held_of(
    store: &Store,
    view: &DirectoryView,
    subtree: &NodePath,
    buckets: &[u16],
) -> Result<Vec<Record>, ReadError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for bucket in buckets {
        for key in store.bucket(*bucket, None, MAX_GIVEN_BACK)? {
            let Some(record) = store.get(&key)? else { continue };
            if view.key_path(&record.envelope().key_id).is_some_and(|path| subtree.contains(path)) {
                bytes += crate::batch::size_in_batch(&record);
                if bytes > MAX_GIVEN_BYTES || records.len() == MAX_GIVEN_BACK {
                    return Ok(records);
                }
                records.push(record);
            }
        }
    }
    Ok(records)
}
