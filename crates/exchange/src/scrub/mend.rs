//! Mending: asks the neighbours for damaged records, proves what they give, and has it written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use model::fetch::MAX_KEYS;
use model::{NodePath, Record, RecordKey};
use replication::DirectoryView;
use store::{CommitError, ReadError};

use super::{Scrubber, blocking};
use crate::{Deadline, Hop};

/// Most damaged records that are asked for in one round; more are for the next one.
const MOST: usize = 65_536;
/// How long one call to a neighbour may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What could not be mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Current records that cannot be read; more than [`MOST`] are not counted.
    pub damaged: u64,
    /// Of these, those for which everybody who may have them was asked in vain.
    pub lost: u64,
}

/// Who may have records, and what came of asking.
#[derive(Debug, Default)]
struct Round {
    /// Keys by the child under which they were signed.
    of_children: BTreeMap<NodePath, Vec<RecordKey>>,
    /// Signed with a key that the directory knows: what comes can be proven.
    provable: Vec<RecordKey>,
    /// Those for which somebody could not be asked, or whose record could not be written.
    unasked: BTreeSet<RecordKey>,
    mended: BTreeSet<RecordKey>,
}

/// Why a neighbour was not asked for the rest.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Peer(#[from] crate::PeerError),
    #[error("what it gave cannot be written: {0}")]
    Write(#[from] CommitError),
}

impl Scrubber {
    /// Asks for everything that is known to be damaged, the parent first, then the children under which it was signed.
    pub(super) async fn mend_all(&self) -> Left {
        match self.rounds().await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "cannot tell which records are damaged; it is tried again");
                Left { damaged: self.status().damaged.max(1), lost: 0 }
            }
        }
    }

    async fn rounds(&self) -> Result<Left, ReadError> {
        loop {
            let keys = self.damaged().await?;
            if keys.is_empty() {
                return Ok(Left::default());
            }
            let full = keys.len() == MOST;
            let round = self.round(keys).await?;
            if full && !round.mended.is_empty() {
                continue;
            }
            // What was repaired can be damaged again, and what was given may have been another version: the store knows.
            let left = self.damaged().await?;
            let asked: BTreeSet<&RecordKey> = round.provable.iter().collect();
            let in_vain = |key: &&RecordKey| asked.contains(key) && !round.unasked.contains(key);
            let lost = left.iter().filter(in_vain).count() as u64;
            return Ok(Left { damaged: left.len() as u64, lost });
        }
    }

    async fn damaged(&self) -> Result<Vec<RecordKey>, ReadError> {
        let store = self.inner.store.clone();
        blocking(move || store.damaged_keys(MOST)).await
    }

    async fn round(&self, keys: Vec<RecordKey>) -> Result<Round, ReadError> {
        let (own, directory) = (&self.inner.own, self.inner.directory.snapshot());
        let mut round = Round::default();
        for key in keys {
            let signer = self.inner.store.signer(&key)?;
            let Some(path) = signer.and_then(|signer| directory.key_path(&signer)) else { continue };
            round.provable.push(key);
            if let Some(child) = own.child_towards(path) {
                round.of_children.entry(child).or_default().push(key);
            }
        }
        if own.parent().is_some() {
            let keys = round.provable.clone();
            self.ask(&Hop::Parent, &keys, &directory, &mut round).await;
        }
        for (child, keys) in std::mem::take(&mut round.of_children) {
            self.ask(&Hop::Child(child), &keys, &directory, &mut round).await;
        }
        Ok(round)
    }

    /// Asks one neighbour for those of the keys that are still to be mended.
    async fn ask(&self, hop: &Hop, keys: &[RecordKey], directory: &DirectoryView, round: &mut Round) {
        let mut open: Vec<RecordKey> =
            keys.iter().filter(|key| !round.mended.contains(key)).copied().collect();
        while !open.is_empty() {
            let part: Vec<RecordKey> = open.drain(..open.len().min(MAX_KEYS)).collect();
            match self.ask_for(hop, &part, directory, round).await {
                Ok(again) => open.extend(again),
                Err(why) => {
                    tracing::warn!(from = %self.name_of(hop), %why, "damaged records cannot be fetched now");
                    round.unasked.extend(part);
                    round.unasked.extend(open);
                    return;
                }
            }
        }
    }

    /// One call. Answers the keys that are to be asked for again, because they did not fit into the reply.
    async fn ask_for(
        &self,
        hop: &Hop,
        keys: &[RecordKey],
        directory: &DirectoryView,
        round: &mut Round,
    ) -> Result<Vec<RecordKey>, Stopped> {
        let deadline = Deadline::after(PATIENCE);
        let fetched = self.inner.peers.fetch(hop, keys.to_vec(), deadline).await?;
        let mut missing: BTreeSet<RecordKey> = keys.iter().copied().collect();
        let mut proven = Vec::with_capacity(fetched.records.len());
        for record in fetched.records {
            let key = record.key();
            // Each only once, and nothing that was not asked for.
            if missing.remove(&key) && is_signed(&record, directory) {
                proven.push(record);
            } else {
                tracing::warn!(from = %self.name_of(hop), %key, "a neighbour gave a record that is not what was asked for");
            }
        }
        let progress = !proven.is_empty();
        let count = self.write(hop, proven, round).await?;
        if count > 0 {
            self.inner.state.lock().status.repaired += count;
            tracing::info!(from = %self.name_of(hop), count, "damaged records were fetched and written anew");
        }
        let again = fetched.incomplete && progress;
        Ok(if again { missing.into_iter().collect() } else { Vec::new() })
    }

    /// Has records written anew, together. How many were damaged and are not any more.
    async fn write(&self, hop: &Hop, records: Vec<Record>, round: &mut Round) -> Result<u64, CommitError> {
        let store = &self.inner.store;
        let keys: Vec<RecordKey> = records.iter().map(Record::key).collect();
        let results = join_all(records.into_iter().map(|record| store.repair(record))).await;
        let (mut count, mut failed) = (0, None);
        for (key, result) in keys.into_iter().zip(results) {
            match result {
                Ok(true) => {
                    count += 1;
                    round.mended.insert(key);
                }
                // Another version is held there or here: the feed brings the higher one.
                Ok(false) => {}
                Err(CommitError::Different { key }) => {
                    tracing::error!(from = %self.name_of(hop), %key, "a neighbour holds another record under the same version");
                }
                Err(error) => {
                    round.unasked.insert(key);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if count == 0 => Err(error),
            _ => Ok(count),
        }
    }

    fn name_of(&self, hop: &Hop) -> String {
        match hop {
            Hop::Parent => self.inner.own.parent().map_or_else(String::new, |path| path.to_string()),
            Hop::Child(path) => path.to_string(),
        }
    }
}

/// Whether the record is what the key that it names has signed.
fn is_signed(record: &Record, directory: &DirectoryView) -> bool {
    directory.key(&record.envelope().key_id).is_some_and(|fact| record.verify(&fact.key).is_ok())
}
