//! A node hands everything over to another and takes part no more: a county that moves to another prefecture, or is merged into its
//! neighbour, or gets a prefecture above it, goes on as a new node at the new place.
//!
//! ```text
//! institutions of the old node ── moves, one by one ──▶ file with the new one
//! SUCCESSION by the node above both ── down ──▶ everybody asks the new one for documents that name the old one as custodian
//! new node ── one document after the other, from the old one while it runs ──▶ its own repository
//! ```
//! Names stay: records stay valid under the old node's key, and entries go on naming it; the directory says who stands for it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use model::body::{DocumentEntry, Flow, Kind, SuccessionEntry};
use model::query::{ContentQuery, QueryContext};
use model::{NodePath, OriginId, Record, RecordId, RecordKey};
use parking_lot::Mutex;
use prost::Message;
use replication::DirectoryView;
use store::{Draft, Expect};

use crate::caller::{Action, Caller, permit};
use crate::{Deadline, Exchange, ExchangeError, MoveOutcome};

/// Records of the log looked at between letting others run.
const STEP_RECORDS: usize = 500;
const STEP_BYTES: usize = 1024 * 1024;
/// When what could not be fetched is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// When it is looked again for entries that came late.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How long fetching one document may take.
const FETCH: Duration = Duration::from_secs(600);

/// A wish to have one node stand for another.
#[derive(Debug, Clone)]
pub struct HandOver {
    pub from: NodePath,
    pub to: NodePath,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOver {
    pub outcome: MoveOutcome,
    /// Documents held here by their entries whose content the old node keeps, and their bytes.
    pub documents: u64,
    pub bytes: u64,
}

/// What a node that stands for others has yet to fetch from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakeOver {
    /// Documents that others were custodians of, and how many of them are not here yet.
    pub documents: u64,
    pub missing: u64,
    /// Bytes of those.
    pub missing_bytes: u64,
}

/// Where a node keeps how far it is.
#[derive(Debug, Default)]
pub(crate) struct TakingOver(Mutex<TakeOver>);

impl Exchange {
    /// Has `to` stand for `from`, which has handed over its institutions before. Asked again it changes nothing.
    pub async fn hand_over(&self, caller: &Caller, request: HandOver) -> Result<HandedOver, ExchangeError> {
        let _permit = permit(caller, Action::Operate, &self.parts.node.path)?;
        let deciding = self.parts.directory.decide().await;
        let view = self.parts.directory.snapshot();
        let (node, successor) = self.parties_of(&view, &request)?;
        let outcome = if view.successor(&node) == Some(successor) {
            MoveOutcome::There
        } else {
            may_succeed(&view, &request, node, successor)?;
            if request.dry_run { MoveOutcome::Possible } else { MoveOutcome::Decided }
        };
        if outcome == MoveOutcome::Decided {
            self.commit_succession(node, successor).await?;
            tracing::info!(from = %request.from, to = %request.to, "a node stands for another");
        }
        // Nobody need wait while the log is read.
        drop(deciding);
        let held = self.content_of(|custodian| custodian == node).await?;
        let bytes = held.iter().map(|document| document.size).sum();
        Ok(HandedOver { outcome, documents: held.len() as u64, bytes })
    }

    fn parties_of(
        &self,
        view: &DirectoryView,
        request: &HandOver,
    ) -> Result<(OriginId, OriginId), ExchangeError> {
        let known = |path: &NodePath| {
            view.origin_at(path)
                .ok_or_else(|| ExchangeError::not_found("UNKNOWN_NODE", format!("{path} is not known here")))
        };
        let (node, successor) = (known(&request.from)?, known(&request.to)?);
        if node == successor {
            return Err(ExchangeError::unusable("SAME_NODE", "a node does not stand for itself"));
        }
        let own = &self.parts.node.path;
        match request.from.common(&request.to) {
            Some(decider) if decider == *own && request.from != *own => Ok((node, successor)),
            Some(decider) if decider == request.from => Err(ExchangeError::conflict(
                "NODES_BELOW",
                "a node above another cannot hand over to it: what stands below it has to go first",
            )),
            Some(decider) => Err(ExchangeError::conflict(
                "ASK_ANOTHER_NODE",
                format!("only {decider}, the lowest node above both, decides this"),
            )),
            None => Err(ExchangeError::not_found("UNKNOWN_NODE", "the two are not in one tree")),
        }
    }

