//! Greetings: whether this child may talk to this node at all, and what its introduction adds.

use std::sync::Arc;

use model::feed::{Direction, Hello};
use model::{NodePath, OriginId, Record};
use store::{Apply, MAX_COMMIT_RECORDS, Store};

use super::Shared;
use crate::entitlement::{Rules, Staged, Territory, Verdict, is_directory, judge, rank};
use crate::epoch::epoch_id;
use crate::error::Announced;
use crate::{DirectoryView, LinkError, LinkRefusal, NodeIdentity};

/// Checks a greeting against this node and its directory; answers the protocol version to speak. Decides without I/O.
pub(super) fn check(
    hello: &Hello,
    peer: &NodePath,
    own: &NodeIdentity,
    view: &DirectoryView,
) -> Result<u32, LinkRefusal> {
    if hello.trust_domain != own.trust_domain {
        return Err(LinkRefusal::WrongTree {
            theirs: hello.trust_domain.clone(),
            ours: own.trust_domain.clone(),
        });
    }
    let from_above = hello.direction != Direction::Up;
    if from_above && (hello.path != *peer || !peer.is_parent_of(&own.path)) {
        return Err(LinkRefusal::BadHello { why: format!("{peer} is not the parent of {}", own.path) });
    }
    if !from_above && (hello.path != *peer || !own.path.is_parent_of(peer)) {
        let (announced, certified, ours) = (hello.path.clone(), peer.clone(), own.path.clone());
        return Err(LinkRefusal::NotAChild { announced, certified, ours });
    }
    let common = hello.protocols.iter().filter(|version| own.protocols.contains(version)).max();
    let unsupported =
        || LinkRefusal::UnsupportedProtocol { theirs: hello.protocols.clone(), ours: own.protocols.clone() };
    let protocol = *common.ok_or_else(unsupported)?;
    check_origin(hello, own, view)?;
    Ok(protocol)
}

/// The first binding of a path to an origin stands.
fn check_origin(hello: &Hello, own: &NodeIdentity, view: &DirectoryView) -> Result<(), LinkRefusal> {
    let announced = hello.origin;
    if announced == own.origin || view.institution(&announced).is_some() {
        return Err(LinkRefusal::BadHello { why: format!("origin {announced} is not the sender's") });
    }
    if let Some(elsewhere) = view.path_of(&announced).filter(|known| **known != hello.path) {
        return Err(LinkRefusal::BadHello {
            why: format!("origin {announced} is known here as {elsewhere}"),
        });
    }
    let Some(known) = view.origin_at(&hello.path).filter(|known| *known != announced) else { return Ok(()) };
    // Also of an empty store: its records could be sent back, but another origin and key could not go on writing them.
    Err(LinkRefusal::OriginChanged { path: hello.path.clone(), known, announced })
}

/// The refusal of a child that lacks what is known here of its path; the last seq is filled in by whoever can look it up.
pub(super) fn restore_needed(
    hello: &Hello,
    known: OriginId,
    view: &DirectoryView,
    announced: Announced,
) -> LinkRefusal {
    let newest = view.epochs(&known).last();
    let (known_epoch, known_seq) = newest.map_or((0, 0), |newest| (newest.counter, newest.base_seq));
    LinkRefusal::RestoreNeeded { path: hello.path.clone(), known_epoch, known_seq, announced }
}

/// Judges the introduction like any other records, makes it durable and publishes it. Unlike in the feed, one bad record
/// refuses the whole: a child that cannot be identified ships nothing.
pub(super) async fn introduce(shared: Arc<Shared>, peer: NodePath, hello: Hello) -> Result<(), LinkError> {
    let bad = |why: String| LinkError::Refused(LinkRefusal::BadHello { why });
    let Some(newest) = hello.epochs.first() else { return Ok(()) };
    if hello
        .introduction
        .iter()
        .any(|record| !is_directory(record) || record.envelope().origin != hello.origin)
    {
        return Err(bad("the introduction holds more than the sender's own directory records".into()));
    }
    let _gate = shared.directory.decide().await;
    // The parent stands beyond this node's subtree also when it gives that back.
    let from = match hello.direction {
        Direction::Up => Territory::Within(&peer),
        Direction::Down | Direction::Restore => Territory::Beyond(&shared.own.path),
    };
    let rules = Rules { trust_domain: &shared.own.trust_domain, from, keyring: &*shared.keyring };
    let staged = Staged::new(shared.directory.snapshot());
    let (verdicts, staged) = judge(&hello.introduction, staged, rules);
    // The key first: without it nothing else can be verified, and would only say so.
    let refused =
        verdicts.into_iter().zip(&hello.introduction).filter_map(|(verdict, record)| match verdict {
            Verdict::Quarantine(reason) => Some((rank(record), reason)),
            Verdict::Admit => None,
        });
    if let Some((_, reason)) = refused.min_by_key(|(rank, _)| *rank) {
        return Err(bad(format!("a record of the introduction is refused: {reason}")));
    }
    let view = staged.view();
    if view.origin_at(&peer) != Some(hello.origin) {
        return Err(bad("the introduction holds no signing key of the sender".into()));
    }
    let admitted = view.epochs(&hello.origin).last().filter(|known| known.counter == newest.counter);
    if admitted.and_then(epoch_id) != epoch_id(newest) {
        return Err(bad("the introduction does not hold the newest epoch announced".into()));
    }
    apply_new(&shared.store, hello.introduction).await?;
    shared.directory.publish(staged.into_facts());
    Ok(())
}

/// Commits the records that are not held yet, so that connecting again does not grow the log.
async fn apply_new(store: &Store, records: Vec<Record>) -> Result<(), LinkError> {
    let mut new = Vec::new();
    for record in records {
        let held = store.version(&record.key()).map_err(LinkRefusal::StoreRead)?;
        if held.is_none_or(|held| held < record.envelope().version) {
            new.push(record);
        }
    }
    for part in new.chunks(MAX_COMMIT_RECORDS) {
        let apply = Apply { records: part.to_vec(), ..Apply::default() };
        store.apply(apply).await.map_err(LinkRefusal::Store)?;
    }
    Ok(())
}
