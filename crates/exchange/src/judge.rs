//! The linker of one node: follows the node's own log and writes links for the pairs that are its to judge (design.md, *Identity*).
//!
//! ```text
//! epoch open ─▶ load (what was judged before a restart: taken in, not judged) ─▶ loop:
//!   next records of the log ─▶ desk: take in, ask the linker, draft links ─▶ store.commit ─▶ judged up to there
//! ```
//! Links are written after the registrations that cause them, by one task that reads the log, so it does not matter how many hospitals
//! register one person at once, nor whether a record was filed here or came up from a child. What was acknowledged is in the log, so
//! nothing is left out, whatever happens in between; judging a record twice writes nothing. How far it came is noted in the store now
//! and then: what was judged since is judged again after a restart.

mod desk;
mod graph;
mod queue;
pub(crate) mod survey;
mod suspend;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use linkage::{Model, Scorer};
use model::{Kind, NodePath, OriginId, RecordKey};
use parking_lot::Mutex;
use replication::Directory;
use replication::judged::Judged;
use sha2::{Digest, Sha256};
use store::{Apply, CommitError, Direction, Draft, FeedId, FeedPosition, FeedSlice, ReadError, Store};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Parts;
use desk::Desk;
use queue::Queue;
use survey::{Survey, Surveyor, Surveys};

/// Records and bytes of the log read at once.
const SLICE_RECORDS: usize = 256;
const SLICE_BYTES: usize = 1 << 20;
/// Most links of one commit.
const MAX_DRAFTS: usize = 256;
/// Records after which others get a turn.
const YIELD_EVERY: usize = 32;
/// Registrations that are judged again after a restart, at most.
const NOTE_EVERY: usize = 4096;
/// How long a query waits for what was registered just before it to be judged.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long the directory is waited for before the rest goes on; whoever is not known by then is looked at again with the next records.
const STRANGERS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
/// Commits that can be judged while a query waits.
const MAX_BEHIND: u64 = 64;
/// From one look at the directory to the next, while the institution of a registration is not known.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);
/// From a failed write to the next try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The linker of one node. Cheap to clone; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Judge {
    path: NodePath,
    origin: OriginId,
    store: Store,
    directory: Directory,
    scorer: Arc<Scorer>,
    status: Arc<Mutex<JudgeStatus>>,
    /// Position up to which everything is judged; none until it follows the log.
    judged: Arc<watch::Sender<Option<u64>>>,
    /// The same for the nodes below, who are told.
    below: Judged,
    waits_for_humans: Queue,
    surveys: Surveys,
}

/// How the linker is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JudgeStatus {
    /// Position of the log up to which everything is judged.
    pub judged: u64,
    /// Registrations of the subtree, and the persons that they are of.
    pub registrations: u64,
    pub persons: u64,
    /// Whether it has taken in what was there at the start.
    pub loaded: bool,
    /// Links written since the start.
    pub written: u64,
    /// Links for humans to look at: possible and doubtful ones, some of which may have settled themselves since.
    pub reviews: u64,
    /// Joins refused since the start, because a person would have more than 256 registrations.
    pub refused: u64,
    /// Why it does not go on; empty when it does.
    pub held_up: String,
    pub model: String,
}

/// An institution that has moved, and where it writes if that is under this node.
type Home = (OriginId, Option<NodePath>);

/// Why the linker has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("links cannot be written: {0}")]
    Commit(CommitError),
    #[error("institutions have moved")]
    Moved,
}

impl Judge {
    pub(crate) fn new(parts: &Parts) -> Self {
        let model = Model::shipped();
        let status = JudgeStatus { model: model.version.clone(), ..JudgeStatus::default() };
        Self {
            path: parts.node.path.clone(),
            origin: parts.node.origin,
            store: parts.store.clone(),
            directory: parts.directory.clone(),
            scorer: Arc::new(Scorer::new(model)),
            status: Arc::new(Mutex::new(status)),
            judged: Arc::default(),
            below: parts.links.judged().clone(),
            waits_for_humans: Queue::default(),
            surveys: Surveys::default(),
        }
    }

    /// How it is now.
    pub fn status(&self) -> JudgeStatus {
        JudgeStatus { reviews: self.waits_for_humans.len(), ..self.status.lock().clone() }
    }

    /// What pairs are weighed with.
    pub(crate) fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// Links after this one that asked for a human when they were made, and whom they are about.
    pub(crate) fn waiting(&self, after: Option<RecordKey>, most: usize) -> Vec<(RecordKey, [RecordKey; 2])> {
        self.waits_for_humans.after(after, most)
    }

    /// What the linker holds, counted within this time or anew. Waits for as long as it does not follow the log.
    pub(crate) async fn survey(&self, fresh: Duration) -> Arc<Survey> {
        self.surveys.latest(fresh).await
    }

