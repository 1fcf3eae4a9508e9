//! Who may write what, for records that a neighbour ships. Decides without I/O.
//!
//! Each record is admitted or quarantined on its own. It is admitted when
//! 1. its signature is of a key known here,
//! 2. that key's node stands where the sender may have it from ([`Territory`]),
//! 3. its origin is that node, or an institution whose writer that node was in the record's term,
//! 4. its epoch is known of that node and its seq can have been committed in it,
//! 5. flow, id, subject and body of a known kind say the same as its envelope,
//! 6. a link between persons was decided by a node whose pair it is; what overrules one (a human, a machine's *different*) also by one
//!    above that. Links from above are not asked for this.
//!
//! Directory records are judged first, keys before epochs before nodes before institutions before successions, and count for
//! the records after them ([`Staged`]), so the order inside a batch does not matter. Unknown kinds and flows need only 1 to 4.
//!
//! Whose term it was stays known ([`crate::DirectoryView::terms`]), so an old writer's records are good for ever, also when they
//! are shipped again; in the term of its successor it is a stranger.

mod body;
mod directory;
mod moves;
mod person_link;
mod reason;
mod succession;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::body::Kind;
use model::{Envelope, Flow, NodePath, OriginId, Record, TrustDomain, VerifyingKey, signing};

pub use person_link::{may_decide, standing};
pub use reason::Reason;

use crate::{DirectoryView, Fact, Keyring, epoch};

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Admit,
    Quarantine(Reason),
}

/// What a judgement depends on, beside the directory.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub trust_domain: &'a TrustDomain,
    /// Where what the neighbour brings may have been written.
    pub from: Territory<'a>,
    pub keyring: &'a dyn Keyring,
}

/// A part of the tree.
#[derive(Debug, Clone, Copy)]
pub enum Territory<'a> {
    /// A child's subtree, or this node's own.
    Within(&'a NodePath),
    /// A child's feed: its subtree, and what this node may have lost: of the directory what it or those above it said, on which the
    /// rest depends, and links that it made in epochs before `lost_before` (0: none).
    Child { subtree: &'a NodePath, own: &'a NodePath, lost_before: u32 },
    /// What a parent gives back after a loss: this node's subtree, with the directory records that it needs from anywhere.
    Anywhere,
    /// What comes from above: everything but this node's own subtree.
    Beyond(&'a NodePath),
}

impl Territory<'_> {
    fn check(&self, path: &NodePath, envelope: &Envelope) -> Result<(), Reason> {
        let flow = envelope.known_flow();
        match self {
            Self::Child { .. } if flow == Some(Flow::Directory) && self.is_above(path) => Ok(()),
            Self::Child { own, lost_before, .. }
                if flow == Some(Flow::Link) && path == *own && envelope.version.epoch < *lost_before =>
            {
                Ok(())
            }
            Self::Within(subtree) | Self::Child { subtree, .. } if !subtree.contains(path) => {
                Err(Reason::Outside { path: path.clone(), sender: (*subtree).clone() })
            }
            Self::Beyond(own) if own.contains(path) => Err(Reason::OwnSubtree { path: path.clone() }),
            Self::Within(_) | Self::Child { .. } | Self::Beyond(_) | Self::Anywhere => Ok(()),
        }
    }

    /// Whether what was said there is the word of this node or of one above it.
    fn is_above(&self, path: &NodePath) -> bool {
        matches!(self, Self::Child { own, .. } | Self::Beyond(own) if path.contains(own))
    }
}

/// The directory with what a batch adds to it, to be published once the batch is durable.
#[derive(Debug)]
pub struct Staged {
    view: Arc<DirectoryView>,
    facts: Vec<Fact>,
}

impl Staged {
    pub fn new(view: Arc<DirectoryView>) -> Self {
        Self { view, facts: Vec::new() }
    }

    /// The directory as it would be.
    pub fn view(&self) -> &DirectoryView {
        &self.view
    }

    /// The same, to be kept.
    pub fn shared(&self) -> Arc<DirectoryView> {
        Arc::clone(&self.view)
    }

    /// What to publish.
    pub fn into_facts(self) -> Vec<Fact> {
        self.facts
    }

