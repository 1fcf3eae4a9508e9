//! The store as others see it.

mod proof;
mod quarantine;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use model::body::EpochEntry;
use model::{EpochId, Record, RecordKey, Version};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::error::{CommitError, OpenError, ReadError};
use crate::feed::FeedReader;
use crate::index::{Pair, for_each};
use crate::keys::Key;
use crate::mark::Mark;
use crate::open;
use crate::options::{Options, Run};
use crate::shared::Shared;
use crate::types::{
    Applied, Apply, Committed, Draft, FeedId, FeedPosition, Forgotten, HeldRecord, LastEpoch,
    MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS, OpenReport, Quarantined, QuarantinedRecord, StoreStatus,
};
use crate::writer::{Answer, Request, Writer};

pub use quarantine::QuarantinePlace;

/// The store of one node. Clones are handles to the same store; when the last one goes without [`Store::close`], what
/// was accepted is still written, and the next start does what closing would have done.
#[derive(Debug, Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// The epoch of this start is open.
    begun: watch::Sender<bool>,
    engine: Mutex<Option<Engine>>,
}

/// Who writes and folds.
#[derive(Debug)]
enum Engine {
    Threads { queue: SyncSender<Job>, writer: JoinHandle<()>, folder: JoinHandle<()> },
    Inline(Box<Writer>),
}

#[derive(Debug)]
struct Job {
    request: Request,
    bytes: usize,
    answer: oneshot::Sender<Result<Answer, CommitError>>,
}

impl Store {
    /// Opens the store, making it where there is nothing. Blocks: an index that must be rebuilt takes minutes.
    pub fn open(options: Options) -> Result<(Self, OpenReport), OpenError> {
        let run = options.run;
        let (shared, tail, report) = open::open(options)?;
        let writer = Writer::new(shared.clone(), tail, run);
        let engine = match run {
            Run::Inline => Engine::Inline(Box::new(writer)),
            Run::Threads => {
                let failed = |source| OpenError::Io { doing: "start the store's threads", source };
                start_threads(shared.clone(), writer).map_err(failed)?
            }
        };
        let handle = Handle { shared, begun: watch::Sender::new(false), engine: Mutex::new(Some(engine)) };
        Ok((Self { handle: Arc::new(handle) }, report))
    }

    /// Opens this start's epoch: commits an epoch record of the node's own origin, with `extra` in the same commit (and
    /// already in the new epoch). Before it, [`Store::commit`] is refused.
    pub async fn begin_epoch(&self, epoch_id: EpochId, extra: Vec<Draft>) -> Result<EpochEntry, CommitError> {
        self.begin_epoch_after(epoch_id, extra, None).await
    }

    /// The same, after an epoch that was noted outside the log. It counts if the log knows none as high: then the log that
    /// held it is lost, and neither its counter nor any of its versions may be used again.
    pub async fn begin_epoch_after(
        &self,
        epoch_id: EpochId,
        extra: Vec<Draft>,
        noted: Option<LastEpoch>,
    ) -> Result<EpochEntry, CommitError> {
        let Answer::Epoch(entry) = self.ask(Request::BeginEpoch(epoch_id, extra, noted)).await? else {
            unreachable!("the writer answers what it was asked")
        };
        self.handle.begun.send_replace(true);
        Ok(entry)
    }

    /// Whether the epoch of this start is open.
    pub fn has_begun(&self) -> bool {
        *self.handle.begun.borrow()
    }

    /// Waits until it is.
    pub async fn begun(&self) {
        let mut begun = self.handle.begun.subscribe();
        // The sender lives as long as this handle.
        let _open = begun.wait_for(|begun| *begun).await.is_ok();
    }

    /// The latest epoch of the node's own origin in the log, of this start or an earlier one.
    pub fn last_epoch(&self) -> Option<EpochEntry> {
        self.handle.shared.view.read().writer.epoch()
    }

