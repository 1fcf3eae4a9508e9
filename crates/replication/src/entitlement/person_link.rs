//! Who may decide about a pair of registrations: the lowest node above both, or for what overrules, one above that.

use model::body::{LinkDecision, LinkLayer};
use model::person_link::{Decided, PersonLinkError, Standing};
use model::{Flow, Kind, NodePath, OriginId, Record};

use super::{Reason, Signer, Territory, known_kind};
use crate::DirectoryView;

/// Whether a record is no link, or a good one.
pub(super) fn check(
    record: &Record,
    signer: &Signer<'_>,
    view: &DirectoryView,
    from: Territory<'_>,
) -> Result<(), Reason> {
    if known_kind(record) != Some(Kind::Link) {
        return Ok(());
    }
    let envelope = record.envelope();
    if envelope.known_flow() != Some(Flow::Link) {
        return Err(Reason::WrongFlow);
    }
    if envelope.tombstone {
        return Err(Reason::LinkWithdrawn);
    }
    let decided = Decided::of(record).map_err(|error| match error {
        PersonLinkError::Id => Reason::WrongId,
        PersonLinkError::Form => Reason::Body("link"),
        PersonLinkError::Ends => Reason::Body("ends of a link"),
        PersonLinkError::TooLong => Reason::Body("link: a text or list is too long"),
        PersonLinkError::Weight => Reason::Body("link: weight"),
    })?;
    // Else the writer of an institution could decide in its name.
    if envelope.origin != signer.node {
        return Err(Reason::WrongOrigin);
    }
    // Of an institution that is not known here its entry may still be on its way. From above links come with the persons that they are
    // of, and so ahead of the moves that made them that node's: those who read them ask again.
    let in_order = matches!(from, Territory::Within(_) | Territory::Child { .. });
    match may_decide(&decided, signer.path, view) {
        Some(false) if in_order => Err(Reason::NotTheJudge(signer.path.clone())),
        _ => Ok(()),
    }
}

/// Where the node at `path` stands to the pair that it decided about, as both institutions file now.
pub fn standing(decided: &Decided, path: &NodePath, view: &DirectoryView) -> Standing {
    let [a, b] = decided.origins.each_ref().map(|origin| view.writer_path(origin));
    let judge = a.zip(b).and_then(|(a, b)| a.common(b));
    let is_above = judge.as_ref().is_some_and(|judge| path.contains(judge));
    Standing { depth: path.depth(), is_judge: judge.as_ref() == Some(path), is_above }
}

/// Whether the node at `path` may decide this; none while an institution is not known here. All terms of both institutions count, so a
/// move makes no link bad. Whoever reads links asks again: an earlier release admitted them unread.
pub fn may_decide(decided: &Decided, path: &NodePath, view: &DirectoryView) -> Option<bool> {
    let writers = |origin: &OriginId| -> Vec<&NodePath> {
        view.terms(origin).filter_map(|term| view.path_of(&term.writer)).collect()
    };
    let [a, b] = decided.origins.each_ref().map(writers);
    if a.is_empty() || b.is_empty() {
        return None;
    }
    // What overrules a link may come from above; a link of a machine may not, or two nodes would judge one pair.
    let overrules = decided.layer != LinkLayer::Machine || decided.decision == LinkDecision::Different;
    let may = |lowest: NodePath| lowest == *path || overrules && path.contains(&lowest);
    Some(a.iter().any(|a| b.iter().any(|b| a.common(b).is_some_and(may))))
}