    fn add(&mut self, fact: Fact) {
        Arc::make_mut(&mut self.view).apply(fact.clone());
        self.facts.push(fact);
    }
}

/// Whether others may depend on a record, so that it is judged before them and behind the gate. The end of a term is none: see `rank`.
pub fn is_directory(record: &Record) -> bool {
    rank(record).is_some()
}

/// Judges records as one batch; the verdicts stand in their order.
pub fn judge(records: &[Record], staged: Staged, rules: Rules<'_>) -> (Vec<Verdict>, Staged) {
    let mut judging = Judging::new(records, staged, rules);
    while judging.step() {}
    judging.finish()
}

/// Records of other kinds that one [`Judging::step`] judges: about three milliseconds of work. Fewer cost more each, because
/// signatures are verified together.
const STEP: usize = 128;

/// A judgement in pieces, so that a driver can let others run between them.
#[derive(Debug)]
pub struct Judging<'a> {
    records: &'a [Record],
    rules: Rules<'a>,
    staged: Staged,
    verdicts: Vec<Option<Verdict>>,
    at: usize,
}

impl<'a> Judging<'a> {
    /// Judges the directory records, which the others depend on.
    pub fn new(records: &'a [Record], staged: Staged, rules: Rules<'a>) -> Self {
        let mut judging = Self { records, rules, staged, verdicts: vec![None; records.len()], at: 0 };
        for at in directory_first(records) {
            judging.verdicts[at] = Some(match directory::judge(&records[at], &judging.staged, rules) {
                Ok(fact) => {
                    judging.staged.add(fact);
                    Verdict::Admit
                }
                Err(reason) => Verdict::Quarantine(reason),
            });
        }
        judging
    }

    /// Judges some more; false when nothing is left.
    pub fn step(&mut self) -> bool {
        let end = self.records.len().min(self.at + STEP);
        let open: Vec<usize> = (self.at..end).filter(|at| self.verdicts[*at].is_none()).collect();
        self.judge_others(&open);
        self.at = end;
        end < self.records.len()
    }

    /// The verdicts, and the directory with what was admitted.
    pub fn finish(mut self) -> (Vec<Verdict>, Staged) {
        while self.step() {}
        let judged = |verdict: Option<Verdict>| verdict.expect("every record was judged");
        let verdicts = self.verdicts.into_iter().map(judged).collect();
        (verdicts, self.staged)
    }

    /// What is admitted beside the directory records and says something of the directory all the same.
    fn note_ends(&mut self, open: &[usize]) {
        for at in open {
            let ends = known_kind(&self.records[*at]) == Some(Kind::TermEnd);
            if ends
                && self.verdicts[*at] == Some(Verdict::Admit)
                && let Some(fact) = Fact::of_record(&self.records[*at])
            {
                self.staged.add(fact);
            }
        }
    }

    fn judge_others(&mut self, open: &[usize]) {
        let view = self.staged.view();
        let signers: Vec<_> = open.iter().map(|at| signer(&self.records[*at], view, self.rules)).collect();
        let signed: Vec<_> = open
            .iter()
            .zip(&signers)
            .filter_map(|(at, signer)| Some((*at, signer.as_ref().ok()?.key)))
            .collect();
        let all_good = verify_together(self.records, &signed);
        let judged: Vec<Verdict> = open
            .iter()
            .zip(signers)
            .map(|(at, signer)| {
                let record = &self.records[*at];
                let verdict = signer.and_then(|signer| {
                    if !all_good && record.verify(signer.key).is_err() {
                        return Err(Reason::Signature);
                    }
                    entitled(record, &signer, view)?;
                    moves::end(record, &signer, view)?;
                    person_link::check(record, &signer, view, self.rules.from)?;
                    body::check(record, self.rules.trust_domain)
                });
                verdict.map_or_else(Verdict::Quarantine, |()| Verdict::Admit)
            })
            .collect();
        for (at, verdict) in open.iter().zip(judged) {
            self.verdicts[*at] = Some(verdict);
        }
        self.note_ends(open);
    }
}

/// Who signed a record, by what the directory knows.
struct Signer<'a> {
    key: &'a VerifyingKey,
    node: OriginId,
    path: &'a NodePath,
}

