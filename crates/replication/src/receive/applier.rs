//! Applies one neighbour's batches in their order and acknowledges them.

mod again;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use model::body::RawRecord;
use model::feed::{
    Ack, Batch, Check, CheckAnswer, Comparison, FromReceiver, Head, JudgedUpTo, Proof, Refused,
    Verdict as Compared,
};
use model::{Envelope, KeyId, OriginId, Record, RecordKey, Version};
use prost::Message;
use sha2::{Digest, Sha256};
use store::{
    Applied, Apply, CommitError, Direction, FeedId, FeedPosition, MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS,
    Quarantined, ReadError,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::again::Again;
use super::check::{self, Forgettable, Pass};
use super::giving::Giving;
use super::{Session, Shared};
use crate::entitlement::{Judging, Reason, Rules, Staged, Verdict, is_directory};
use crate::epoch::epoch_id;
use crate::error::MAX_QUARANTINED;
use crate::links::Counted;
use crate::{DirectoryView, Fact, LinkError, LinkRefusal, Links, batch, numbering, proof, restore};

/// A position that covers nothing new here is kept in memory until it is this far ahead of the durable one: making every such
/// step durable would grow this node's own feed, and so the next node's, for nothing.
const LAZY_POSITIONS: u64 = 4096;
/// So many futile repairs are no repair: one more than a bucket that is given back needs.
const MAX_FUTILE: u32 = 1;
/// Most versions of a record looked through for the one that the child has.
const MAX_HISTORY: usize = 64;
/// Most records of which a child is told after a comparison what became of them elsewhere.
const MAX_SUPERSEDED: usize = 256;
/// Room in a commit for what the store adds around each record.
const COMMIT_BYTES: usize = MAX_COMMIT_BYTES - MAX_COMMIT_BYTES / 8;
const OVERHEAD: usize = 64;

/// What a session's reader hands over.
#[derive(Debug)]
pub(super) enum Work {
    Batch(Batch),
    Head(Head),
}

/// The applying half of a session.
#[derive(Debug)]
pub(super) struct Applier {
    shared: Arc<Shared>,
    session: Session,
    feed: FeedId,
    links: Links,
    /// Everything up to here is applied.
    position: u64,
    /// The position that the store holds.
    durable: u64,
    /// Buckets in which the child held other records at its last proof, and which it has shipped again since.
    differing: BTreeSet<u16>,
    /// What it shipped again of those, and what it was given back.
    giving: Giving,
    /// What it shipped again, and what is held here in a later version of another writer's.
    superseded: BTreeSet<RecordKey>,
    /// Proofs in a row that found a difference which had been shipped again before.
    futile: u32,
    /// How much of the down feed the parent found equal.
    pass: Pass,
    /// Buckets that are equal but for what is quarantined, and were asked for again in this session: a neighbour that is honest may
    /// have them better than they came.
    asked_again: BTreeSet<u16>,
    again: Again,
    /// Of a batch of which a part is durable and the rest waits for room.
    part: Counted,
    outgoing: mpsc::Sender<FromReceiver>,
}

/// A batch after judging.
struct Judged {
    admitted: Vec<Record>,
    quarantined: Vec<Quarantined>,
    facts: Vec<Fact>,
    /// The directory with these facts.
    view: Arc<DirectoryView>,
}

impl Applier {
    pub fn new(
        shared: Arc<Shared>,
        session: Session,
        position: u64,
        outgoing: mpsc::Sender<FromReceiver>,
    ) -> Self {
        let feed = FeedId { peer: session.origin, direction: session.direction };
        let links = shared.links_of(session.direction);
        Self {
            shared,
            session,
            links,
            feed,
            position,
            durable: position,
            differing: BTreeSet::new(),
            giving: Giving::default(),
            superseded: BTreeSet::new(),
            futile: 0,
            pass: Pass::default(),
            asked_again: BTreeSet::new(),
            again: Again::default(),
            part: Counted::default(),
            outgoing,
        }
    }

    /// Works until the reader has nothing more.
    pub async fn run(mut self, mut work: mpsc::Receiver<Work>) -> Result<(), LinkError> {
        while let Some(work) = work.recv().await {
            let (mut refused, mut verdict, mut check) = (Refused::default(), None, None);
            let counted = match work {
                Work::Head(head) => {
                    self.judge_again().await?;
                    // Once in a comparison of the whole feed: it looks at all that is in quarantine.
                    let first = |check: &Check| check.buckets.first().is_some_and(|one| one.bucket == 0);
                    if head.proof.is_some() || head.check.as_ref().is_some_and(first) {
                        self.count_settled()?;
                    }
                    verdict = head.proof.map(|proof| self.compare(&proof)).transpose()?;
                    check = head.check.map(|asked| self.check(&asked)).transpose()?;
                    self.heard(head.head);
                    let (path, now_ms) = (&self.session.path, self.shared.clock.now_ms());
                    if self.feed.direction == Direction::Up {
                        self.links.told_of(path, head.below, now_ms);
                    }
                    if self.feed.direction == Direction::Restore && self.position >= head.head {
                        self.end_restore().await?;
                    }
                    if self.feed.direction == Direction::Down {
                        self.note_judged(head.judged);
                        if self.position >= head.head {
                            self.note_informed().await?;
                        }
                    }
                    Counted::default()
                }
                Work::Batch(batch) => {
                    self.heard(batch.head);
                    self.apply(batch, &mut refused).await?
                }
            };
            let ack = Ack { refused, verdict, check, ..self.ack(counted) };
            if self.outgoing.send(FromReceiver::Ack(ack)).await.is_err() {
                // The neighbour is gone; what was applied is durable.
                return Ok(());
            }
        }
        Ok(())
    }

    fn heard(&self, head: u64) {
        self.links.heard(&self.session.path, Some(head), self.shared.clock.now_ms());
    }

    /// What is told of this node's log: all that follows has been applied, since it came before.
    fn note_judged(&self, words: Vec<JudgedUpTo>) {
        let shared = &self.shared;
        let log = (numbering::of(&shared.store), shared.store.head());
        shared.links.judged().told(&shared.own.path, log, words, Instant::now());
    }

    /// How much of what was refused is settled by now.
    fn count_settled(&self) -> Result<(), LinkError> {
        let path = &self.session.path;
        if self.links.view(path).is_some_and(|link| link.quarantined > link.settled) {
            let settled = self.shared.store.settled(&self.feed)?;
            self.links.change(path, |link| link.settled = settled);
        }
        Ok(())
    }

    fn ack(&self, counted: Counted) -> Ack {
        let link = self.links.view(&self.session.path);
        Ack {
            position: self.position,
            applied: counted.applied as u32,
            repeated: counted.repeated as u32,
            quarantined: counted.quarantined as u32,
            now_ms: self.shared.clock.now_ms(),
            quarantined_total: link.as_ref().map_or(0, |link| link.quarantined),
            quarantined_settled: link.map_or(0, |link| link.settled),
            refused: Refused::default(),
            verdict: None,
            check: None,
        }
    }

    /// Compares what the child holds of its feed with what came here.
    fn compare(&mut self, proof: &Proof) -> Result<Compared, LinkError> {
        if proof.position != self.position || self.feed.direction != Direction::Up {
            return Ok(proof::not_yet(proof.position));
        }
        let (shared, path) = (Arc::clone(&self.shared), self.session.path.clone());
        let view = shared.directory.snapshot();
        let held = proof::received(&shared.store, &view, &path, &self.feed)?;
        let mut verdict = proof::compare(proof, &held);
        // What others changed of an institution that moved away stands in the child's feed until the child is told.
        let told =
            || shared.links.down().view(&path).is_some_and(|down| down.position >= shared.store.head());
        if verdict.comparison == Comparison::Different && view.moved_from(&path) && !told() {
            return Ok(proof::not_yet(proof.position));
        }
        let now_ms = shared.clock.now_ms();
        if verdict.comparison == Comparison::Equal {
            let doubtful = proof::only_in_quarantine(proof, &held);
            let again: Vec<u16> =
                doubtful.into_iter().filter(|bucket| self.asked_again.insert(*bucket)).collect();
            if !again.is_empty() {
                self.differing = again.iter().copied().collect();
                return Ok(Compared { comparison: Comparison::Different, differing: again, ..verdict });
            }
            self.links.proven(&path, proof.position, proof.total.records, now_ms);
            (self.differing, self.giving, self.futile) = (BTreeSet::new(), Giving::default(), 0);
            return Ok(verdict);
        }
        // What differed before was shipped again since; if it still does, the child lacks something that is held here.
        let again: Vec<u16> =
            verdict.differing.iter().copied().filter(|bucket| self.differing.contains(bucket)).collect();
        // First what alone can help; what does not fit goes with the next verdict.
        verdict.given_back = proof::taken(&shared.store, &mut self.superseded)?;
        if verdict.given_back.is_empty() {
            let is_there = |key: &RecordKey, version| self.giving.is_there(key, version);
            verdict.given_back = proof::held_of(&shared.store, &view, &path, &again, &is_there)?;
        }
        if self.giving.gives(&verdict.given_back) {
            self.futile = 0;
        }
        // Shipped again and given back, and still not the same.
        self.futile = if again.is_empty() { 0 } else { self.futile + 1 };
        if self.futile > MAX_FUTILE {
            let why = format!(
                "the child holds different records in {} of 1024 buckets, and shipping them again both ways did not help",
                again.len()
            );
            self.links.disproven(&path, why);
        }
        self.differing = verdict.differing.iter().copied().collect();
        let (buckets, given_back) = (verdict.differing.len(), verdict.given_back.len());
        tracing::warn!(child = %path, buckets, given_back, "a child holds other records than came from it");
        Ok(verdict)
    }

    /// Compares what is held here of a down feed with what the parent says.
    fn check(&mut self, asked: &Check) -> Result<CheckAnswer, LinkError> {
        let (shared, path) = (&self.shared, &self.session.path);
        if asked.position != self.position || self.feed.direction != Direction::Down {
            return Ok(check::without_list(asked, Comparison::NotYet));
        }
        let view = shared.directory.snapshot();
        let answer = check::answer(
            &shared.store,
            &view,
            &shared.own.path,
            (&self.feed, &mut self.asked_again),
            asked,
        )?;
        if let Some(records) = self.pass.meet(asked, &answer) {
            self.links.proven(path, asked.position, records, shared.clock.now_ms());
        }
        Ok(answer)
    }

    /// What of a batch's retractions is held and may be forgotten, as the directory is or will be.
    fn forgettable(
        &self,
        retractions: &[(RecordKey, Version)],
        view: &DirectoryView,
    ) -> Result<Forgettable, LinkError> {
        if self.feed.direction != Direction::Down || retractions.is_empty() {
            return Ok(Forgettable::default());
        }
        Ok(check::forgettable(&self.shared.store, view, &self.shared.own.path, retractions)?)
    }

    /// Whether the parent has acknowledged this position of the own feed, else the link says what it waits for. Whoever saw what is
    /// there before it wrote had it from the parent, so the acknowledgement is on its way at least; a parent that retracts what it
    /// never took is believed when it has. What it took into quarantine counts as taken: the bytes are there.
    fn is_acknowledged(&self, position: u64) -> bool {
        let up = self.shared.links.view(&self.session.path);
        let acknowledged = position == 0 || up.is_some_and(|up| up.connected && up.position >= position);
        if !acknowledged {
            let why = format!(
                "the parent says that records of an institution that moved away are out of date, and has not acknowledged position {position}, where this node has them: look at the link up"
            );
            self.links.change(&self.session.path, |link| link.stalled = Some(why));
        }
        acknowledged
    }

    async fn apply(&mut self, batch: Batch, refused: &mut Refused) -> Result<Counted, LinkError> {
        let raws = batch::decode(&batch).map_err(|_| LinkRefusal::BadBatch("its payload cannot be read"))?;
        let forget = self.forgettable(&batch.retractions, &self.shared.directory.snapshot())?;
        if raws.is_empty() && forget.records.is_empty() && batch.upto - self.durable < LAZY_POSITIONS {
            self.position = batch.upto;
            self.moved(Counted::default());
            return Ok(Counted::default());
        }
        if self.feed.direction == Direction::Restore && !restore::may_restore(&self.shared.store) {
            return Err(LinkRefusal::Restored.into());
        }
        let (records, broken) = self.read(raws);
        let repair =
            self.feed.direction == Direction::Up && batch.upto == batch.after && !self.differing.is_empty();
        if repair {
            self.giving.shipped(&records);
        }
        let (records, held) = self.not_held(records)?;
        let (records, outlived) = self.not_outlived(records, repair)?;
        // What the batch brings, it does not take away: be it that it is here already.
        let mut retractions = batch.retractions.clone();
        retractions.retain(|(key, _)| !held.contains(key));
        if repair {
            self.note_superseded(&records)?;
        }
        let mut attempt = 0;
        let (judged, mut counted) = loop {
            if let Some(done) =
                self.judge_and_commit(&records, &broken, &retractions, batch.upto, attempt).await?
            {
                break done;
            }
            self.wait(attempt).await?;
            attempt += 1;
        };
        let newest = newest_by_writer(&judged.admitted, &self.shared);
        counted.repeated += held.len() as u64 + outlived;
        judged.quarantined.iter().for_each(|one| name(one, refused));
        if let Some(first) = judged.quarantined.first() {
            // One line for a batch: a neighbour that sends only bad records must not fill the log as well.
            let (count, reason) = (judged.quarantined.len(), &first.reason);
            tracing::warn!(peer = %self.session.path, count, %reason, "records went to quarantine; the first one's reason");
        }
        self.moved(counted);
        let repaired =
            if self.differing.is_empty() || batch.upto > batch.after { 0 } else { counted.applied };
        self.links.change(&self.session.path, |link| {
            link.repaired += repaired;
            for (node, recorded_ms) in newest {
                let held = link.newest_record_ms.entry(node).or_default();
                *held = recorded_ms.max(*held);
            }
        });
        Ok(counted)
    }

    /// What a child ships again of an institution that files elsewhere by now, and of which it was not told what became. Only
    /// what came from the child before: a record that is made up must not fetch it another one.
    fn note_superseded(&mut self, records: &[Record]) -> Result<(), LinkError> {
        let view = self.shared.directory.snapshot();
        let inside = |signer: &KeyId| view.key_path(signer).is_some_and(|at| self.session.path.contains(at));
        for record in records {
            let (store, key) = (&self.shared.store, record.key());
            let newer = store.held(&key)?.filter(|held| held.version > record.envelope().version);
            if self.superseded.len() >= MAX_SUPERSEDED || newer.is_none_or(|held| inside(&held.signer)) {
                continue;
            }
            let history = store.history(&key, MAX_HISTORY)?;
            if history.iter().any(|(_, earlier)| earlier == record && inside(&record.envelope().key_id)) {
                self.superseded.insert(key);
            }
        }
        Ok(())
    }

    /// None while the store has no room, or the parent retracts what it has not acknowledged. Nobody else may decide about the directory
    /// from judging until what was decided is published; but not while either is waited for, which may take days.
    async fn judge_and_commit(
        &mut self,
        records: &[Record],
        broken: &[Quarantined],
        retractions: &[(RecordKey, Version)],
        upto: u64,
        attempt: u32,
    ) -> Result<Option<(Judged, Counted)>, LinkError> {
        // Batches without directory records do not wait for each other.
        let _gate =
            if records.iter().any(is_directory) { Some(self.shared.directory.decide().await) } else { None };
        let mut judged = self.judge(records.to_vec()).await?;
        judged.quarantined.extend_from_slice(broken);
        self.check_quarantine(&judged.quarantined)?;
        if self.shared.store.status().damaged_found > 0 {
            self.mend(&judged.admitted).await?;
        }
        // What a batch retracts it may also explain: that a hospital moved away.
        let forget = self.forgettable(retractions, &judged.view)?;
        if !self.is_acknowledged(forget.acknowledged) {
            return Ok(None);
        }
        let committed =
            self.commit(&judged.admitted, &judged.quarantined, &forget.records, upto, attempt).await;
        // Of what was committed in part nobody would learn any more: coming again it is held already.
        if let Ok(Some(counted)) = committed {
            self.publish(std::mem::take(&mut judged.facts));
            return Ok(Some((judged, counted)));
        }
        if judged.admitted.iter().any(|record| Fact::of_record(record).is_some()) {
            self.shared.directory.reload(&self.shared.store, &*self.shared.keyring)?;
        }
        committed.map(|_| None)
    }

    /// Whether there is place in quarantine for what is new of this.
    fn check_quarantine(&self, more: &[Quarantined]) -> Result<(), LinkError> {
        let held = self.links.view(&self.session.path).map_or(0, |link| link.quarantined);
        if held + (more.len() as u64) <= MAX_QUARANTINED {
            return Ok(());
        }
        let mut new = 0;
        for one in more {
            new += u64::from(!self.shared.store.is_quarantined(&one.hash, &self.feed)?);
        }
        if new > 0 && held + new > MAX_QUARANTINED { Err(LinkRefusal::QuarantineFull.into()) } else { Ok(()) }
    }

    /// Everything is back: notes it durably, so that a start after this one need not ask.
    async fn end_restore(&mut self) -> Result<(), LinkError> {
        let mut attempt = 0;
        let note = Some((self.feed, restore::complete()));
        while self.commit_part(position_only(note), attempt).await?.is_none() {
            self.wait(attempt).await?;
            attempt += 1;
        }
        let (path, held) = (&self.session.path, self.shared.store.head());
        tracing::info!(parent = %path, held, "the records that the parent holds of this node are restored");
        Ok(())
    }

    /// Notes, once after a restore, that what comes down has come.
    async fn note_informed(&mut self) -> Result<(), LinkError> {
        let Some(note) = restore::informed(&self.shared.store, self.shared.own.origin) else { return Ok(()) };
        let mut attempt = 0;
        while self.commit_part(position_only(Some(note)), attempt).await?.is_none() {
            self.wait(attempt).await?;
            attempt += 1;
        }
        Ok(())
    }

    fn moved(&self, counted: Counted) {
        self.links.moved(&self.session.path, self.position, counted, self.shared.clock.now_ms());
    }

    /// Leaves out what is held already, byte for byte, and names those: a feed that is read again from its start costs no
    /// signatures. Older versions and the same one with other bytes stay, to be judged.
    fn not_held(&self, records: Vec<Record>) -> Result<(Vec<Record>, Vec<RecordKey>), LinkError> {
        let (mut open, mut held) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            let same_version = self.shared.store.version(&record.key())? == Some(record.envelope().version);
            let known = same_version && self.held(&record)?.as_ref() == Some(&record);
            if known {
                held.push(record.key());
            } else {
                open.push(record);
            }
        }
        Ok((open, held))
    }

    /// Leaves out what a child still holds of an institution that moved away, where that or the version of a later writer was forgotten
    /// here: it is to forget it too, and ships it as long as it has not heard so. Whoever ships it a second time in a repair is taken at
    /// its word. How many that are.
    fn not_outlived(
        &mut self,
        mut records: Vec<Record>,
        repair: bool,
    ) -> Result<(Vec<Record>, u64), LinkError> {
        let view = self.shared.directory.snapshot();
        if self.feed.direction != Direction::Up || !view.moved_from(&self.session.path) {
            return Ok((records, 0));
        }
        let (store, before) = (&self.shared.store, records.len());
        let mut outlived = HashSet::new();
        for record in &records {
            let (key, Envelope { origin, version, .. }) = (record.key(), record.envelope());
            let now = view.institution(origin).map_or(0, |institution| institution.term);
            // What a successor may never have seen is judged, and kept in quarantine.
            let left =
                view.left(origin, &self.session.path) && view.were_handed_over(origin, version.term..now);
            let outlived_here =
                left && store.version(&key)?.is_none() && store.known_version(&key)? >= Some(*version);
            // A child that insists was not told, or could not forget it then. Taken in, it comes to where the later version is held, which
            // goes back the same way.
            if outlived_here && !(repair && self.giving.insists(&key)) {
                outlived.insert((key, *version));
            }
        }
        records.retain(|record| !outlived.contains(&(record.key(), record.envelope().version)));
        let outlived = (before - records.len()) as u64;
        Ok((records, outlived))
    }

    /// What is held under a record's key; none if its bytes here are damaged: then the one that came is as good as new.
    fn held(&self, record: &Record) -> Result<Option<Record>, LinkError> {
        match self.shared.store.get(&record.key()) {
            Err(ReadError::Corrupt { .. }) => Ok(None),
            held => Ok(held?),
        }
    }

    /// Wire forms that are records, and the others as quarantined ones.
    fn read(&self, raws: Vec<RawRecord>) -> (Vec<Record>, Vec<Quarantined>) {
        let (mut records, mut broken) = (Vec::with_capacity(raws.len()), Vec::new());
        for raw in raws {
            match Record::from_raw(raw.clone()) {
                Ok(record) => records.push(record),
                Err(error) => broken.push(self.quarantined(&raw, &Reason::Record(error))),
            }
        }
        (records, broken)
    }

    fn quarantined(&self, raw: &RawRecord, reason: &Reason) -> Quarantined {
        let raw = bytes::Bytes::from(raw.encode_to_vec());
        let hash = Sha256::digest(&raw).into();
        Quarantined { from: self.feed, raw, reason: reason.to_string(), hash }
    }

    /// Judges in pieces, so that reads of others are not kept waiting by a thousand signatures.
    async fn judge(&self, records: Vec<Record>) -> Result<Judged, LinkError> {
        let shared = &self.shared;
        let rules = Rules {
            trust_domain: &shared.own.trust_domain,
            from: shared.territory(self.session.direction, &self.session.path),
            keyring: &*shared.keyring,
        };
        let mut judging = Judging::new(&records, Staged::new(shared.directory.snapshot()), rules);
        while judging.step() {
            tokio::task::yield_now().await;
        }
        let (verdicts, staged) = judging.finish();
        let (mut admitted, mut quarantined) = (Vec::with_capacity(records.len()), Vec::new());
        for (record, verdict) in records.into_iter().zip(verdicts) {
            if verdict == Verdict::Admit {
                quarantined.extend(self.overruled(&record, staged.view())?);
            }
            match verdict {
                Verdict::Admit if self.is_twisted(&record)? => {
                    quarantined.push(self.quarantined(&record.to_raw(), &Reason::OtherBytes));
                }
                Verdict::Admit => admitted.push(record),
                Verdict::Quarantine(reason) => quarantined.push(self.quarantined(&record.to_raw(), &reason)),
            }
        }
        let view = staged.shared();
        Ok(Judged { admitted, quarantined, facts: staged.into_facts(), view })
    }

    /// The version of a record that its institution's next writer overrules without having seen it: the one that came, or the one
    /// that is held. It stays valid and is not lost: somebody can look at it.
    fn overruled(&self, record: &Record, view: &DirectoryView) -> Result<Option<Quarantined>, LinkError> {
        let (key, version) = (record.key(), record.envelope().version);
        let Some(held) = self.shared.store.held(&key)? else { return Ok(None) };
        let writer = |signer: &KeyId| view.key(signer).map(|key| key.node);
        // Of one term when two were let write in it: without the old writer, and by it after all.
        let twice = writer(&held.signer) != writer(&record.envelope().key_id) && held.version != version;
        let held = held.version;
        let late = held.term != version.term && view.is_late(&record.envelope().origin, held.min(version));
        let twice = twice && held.term == version.term;
        if !late && !twice {
            return Ok(None);
        }
        let overruled = if version < held { Some(record.clone()) } else { self.held(record)? };
        Ok(overruled.map(|late| {
            let path = view.key_path(&late.envelope().key_id);
            let path = path.map_or_else(String::new, ToString::to_string);
            self.quarantined(&late.to_raw(), &Reason::OverruledBySuccessor { path })
        }))
    }

    /// Whether other bytes are held under the very version of this record: its writer went back in time, or signed twice.
    fn is_twisted(&self, record: &Record) -> Result<bool, LinkError> {
        let same_version = self.shared.store.version(&record.key())? == Some(record.envelope().version);
        // The very same may have come meanwhile over another feed.
        Ok(same_version && self.held(record)?.is_some_and(|held| held != *record))
    }

    /// Writes records anew whose bytes here are damaged; the store checks that they are the very ones.
    async fn mend(&self, admitted: &[Record]) -> Result<(), LinkError> {
        for record in admitted {
            let same_version = self.shared.store.version(&record.key())? == Some(record.envelope().version);
            if same_version && self.held(record)?.is_none() {
                self.shared.store.repair(record.clone()).await.map_err(LinkRefusal::Store)?;
            }
        }
        Ok(())
    }

    /// Makes a batch durable; none if the store has no room now. One that is larger than a commit takes several; the last one moves
    /// the position, and what comes again after a part of them is held already.
    async fn commit(
        &mut self,
        admitted: &[Record],
        quarantined: &[Quarantined],
        forget: &[(RecordKey, Version)],
        upto: u64,
        attempt: u32,
    ) -> Result<Option<Counted>, LinkError> {
        let mut counted = Counted::default();
        // What it brings anew it does not take away either.
        let brought: HashSet<RecordKey> = admitted.iter().map(Record::key).collect();
        let forget: Vec<_> = forget.iter().filter(|(key, _)| !brought.contains(key)).copied().collect();
        if !forget.is_empty() {
            let Some(applied) = self.commit_part(Apply { forget, ..Apply::default() }, attempt).await? else {
                return Ok(None);
            };
            self.links.change(&self.session.path, |link| link.retracted += applied.forgotten as u64);
        }
        let parts = parts(admitted, quarantined);
        let last = parts.len() - 1;
        for (at, (records, quarantined)) in parts.into_iter().enumerate() {
            let position = FeedPosition { generation: self.session.numbering, position: upto };
            let position = (at == last).then_some((self.feed, position));
            let (records, quarantined) = (records.to_vec(), quarantined.to_vec());
            let apply = Apply { records, quarantined, position, ..Apply::default() };
            let Some(applied) = self.commit_part(apply, attempt).await? else {
                // What is held by now is a repeat when it is tried again.
                self.part.applied += counted.applied;
                self.part.quarantined += counted.quarantined;
                return Ok(None);
            };
            counted.applied += applied.kept as u64;
            counted.repeated += applied.repeated as u64;
            counted.quarantined += applied.quarantined as u64;
        }
        let part = std::mem::take(&mut self.part);
        counted.applied += part.applied;
        counted.quarantined += part.quarantined;
        counted.repeated = counted.repeated.saturating_sub(part.applied);
        (self.position, self.durable) = (upto, upto);
        Ok(Some(counted))
    }

    /// Commits; none if the store has no room now.
    async fn commit_part(&mut self, apply: Apply, attempt: u32) -> Result<Option<Applied>, LinkError> {
        let error = match self.shared.store.apply(apply).await {
            Ok(applied) => return Ok(Some(applied)),
            Err(error @ (CommitError::Full | CommitError::Overloaded)) => error,
            Err(error) => return Err(LinkRefusal::Store(error).into()),
        };
        self.links.change(&self.session.path, |link| link.stalled = Some(error.to_string()));
        if attempt == 0 {
            tracing::warn!(peer = %self.session.path, %error, "a neighbour's records wait");
        }
        Ok(None)
    }

    /// Waits before the next attempt. Meanwhile nothing is read from the neighbour, who is told "alive".
    async fn wait(&mut self, attempt: u32) -> Result<(), LinkError> {
        let wait = back_off(&self.session.path, attempt, &self.shared.settings);
        let alive = FromReceiver::Ack(self.ack(Counted::default()));
        // A full queue of acknowledgements says "alive" as well.
        if let Err(mpsc::error::TrySendError::Closed(_)) = self.outgoing.try_send(alive) {
            return Err(LinkError::Broken { cause: "the stream ended".into() });
        }
        tokio::select! {
            biased;
            _ = self.session.stop.wait_for(|stop| *stop) => Err(LinkError::Replaced),
            () = self.outgoing.closed() => Err(LinkError::Broken { cause: "the stream ended".into() }),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// What the batch added to the directory is durable now.
    fn publish(&self, facts: Vec<Fact>) {
        let opened = facts.iter().filter_map(|fact| match fact {
            Fact::Epoch { node, entry } if *node == self.session.origin => Some(entry),
            _ => None,
        });
        let newest = opened.max_by_key(|entry| entry.counter).cloned();
        if !facts.is_empty() {
            self.shared.directory.publish(facts);
        }
        let known = self.shared.directory.snapshot();
        let is_newest = |entry: &model::body::EpochEntry| {
            known.epochs(&self.session.origin).last().is_some_and(|known| known.counter == entry.counter)
        };
        if let Some(epoch) = newest.filter(is_newest).as_ref().and_then(epoch_id) {
            self.session.opened(epoch);
        }
    }
}

fn position_only(position: Option<(FeedId, FeedPosition)>) -> Apply {
    Apply { position, ..Apply::default() }
}

/// Cuts a batch into commits.
fn parts<'a>(
    admitted: &'a [Record],
    quarantined: &'a [Quarantined],
) -> Vec<(&'a [Record], &'a [Quarantined])> {
    let admitted = cut(admitted, Record::size);
    let quarantined = cut(quarantined, |one| one.raw.len() + one.reason.len());
    let alone = admitted.len() + quarantined.len();
    let mut parts: Vec<(&[Record], &[Quarantined])> = Vec::with_capacity(alone.max(1));
    parts.extend(quarantined.into_iter().map(|part| (&[][..], part)));
    parts.extend(admitted.into_iter().map(|part| (part, &[][..])));
    if parts.is_empty() {
        // Only the position moves.
        parts.push((&[], &[]));
    }
    parts
}

fn cut<T>(items: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = size(item) + OVERHEAD;
        if at > start && (bytes + size > COMMIT_BYTES || at - start == MAX_COMMIT_RECORDS) {
            parts.push(&items[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < items.len() {
        parts.push(&items[start..]);
    }
    parts
}

/// Names a quarantined record to its sender. One that is no record has no name; an honest sender has none.
pub(super) fn name(one: &Quarantined, refused: &mut Refused) {
    let raw = RawRecord::decode(&one.raw[..]).ok();
    if let Some(record) = raw.and_then(|raw| Record::from_raw(raw).ok()) {
        refused.push(record.key(), record.envelope().version, &one.reason);
    }
}

/// The newest time of a record by each node that wrote one.
fn newest_by_writer(records: &[Record], shared: &Shared) -> BTreeMap<OriginId, u64> {
    let view = shared.directory.snapshot();
    let mut newest = BTreeMap::new();
    for envelope in records.iter().map(Record::envelope) {
        if let Some(key) = view.key(&envelope.key_id) {
            let held: &mut u64 = newest.entry(key.node).or_default();
            *held = envelope.recorded_ms.max(*held);
        }
    }
    newest
}

/// Doubles up to the longest wait; each neighbour's waits differ a little, so that they do not all come at once.
fn back_off(path: &model::NodePath, attempt: u32, settings: &super::ReceiverSettings) -> Duration {
    let mut hash = DefaultHasher::new();
    (path, attempt).hash(&mut hash);
    let wait = settings.retry_first.saturating_mul(1 << attempt.min(16)).min(settings.retry_longest);
    wait.mul_f64(0.75 + (hash.finish() % 256) as f64 / 1024.0)
}
