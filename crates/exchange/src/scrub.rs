//! The scrub: reads the log again piece by piece, and has what is damaged mended by the neighbours.
//!
//! ```text
//! plan (when) ──▶ store.scrub, one piece ──▶ damaged places, remembered by the store
//! a read that met damage ──────────────────▶ the same ──▶ mend: keys ─▶ parent, then the signer's child ─▶ store.repair
//! ```
//!
//! One task per node does all of it, so nothing is asked for twice at a time. What nobody has is asked for again, ever more
//! seldom, and shows in the status. How far a pass has come is not kept over a restart. A pass ends with a look at the index;
//! a damaged one is made again when the store is opened anew, which `node` does at once. It does not read document content. A
//! damaged place stays in the log when its records have been mended, until its segment is rewritten (`reclaim.rs`); before that
//! an index cannot be made again from the log.

mod mend;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Entropy, NodePath};
use parking_lot::Mutex;
use replication::Directory;
use store::{ReadError, Store};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::caller::{Action, Caller, permit};
use crate::{Exchange, ExchangeError, Parts, Peers};
use mend::Left;
use plan::Plan;

/// How often the log is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// A pass begins every so often; none: only when asked for. What reads find is mended in any case.
    pub every: Option<Duration>,
}

/// What the scrub has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// A pass begins every so often; none: only when asked for.
    pub every: Option<Duration>,
    /// A pass is under way.
    pub running: bool,
    /// Position up to which it, or else the last one, has come.
    pub upto: u64,
    /// Number of the last pass that has ended, from 1; 0 before the first.
    pub passes: u64,
    /// This node's clock when it ended; 0 before the first.
    pub passed_ms: u64,
    /// Records mended.
    pub repaired: u64,
    /// Current records that cannot be read, as far as known.
    pub damaged: u64,
    /// Of these, those for which everybody who may have them was asked in vain.
    pub lost: u64,
}

/// The scrub of one node's log. Cheap to clone; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Scrubber {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    own: NodePath,
    store: Store,
    directory: Directory,
    peers: Arc<dyn Peers>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// A pass is to begin at once.
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    status: ScrubStatus,
    /// Passes begun so far, also those that another one took over.
    begun: u64,
}

impl Exchange {
    /// Has the log read again at once. Answers the number of a pass that begins after this call.
    pub fn scrub(&self, caller: &Caller) -> Result<u64, ExchangeError> {
        let _permit = permit(caller, Action::Operate, &self.parts.node.path)?;
        Ok(self.scrubber.begin())
    }
}

impl Scrubber {
    pub(crate) fn new(parts: &Parts) -> Self {
        let inner = Inner {
            own: parts.node.path.clone(),
            store: parts.store.clone(),
            directory: parts.directory.clone(),
            peers: parts.peers.clone(),
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            state: Mutex::default(),
            asked: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn status(&self) -> ScrubStatus {
        self.inner.state.lock().status
    }

    /// Lets a pass begin at once, and tells the least number that it can have.
    pub(crate) fn begin(&self) -> u64 {
        let number = self.inner.state.lock().begun + 1;
        self.inner.asked.notify_one();
        number
    }

    /// Reads and mends until it is dropped. To be run once.
    pub async fn run(self, settings: ScrubSettings) {
        let inner = &*self.inner;
        inner.state.lock().status.every = settings.every;
        let mut news = inner.store.watch_damage();
        let mut plan = Plan::new(settings.every, Instant::now());
        if !inner.store.status().damaged.is_empty() {
            // Met while the node was built, before anybody watched.
            plan.damage_found(Instant::now());
        }
        loop {
            tokio::select! {
                biased;
                () = inner.asked.notified() => plan.begin_hurried(Instant::now()),
                changed = news.changed() => match changed {
                    Ok(()) => plan.damage_found(Instant::now()),
                    Err(_) => return,
                },
                () = until(plan.due()) => {}
            }
            if plan.mend_is_due(Instant::now()) {
                self.mend(&mut plan).await;
            }
            if plan.piece_is_due(Instant::now()) {
                self.piece(&mut plan, &mut news).await;
            }
        }
    }

    /// Reads one piece of the log again, and mends what was found in it.
    async fn piece(&self, plan: &mut Plan, news: &mut watch::Receiver<u64>) {
        let inner = &*self.inner;
        let begins = plan.begin_piece(Instant::now());
        if begins {
            let mut state = inner.state.lock();
            state.begun += 1;
            (state.status.running, state.status.upto) = (true, 0);
        }
        let (place, bytes) = plan.piece(inner.store.status().log_bytes);
        let store = inner.store.clone();
        let done = match blocking(move || store.scrub(place, bytes)).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read again now; it is tried later");
                return plan.piece_failed(Instant::now());
            }
        };
        if news.has_changed().unwrap_or(false) {
            news.mark_unchanged();
            plan.damage_found(Instant::now());
            self.mend(plan).await;
        }
        let ended = plan.piece_done(done.next, Instant::now());
        if ended {
            self.verify_index().await;
        }
        let mut state = inner.state.lock();
        state.status.upto = done.next.map_or_else(|| inner.store.head(), |next| next.position);
        if ended {
            state.status.running = false;
            state.status.passes = state.begun;
            state.status.passed_ms = inner.clock.now_ms();
            let (pass, damaged) = (state.begun, state.status.damaged);
            tracing::info!(pass, damaged, "the log has been read again");
        }
    }

    /// Compares the index with its checksums. Whoever runs the node waits for its failure and opens the store again.
    async fn verify_index(&self) {
        let store = self.inner.store.clone();
        match blocking(move || store.verify_index()).await {
            Ok(true) => {}
            Ok(false) => tracing::error!("the index is damaged; it is made again from the log"),
            Err(error) => tracing::error!(%error, "the index cannot be read"),
        }
    }

    /// Asks the neighbours for everything that is known to be damaged.
    async fn mend(&self, plan: &mut Plan) {
        let left = self.mend_all().await;
        let known = {
            let mut state = self.inner.state.lock();
            let known = (state.status.damaged, state.status.lost);
            (state.status.damaged, state.status.lost) = (left.damaged, left.lost);
            known
        };
        if left.damaged > 0 && known != (left.damaged, left.lost) {
            let Left { damaged, lost } = left;
            tracing::error!(damaged, lost, "damaged records remain; they are asked for again");
        }
        let mut chance = [0];
        self.inner.entropy.fill(&mut chance);
        plan.mended(left.damaged > 0, chance[0], Instant::now());
    }
}

/// Waits until a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Does what reads a disk where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is ending, and with it this task.
        Err(_) => std::future::pending().await,
    }
}
