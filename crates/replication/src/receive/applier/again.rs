//! What was refused because something was not known here is judged again once the directory has learnt more: whatever it needed may
//! have come by another way, or later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::body::RawRecord;
use model::{Flow, Record};
use prost::Message;
use store::Direction;
use tokio::time::Instant;

use super::Applier;
use crate::error::MAX_QUARANTINED;
use crate::{LinkError, LinkRefusal};

/// Most quarantined records judged at once; the others have their turns after the pause.
const MAX_AGAIN: usize = 1024;
/// Least time between two judgements: a hostile child may change the directory as often as it likes.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// When the quarantine was judged last, and by what.
#[derive(Debug, Default)]
pub(super) struct Again {
    by: Option<Arc<crate::DirectoryView>>,
    at: Option<Instant>,
    /// Where the next judgement begins.
    from: usize,
}

impl Again {
    fn is_due(&self, view: &Arc<crate::DirectoryView>) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= LEAST_PAUSE)
            && self.by.as_ref().is_none_or(|known| !Arc::ptr_eq(known, view))
    }
}

impl Applier {
    /// Judges this feed's quarantine again if the directory changed since it was judged last. What passes is applied; it stays
    /// listed, as all that ever was refused. Of what came down about persons the parent is asked again instead: it may have been
    /// taken back meanwhile.
    pub(super) async fn judge_again(&mut self) -> Result<(), LinkError> {
        let view = self.shared.directory.snapshot();
        let quarantined = self.links.view(&self.session.path).map_or(0, |link| link.quarantined);
        if quarantined == 0 || self.feed.direction == Direction::Restore || !self.again.is_due(&view) {
            return Ok(());
        }
        if self.feed.direction == Direction::Down {
            self.asked_again.clear();
        }
        (self.again.by, self.again.at) = (Some(view), Some(Instant::now()));
        let open = self.open_quarantine()?;
        let judged = self.judge(open).await?;
        if judged.admitted.is_empty() {
            return Ok(());
        }
        match self.judge_and_commit(&judged.admitted, &[], &[], self.position, 1).await {
            Ok(Some((_, counted))) => {
                let (peer, records) = (&self.session.path, counted.applied);
                tracing::info!(%peer, records, "quarantined records are good by what is known now");
                self.moved(counted);
                Ok(())
            }
            // There is no room now: it is tried again after the pause. What of it is durable counts.
            Ok(None) => {
                self.again.by = None;
                let part = std::mem::take(&mut self.part);
                self.moved(part);
                Ok(())
            }
            Err(LinkError::Refused(LinkRefusal::QuarantineFull)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Quarantined records of which nothing as good is held, in turns.
    fn open_quarantine(&mut self) -> Result<Vec<Record>, LinkError> {
        let store = &self.shared.store;
        let mut missing = BTreeSet::new();
        for one in store.quarantined_records(&self.feed)?.1 {
            // What was forgotten was taken back.
            if store.known_version(&one.key)?.is_none_or(|held| held < one.version) {
                missing.insert((one.key, one.version));
            }
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut open = Vec::new();
        for one in store.quarantine_of(&self.feed, MAX_QUARANTINED as usize)? {
            let record = RawRecord::decode(&one.raw[..]).ok().and_then(|raw| Record::from_raw(raw).ok());
            open.extend(record.filter(|record| {
                let directory = record.envelope().known_flow() == Some(Flow::Directory);
                (directory || self.feed.direction == Direction::Up)
                    && missing.contains(&(record.key(), record.envelope().version))
            }));
        }
        let (all, from) = (open.len(), self.again.from);
        let from = if from < all { from } else { 0 };
        open.drain(..from);
        open.truncate(MAX_AGAIN);
        self.again.from = from + open.len();
        if self.again.from < all {
            self.again.by = None;
        }
        Ok(open)
    }
}
