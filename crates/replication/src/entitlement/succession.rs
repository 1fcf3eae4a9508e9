//! Who may say that one node stands for another from now on.

use model::body::SuccessionEntry;
use model::{OriginId, Record, RecordId};

use super::{Reason, Rules, Signer, in_epoch};
use crate::{DirectoryView, Fact};

/// The lowest node above both says it, once; and never in a circle.
pub(super) fn judge(
    record: &Record,
    signer: &Signer<'_>,
    view: &DirectoryView,
    rules: Rules<'_>,
) -> Result<Fact, Reason> {
    in_epoch(record, signer, view)?;
    let malformed = Reason::Body("succession");
    let entry: SuccessionEntry = record.decode_body().map_err(|_| malformed.clone())?;
    let node = OriginId::try_from(&entry.node[..]).map_err(|_| malformed.clone())?;
    let successor = OriginId::try_from(&entry.successor[..]).map_err(|_| malformed)?;
    if record.envelope().id != RecordId::of(&[node.as_bytes()]) {
        return Err(Reason::WrongId);
    }
    let fact = Fact::Succession { node, successor, decided_by: signer.node };
    let not_its = |decider: String| Reason::NotItsSuccession { path: signer.path.clone(), decider };
    let (from, to) = (view.path_of(&node), view.path_of(&successor));
    if rules.from.is_above(signer.path) && (from.is_none() || to.is_none()) {
        // This node lost its disk and learns of the two from its other neighbours.
        return Ok(fact);
    }
    let unknown = |node| Reason::StrangerSucceeds { node };
    let (from, to) = (from.ok_or_else(|| unknown(node))?, to.ok_or_else(|| unknown(successor))?);
    let decider = from.common(to);
    if decider.as_ref() != Some(signer.path) || from == signer.path || node == successor {
        return Err(not_its(decider.map_or_else(|| "nobody".to_owned(), |path| path.to_string())));
    }
    let higher = view.succession_by(&node).is_none_or(|by| by.depth() > signer.path.depth());
    let other = view.successor(&node).is_some_and(|known| known != successor);
    if other && !higher || view.stands_for(&successor) == node {
        return Err(Reason::Succeeded { path: from.clone() });
    }
    Ok(fact)
}
