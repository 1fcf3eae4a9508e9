//! Proofs to the parent, and what is shipped again or taken back when it holds something else.

use model::feed::{Batch, MAX_GIVEN_BACK, Proof, Verdict};
use model::{Record, RecordKey};
use store::Apply;
use tokio::time::Instant;

use super::proving::Outcome;
use super::shipping::cut;
use super::{Course, closed};
use crate::batch::{self, Place, size_in_batch};
use crate::entitlement::{self, Judging, Rules, Staged, Territory, Verdict as Judged};
use crate::{LinkError, flows_up, proof};

/// What a verdict gives back is applied in one commit.
const _: () = assert!(MAX_GIVEN_BACK <= store::MAX_COMMIT_RECORDS);

impl Course<'_> {
    /// Whether a proof should go although no head is due: everything is shipped, and the other end waits to be asked.
    pub(super) fn proof_wanted(&self, head: u64) -> bool {
        let position = self.shipping.sent();
        self.sender.route.is_up()
            && position >= head
            && self.proving.wanted(position, Instant::now()).is_some()
    }

    /// A proof of everything shipped, if one is due, nothing was committed since and nobody changes the directory.
    pub(super) fn proof(&mut self) -> Option<Proof> {
        let (position, sender) = (self.shipping.sent(), self.sender);
        if !sender.route.is_up() {
            return None;
        }
        let with_buckets = self.proving.wanted(position, Instant::now())?;
        // While directory records are committed and not published, their signers are nobody's, and would count as this node's.
        let Some(_gate) = sender.directory.try_decide() else {
            self.proving.defer(Instant::now());
            return None;
        };
        let (at, digest) = proof::shipped(&sender.store, &sender.directory.snapshot(), &sender.own.path);
        if at != position {
            self.proving.defer(Instant::now());
            return None;
        }
        self.proving.asked(position);
        Some(proof::proof(position, &digest, with_buckets))
    }

    /// What the parent found.
    pub(super) async fn judged(&mut self, verdict: Verdict, now_ms: u64) -> Result<(), LinkError> {
        let links = &self.sender.links;
        match self.proving.heard(&verdict, Instant::now()) {
            Outcome::Nothing => {}
            Outcome::Proven => {
                let sender = self.sender;
                let (_, held) = proof::shipped(&sender.store, &sender.directory.snapshot(), &sender.own.path);
                links.proven(self.to, verdict.position, held.total().count, now_ms);
            }
            Outcome::Repair => {
                let buckets = verdict.differing.len();
                tracing::warn!(to = %self.to, buckets, "the parent holds other records; shipping them again");
            }
            Outcome::TakeBack => {
                let new = self.take_back(verdict.given_back).await?;
                tracing::warn!(to = %self.to, new, "the parent gave back records that this node had lost");
                self.sender.links.change(self.to, |link| link.repaired += new);
                self.proving.taken(new > 0);
            }
            Outcome::Disproven(why) => links.disproven(self.to, why),
        }
        Ok(())
    }

    /// The next records of a bucket that the parent holds otherwise, with what they need.
    pub(super) fn repair_batch(&mut self, head: u64) -> Result<Batch, LinkError> {
        let (sender, sent) = (self.sender, self.shipping.sent());
        let Some((bucket, after)) = self.proving.repairing() else { return Err(closed()) };
        let directory = sender.directory.snapshot();
        let most = sender.settings.max_batch_records;
        let keys = sender.store.bucket(bucket, after, most)?;
        let mut records: Vec<Record> = Vec::new();
        let (mut last, mut bytes): (Option<RecordKey>, usize) = (None, 0);
        for key in &keys {
            let is_mine = |record: &Record| {
                let envelope = record.envelope();
                proof::ships_up(&directory, &envelope.key_id, &sender.own.path) && flows_up(envelope)
            };
            if let Some(record) = sender.store.get(key)?.filter(is_mine) {
                bytes += size_in_batch(&record);
                if bytes > self.max_batch_bytes && !records.is_empty() {
                    break;
                }
                records.push(record);
            }
            // Also of a key of which nothing is held any more: else a page of those would end the bucket.
            last = Some(*key);
        }
        let all = last == keys.last().copied() && keys.len() < most;
        self.proving.repaired_to(if all { None } else { last });
        self.cover(&mut records, &directory)?;
        let now_ms = sender.clock.now_ms();
        let place = Place { after: sent, upto: sent, head, now_ms };
        // What does not fit into one batch goes with the next ones.
        let mut parts = cut(&records, self.max_batch_bytes, most).into_iter();
        let first = batch::encode(parts.next().unwrap_or_default(), place);
        self.ready.extend(parts.map(|part| batch::encode(part, place)));
        self.shipping.ship(sent);
        self.asked_ms = None;
        Ok(first)
    }

    /// Applies records of this node's own subtree that the parent held and this node did not, and what became elsewhere of
    /// records that this node holds; how many were new. They are judged like those that come up, or down.
    async fn take_back(&self, records: Vec<Record>) -> Result<u64, LinkError> {
        let sender = self.sender;
        let view = sender.directory.snapshot();
        let here = |record: &Record| {
            let signer = view.key_path(&record.envelope().key_id);
            signer.is_none_or(|path| sender.own.path.contains(path)) || entitlement::is_directory(record)
        };
        let (records, elsewhere): (Vec<Record>, Vec<Record>) = records.into_iter().partition(here);
        let mut superseding = Vec::new();
        for record in elsewhere {
            if sender.store.version(&record.key())?.is_some_and(|held| held < record.envelope().version) {
                superseding.push(record);
            }
        }
        let new = self.take(records, Territory::Within(&sender.own.path)).await?;
        Ok(new + self.take(superseding, Territory::Beyond(&sender.own.path)).await?)
    }

    async fn take(&self, records: Vec<Record>, from: Territory<'_>) -> Result<u64, LinkError> {
        let sender = self.sender;
        let _gate = if records.iter().any(entitlement::is_directory) {
            Some(sender.directory.decide().await)
        } else {
            None
        };
        let rules = Rules { trust_domain: &sender.own.trust_domain, from, keyring: &*sender.keyring };
        let (verdicts, staged) =
            Judging::new(&records, Staged::new(sender.directory.snapshot()), rules).finish();
        let refused = verdicts.iter().filter(|verdict| **verdict != Judged::Admit).count();
        if refused > 0 {
            tracing::warn!(to = %self.to, refused, "the parent gave back records that are refused here");
        }
        let admitted = |(record, verdict)| (verdict == Judged::Admit).then_some(record);
        let records: Vec<Record> = records.into_iter().zip(verdicts).filter_map(admitted).collect();
        let applied = sender.store.apply(Apply { records, ..Apply::default() }).await;
        let applied = applied.map_err(|error| LinkError::Broken { cause: error.to_string() })?;
        sender.directory.publish(staged.into_facts());
        Ok(applied.kept as u64)
    }
}
