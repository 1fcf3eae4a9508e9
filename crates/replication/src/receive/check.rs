//! Compares what this node holds of its down feed with what the parent says that it is to hold.

use std::collections::{BTreeMap, BTreeSet};

use model::feed::{BucketSum, Check, CheckAnswer, Comparison, HeldVersion, MAX_HELD};
use model::{Envelope, Flow, KeyId, NodePath, RecordKey, Version};
use store::{BUCKETS, BucketDigest, FeedId, QuarantinedRecord, ReadError, Store, bucket_of};

use crate::DirectoryView;
use crate::flow::known;
use crate::interest::flow_concerns_down;

/// Keys of a bucket read at a time.
const PAGE: usize = 256;

/// Whether a record with this signer and flow class came down to the node at `own`: it was not signed in its subtree.
pub(super) fn came_down(view: &DirectoryView, own: &NodePath, signer: &KeyId, flow: u32) -> bool {
    flow_concerns_down(known(flow)) && view.key_path(signer).is_some_and(|path| !own.contains(path))
}

/// What of a batch's retractions is forgotten.
#[derive(Debug, Default)]
pub(super) struct Forgettable {
    pub records: Vec<(RecordKey, Version)>,
    /// The position of this node's own feed that the parent must have acknowledged before: until then nobody else may have them.
    pub acknowledged: u64,
}

/// Which of what the parent retracts is forgotten here: what came down in that version or an earlier one, and is about persons.
/// Of the directory nothing is, and nothing that was signed in the own subtree but for what was left there when its institution
/// moved away, once the parent names a version of a later writer's and has acknowledged this one.
pub(super) fn forgettable(
    store: &Store,
    view: &DirectoryView,
    own: &NodePath,
    retractions: &[(RecordKey, Version)],
) -> Result<Forgettable, ReadError> {
    let mut forget = Forgettable::default();
    for (key, upto) in retractions {
        let Some(held) = store.held(key)?.filter(|held| held.version <= *upto) else { continue };
        let about_persons = matches!(
            known(held.flow),
            Some(Flow::Registration | Flow::DocumentEntry | Flow::Link | Flow::Consent)
        );
        if !about_persons {
            continue;
        }
        if came_down(view, own, &held.signer, held.flow) {
            forget.records.push((*key, held.version));
        } else if let Some(position) = was_left(store, view, own, (key, upto))? {
            forget.records.push((*key, held.version));
            forget.acknowledged = forget.acknowledged.max(position);
        }
    }
    Ok(forget)
}

/// The position of a record, if it is of an institution that moved out of the subtree, and this version of a writer after its own,
/// when all terms between were handed over: what a successor may never have seen stays.
fn was_left(
    store: &Store,
    view: &DirectoryView,
    own: &NodePath,
    (key, upto): (&RecordKey, &Version),
) -> Result<Option<u64>, ReadError> {
    let held = match store.history(key, 1) {
        // The scrub knows; a session that ended over it would begin with it again.
        Err(ReadError::Corrupt { .. }) => None,
        held => held?.pop(),
    };
    let Some((position, record)) = held else { return Ok(None) };
    let Envelope { origin, version, .. } = record.envelope();
    let later = |now: u32| version.term < upto.term && upto.term <= now;
    let later = view.institution(origin).is_some_and(|institution| later(institution.term));
    let left = later && view.left(origin, own) && view.were_handed_over(origin, version.term..upto.term);
    Ok(left.then_some(position))
}

/// How much of a pass of the parent's was equal without a gap.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The next bucket, and records of those before.
    next: u16,
    records: u64,
}

impl Pass {
    /// Takes a check and its answer; the number of records when the pass is complete.
    pub fn meet(&mut self, asked: &Check, answer: &CheckAnswer) -> Option<u64> {
        if asked.buckets.first()?.bucket == 0 {
            *self = Self::default();
        }
        let is_equal =
            |bucket: &&BucketSum| answer.comparison == Comparison::Equal || bucket.bucket < answer.bucket;
        for bucket in asked.buckets.iter().take_while(is_equal) {
            if bucket.bucket == self.next {
                (self.next, self.records) = (self.next + 1, self.records + bucket.records);
            }
        }
        (usize::from(self.next) == BUCKETS && answer.comparison == Comparison::Equal).then(|| {
            let Self { records, .. } = std::mem::take(self);
            records
        })
    }
}

