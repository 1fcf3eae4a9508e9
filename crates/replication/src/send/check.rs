//! Compares what a child holds of its down feed with what the rule tells it, and mends what differs: see [`super::sweep`].

use std::collections::HashSet;

use model::feed::{Batch, Check, CheckAnswer, MAX_RETRACTIONS};
use model::person_link::Decided;
use model::{Flow, Record, RecordKey, Version};
use store::ReadError;
use tokio::time::Instant;

use super::route::Route;
use super::shipping::cut;
use super::sweep::{Duty, Found, Gathering, Told};
use super::{Course, Next, closed};
use crate::batch::{self, Place};
use crate::interest::{flow_concerns_down, is_about_unknown, is_told};
use crate::{DirectoryView, Interest, LinkError};

/// Records looked at before others run.
const PIECE: usize = 16;

impl Course<'_> {
    /// When a step of the comparison is due, if everything is shipped and acknowledged.
    pub(super) fn step_due(&self, head: u64) -> Option<Instant> {
        let idle = self.shipping.is_idle() && self.shipping.sent() >= head;
        let down = matches!(self.sender.route, Route::Down(_));
        self.sweep.due().filter(|_| down && idle)
    }

    /// Whether a head should go because a step is gathered.
    pub(super) fn check_wanted(&self, head: u64) -> bool {
        self.sweep.is_ready() && self.step_due(head).is_some_and(|due| due <= Instant::now())
    }

    /// When to look again at the latest.
    pub(super) fn wake(&self, next: Next, head: u64) -> Instant {
        let due = self.step_due(head).filter(|_| next == Next::WaitForRecords);
        due.map_or(self.next_head, |due| due.min(self.next_head))
    }

    /// Asks the rule about the next records of a step.
    pub(super) fn gather(&mut self) -> Result<(), LinkError> {
        let sender = self.sender;
        let Route::Down(interest) = &sender.route else { return Ok(()) };
        let began = Instant::now();
        let view = sender.directory.snapshot();
        let gathering = self.sweep.gathering(self.shipping.sent(), &view);
        let keys = sender.store.bucket(gathering.bucket, gathering.after, PIECE)?;
        for key in &keys {
            gathering.after = Some(*key);
            let looked =
                Look { course: self.selection.as_ref(), to: self.to, interest: &**interest, view: &view };
            match looked.at(&sender.store, key, gathering) {
                // The scrub knows, and asks the neighbours for it.
                Err(ReadError::Corrupt { .. }) => gathering.skip(),
                looked => looked?,
            }
        }
        gathering.records += keys.len();
        gathering.spent += began.elapsed();
        if keys.len() < PIECE {
            let found = self.sweep.closed(Instant::now());
            self.found(found);
        }
        Ok(())
    }

    /// The step's sums, unless something was committed since or somebody changes the directory.
    pub(super) fn check(&mut self) -> Option<Check> {
        let (sender, sent) = (self.sender, self.shipping.sent());
        let question = self.sweep.question()?;
        // What is committed and not published has no signer that is known: it would be nobody's.
        let gate = sender.directory.try_decide();
        let (at, _) = sender.store.bucket_digest(0, &|_, _| false);
        let same_view = std::sync::Arc::ptr_eq(&question.view, &sender.directory.snapshot());
        if gate.is_none() || at != sent || question.position != sent || !same_view || !self.shipping.is_idle()
        {
            self.sweep.outrun(Instant::now());
            return None;
        }
        let check = Check { position: sent, buckets: question.sums.clone(), after: question.page };
        self.sweep.went();
        Some(check)
    }

    /// What the child answered.
    pub(super) fn checked(&mut self, answer: &CheckAnswer) -> Result<(), LinkError> {
        let store = &self.sender.store;
        let is_known =
            |key: &RecordKey, version| Ok(store.known_version(key)?.is_some_and(|known| known >= version));
        let found = self.sweep.heard(answer, &is_known, Instant::now())?;
        self.found(found);
        Ok(())
    }

    fn found(&self, found: Found) {
        let (links, to) = (&self.sender.links, self.to);
        match found {
            Found::Nothing => {}
            Found::Mend(missing, too_much) => {
                tracing::warn!(%to, missing, too_much, "a child does not hold what it was told; mending that");
            }
            Found::Proven(records) => {
                links.change(to, |link| link.surplus = 0);
                links.proven(to, self.shipping.sent(), records, self.sender.clock.now_ms());
            }
            Found::Different { buckets, surplus } => {
                links.change(to, |link| link.surplus = surplus);
                if buckets > 0 {
                    links.disproven(to, format!(
                        "the child does not hold what it was told in {buckets} of 1024 buckets, and telling it again did not help: \
                         look at its log and at what this node cannot read; keep both stores as they are and ask for help"
                    ));
                } else {
                    links.change(to, |link| link.disproven = None);
                }
            }
        }
    }

    /// The next of what the child is to forget: not what the feed told it since it was asked, because it is of concern now.
    fn still_too_much(
        &mut self,
        interest: &dyn Interest,
        view: &DirectoryView,
    ) -> Result<Vec<(RecordKey, Version)>, ReadError> {
        let (store, to) = (&self.sender.store, self.to);
        let mut retractions = take(&mut self.sweep.to_retract, MAX_RETRACTIONS);
        let mut told = HashSet::new();
        for (key, _) in &retractions {
            let Some(record) = store.get(key)? else { continue };
            let outside = view.key_path(&record.envelope().key_id).is_some_and(|path| !to.contains(path));
            if outside && is_told(&record, to, interest, view, store)? {
                told.insert(*key);
            }
        }
        retractions.retain(|(key, _)| !told.contains(key));
        Ok(retractions)
    }

    /// The next records that the child lacks, with what they need, and what it is to forget.
    pub(super) fn mending_batch(&mut self, head: u64) -> Result<Batch, LinkError> {
        let (sender, sent) = (self.sender, self.shipping.sent());
        let Route::Down(interest) = &sender.route else { return Err(closed()) };
        let directory = sender.directory.snapshot();
        let most = sender.settings.max_batch_records;
        let missing = take(&mut self.sweep.to_ship, most);
        let mut records: Vec<Record> = Vec::new();
        for (key, version) in missing {
            // What was written anew since it was compared has had its turn in the feed: the child itself may have written it.
            let held = sender.store.get(&key)?.filter(|held| held.envelope().version == version);
            let Some(record) = held else { continue };
            if is_told(&record, self.to, &**interest, &directory, &sender.store)? {
                records.push(record);
            }
        }
        let retractions = self.still_too_much(&**interest, &directory)?;
        if let Some(selection) = &mut self.selection {
            selection.retracted(&retractions);
        }
        let (shipped, retracted) = (records.len() as u64, retractions.len() as u64);
        let is_link = |record: &Record| record.envelope().known_flow() == Some(Flow::Link);
        let mended = records.iter().filter(|record| !is_link(record)).count() as u64;
        let mut late = 0;
        for (key, _) in &retractions {
            late += u64::from(!sender.store.get(key)?.is_some_and(|record| is_link(&record)));
        }
        self.cover(&mut records, &directory)?;
        let place = Place { after: sent, upto: sent, head, now_ms: sender.clock.now_ms() };
        let mut parts = cut(&records, self.max_batch_bytes, most).into_iter();
        let first = batch::encode(parts.next().unwrap_or_default(), place);
        self.ready.extend(parts.map(|part| batch::encode(part, place)));
        self.shipping.ship(sent);
        self.asked_ms = None;
        sender.links.change(self.to, |link| {
            link.repaired += shipped;
            link.retracted += retracted;
            link.mended += mended;
            link.retracted_late += late;
        });
        Ok(Batch { retractions, ..first })
    }
}

