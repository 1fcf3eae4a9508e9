//! What this node refused and keeps in quarantine, for an operator: who sent it, what its envelope says, why it was refused, and
//! whether it is settled by now. Never what a record holds.

use bytes::Bytes;
use model::body::RawRecord;
use model::{NodePath, OriginId, Record, RecordKey, Version};
use prost::Message;
use replication::DirectoryView;
use store::{Direction, QuarantinePlace, Quarantined, QuarantinedRecord, ReadError, Standing, Store};

use crate::caller::{Action, Caller, permit};
use crate::scrub::blocking;
use crate::{Exchange, ExchangeError};

/// Most records of one page.
pub const MAX_QUARANTINE: usize = 1_000;

/// What the envelope of a refused record says. Its signature may be false, and with it everything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Number of the kind, possibly unknown here.
    pub kind: u32,
    pub key: RecordKey,
    pub version: Version,
    pub origin: OriginId,
    /// Where the node stands whose key it names; none when the directory does not know it.
    pub writer: Option<NodePath>,
    /// Code and name of the institution whose record it is; none when it is a node's or unknown here.
    pub institution: Option<(String, String)>,
    pub standing: Standing,
}

/// One entry of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The neighbour that sent it, and where it stands with what name if the directory knows it.
    pub from: OriginId,
    pub from_path: Option<NodePath>,
    pub from_name: String,
    pub direction: Direction,
    /// The rule that it broke when it came; names no person.
    pub reason: String,
    /// As it came.
    pub bytes: u64,
    /// None for bytes that are no record.
    pub record: Option<RefusedRecord>,
}

/// A page of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuarantinePage {
    /// Oldest first.
    pub refused: Vec<Refused>,
    /// Entries of this page of which nothing can be said, because the log is damaged where they are kept.
    pub unreadable: u32,
    /// Where to go on; none at the end.
    pub next: Option<QuarantinePlace>,
}

impl Exchange {
    /// What is kept in quarantine, oldest first: from one neighbour (its path, name or origin) or from all if `from` is empty, after a
    /// place, at most `limit` and [`MAX_QUARANTINE`].
    pub async fn quarantine(
        &self,
        caller: &Caller,
        from: &str,
        after: Option<QuarantinePlace>,
        limit: usize,
    ) -> Result<QuarantinePage, ExchangeError> {
        let _permit = permit(caller, Action::Operate, &self.parts.node.path)?;
        let view = self.parts.directory.snapshot();
        let from = if from.is_empty() { None } else { Some(sender(&view, from)?) };
        let (store, limit) = (self.parts.store.clone(), limit.min(MAX_QUARANTINE));
        let page = blocking(move || {
            let (mut page, mut failed) = (QuarantinePage::default(), None);
            page.next = store.each_quarantined(from.as_ref(), after, limit, &mut |one| match one {
                _ if failed.is_some() => {}
                None => page.unreadable += 1,
                Some(one) => match refused(&store, &view, &one) {
                    Ok(one) => page.refused.push(one),
                    Err(error) => failed = Some(error),
                },
            })?;
            failed.map_or(Ok(page), Err)
        });
        Ok(page.await?)
    }
}

/// The node that somebody means by a path, a name or an origin.
fn sender(view: &DirectoryView, meant: &str) -> Result<OriginId, ExchangeError> {
    if let Some(node) = meant.parse().ok().and_then(|path: NodePath| view.origin_at(&path)) {
        return Ok(node);
    }
    let named: Vec<_> = view.nodes().filter(|node| node.name == meant).collect();
    match named.as_slice() {
        [node] => return Ok(node.origin),
        [] => {}
        [node, other, ..] => {
            let message = format!("more than one node has this name: say {} or {}", node.path, other.path);
            return Err(ExchangeError::unusable("AMBIGUOUS_NODE", message));
        }
    }
    // One that the directory does not know may have sent something all the same.
    meant.parse().map_err(|_| {
        let message = "this node is not known here: give a node's path, its name or its origin";
        ExchangeError::not_found("UNKNOWN_NODE", message)
    })
}

fn refused(store: &Store, view: &DirectoryView, one: &Quarantined) -> Result<Refused, ReadError> {
    let node = view.node(&one.from.peer);
    let record = record(&one.raw).map(|record| facts(store, view, &record)).transpose()?;
    Ok(Refused {
        from: one.from.peer,
        from_path: node.map(|node| node.path.clone()),
        from_name: node.map_or_else(String::new, |node| node.name.clone()),
        direction: one.from.direction,
        reason: one.reason.clone(),
        bytes: one.raw.len() as u64,
        record,
    })
}

fn record(raw: &Bytes) -> Option<Record> {
    RawRecord::decode(raw.clone()).ok().and_then(|raw| Record::from_raw(raw).ok())
}

fn facts(store: &Store, view: &DirectoryView, record: &Record) -> Result<RefusedRecord, ReadError> {
    let envelope = record.envelope();
    let (origin, version) = (envelope.origin, envelope.version);
    let refused = QuarantinedRecord { key: record.key(), version, contribution: store::contribution(record) };
    let institution = view.institution_in(&origin, version.term).or_else(|| view.institution(&origin));
    Ok(RefusedRecord {
        kind: envelope.kind,
        key: record.key(),
        version,
        origin,
        writer: view.key_path(&envelope.key_id).cloned(),
        institution: institution.map(|fact| (fact.code.clone(), fact.name.clone())),
        standing: store.standing(&refused)?,
    })
}

#[cfg(test)]
mod tests;
