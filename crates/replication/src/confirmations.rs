//! What the parent is known to hold of this node's records: for callers who wait until a write is durable above.
//!
//! The sender fills it from welcomes and acknowledgements; callers wait. Positions count only within a session: a parent that
//! lost its disk says so in its next welcome, and nothing is confirmed between sessions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::feed::Refused;
use model::{RecordKey, Version};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// Most quarantined records remembered. Past it the oldest are forgotten and nothing is confirmed until the next session,
/// because what was forgotten could be asked for.
const MAX_REMEMBERED: usize = 8192;

/// What is known of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// The parent has durably applied this version or a later one.
    AtParent,
    /// The parent keeps it in quarantine, for this reason.
    Quarantined(String),
    /// Not known to be above, in words for the caller.
    NotYet(&'static str),
}

/// Shared by the sender and those who wait. Clones are the same.
#[derive(Debug, Clone)]
pub struct Confirmations {
    state: Arc<watch::Sender<Above>>,
    quarantined: Arc<Mutex<Quarantined>>,
}

/// Where the parent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    /// There is no session.
    Away,
    /// Everything up to this position of this node's log was judged, and applied but for what is in quarantine.
    At(u64),
}

#[derive(Debug, Default)]
struct Quarantined {
    by_key: BTreeMap<RecordKey, (Version, String)>,
    order: VecDeque<RecordKey>,
    /// There are more than are remembered here.
    incomplete: bool,
}

impl Default for Confirmations {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(Above::Away)), quarantined: Arc::default() }
    }
}

impl Confirmations {
    /// A session began: the parent holds everything up to `position` but these.
    pub(crate) fn welcomed(&self, position: u64, refused: &Refused) {
        let mut quarantined = Quarantined::default();
        quarantined.add(refused);
        *self.quarantined.lock() = quarantined;
        self.state.send_replace(Above::At(position));
    }

    /// The parent has come this far; these went to quarantine on the way.
    pub(crate) fn acknowledged(&self, position: u64, refused: &Refused) {
        // Before the position moves, so that nobody sees it without them.
        self.quarantined.lock().add(refused);
        self.state.send_replace(Above::At(position));
    }

    /// The session ended.
    pub(crate) fn away(&self) {
        self.state.send_replace(Above::Away);
    }

    /// Waits until the parent is known to have judged position `lsn` of this node's log, at most until `until`, and says what
    /// became of the record that was committed there.
    pub async fn of(&self, lsn: u64, key: RecordKey, version: Version, until: Instant) -> Confirmation {
        let mut state = self.state.subscribe();
        let reached = |state: &Above| matches!(state, Above::At(position) if *position >= lsn);
        let waited = tokio::time::timeout_at(until, state.wait_for(reached)).await;
        match waited {
            Ok(Ok(_)) => self.quarantined.lock().say(&key, version),
            // The sender of a watch that this holds cannot be gone.
            Ok(Err(_)) => Confirmation::NotYet("the node is stopping"),
            Err(_) if *self.state.borrow() == Above::Away => {
                Confirmation::NotYet("the parent cannot be reached; it is shipped when it can")
            }
            Err(_) => Confirmation::NotYet("the parent has not confirmed it in time; it is on its way"),
        }
    }
}

impl Quarantined {
    fn add(&mut self, refused: &Refused) {
        self.incomplete |= refused.incomplete;
        for record in &refused.records {
            if self.by_key.get(&record.key).is_some_and(|(known, _)| *known > record.version) {
                continue;
            }
            let known = self.by_key.insert(record.key, (record.version, record.reason.clone()));
            if known.is_none() {
                self.order.push_back(record.key);
            }
            if self.order.len() > MAX_REMEMBERED {
                let forgotten = self.order.pop_front();
                forgotten.and_then(|key| self.by_key.remove(&key));
                self.incomplete = true;
            }
        }
    }

    fn say(&self, key: &RecordKey, version: Version) -> Confirmation {
        match self.by_key.get(key).filter(|(refused, _)| *refused >= version) {
            Some((_, reason)) => Confirmation::Quarantined(reason.clone()),
            None if self.incomplete => Confirmation::NotYet(
                "the parent keeps more of this node's records in quarantine than it named",
            ),
            None => Confirmation::AtParent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(seq: u64) -> Version {
        Version { term: 1, epoch: 1, seq }
    }

    fn refused(key: u8, seq: u64) -> Refused {
        let mut refused = Refused::default();
        refused.push(RecordKey([key; 16]), version(seq), "the signature is wrong");
        refused
    }

    async fn of(confirmations: &Confirmations, lsn: u64, key: u8, seq: u64) -> Confirmation {
        let until = Instant::now() + Duration::from_secs(60);
        confirmations.of(lsn, RecordKey([key; 16]), version(seq), until).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_above_when_the_parent_has_come_so_far() {
        let confirmations = Confirmations::default();
        assert!(matches!(of(&confirmations, 5, 1, 1).await, Confirmation::NotYet(_)));
        confirmations.welcomed(4, &Refused::default());
        assert!(matches!(of(&confirmations, 5, 1, 1).await, Confirmation::NotYet(_)));
        let waiting = tokio::spawn({
            let confirmations = confirmations.clone();
            async move { of(&confirmations, 5, 1, 1).await }
        });
        tokio::task::yield_now().await;
        confirmations.acknowledged(5, &Refused::default());
        assert_eq!(waiting.await.unwrap(), Confirmation::AtParent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quarantined_write_is_not_above_and_a_later_version_may_be() {
        let confirmations = Confirmations::default();
        confirmations.welcomed(0, &Refused::default());
        confirmations.acknowledged(9, &refused(1, 7));
        assert!(matches!(of(&confirmations, 9, 1, 7).await, Confirmation::Quarantined(_)));
        assert_eq!(of(&confirmations, 9, 2, 7).await, Confirmation::AtParent);
        assert_eq!(of(&confirmations, 9, 1, 8).await, Confirmation::AtParent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_quarantined_version_does_not_clear_a_newer_one() {
        let confirmations = Confirmations::default();
        confirmations.welcomed(9, &refused(1, 7));
        confirmations.acknowledged(9, &refused(1, 5));
        assert!(matches!(of(&confirmations, 9, 1, 7).await, Confirmation::Quarantined(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_confirmed_without_a_session_or_with_half_a_list() {
        let confirmations = Confirmations::default();
        confirmations.welcomed(9, &Refused::default());
        confirmations.away();
        assert!(matches!(of(&confirmations, 9, 1, 1).await, Confirmation::NotYet(_)));
        confirmations.welcomed(9, &Refused { incomplete: true, ..Refused::default() });
        assert!(matches!(of(&confirmations, 9, 1, 1).await, Confirmation::NotYet(_)));
        confirmations.welcomed(9, &Refused::default());
        assert_eq!(of(&confirmations, 9, 1, 1).await, Confirmation::AtParent);
    }

    #[test]
    fn memory_is_bounded() {
        let mut quarantined = Quarantined::default();
        for at in 0..MAX_REMEMBERED as u64 + 10 {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&at.to_be_bytes());
            let mut refused = Refused::default();
            refused.push(RecordKey(key), version(1), "x");
            quarantined.add(&refused);
        }
        assert_eq!((quarantined.by_key.len(), quarantined.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert!(quarantined.incomplete);
    }
}
