//! What a request does, given what is held: reads, and changes nothing.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use model::body::EpochEntry;
use model::record::Unsigned;
use model::{EpochId, Flow, Kind, Record, RecordError, RecordId, RecordKey, Version};
use prost::Message;

use super::{Answer, Decided, Pending, Writer};
use crate::digest::contribution;
use crate::error::{CommitError, ReadError};
use crate::log::item::{Item, Pointer};
use crate::types::{Applied, Apply, Committed, Draft, Expect, FeedId, FeedPosition, LastEpoch};

/// More commits than one epoch can hold: a commit a microsecond for a fortnight.
const LOST_SEQS: u64 = 1 << 40;

impl Writer {
    pub(super) fn decide_commit(
        &self,
        drafts: &[Draft],
        epoch: u32,
        pending: &Pending,
    ) -> Result<Decided, CommitError> {
        self.decide_after(drafts, epoch, pending.writer.last_seq, pending)
    }

    fn decide_after(
        &self,
        drafts: &[Draft],
        epoch: u32,
        last_seq: u64,
        pending: &Pending,
    ) -> Result<Decided, CommitError> {
        let seq = last_seq + 1;
        let mut superseded: Vec<Option<Pointer>> = Vec::with_capacity(drafts.len());
        let mut keys = HashSet::with_capacity(drafts.len());
        for draft in drafts {
            let key = draft.key();
            let held = self.held(&key, pending)?;
            let expected = match draft.expect {
                Expect::Anything => true,
                Expect::Absent => held.is_none_or(|held| held.forgotten),
                Expect::Version(version) => {
                    held.is_some_and(|held| !held.forgotten && held.version() == version)
                }
            };
            if !expected || !keys.insert(key) {
                return Err(CommitError::Changed { key });
            }
            let version = Version { term: draft.term, epoch, seq };
            if held.is_some_and(|held| held.version() >= version) {
                return Err(CommitError::Outranked { key });
            }
            superseded.push(held);
        }
        let now_ms = self.shared.clock.now_ms();
        let mut records = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let version = Version { term: draft.term, epoch, seq };
            records.push(self.sign(draft, version, now_ms)?);
        }
        let items = records
            .iter()
            .zip(superseded)
            .map(|(record, supersedes)| Item::Record { record: record.clone(), supersedes })
            .collect();
        Ok(Decided { items, own: true, answer: Answer::Committed(Committed { lsn: 0, epoch, seq, records }) })
    }

    fn sign(&self, draft: &Draft, version: Version, now_ms: u64) -> Result<Record, CommitError> {
        if version.term == 0 || draft.kind == 0 || draft.flow == Flow::Unspecified {
            return Err(CommitError::Invalid(RecordError::Malformed("term, kind or flow")));
        }
        let unsigned = Unsigned {
            flow: draft.flow,
            kind: draft.kind,
            id: draft.id,
            origin: draft.origin,
            subject: draft.subject,
            tombstone: draft.tombstone,
            body: draft.body.clone(),
        };
        Record::sign(unsigned, version, now_ms, &self.shared.signing).map_err(|error| match error {
            RecordError::TooLarge(_) => CommitError::TooLarge,
            error => CommitError::Invalid(error),
        })
    }

    pub(super) fn decide_epoch(
        &self,
        id: EpochId,
        extra: Vec<Draft>,
        noted: Option<LastEpoch>,
        pending: &Pending,
    ) -> Result<Decided, CommitError> {
        let (mut before, mut previous, mut last_seq) = (0, Bytes::new(), pending.writer.last_seq);
        if let Some(last) = pending.writer.epoch() {
            (before, previous) = (last.counter, last.epoch_id);
        }
        if let Some(noted) = noted.filter(|noted| noted.counter > before) {
            // The log that held it is lost. What was written in it is not known, so no seq of it may come again.
            (before, previous) = (noted.counter, Bytes::copy_from_slice(&noted.id.0));
            last_seq = last_seq.max(noted.base_seq.saturating_add(LOST_SEQS));
        }
        let counter = before + 1;
        let entry = EpochEntry {
            counter,
            epoch_id: Bytes::copy_from_slice(&id.0),
            previous_epoch_id: previous,
            base_seq: last_seq,
            started_ms: self.shared.clock.now_ms(),
        };
        let mut drafts = vec![Draft {
            flow: Flow::Directory,
            kind: Kind::Epoch as u32,
            id: RecordId::of(&[&counter.to_be_bytes()]),
            origin: self.shared.node,
            term: 1,
            subject: None,
            tombstone: false,
            body: Bytes::from(entry.encode_to_vec()),
            expect: Expect::Absent,
        }];
        drafts.extend(extra);
        let decided = self.decide_after(&drafts, counter, last_seq, pending)?;
        Ok(Decided { answer: Answer::Epoch(entry), ..decided })
    }

    pub(super) fn decide_apply(&self, apply: Apply, pending: &Pending) -> Result<Decided, CommitError> {
        let mut applied = Applied { lsn: 0, kept: 0, repeated: 0, quarantined: 0, forgotten: 0 };
        let mut items = Vec::with_capacity(apply.records.len() + 1);
        // Of several versions of one record in one apply, the highest is kept.
        let mut highest: HashMap<RecordKey, Version> = HashMap::with_capacity(apply.records.len());
        for record in &apply.records {
            let version = highest.entry(record.key()).or_default();
            *version = (*version).max(record.envelope().version);
        }
        for record in apply.records {
            let version = record.envelope().version;
            let key = record.key();
            let supersedes = self.held(&key, pending)?;
            // What was forgotten may come again as it was.
            let higher = supersedes.is_none_or(|held| held.forgotten || held.version() < version);
            if higher && highest.get(&key) == Some(&version) {
                // Only the first of equal ones.
                highest.remove(&key);
                applied.kept += 1;
                items.push(Item::Record { record, supersedes });
            } else {
                applied.repeated += 1;
            }
        }
        applied.forgotten = self.decide_forget(&apply.forget, pending, &mut items)?;
        let mut seen = HashSet::new();
        for quarantined in apply.quarantined {
            let name = (quarantined.hash, quarantined.from);
            let repeated = pending.quarantined.contains(&name)
                || self.shared.has_quarantined(&quarantined.hash, &quarantined.from)?;
            if !repeated && seen.insert(name) {
                applied.quarantined += 1;
                items.push(Item::Quarantined(quarantined));
            }
        }
        if let Some((feed, position)) = apply.position
            && self.position(&feed, pending) != Some(position)
        {
            items.push(Item::Position { feed, position });
        }
        Ok(Decided { items, own: false, answer: Answer::Applied(applied) })
    }

    /// Forgets what is held in just these versions, and is not brought by the same apply; how many that are.
    fn decide_forget(
        &self,
        forget: &[(RecordKey, Version)],
        pending: &Pending,
        items: &mut Vec<Item>,
    ) -> Result<usize, ReadError> {
        let mut met: HashSet<RecordKey> = items
            .iter()
            .filter_map(|item| if let Item::Record { record, .. } = item { Some(record.key()) } else { None })
            .collect();
        let before = items.len();
        for (key, version) in forget {
            let held = self.held(key, pending)?;
            let Some(of) = held.filter(|held| !held.forgotten && held.version() == *version) else {
                continue;
            };
            if met.insert(*key) {
                items.push(Item::Forgotten { key: *key, of, supersedes: held });
            }
        }
        Ok(items.len() - before)
    }

    /// Writes a damaged record anew if this is the one.
    pub(super) fn decide_repair(&self, record: Record, pending: &Pending) -> Result<Decided, CommitError> {
        let key = record.key();
        let nothing = Decided { items: Vec::new(), own: false, answer: Answer::Repaired(false) };
        // What this group puts under the key is no damaged bytes, and cannot be read yet.
        if pending.held.contains_key(&key) {
            return Ok(nothing);
        }
        let Some(held) = self.shared.current(&key)? else { return Ok(nothing) };
        if held.version() != record.envelope().version {
            return Ok(nothing);
        }
        match self.shared.log.record(&held) {
            Ok(_) => return Ok(nothing),
            Err(ReadError::Index) => return Err(CommitError::Index),
            Err(ReadError::Corrupt { .. } | ReadError::Io(_)) => {}
        }
        if held.digest() != contribution(&record) {
            return Err(CommitError::Different { key });
        }
        let items = vec![Item::Record { record, supersedes: Some(held) }];
        Ok(Decided { items, own: false, answer: Answer::Repaired(true) })
    }

    fn held(&self, key: &RecordKey, pending: &Pending) -> Result<Option<Pointer>, ReadError> {
        match pending.held.get(key) {
            Some(pointer) => Ok(Some(*pointer)),
            None => self.shared.pointer(key),
        }
    }

    fn position(&self, feed: &FeedId, pending: &Pending) -> Option<FeedPosition> {
        let published = || self.shared.view.read().feeds.get(feed).copied();
        pending.feeds.get(feed).copied().or_else(published)
    }
}