    async fn commit_succession(&self, node: OriginId, successor: OriginId) -> Result<(), ExchangeError> {
        let entry = SuccessionEntry {
            node: Bytes::copy_from_slice(node.as_bytes()),
            successor: Bytes::copy_from_slice(successor.as_bytes()),
        };
        let draft = Draft {
            flow: Flow::Directory,
            kind: Kind::Succession as u32,
            id: RecordId::of(&[node.as_bytes()]),
            origin: self.parts.node.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: entry.encode_to_vec().into(),
            expect: Expect::Absent,
        };
        let committed = self.parts.store.commit(vec![draft]).await?;
        committed.records.iter().for_each(|record| self.parts.directory.learn(record));
        Ok(())
    }

    /// The path of the node that this one has handed everything over to.
    pub(crate) fn handed_over_to(&self) -> Option<String> {
        let view = self.parts.directory.snapshot();
        let own = self.parts.node.origin;
        let next = Some(view.stands_for(&own)).filter(|next| *next != own)?;
        Some(view.path_of(&next).map_or_else(|| next.to_string(), NodePath::to_string))
    }

    /// The node to ask for content that an entry says is at this one.
    pub(crate) fn custodian_now(&self, entry: &DocumentEntry) -> Option<OriginId> {
        let custodian = OriginId::try_from(&entry.custodian[..]).ok()?;
        Some(self.parts.directory.snapshot().stands_for(&custodian))
    }

    /// How far fetching from those is that this node stands for.
    pub fn taking_over(&self) -> TakeOver {
        *self.taking_over.0.lock()
    }

    /// Fetches the content of the nodes that this one stands for, one document after the other, as long as they run. Runs until it
    /// is dropped.
    pub async fn take_over(&self) {
        let mut changes = self.parts.directory.watch_moves();
        loop {
            changes.borrow_and_update();
            let wait = match self.fetch_missing().await {
                Ok(0) => LOOK_AGAIN,
                Ok(missing) => {
                    tracing::info!(missing, "documents of a node that this one stands for are still there");
                    RETRY
                }
                Err(error) => {
                    tracing::warn!(%error, "documents of a node that this one stands for cannot be fetched; trying again");
                    RETRY
                }
            };
            // An error means that the directory is gone, and with it this node.
            if let Ok(Err(_)) = tokio::time::timeout(wait, changes.changed()).await {
                return;
            }
        }
    }

    /// How many documents are still missing after trying all of them.
    async fn fetch_missing(&self) -> Result<u64, ExchangeError> {
        let view = self.parts.directory.snapshot();
        let own = self.parts.node.origin;
        if !view.succeeded().any(|(_, by)| by == own) {
            return Ok(0);
        }
        let of_others = |custodian: OriginId| custodian != own && view.stands_for(&custodian) == own;
        let mut open = Vec::new();
        let all = self.content_of(of_others).await?;
        for document in &all {
            if !self.has(&document.sha256).await? {
                open.push(*document);
            }
        }
        let missing_bytes = open.iter().map(|document| document.size).sum();
        let (documents, missing) = (all.len() as u64, open.len() as u64);
        *self.taking_over.0.lock() = TakeOver { documents, missing, missing_bytes };
        drop(all);
        for document in open {
            match self.fetch_content(&view, document).await {
                Ok(()) => {
                    let mut left = self.taking_over.0.lock();
                    left.missing -= 1;
                    left.missing_bytes -= document.size;
                }
                // Every other document would meet it again, each after its own time.
                Err(error @ (ExchangeError::Unavailable { .. } | ExchangeError::Deadline { .. })) => {
                    tracing::debug!(reason = error.reason(), "documents are not fetched now");
                    break;
                }
                Err(error) => {
                    tracing::warn!(key = %document.key, reason = error.reason(), "a document is not fetched");
                }
            }
        }
        Ok(self.taking_over().missing)
    }

