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
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use linkage::{Model, Scorer};
use model::{Kind, NodePath, OriginId};
use parking_lot::Mutex;
use replication::Directory;
use sha2::{Digest, Sha256};
use store::{Apply, CommitError, Direction, Draft, FeedId, FeedPosition, FeedSlice, ReadError, Store};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Parts;
use desk::Desk;

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
    scorer: Scorer,
    status: Arc<Mutex<JudgeStatus>>,
    /// Position up to which everything is judged; none until it follows the log.
    judged: Arc<watch::Sender<Option<u64>>>,
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
    /// Joins refused since the start, because a person would have more than 256 registrations.
    pub refused: u64,
    /// Why it does not go on; empty when it does.
    pub held_up: String,
    pub model: String,
}

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
            scorer: Scorer::new(model),
            status: Arc::new(Mutex::new(status)),
            judged: Arc::default(),
        }
    }

    /// How it is now.
    pub fn status(&self) -> JudgeStatus {
        self.status.lock().clone()
    }

    /// Waits a moment until everything that is in the log by now is judged, if the linker is following it.
    pub(crate) async fn catch_up(&self) {
        let head = self.store.head();
        let mut judged = self.judged.subscribe();
        let done = judged.wait_for(|judged| judged.is_none_or(|judged| judged >= head));
        // When it takes longer, the answer is as good as it can be: without the latest links.
        let _ = timeout(PATIENCE, done).await;
    }

    /// Judges until it is dropped. To be run once.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.store.begun().await;
            let began = self.status.lock().written;
            let stopped = match self.follow().await {
                Err(Stopped::Commit(CommitError::Closed)) => return,
                Err(stopped) => stopped,
                Ok(never) => match never {},
            };
            self.judged.send_replace(None);
            if self.status.lock().written > began {
                pause = FIRST_PAUSE;
            }
            if !matches!(stopped, Stopped::Moved) {
                tracing::warn!(%stopped, "the linker begins anew in {pause:?}");
                self.status.lock().held_up = stopped.to_string();
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, Stopped> {
        let mut moves = self.directory.watch_moves();
        moves.mark_unchanged();
        let view = self.directory.snapshot();
        let mut desk =
            Desk::new(self.path.clone(), self.origin, self.store.clone(), view, self.scorer.clone());
        let noted = self.noted();
        let (mut reader, mut loaded, mut since_noted) = (self.store.feed_reader(0), false, 0);
        loop {
            let slice = self.read(&mut reader)?;
            if moves.has_changed().unwrap_or(false) {
                return Err(Stopped::Moved);
            }
            desk.see(self.directory.snapshot())?;
            if !loaded && slice.upto > noted {
                desk.loaded();
                loaded = true;
            }
            for (at, record) in slice.records.iter().enumerate() {
                if loaded {
                    desk.meet(record)?
                } else {
                    desk.load(record)
                }
                if at % YIELD_EVERY == 0 {
                    tokio::task::yield_now().await;
                }
            }
            for (key, _) in slice.forgotten.iter().filter(|_| loaded) {
                if self.store.version(key)?.is_none() {
                    desk.forget(key)?;
                }
            }
            self.write(&mut desk).await?;
            since_noted += if loaded { slice.records.len() } else { 0 };
            if since_noted >= NOTE_EVERY {
                self.note(slice.upto).await?;
                since_noted = 0;
            }
            if slice.upto < slice.head {
                self.tell(&desk, &slice, loaded);
                continue;
            }
            if !loaded {
                desk.loaded();
                loaded = true;
            }
            self.meet_strangers(&mut desk).await?;
            self.tell(&desk, &slice, loaded);
            self.judged.send_replace(Some(slice.upto));
            tokio::select! {
                _ = self.store.beyond(slice.upto) => {}
                _ = moves.changed() => return Err(Stopped::Moved),
            }
        }
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

    fn read(&self, reader: &mut store::FeedReader) -> Result<FeedSlice, ReadError> {
        reader.next(SLICE_RECORDS, SLICE_BYTES, &|envelope| {
            envelope.kind == Kind::Registration as u32 || envelope.kind == Kind::Link as u32
        })
    }

    fn tell(&self, desk: &Desk, slice: &FeedSlice, loaded: bool) {
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

    async fn write_some(&self, desk: &mut Desk, drafts: Vec<Draft>) -> Result<(), Stopped> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.commit(drafts.clone()).await {
                Ok(committed) => {
                    committed.records.iter().for_each(|record| desk.written(record));
                    self.status.lock().written += committed.records.len() as u64;
                    return Ok(());
                }
                Err(error @ (CommitError::Full | CommitError::Overloaded)) => {
                    self.status.lock().held_up = format!("links cannot be written: {error}");
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