    /// The seq of the own writer's last commit; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.handle.shared.view.read().writer.last_seq
    }

    /// Commits own records: all or none, durable when this returns. The writer checks what each draft expects, gives
    /// all the same seq, and signs.
    pub async fn commit(&self, drafts: Vec<Draft>) -> Result<Committed, CommitError> {
        match self.ask(Request::Commit(drafts)).await? {
            Answer::Committed(committed) => Ok(committed),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }

    /// Applies what a peer sent, in one commit with the position that it reaches. Records of which this or a higher
    /// version is held are counted as repeated. What is to be forgotten is, unless the same apply brings the record: it is neither
    /// counted nor found nor read any more until it comes again, in any version. The caller has verified signatures and rights.
    pub async fn apply(&self, apply: Apply) -> Result<Applied, CommitError> {
        match self.ask(Request::Apply(apply)).await? {
            Answer::Applied(applied) => Ok(applied),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, CommitError> {
        let bytes = request.bytes();
        if bytes > MAX_COMMIT_BYTES || request.records() > MAX_COMMIT_RECORDS {
            return Err(CommitError::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut engine = self.handle.engine.lock();
            match engine.as_mut() {
                None => return Err(CommitError::Closed),
                Some(Engine::Inline(writer)) => {
                    return writer.process(vec![request]).pop().unwrap_or(Err(CommitError::Closed));
                }
                Some(Engine::Threads { queue, .. }) => {
                    let queued = &self.handle.shared.queued_bytes;
                    if queued.load(Ordering::SeqCst) + bytes > self.handle.shared.limits.queue_bytes {
                        return Err(CommitError::Overloaded);
                    }
                    queued.fetch_add(bytes, Ordering::SeqCst);
                    if let Err(refused) = queue.try_send(Job { request, bytes, answer }) {
                        queued.fetch_sub(bytes, Ordering::SeqCst);
                        return Err(match refused {
                            TrySendError::Full(_) => CommitError::Overloaded,
                            TrySendError::Disconnected(_) => CommitError::Closed,
                        });
                    }
                }
            }
        }
        answered.await.unwrap_or(Err(CommitError::Closed))
    }

    /// The record held under this key; tombstones as well (the envelope says so).
    pub fn get(&self, key: &RecordKey) -> Result<Option<Record>, ReadError> {
        self.handle.shared.record(key)
    }

    /// The version held under this key, without reading the record.
    pub fn version(&self, key: &RecordKey) -> Result<Option<Version>, ReadError> {
        Ok(self.handle.shared.current(key)?.map(|pointer| pointer.version()))
    }

    /// The same, or the version in which the record was forgotten.
    pub fn known_version(&self, key: &RecordKey) -> Result<Option<Version>, ReadError> {
        Ok(self.handle.shared.pointer(key)?.map(|pointer| pointer.version()))
    }

    /// The version held under this key and the earlier ones that the log still has, each with its position, newest first, at
    /// most `most`. An earlier one that cannot be read ends the list.
    pub fn history(&self, key: &RecordKey, most: usize) -> Result<Vec<(u64, Record)>, ReadError> {
        self.handle.shared.history(key, most)
    }

    /// What was forgotten, for whoever must take back what followed from it; none once its bytes were reclaimed or are damaged. It
    /// counts for nothing.
    pub fn before_forgetting(&self, forgotten: &Forgotten) -> Result<Option<Record>, ReadError> {
        match self.handle.shared.log.record(&forgotten.of) {
            Ok(record) => Ok(record.filter(|record| record.key() == forgotten.key)),
            Err(ReadError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keys of records of a kind that name `subject` as theirs (now or in an earlier version; not itself), ascending,
    /// those after `after`, at most `limit`.
    pub fn about(
        &self,
        subject: &RecordKey,
        kind: u32,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let key = |key| Key::About { subject: *subject, kind, key };
        self.links(&key, after, limit)
    }

    /// Keys of records that have a term, ascending, those after `after`, at most `limit`. They are candidates: an
    /// earlier version may have had the term, so look at the record.
    pub fn lookup(
        &self,
        space: u8,
        term: &[u8; 16],
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let key = |key| Key::Term { space, term: *term, key };
        self.links(&key, after, limit)
    }

    fn links(
        &self,
        key: &dyn Fn(RecordKey) -> Key,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, ReadError> {
        let lowest = RecordKey([0; 16]);
        let mut prefix = key(lowest).encode();
        prefix.truncate(prefix.len() - lowest.0.len());
        // A record key of zeros only would be left out: it is a hash that nobody has.
        self.handle.shared.links(&prefix, key(after.unwrap_or(lowest)), key(RecordKey([0xFF; 16])), limit)
    }

    /// How far a feed has been applied here.
    pub fn position(&self, feed: &FeedId) -> Option<FeedPosition> {
        self.handle.shared.view.read().feeds.get(feed).copied()
    }

    /// How far every feed has been applied here.
    pub fn positions(&self) -> Vec<(FeedId, FeedPosition)> {
        self.handle.shared.view.read().feeds.iter().map(|(feed, position)| (*feed, *position)).collect()
    }

    /// The generation of the feeds that this store sends: random, one per log.
    pub fn generation(&self) -> [u8; 16] {
        self.handle.shared.log.identity.store_id
    }

    /// Reads the log as a feed, from after this position.
    pub fn feed_reader(&self, after: u64) -> FeedReader {
        FeedReader::new(self.handle.shared.clone(), after)
    }

    /// The last position that can be read; 0 in an empty store.
    pub fn head(&self) -> u64 {
        *self.handle.shared.head.borrow()
    }

    /// Waits until the head is beyond a position, and answers it.
    pub async fn beyond(&self, position: u64) -> u64 {
        loop {
            let mut moved = pin!(self.handle.shared.moved.notified());
            // Registered before looking, so that nothing is missed in between.
            moved.as_mut().enable();
            let head = self.head();
            if head > position {
                return head;
            }
            moved.await;
        }
    }

    /// Tells when the head has moved.
    pub fn watch_head(&self) -> watch::Receiver<u64> {
        self.handle.shared.head.subscribe()
    }

    /// Up to `limit` quarantined records, oldest first.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<Quarantined>, ReadError> {
        self.handle.shared.quarantined(None, limit)
    }

    /// The same of one feed.
    pub fn quarantine_of(&self, feed: &FeedId, limit: usize) -> Result<Vec<Quarantined>, ReadError> {
        self.handle.shared.quarantined(Some(*feed), limit)
    }

    /// What can be said of a feed's quarantined records without reading them: how many there are, and those that are records
    /// (the others are bytes that could not be read as one). Their number is bounded by whoever applies.
    pub fn quarantined_records(&self, feed: &FeedId) -> Result<(u64, Vec<QuarantinedRecord>), ReadError> {
        let mut found = BTreeMap::new();
        self.handle.shared.quarantine_values(Some(*feed), &mut |value| {
            found.insert((value.lsn, value.offset), value.record());
        })?;
        Ok((found.len() as u64, found.into_values().flatten().collect()))
    }

    /// Whether these bytes (by their SHA-256) are in quarantine of this feed.
    pub fn is_quarantined(&self, hash: &[u8; 32], from: &FeedId) -> Result<bool, ReadError> {
        self.handle.shared.has_quarantined(hash, from)
    }

    /// What is held under a key, without reading it.
    pub fn held(&self, key: &RecordKey) -> Result<Option<HeldRecord>, ReadError> {
        let pointer = self.handle.shared.current(key)?;
        Ok(pointer.map(|pointer| HeldRecord {
            version: pointer.version(),
            signer: pointer.class().signer,
            flow: pointer.class().flow,
            contribution: pointer.digest(),
        }))
    }

    /// The store at a glance.
    pub fn status(&self) -> StoreStatus {
        let shared = &self.handle.shared;
        let (segments, log_bytes) = shared.log.totals();
        let (damaged, damaged_found, damaged_reads) = shared.log.damage();
        let view = shared.view.read();
        StoreStatus {
            head: *shared.head.borrow(),
            log_bytes,
            segments,
            live_bytes: view.totals.live_bytes,
            counts: view.totals.counts().collect(),
            quarantined: view.totals.quarantined,
            overlay_bytes: view.overlay_bytes() as u64,
            index: shared.index_kind.clone(),
            index_applied: shared.index_applied.load(Ordering::SeqCst),
            index_bytes: shared.index.bytes(),
            index_failed: shared.index_failed.load(Ordering::SeqCst),
            disk_full: shared.disk_full(),
            log_failed: shared.log_failed.load(Ordering::SeqCst),
            damaged,
            damaged_found,
            damaged_reads,
            reclaim: *shared.reclaim_status.lock(),
            tail_cut: shared.tail_cut.read().clone(),
            syncs: shared.syncs.load(Ordering::Relaxed),
            commits: shared.commits.load(Ordering::Relaxed),
        }
    }

    /// Writes what was accepted, brings the index up to date and marks the store as closed. Other handles are refused
    /// from here on. An error means that the next start has more to do, not that anything is lost.
    pub async fn close(self) -> Result<(), CommitError> {
        let inline = matches!(self.handle.engine.lock().as_ref(), Some(Engine::Inline(_)) | None);
        if inline {
            return self.handle.shut(true);
        }
        let (done, finished) = oneshot::channel();
        let handle = self.handle;
        let closing = move || {
            let result = handle.shut(true);
            // Before the answer, so that whoever gets it can open the same files again.
            drop(handle);
            // Nobody may be waiting any more.
            let _unheard = done.send(result);
        };
        if let Err(error) = std::thread::Builder::new().name("store-close".to_owned()).spawn(closing) {
            return Err(CommitError::Failed(error.kind()));
        }
        finished.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Brings the index up to date and gives all its pairs, for tests that compare indexes key by key.
    pub fn dump_index(&self) -> Result<Vec<Pair>, ReadError> {
        let shared = &self.handle.shared;
        shared.fold()?;
        let mut pairs = Vec::new();
        for_each(shared.index.as_ref(), &[], &mut |key, value| pairs.push((key.to_vec(), value.to_vec())))
            .map_err(|_| shared.index_broken())?;
        Ok(pairs)
    }
}

impl Handle {
    fn shut(&self, finish: bool) -> Result<(), CommitError> {
        let Some(engine) = self.engine.lock().take() else { return Ok(()) };
        if let Engine::Threads { queue, writer, folder } = engine {
            drop(queue);
            // A thread that panicked has reported it; what is left to do is the same.
            let _panicked = writer.join().is_err();
            self.shared.gate.lock().closing = true;
            self.shared.gate_moved.notify_all();
            let _panicked = folder.join().is_err();
        }
        // It must not use an index that is closed.
        self.shared.reclaim.lock().close();
        if !finish {
            return Ok(());
        }
        if self.shared.log_failed.load(Ordering::SeqCst) {
            return Err(CommitError::Failed(io::ErrorKind::Other));
        }
        self.shared.fold()?;
        let digest = self.shared.index.close().map_err(|_| self.shared.index_broken())?;
        let mark = Mark::Closed { index: digest };
        mark.write(self.shared.log.storage.as_ref()).map_err(|error| CommitError::Failed(error.kind()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Only the threads are ended here; there is nobody to tell of an error, and none can occur.
        let _ended = self.shut(false);
    }
}

fn start_threads(shared: Arc<Shared>, writer: Writer) -> io::Result<Engine> {
    let (queue, jobs) = sync_channel(shared.limits.queue);
    let folding = shared.clone();
    let folder = std::thread::Builder::new().name("store-folder".to_owned()).spawn(move || {
        // A writer that waits for the folder must not wait for ever.
        if catch_unwind(AssertUnwindSafe(|| folding.fold_until_closed())).is_err() {
            folding.index_broken();
        }
    })?;
    let writer = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || write_until_closed(writer, &shared, &jobs))?;
    Ok(Engine::Threads { queue, writer, folder })
}

/// The writer thread: takes what waits, up to a group, until the queue's other end is gone and it is empty.
fn write_until_closed(mut writer: Writer, shared: &Shared, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while group.len() < shared.limits.group_commits && bytes < shared.limits.group_bytes {
            let Ok(job) = jobs.try_recv() else { break };
            bytes += job.bytes;
            group.push(job);
        }
        let (requests, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.request, job.answer)).unzip();
        let results = writer.process(requests);
        shared.queued_bytes.fetch_sub(bytes, Ordering::SeqCst);
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that has gone away does not undo its commit.
            let _unheard = answer.send(result);
        }
    }
}

#[cfg(test)]
impl Store {
    /// How all closed segments are read now.
    pub(crate) fn layouts(&self) -> Vec<crate::log::Layout> {
        self.handle.shared.log.closed().into_iter().map(|(_, layout)| layout).collect()
    }

    /// Commits several requests with one write and sync, as the writer thread does under load.
    pub(crate) fn commit_group(&self, groups: Vec<Vec<Draft>>) -> Vec<Result<Committed, CommitError>> {
        let committed = |answer| match answer {
            Answer::Committed(committed) => committed,
            _ => unreachable!("the writer answers what it was asked"),
        };
        let answers = self.process_group(groups.into_iter().map(Request::Commit).collect());
        answers.into_iter().map(|answer| answer.map(committed)).collect()
    }

    /// Repairs several records, likewise.
    pub(crate) fn repair_group(&self, records: Vec<Record>) -> Vec<Result<bool, CommitError>> {
        let repaired = |answer| match answer {
            Answer::Repaired(repaired) => repaired,
            _ => unreachable!("the writer answers what it was asked"),
        };
        let requests = records.into_iter().map(|record| Request::Repair(Box::new(record))).collect();
        self.process_group(requests).into_iter().map(|answer| answer.map(repaired)).collect()
    }

    fn process_group(&self, requests: Vec<Request>) -> Vec<Result<Answer, CommitError>> {
        let mut engine = self.handle.engine.lock();
        let Some(Engine::Inline(writer)) = engine.as_mut() else {
            panic!("groups are made by hand inline only")
        };
        writer.process(requests)
    }
}