    async fn has(&self, sha256: &[u8; 32]) -> Result<bool, ExchangeError> {
        self.parts.repository.contains(sha256).await.map_err(crate::documents::content_error)
    }

    async fn fetch_content(&self, view: &DirectoryView, document: Kept) -> Result<(), ExchangeError> {
        let query = ContentQuery {
            key: document.key,
            custodian_path: view.path_of(&document.custodian).cloned(),
            as_filed: true,
            offset: 0,
            context: QueryContext::default(),
        };
        let deadline = Deadline::after(FETCH);
        let mut content = self.content_elsewhere(query, document.custodian, deadline).await?;
        let repository = &self.parts.repository;
        let failed = crate::documents::content_error;
        let mut upload = repository.begin(document.size, document.sha256).await.map_err(failed)?;
        while let Some(piece) = content.chunks.next().await {
            upload.write(piece?).await.map_err(failed)?;
        }
        upload.finish().await.map_err(failed)?;
        Ok(())
    }

    /// The documents whose entries name such a custodian, and whose content it keeps.
    async fn content_of(&self, custodian: impl Fn(OriginId) -> bool) -> Result<Vec<Kept>, ExchangeError> {
        let mut reader = self.parts.store.feed_reader(0);
        let mut found = Vec::new();
        loop {
            let slice = reader.next(STEP_RECORDS, STEP_BYTES, &|envelope| {
                envelope.kind == Kind::DocumentEntry as u32 && !envelope.tombstone
            })?;
            let kept = slice.records.iter().filter_map(Kept::of);
            found.extend(kept.filter(|document| custodian(document.custodian)));
            if slice.upto >= slice.head {
                return Ok(found);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A document whose content a node keeps.
#[derive(Debug, Clone, Copy)]
struct Kept {
    key: RecordKey,
    custodian: OriginId,
    sha256: [u8; 32],
    size: u64,
}

impl Kept {
    fn of(record: &Record) -> Option<Self> {
        let entry: DocumentEntry = record.decode_body().ok()?;
        let sha256 = entry.sha256[..].try_into().ok()?;
        let custodian = OriginId::try_from(&entry.custodian[..]).ok()?;
        let kept = entry.reference.is_empty();
        kept.then_some(Self { key: record.key(), custodian, sha256, size: entry.size })
    }
}

/// Nothing may be left that only the old node can do.
fn may_succeed(
    view: &DirectoryView,
    request: &HandOver,
    node: OriginId,
    successor: OriginId,
) -> Result<(), ExchangeError> {
    let refused = |reason: &str, why: String| Err(ExchangeError::conflict(reason, why));
    let HandOver { from, to, .. } = request;
    if let Some(other) = view.successor(&node) {
        let other = view.path_of(&other).map_or_else(|| other.to_string(), NodePath::to_string);
        return refused("SUCCEEDED", format!("{other} stands for {from} already"));
    }
    if let Some(next) = view.successor(&successor) {
        let next = view.path_of(&next).map_or_else(|| next.to_string(), NodePath::to_string);
        return refused("SUCCEEDED", format!("{to} has handed over itself, to {next}"));
    }
    let below = |other: &&replication::NodeFact| {
        other.path != *from && from.contains(&other.path) && view.successor(&other.origin).is_none()
    };
    if let Some(below) = view.nodes().find(below) {
        return refused("NODES_BELOW", format!("{} stands below {from}: hand it over first", below.path));
    }
    let files = view.institutions().filter(|one| one.writer == node).count();
    if files > 0 {
        return refused(
            "INSTITUTIONS_LEFT",
            format!("{files} institutions file with {from}: move them first"),
        );
    }
    let leaving = |one: &&replication::InstitutionFact| {
        view.awaited(&one.origin).is_some_and(|awaited| awaited.writer.as_ref() == Some(from))
    };
    let leaving = view.moved().filter(leaving).count();
    if leaving > 0 {
        return refused(
            "MOVE_UNDER_WAY",
            format!("{from} has yet to end its term of {leaving} institutions that moved: leave it running"),
        );
    }
    Ok(())
}
