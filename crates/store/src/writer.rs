//! The one writer: decides, gives versions, signs, writes groups of frames, publishes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use model::body::EpochEntry;
use model::record::Unsigned;
use model::{EpochId, Flow, Kind, Record, RecordError, RecordId, RecordKey, Version};
use prost::Message;

use crate::content::{Change, Content, WriterState, changes, pointer_to};
use crate::error::{CommitError, ReadError};
use crate::log::format::FLAG_OWN;
use crate::log::item::{self, Item, Pointer};
use crate::log::tail::{Group, Tail, TailError};
use crate::options::Run;
use crate::shared::Shared;
use crate::types::{Applied, Apply, Committed, Draft, Expect, FeedId, FeedPosition};

/// What callers ask of the writer.
#[derive(Debug)]
pub(crate) enum Request {
    Commit(Vec<Draft>),
    BeginEpoch(EpochId, Vec<Draft>),
    Apply(Apply),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Committed(Committed),
    Epoch(EpochEntry),
    Applied(Applied),
}

impl Request {
    /// Bytes that it will put into the log, about.
    pub(crate) fn bytes(&self) -> usize {
        let drafts = |drafts: &[Draft]| drafts.iter().map(|draft| draft.body.len() + 256).sum::<usize>();
        match self {
            Self::Commit(all) | Self::BeginEpoch(_, all) => drafts(all),
            Self::Apply(apply) => {
                let quarantined =
                    apply.quarantined.iter().map(|held| held.raw.len() + held.reason.len() + 64);
                apply.records.iter().map(Record::size).chain(quarantined).sum()
            }
        }
    }