/// Compares the buckets of a check with what is held here, which is what the parent shipped up to its position. A bucket that is equal
/// only with what is in quarantine is named once, `again` says which were: the parent may have it better than it came.
pub(super) fn answer(
    store: &Store,
    view: &DirectoryView,
    own: &NodePath,
    (feed, again): (&FeedId, &mut BTreeSet<u16>),
    check: &Check,
) -> Result<CheckAnswer, ReadError> {
    let of = |signer: &KeyId, flow| came_down(view, own, signer, flow);
    let equal =
        |bucket: &BucketSum, held: BucketDigest| (bucket.sum, bucket.records) == (held.sum, held.count);
    let mut quarantined = None;
    for bucket in &check.buckets {
        let (_, held) = store.bucket_digest(bucket.bucket, &of);
        if check.after.is_none() && equal(bucket, held) {
            continue;
        }
        let refused = match &mut quarantined {
            Some(refused) => refused,
            none => none.insert(refused(store, feed)?),
        };
        let refused = refused.iter().filter(|(key, _)| bucket_of(key) == bucket.bucket);
        let (with, refused) = with_quarantine(store, &of, held, refused)?;
        if check.after.is_none() && equal(bucket, with) && !again.insert(bucket.bucket) {
            continue;
        }
        let (held, incomplete) = list(store, &of, bucket.bucket, check.after, refused)?;
        let comparison = Comparison::Different;
        return Ok(CheckAnswer {
            position: check.position,
            comparison,
            bucket: bucket.bucket,
            held,
            incomplete,
        });
    }
    Ok(without_list(check, Comparison::Equal))
}

/// An answer that names nothing.
pub(super) fn without_list(check: &Check, comparison: Comparison) -> CheckAnswer {
    let bucket = check.buckets.first().map_or(0, |first| first.bucket);
    CheckAnswer { position: check.position, comparison, bucket, held: Vec::new(), incomplete: false }
}

/// What this feed has in quarantine, the highest version of each record.
fn refused(store: &Store, feed: &FeedId) -> Result<BTreeMap<RecordKey, QuarantinedRecord>, ReadError> {
    let mut highest: BTreeMap<RecordKey, QuarantinedRecord> = BTreeMap::new();
    for one in store.quarantined_records(feed)?.1 {
        if highest.get(&one.key).is_none_or(|held| held.version < one.version) {
            highest.insert(one.key, one);
        }
    }
    Ok(highest)
}

/// A bucket as if what was refused were held, and what of that is beyond what is.
fn with_quarantine<'a>(
    store: &Store,
    of: &dyn Fn(&KeyId, u32) -> bool,
    mut digest: BucketDigest,
    refused: impl Iterator<Item = (&'a RecordKey, &'a QuarantinedRecord)>,
) -> Result<(BucketDigest, BTreeMap<RecordKey, QuarantinedRecord>), ReadError> {
    let mut beyond = BTreeMap::new();
    for (key, one) in refused {
        let held = store.held(key)?;
        if held.is_some_and(|held| held.version >= one.version) {
            continue;
        }
        if let Some(held) = held.filter(|held| of(&held.signer, held.flow)) {
            digest = digest.without(held.contribution);
        }
        digest = digest.with(one.contribution);
        beyond.insert(*key, *one);
    }
    Ok((digest, beyond))
}

/// What is held of a bucket behind a key, and whether there is more.
fn list(
    store: &Store,
    of: &dyn Fn(&KeyId, u32) -> bool,
    bucket: u16,
    after: Option<RecordKey>,
    refused: BTreeMap<RecordKey, QuarantinedRecord>,
) -> Result<(Vec<HeldVersion>, bool), ReadError> {
    debug_assert!(usize::from(bucket) < BUCKETS);
    let beyond = |key: &RecordKey| after.is_none_or(|after| *key > after);
    let mut all: BTreeMap<(RecordKey, bool), HeldVersion> = BTreeMap::new();
    for (key, one) in refused.into_iter().filter(|(key, _)| beyond(key)).take(MAX_HELD + 1) {
        all.insert((key, true), HeldVersion { key, version: one.version, quarantined: true });
    }
    let (mut from, mut count) = (after, 0);
    loop {
        let keys = store.bucket(bucket, from, PAGE)?;
        for key in &keys {
            let Some(held) = store.held(key)?.filter(|held| of(&held.signer, held.flow)) else { continue };
            all.insert((*key, false), HeldVersion { key: *key, version: held.version, quarantined: false });
            count += 1;
        }
        from = keys.last().copied();
        if keys.len() < PAGE || count > MAX_HELD {
            break;
        }
    }
    let mut all: Vec<HeldVersion> = all.into_values().collect();
    let incomplete = all.len() > MAX_HELD;
    if incomplete {
        // Both versions of one record stay together.
        let last = all[MAX_HELD].key;
        all.truncate(MAX_HELD);
        while all.last().is_some_and(|one| one.key == last) {
            all.pop();
        }
    }
    Ok((all, incomplete))
}