    /// Waits a moment until everything that is in the log by now is judged, if the linker is following it.
    pub(crate) async fn catch_up(&self) {
        let head = self.store.head();
        let mut judged = self.judged.subscribe();
        // Whoever is far behind does not catch up in a moment.
        if judged.borrow().is_some_and(|judged| head.saturating_sub(judged) > MAX_BEHIND) {
            return;
        }
        let done = judged.wait_for(|judged| judged.is_none_or(|judged| judged >= head));
        // When it takes longer, the answer is as good as it can be: without the latest links.
        let _ = timeout(PATIENCE, done).await;
    }

    /// Judges until it is dropped. To be run once.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.store.begun().await;
            // Watched from before the first look, so that nothing is missed in between.
            let mut moves = self.directory.watch_moves();
            let homes = self.homes();
            let stopped = match self.follow(&mut moves, &homes).await {
                Err(Stopped::Commit(CommitError::Closed)) => return,
                Err(stopped) => stopped,
                Ok(never) => match never {},
            };
            // It followed the log before it stopped.
            if self.judged.send_replace(None).is_some() {
                pause = FIRST_PAUSE;
            }
            self.below.here(None);
            if matches!(stopped, Stopped::Moved) {
                tracing::info!("the linker begins anew: {stopped}");
            } else {
                tracing::warn!(%stopped, "the linker begins anew in {pause:?}");
                self.status.lock().held_up = stopped.to_string();
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn follow(
        &self,
        moves: &mut watch::Receiver<u64>,
        homes: &[Home],
    ) -> Result<std::convert::Infallible, Stopped> {
        let (store, queue) = (self.store.clone(), self.waits_for_humans.clone());
        let view = self.directory.snapshot();
        let mut desk =
            Desk::new((self.path.clone(), self.origin), store, view, (*self.scorer).clone(), queue);
        let mut reader = self.store.feed_reader(0);
        let mut slice = self.load(&mut desk, &mut reader).await?;
        let (mut since_noted, mut surveyor) = (0, self.surveys.surveyor());
        loop {
            self.meet_strangers(&mut desk).await?;
            if slice.upto >= slice.head {
                self.judged.send_replace(Some(slice.upto));
            }
            self.tell(&desk, &slice, true);
            surveyor.step(&desk);
            while slice.upto >= slice.head && self.store.head() <= slice.upto {
                let moved = self.idle(&desk, (slice.upto, &mut *moves, &mut surveyor)).await;
                self.check_homes(moved || moves.has_changed().unwrap_or(false), homes)?;
                self.meet_strangers(&mut desk).await?;
            }
            slice = Self::read(&mut reader)?;
            let moved = moves.has_changed().unwrap_or(false);
            if moved {
                moves.mark_unchanged();
            }
            self.check_homes(moved, homes)?;
            desk.see(self.directory.snapshot())?;
            for (at, record) in slice.records.iter().enumerate() {
                desk.meet(record)?;
                if at % YIELD_EVERY == 0 {
                    tokio::task::yield_now().await;
                }
            }
            for gone in &slice.forgotten {
                if self.store.version(&gone.key)?.is_none() {
                    desk.forget(&gone.key)?;
                }
            }
            self.write(&mut desk).await?;
            since_noted += slice.records.len();
            if since_noted >= NOTE_EVERY && !desk.has_strangers() {
                self.note(slice.upto).await?;
                since_noted = 0;
            }
        }
    }

    /// Waits for something to do; whether an institution has moved.
    async fn idle(
        &self,
        desk: &Desk,
        (upto, moves, surveyor): (u64, &mut watch::Receiver<u64>, &mut Surveyor),
    ) -> bool {
        tokio::select! {
            biased;
            _ = self.store.beyond(upto) => false,
            _ = moves.changed() => true,
            () = surveyor.due() => {
                surveyor.step(desk);
                tokio::task::yield_now().await;
                false
            }
            // The directory learns of an institution when its record is in the log already.
            () = sleep(STRANGER_PAUSE), if desk.has_strangers() => false,
        }
    }

    /// Takes in all that is there. What was not judged before a restart is then judged with everything else known, and what belongs to
    /// institutions that moved: meanwhile or before, nobody may have been its judge.
    async fn load(&self, desk: &mut Desk, reader: &mut store::FeedReader) -> Result<FeedSlice, Stopped> {
        let (noted, mut due) = (self.noted(), Vec::new());
        let slice = loop {
            let slice = Self::read(reader)?;
            for record in &slice.records {
                desk.load(record);
                if slice.upto > noted && record.envelope().kind == Kind::Registration as u32 {
                    due.push(record.key());
                }
            }
            for gone in &slice.forgotten {
                if self.store.version(&gone.key)?.is_none() {
                    desk.unload(&gone.key);
                }
            }
            self.tell(desk, &slice, false);
            tokio::task::yield_now().await;
            if slice.upto >= slice.head {
                break slice;
            }
        };
        for (at, key) in desk.loaded().into_iter().enumerate() {
            desk.enter(&key);
            if desk.has_moved(&key) {
                due.push(key);
            }
            if at % SLICE_RECORDS == 0 {
                tokio::task::yield_now().await;
            }
        }
        for (at, key) in due.iter().enumerate() {
            desk.judge_again(key)?;
            if at % YIELD_EVERY == 0 {
                self.write(desk).await?;
                tokio::task::yield_now().await;
            }
        }
        self.write(desk).await?;
        if due.len() >= NOTE_EVERY && !desk.has_strangers() {
            self.note(slice.upto).await?;
        }
        Ok(slice)
    }

    /// Institutions that have moved, and where those write that write under this node.
    fn homes(&self) -> Vec<Home> {
        let view = self.directory.snapshot();
        let home = |institution: &replication::InstitutionFact| {
            let writer = view.path_of(&institution.writer).filter(|path| self.path.contains(path));
            (institution.origin, writer.cloned())
        };
        view.moved().map(home).collect()
    }

    /// Whether institutions have moved into, out of, or under this node.
    fn check_homes(&self, moved: bool, homes: &[Home]) -> Result<(), Stopped> {
        if moved && self.homes() != homes { Err(Stopped::Moved) } else { Ok(()) }
    }

    /// Waits a moment for the directory to know the institutions of what was read: it learns of them when they are in the log already.
    async fn meet_strangers(&self, desk: &mut Desk) -> Result<(), Stopped> {
        for pause in STRANGERS {
            if desk.see(self.directory.snapshot())? {
                break;
            }
            sleep(pause).await;
        }
        self.write(desk).await
    }

    fn read(reader: &mut store::FeedReader) -> Result<FeedSlice, ReadError> {
        reader.next(SLICE_RECORDS, SLICE_BYTES, &|envelope| {
            envelope.kind == Kind::Registration as u32 || envelope.kind == Kind::Link as u32
        })
    }

    fn tell(&self, desk: &Desk, slice: &FeedSlice, loaded: bool) {
        // Whoever is not known yet is judged later.
        if loaded && !desk.has_strangers() {
            self.below.here(Some(slice.upto));
        }
        let mut status = self.status.lock();
        status.judged = if loaded { slice.upto } else { 0 };
        status.registrations = desk.registrations() as u64;
        status.persons = u64::from(desk.persons());
        status.refused = desk.refused;
        status.loaded = loaded;
        status.held_up.clear();
    }

    /// Writes what was drafted, as soon as the store takes it.
    async fn write(&self, desk: &mut Desk) -> Result<(), Stopped> {
        let mut drafts = desk.drafts();
        while !drafts.is_empty() {
            let rest = drafts.split_off(drafts.len().min(MAX_DRAFTS));
            self.write_some(desk, drafts).await?;
            drafts = rest;
        }
        Ok(())
    }

    async fn write_some(&self, desk: &mut Desk, mut drafts: Vec<Draft>) -> Result<(), Stopped> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.commit(drafts.clone()).await {
                Ok(committed) => {
                    committed.records.iter().for_each(|record| desk.written(record));
                    self.status.lock().written += committed.records.len() as u64;
                    return Ok(());
                }
                // This node's own link, which it had lost with its disk, came back meanwhile. It is met in the log next, and judged then.
                Err(CommitError::Changed { key }) if drafts.iter().any(|draft| draft.key() == key) => {
                    drafts.retain(|draft| draft.key() != key);
                    if drafts.is_empty() {
                        return Ok(());
                    }
                }
                Err(error @ (CommitError::Full | CommitError::Overloaded)) => {
                    self.status.lock().held_up = format!("links cannot be written: {error}");
                    // Queries do not wait for it.
                    self.judged.send_replace(None);
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Err(error) => return Err(Stopped::Commit(error)),
            }
        }
    }

    /// The feed under which it is noted how far the linker came.
    fn feed(&self) -> FeedId {
        FeedId { peer: self.origin, direction: Direction::Up }
    }

    /// Another log or another model: everything is judged anew.
    fn generation(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"tiermesh judged v1\0");
        hash.update(self.store.generation());
        hash.update(&self.scorer.model().version);
        let mut generation = [0; 16];
        generation.copy_from_slice(&hash.finalize()[..16]);
        generation
    }

    fn noted(&self) -> u64 {
        let noted = self.store.position(&self.feed());
        noted.filter(|noted| noted.generation == self.generation()).map_or(0, |noted| noted.position)
    }

    async fn note(&self, position: u64) -> Result<(), Stopped> {
        let position = FeedPosition { generation: self.generation(), position };
        let apply = Apply { position: Some((self.feed(), position)), ..Apply::default() };
        match self.store.apply(apply).await {
            // Then it is noted later.
            Ok(_) | Err(CommitError::Full | CommitError::Overloaded) => Ok(()),
            Err(error) => Err(Stopped::Commit(error)),
        }
    }
}