    pub(crate) fn records(&self) -> usize {
        match self {
            Self::Commit(all) | Self::BeginEpoch(_, all) => all.len(),
            Self::Apply(apply) => apply.records.len() + apply.quarantined.len(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    tail: Tail,
    run: Run,
    /// Open since this start; none before the first `begin_epoch`.
    epoch: Option<u32>,
}

/// What a group will change, on top of what is published.
struct Pending {
    held: HashMap<RecordKey, Pointer>,
    quarantined: HashSet<([u8; 32], FeedId)>,
    feeds: HashMap<FeedId, FeedPosition>,
    writer: WriterState,
    epoch: Option<u32>,
    contents: Vec<(Content, Vec<Change>)>,
    lsn: u64,
}

/// A decided request: its items and, when they are durable, its answer.
struct Decided {
    items: Vec<Item>,
    own: bool,
    answer: Answer,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, tail: Tail, run: Run) -> Self {
        Self { shared, tail, run, epoch: None }
    }

    /// Does what a group of requests asks, with one write and one sync. Answers in the order of the requests.
    pub(crate) fn process(&mut self, requests: Vec<Request>) -> Vec<Result<Answer, CommitError>> {
        let count = requests.len();
        match self.try_process(requests) {
            Ok(answers) => answers,
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    fn try_process(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Vec<Result<Answer, CommitError>>, CommitError> {
        self.wait_for_room_in_overlay()?;
        let mut group = self.tail.begin().map_err(|error| self.refused(error))?;
        let mut pending = self.pending();
        let answers: Vec<_> =
            requests.into_iter().map(|request| self.decide(request, &mut pending, &mut group)).collect();
        if group.is_empty() {
            return Ok(answers);
        }
        self.check_room_on_disk()?;
        self.tail.write(&group).map_err(|error| self.refused(error))?;
        self.count(&group);
        self.publish(pending);
        Ok(answers)
    }

    fn pending(&self) -> Pending {
        Pending {
            held: HashMap::new(),
            quarantined: HashSet::new(),
            feeds: HashMap::new(),
            writer: self.shared.view.read().writer.clone(),
            epoch: self.epoch,
            contents: Vec::new(),
            lsn: *self.shared.head.borrow(),
        }
    }

    /// Back-pressure: nothing is decided while the overlay is full.
    fn wait_for_room_in_overlay(&self) -> Result<(), CommitError> {
        let full = || self.shared.view.read().overlay_bytes() >= self.shared.limits.overlay_bytes;
        while full() {
            if self.shared.index_failed.load(Ordering::SeqCst) {
                return Err(CommitError::Index);
            }
            if self.run == Run::Inline {
                if !self.shared.fold()? {
                    return Err(CommitError::Full);
                }
                continue;
            }
            let mut gate = self.shared.gate.lock();
            gate.wanted = true;
            self.shared.gate_moved.notify_all();
            if gate.no_room {
                return Err(CommitError::Full);
            }
            // A time-out as well: the fold may have ended between the look and the wait.
            self.shared.gate_moved.wait_for(&mut gate, Duration::from_millis(20));
        }
        Ok(())
    }

    fn check_room_on_disk(&self) -> Result<(), CommitError> {
        let free = match self.shared.log.storage.free_bytes() {
            Ok(free) => free,
            Err(error) => {
                // The write itself will tell.
                tracing::warn!(%error, "cannot ask how much room is left on the disk");
                u64::MAX
            }
        };
        if free < self.shared.limits.reserve_bytes {
            self.shared.disk_full.store(true, Ordering::SeqCst);
            return Err(CommitError::Full);
        }
        Ok(())
    }

    fn refused(&self, error: TailError) -> CommitError {
        match error {
            TailError::Full => {
                self.shared.disk_full.store(true, Ordering::SeqCst);
                CommitError::Full
            }
            TailError::Failed(kind) => {
                self.shared.log_failed.store(true, Ordering::SeqCst);
                CommitError::Failed(kind)
            }
        }
    }

    fn count(&self, group: &Group) {
        self.shared.disk_full.store(false, Ordering::SeqCst);
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.commits.fetch_add(group.frames(), Ordering::Relaxed);
        if self.shared.limits.sync_delay_ms > 0 {
            std::thread::sleep(Duration::from_millis(self.shared.limits.sync_delay_ms));
        }
    }

    /// Shows a durable group to readers, commit by commit.
    fn publish(&mut self, pending: Pending) {
        self.epoch = pending.epoch;
        let mut overlay_bytes = 0;
        for (content, changes) in &pending.contents {
            let mut view = self.shared.view.write();
            view.absorb(content, changes, None);
            overlay_bytes = view.active.bytes();
        }
        self.shared.head.send_replace(pending.lsn);
        if overlay_bytes >= self.shared.limits.overlay_bytes / 2 {
            if self.run == Run::Inline {
                // An error has been reported and shows in the status; what was committed stays committed.
                let _failed = self.shared.fold().is_err();
            } else {
                self.shared.gate.lock().wanted = true;
                self.shared.gate_moved.notify_all();
            }
        }
    }

    fn decide(
        &self,
        request: Request,
        pending: &mut Pending,
        group: &mut Group,
    ) -> Result<Answer, CommitError> {
        let decided = match request {
            Request::Commit(drafts) => {
                let epoch = pending.epoch.ok_or(CommitError::NotWriting)?;
                self.decide_commit(&drafts, epoch, pending)?
            }
            Request::BeginEpoch(id, extra) => self.decide_epoch(id, extra, pending)?,
            Request::Apply(apply) => self.decide_apply(apply, pending)?,
        };
        let mut answer = decided.answer;
        if !decided.items.is_empty() {
            self.add(decided.items, decided.own, pending, group);
        }
        if let Answer::Epoch(entry) = &answer {
            pending.epoch = Some(entry.counter);
        }
        match &mut answer {
            Answer::Committed(committed) => committed.lsn = pending.lsn,
            Answer::Applied(applied) => applied.lsn = pending.lsn,
            Answer::Epoch(_) => {}
        }
        Ok(answer)
    }

    fn decide_commit(&self, drafts: &[Draft], epoch: u32, pending: &Pending) -> Result<Decided, CommitError> {
        let seq = pending.writer.last_seq + 1;
        let mut superseded: Vec<Option<Pointer>> = Vec::with_capacity(drafts.len());
        let mut keys = HashSet::with_capacity(drafts.len());
        for draft in drafts {
            let key = draft.key();
            let held = self.held(&key, pending)?;
            let expected = match draft.expect {
                Expect::Anything => true,
                Expect::Absent => held.is_none(),
                Expect::Version(version) => held.is_some_and(|held| held.version() == version),
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

    fn decide_epoch(
        &self,
        id: EpochId,
        extra: Vec<Draft>,
        pending: &Pending,
    ) -> Result<Decided, CommitError> {
        let last = pending.writer.epoch();
        let counter = last.as_ref().map_or(0, |last| last.counter) + 1;
        let entry = EpochEntry {
            counter,
            epoch_id: Bytes::copy_from_slice(&id.0),
            previous_epoch_id: last.map(|last| last.epoch_id).unwrap_or_default(),
            base_seq: pending.writer.last_seq,
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
        let decided = self.decide_commit(&drafts, counter, pending)?;
        Ok(Decided { answer: Answer::Epoch(entry), ..decided })
    }

    fn decide_apply(&self, apply: Apply, pending: &Pending) -> Result<Decided, CommitError> {
        let mut applied = Applied { lsn: 0, kept: 0, repeated: 0, quarantined: 0 };
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
            let higher = supersedes.is_none_or(|held| held.version() < version);
            if higher && highest.get(&key) == Some(&version) {
                // Only the first of equal ones.
                highest.remove(&key);
                applied.kept += 1;
                items.push(Item::Record { record, supersedes });
            } else {
                applied.repeated += 1;
            }
        }
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

    /// Puts a decided commit into the group as one frame.
    fn add(&self, items: Vec<Item>, own: bool, pending: &mut Pending, group: &mut Group) {
        let (lsn, payload_offset) = self.tail.next_frame(group);
        let mut payload = Vec::new();
        let mut placed = Vec::with_capacity(items.len());
        for item in items {
            let mut span = item::push(&item, &mut payload);
            span.offset += payload_offset as u32;
            match &item {
                Item::Record { record, .. } => {
                    let pointer = pointer_to(record, lsn, span);
                    pending.held.insert(record.key(), pointer);
                }
                Item::Position { feed, position } => drop(pending.feeds.insert(*feed, *position)),
                Item::Quarantined(held) => drop(pending.quarantined.insert((held.hash, held.from))),
            }
            placed.push((span, item));
        }
        let end = self.tail.add(group, &payload, if own { FLAG_OWN } else { 0 });
        let content = Content { lsn, end, own, items: placed };
        let changes = changes(&content, self.shared.node, self.shared.derivation.as_ref());
        changes.iter().for_each(|change| pending.writer.follow(change));
        pending.lsn = lsn;
        pending.contents.push((content, changes));
    }
}
