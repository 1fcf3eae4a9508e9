//! The one writer: decides, gives versions, signs, writes groups of frames, publishes.

mod decide;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::body::EpochEntry;
use model::{EpochId, Record, RecordKey};

use crate::content::{Change, Content, WriterState, changes};
use crate::error::CommitError;
use crate::log::format::FLAG_OWN;
use crate::log::item::{self, Item, Pointer};
use crate::log::tail::{Group, Tail, TailError};
use crate::options::Run;
use crate::shared::{Shared, room_to_fold};
use crate::types::{Applied, Apply, Committed, Draft, FeedId, FeedPosition, LastEpoch};

/// Bytes of the log that say that a record was forgotten, about.
const FORGOTTEN_BYTES: usize = 128;

/// What callers ask of the writer.
#[derive(Debug)]
pub(crate) enum Request {
    Commit(Vec<Draft>),
    BeginEpoch(EpochId, Vec<Draft>, Option<LastEpoch>),
    Apply(Apply),
    Repair(Box<Record>),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Committed(Committed),
    Epoch(EpochEntry),
    Applied(Applied),
    /// Whether there was something to repair.
    Repaired(bool),
}

impl Request {
    /// Bytes that it will put into the log, about.
    pub(crate) fn bytes(&self) -> usize {
        let drafts = |drafts: &[Draft]| drafts.iter().map(|draft| draft.body.len() + 256).sum::<usize>();
        match self {
            Self::Commit(all) | Self::BeginEpoch(_, all, _) => drafts(all),
            Self::Repair(record) => record.size(),
            Self::Apply(apply) => {
                let quarantined =
                    apply.quarantined.iter().map(|held| held.raw.len() + held.reason.len() + 64);
                apply.records.iter().map(Record::size).chain(quarantined).sum::<usize>()
                    + apply.forget.len() * FORGOTTEN_BYTES
            }
        }
    }

    pub(crate) fn records(&self) -> usize {
        match self {
            Self::Commit(all) | Self::BeginEpoch(_, all, _) => all.len(),
            Self::Apply(apply) => apply.records.len() + apply.quarantined.len() + apply.forget.len(),
            Self::Repair(_) => 1,
        }
    }
}

/// The writer: there is one per store.
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
        let mut group = self.tail.begin().map_err(|error| self.refused(error, 0))?;
        let mut pending = self.pending();
        let answers: Vec<_> =
            requests.into_iter().map(|request| self.decide(request, &mut pending, &mut group)).collect();
        if group.is_empty() {
            return Ok(answers);
        }
        self.check_room_on_disk()?;
        self.tail.write(&group).map_err(|error| self.refused(error, group.bytes()))?;
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
                    return Err(self.no_room_to_fold());
                }
                continue;
            }
            let mut gate = self.shared.gate.lock();
            gate.wanted = true;
            self.shared.gate_moved.notify_all();
            if gate.no_room {
                drop(gate);
                return Err(self.no_room_to_fold());
            }
            // A time-out as well: the fold may have ended between the look and the wait.
            self.shared.gate_moved.wait_for(&mut gate, Duration::from_millis(20));
        }
        Ok(())
    }

    fn no_room_to_fold(&self) -> CommitError {
        let overlay = self.shared.view.read().overlay_bytes() as u64;
        self.shared.lacks_room(room_to_fold(overlay));
        CommitError::Full
    }

    /// Why no epoch is open: one that found no room waits for it.
    fn no_epoch(&self) -> CommitError {
        if self.shared.disk_full() { CommitError::Full } else { CommitError::NotWriting }
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
            self.shared.lacks_room(self.shared.limits.reserve_bytes);
            return Err(CommitError::Full);
        }
        Ok(())
    }

    fn refused(&self, error: TailError, bytes: u64) -> CommitError {
        match error {
            TailError::Full => {
                self.shared.lacks_room(self.shared.limits.reserve_bytes.max(bytes));
                CommitError::Full
            }
            TailError::Failed(kind) => {
                self.shared.log_failed.store(true, Ordering::SeqCst);
                CommitError::Failed(kind)
            }
        }
    }

    fn count(&self, group: &Group) {
        self.shared.room_wanted.store(0, Ordering::SeqCst);
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
        self.shared.moved.notify_waiters();
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
                let epoch = pending.epoch.ok_or_else(|| self.no_epoch())?;
                self.decide_commit(&drafts, epoch, pending)?
            }
            Request::BeginEpoch(id, extra, last) => self.decide_epoch(id, extra, last, pending)?,
            Request::Apply(apply) => self.decide_apply(apply, pending)?,
            Request::Repair(record) => self.decide_repair(*record, pending)?,
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
            Answer::Epoch(_) | Answer::Repaired(_) => {}
        }
        Ok(answer)
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
                    let pointer = Pointer::to(record, lsn, span);
                    pending.held.insert(record.key(), pointer);
                }
                Item::Forgotten { key, of, .. } => {
                    pending.held.insert(*key, Pointer::to_forgotten(of, lsn, span));
                }
                Item::Position { feed, position } => drop(pending.feeds.insert(*feed, *position)),
                Item::Quarantined(held) => drop(pending.quarantined.insert((held.hash, held.from))),
                // Only a rewritten segment has them.
                Item::Stub(_) => {}
            }
            placed.push((span, item));
        }
        let end = self.tail.add(group, &payload, if own { FLAG_OWN } else { 0 });
        let content = Content { lsn, end, own, part: false, seq: 0, items: placed };
        let changes = changes(&content, self.shared.own(), self.shared.derivation.as_ref());
        for change in &changes {
            pending.writer.follow(change);
        }
        pending.lsn = lsn;
        pending.contents.push((content, changes));
    }
}