fn take<T>(from: &mut std::collections::VecDeque<T>, most: usize) -> Vec<T> {
    from.drain(..most.min(from.len())).collect()
}

/// How one record is looked at.
struct Look<'a> {
    course: Option<&'a crate::interest::Selection>,
    to: &'a model::NodePath,
    interest: &'a dyn Interest,
    view: &'a DirectoryView,
}

impl Look<'_> {
    fn at(&self, store: &store::Store, key: &RecordKey, gathering: &mut Gathering) -> Result<(), ReadError> {
        let Some(held) = store.held(key)? else { return Ok(()) };
        let outside = self.view.key_path(&held.signer).is_some_and(|path| !self.to.contains(path));
        if !outside || !flow_concerns_down(crate::flow::known(held.flow)) {
            return Ok(());
        }
        let Some(record) = store.get(key)? else { return Ok(()) };
        // What follows its own versions the child is told once, so that both ends of its up feed agree; it is not taken away before
        // it changes again.
        let duty = if is_told(&record, self.to, self.interest, self.view, store)? {
            let may_know = self.course.is_none_or(|selection| selection.may_know(&record, self.view));
            if may_know { Duty::Current } else { Duty::Any }
        } else if self.view.left(&record.envelope().origin, self.to) {
            Duty::CurrentOrNone
        } else if let Ok(link) = Decided::of(&record)
            && is_about_unknown(&link, store)?
        {
            Duty::Any
        } else {
            return Ok(());
        };
        let told = Told { key: *key, version: record.envelope().version, duty };
        gathering.tell(told, held.contribution);
        Ok(())
    }
}