/// The signer that a record names; the signature itself is not checked here.
fn signer<'a>(record: &Record, view: &'a DirectoryView, rules: Rules<'_>) -> Result<Signer<'a>, Reason> {
    let id = record.envelope().key_id;
    let fact = view.key(&id).ok_or(Reason::UnknownKey(id))?;
    let path = view.path_of(&fact.node).ok_or(Reason::UnknownKey(id))?;
    rules.from.check(path, record.envelope())?;
    Ok(Signer { key: &fact.key, node: fact.node, path })
}

/// Whether the signer may write this origin's records, in this term and epoch.
fn entitled(record: &Record, signer: &Signer<'_>, view: &DirectoryView) -> Result<(), Reason> {
    let envelope = record.envelope();
    if envelope.origin != signer.node {
        moves::in_term(record, signer, view)?;
    }
    in_epoch(record, signer, view)
}

/// Whether the record's epoch is known of the signer, and can hold its seq.
fn in_epoch(record: &Record, signer: &Signer<'_>, view: &DirectoryView) -> Result<(), Reason> {
    let version = record.envelope().version;
    match epoch::covers(view.epochs(&signer.node), version.epoch, version.seq) {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Reason::Overruled { path: signer.path.clone(), epoch: version.epoch, seq: version.seq })
        }
        None => Err(Reason::UnknownEpoch { path: signer.path.clone(), epoch: version.epoch }),
    }
}

fn verify_together(records: &[Record], signed: &[(usize, &VerifyingKey)]) -> bool {
    let signed: Vec<(&VerifyingKey, &[u8], &[u8])> = signed
        .iter()
        .map(|(at, key)| (*key, &records[*at].header_bytes()[..], &records[*at].signature()[..]))
        .collect();
    signing::verify_batch(&signed)
}

/// The places of the directory records, in the order in which they depend on each other.
fn directory_first(records: &[Record]) -> Vec<usize> {
    let mut places: Vec<_> = records
        .iter()
        .enumerate()
        .filter_map(|(at, record)| Some((rank(record)?, order(record), at)))
        .collect();
    places.sort_unstable();
    places.into_iter().map(|(_, _, at)| at).collect()
}

/// Among directory records of one kind: epochs by their counter, decisions by the term that they begin.
fn order(record: &Record) -> u32 {
    match Fact::of_record(record) {
        Some(Fact::Institution { term, .. }) => term,
        _ => record.envelope().version.epoch,
    }
}

/// Where a directory record of a known kind stands in the order of judging; none for all others. The end of a term is none of
/// them: it must stay behind the records that it ends.
pub(crate) fn rank(record: &Record) -> Option<u8> {
    match known_kind(record)? {
        Kind::SigningKey => Some(0),
        Kind::Epoch => Some(1),
        Kind::Node => Some(2),
        Kind::Institution => Some(3),
        Kind::Succession => Some(4),
        _ => None,
    }
}

/// The place of a record among those of one batch: after all that it may depend on. Records that are no directory ones keep their
/// order.
pub(crate) fn turn(record: &Record) -> (u8, u32) {
    rank(record).map_or((u8::MAX, 0), |rank| (rank, order(record)))
}

/// The record's kind, if this release knows what its body is.
fn known_kind(record: &Record) -> Option<Kind> {
    let kind = Kind::try_from(i32::try_from(record.envelope().kind).ok()?).ok()?;
    // Numbers that are reserved but whose bodies have no form yet are carried as unknown ones.
    let formed = matches!(
        kind,
        Kind::Registration
            | Kind::DocumentEntry
            | Kind::Link
            | Kind::Node
            | Kind::Institution
            | Kind::SigningKey
            | Kind::Epoch
            | Kind::TermEnd
            | Kind::Succession
    );
    formed.then_some(kind)
}

/// The flow class in which records of a known kind travel.
fn flow_of(kind: Kind) -> Flow {
    match kind {
        Kind::Registration => Flow::Registration,
        Kind::DocumentEntry => Flow::DocumentEntry,
        Kind::Link => Flow::Link,
        Kind::Consent => Flow::Consent,
        Kind::Unspecified
        | Kind::Node
        | Kind::Institution
        | Kind::Practitioner
        | Kind::SigningKey
        | Kind::Epoch
        | Kind::TermEnd
        | Kind::Succession => Flow::Directory,
    }
}
