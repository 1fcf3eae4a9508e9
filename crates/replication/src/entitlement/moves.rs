//! Who may say who writes for an institution, and in which term a writer may write. See `directory::moves` for how a move goes.

use model::body::{InstitutionEntry, Kind, TermEndEntry};
use model::{Flow, OriginId, Record};

use super::{Reason, Rules, Signer, known_kind};
use crate::directory::term_id;
use crate::{DirectoryView, InstitutionFact};

/// Whether the signer was the institution's writer in the record's term.
pub(super) fn in_term(record: &Record, signer: &Signer<'_>, view: &DirectoryView) -> Result<(), Reason> {
    let envelope = record.envelope();
    let (origin, term) = (envelope.origin, envelope.version.term);
    let stranger = || Reason::NotTheWriter { path: signer.path.clone(), origin };
    let current = view.institution(&origin).ok_or_else(stranger)?;
    let wrote = view.terms(&origin).any(|then| then.writer == signer.node);
    match view.institution_in(&origin, term) {
        Some(then) if then.writer == signer.node => Ok(()),
        Some(then) if wrote => {
            let by = place(view, &then.writer);
            Err(Reason::OtherWriter { path: signer.path.clone(), term, by })
        }
        None if wrote => Err(Reason::OtherTerm { current: current.term, stated: term }),
        _ => Err(stranger()),
    }
}

/// Whether the signer may decide who writes for the institution from this term on: the lowest node above both writers does,
/// so it sees everything that either of them wrote, and there is just one.
pub(super) fn decided(
    entry: &InstitutionEntry,
    origin: OriginId,
    signer: &Signer<'_>,
    (view, rules): (&DirectoryView, Rules<'_>),
) -> Result<(), Reason> {
    let code = || entry.code.clone();
    let writer = OriginId::try_from(&entry.writer[..]).map_err(|_| Reason::Body("institution"))?;
    let to = view.path_of(&writer);
    // Of several who decided on the term before without knowing of each other, this one may have followed any.
    let claims = view.claims(&origin, entry.term - 1);
    let known = |before: &InstitutionFact| view.path_of(&before.writer).is_some() && to.is_some();
    if rules.from.is_above(signer.path) && !claims.iter().any(known) {
        // This node lost its disk and gets back what the decision was about from its other neighbours.
        return Ok(());
    }
    let before = view.institution_in(&origin, entry.term - 1);
    let before = before.ok_or_else(|| Reason::UnknownTerm { code: code(), before: entry.term - 1 })?;
    let unknown = |node: &OriginId| Reason::UnknownNode { code: code(), node: *node };
    let to = to.ok_or_else(|| unknown(&writer))?;
    let decider = |before: &InstitutionFact| view.path_of(&before.writer)?.common(to);
    let may =
        |before: &InstitutionFact| before.writer != writer && decider(before).as_ref() == Some(signer.path);
    if !claims.iter().any(may) {
        let decider = match view.path_of(&before.writer).ok_or_else(|| unknown(&before.writer))?.common(to) {
            Some(path) => path.to_string(),
            None => "nobody".to_owned(),
        };
        return Err(Reason::NotTheDecider { code: code(), path: signer.path.clone(), decider });
    }
    // The first word of each counts. Which of several does shows when the writer before ends its term.
    let own = |known: &&InstitutionFact| known.decided_by == signer.node && known.writer != writer;
    match view.claims(&origin, entry.term).iter().find(own) {
        Some(known) => Err(Reason::Claimed { code: code(), by: place(view, &known.writer) }),
        None => Ok(()),
    }
}

/// Whether a record that ends a term is good; all others are.
pub(super) fn end(record: &Record, signer: &Signer<'_>, view: &DirectoryView) -> Result<(), Reason> {
    if known_kind(record) != Some(Kind::TermEnd) {
        return Ok(());
    }
    let envelope = record.envelope();
    if envelope.known_flow() != Some(Flow::Directory) {
        return Err(Reason::WrongFlow);
    }
    if envelope.tombstone {
        return Err(Reason::Withdrawn);
    }
    let entry: TermEndEntry = record.decode_body().map_err(|_| Reason::Body("end of a term"))?;
    let origin = OriginId::try_from(&entry.institution[..]).map_err(|_| Reason::Body("end of a term"))?;
    OriginId::try_from(&entry.next_writer[..]).map_err(|_| Reason::Body("end of a term"))?;
    if envelope.id != term_id(&origin, entry.term) {
        return Err(Reason::WrongId);
    }
    let others = Reason::NotItsTerm { path: signer.path.clone(), term: entry.term };
    if envelope.origin != signer.node {
        return Err(others);
    }
    let wrote = view.claims(&origin, entry.term).iter().any(|then| then.writer == signer.node);
    let next = view.claims(&origin, entry.term.saturating_add(1));
    let decided = next.iter().any(|next| next.decided_by == signer.node);
    if wrote || (decided && entry.without_writer) { Ok(()) } else { Err(others) }
}

fn place(view: &DirectoryView, node: &OriginId) -> String {
    view.path_of(node).map_or_else(|| node.to_string(), ToString::to_string)
}
