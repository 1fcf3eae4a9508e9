//! What goes down to a child: the directory, and the records of persons in whom it has an interest (design.md, *Words*).
//!
//! ```text
//! directory, code system, policy, catalogue, revocation   from anywhere but the child's subtree
//! registration of the subtree                             it and the rest of its person, with their documents: an interest may be new
//! registration of elsewhere                               if somebody of the subtree is the same person: the whole person
//!                                                         if the version before was: the child forgets it, and its documents
//!                                                         if the version before was signed there: the change; at the one after
//!                                                         that, and of no concern: forgotten
//! document entry                                          if its patient's person has a registration of the subtree
//!                                                         if its institution is of the subtree, or left it and its content is there
//!                                                         if the version before was signed there: the change, as above
//! registration of anywhere                                who is no more the same person as it, and of no concern: forgotten
//! link of elsewhere                                       if both its registrations are of concern; with it whom it joins: an interest
//!                                                         may be new; and whom it parts, and who is of no concern: forgotten
//!                                                         if the subtree said something of the same pair: it may be overruled
//! registration or link forgotten here                     the same; and who was of concern only over it: forgotten
//! institution moves into the subtree                      all that it has filed so far (`send::backfill`)
//! ```
//! A record is *of* the subtree in which its institution's writer stands now, whoever signed it. What was signed in the subtree
//! goes down never: the child has it, or gets it back by a restore. A child that holds a record which it signed itself, before
//! the institution moved away, is told of the first change to it, so that both ends of its up feed agree who holds what of it.
//!
//! What is retracted by this looks at versions before, and those may have been reclaimed. So it is only the fast way: the comparison
//! (`send::sweep`) finds whatever a child holds that it is not told.
//!
//! The rule looks at what is held now and not at what was held when the record was committed. That is right in both
//! directions: whatever changes an interest later is itself a record that comes later in the feed.

mod links;
mod moves;

use std::collections::HashSet;
use std::sync::Arc;

use model::body::{DocumentEntry, Kind};
use model::{Envelope, Flow, NodePath, OriginId, Record, RecordKey, Version};
use store::{Forgotten, ReadError, Store};

pub(crate) use self::links::is_about_unknown;
use crate::{DirectoryView, Fact};

pub(crate) use moves::Moves;

/// Most versions of a registration looked through for the one that the child was told last.
const MAX_HISTORY: usize = 64;
/// Most records remembered as sent in a session; past it everything is forgotten and may be sent again.
const MAX_REMEMBERED: usize = 64 * 1024;

/// Which registrations are one person.
pub trait Interest: std::fmt::Debug + Send + Sync {
    /// The living registrations held to be the same person as this one, which is among them unless it is dead. It may be an
    /// earlier version of its record.
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError>;
    /// The document entries about a registration.
    fn documents(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError>;
    /// The links about a registration, whichever end it is and whatever they decide.
    fn links(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError>;
}

/// Whether the rule needs to see a record with this envelope at all.
pub(crate) fn concerns_down(envelope: &Envelope) -> bool {
    flow_concerns_down(envelope.known_flow())
}

/// The same by the flow class.
pub(crate) fn flow_concerns_down(flow: Option<Flow>) -> bool {
    // An unknown flow class goes up only; so do counters, messages and audit entries.
    !matches!(flow, None | Some(Flow::Unspecified | Flow::Counter | Flow::Message | Flow::Audit))
}

/// Whether a record is one that the down feed tells this child now.
pub fn is_told(
    record: &Record,
    child: &NodePath,
    interest: &dyn Interest,
    view: &DirectoryView,
    store: &Store,
) -> Result<bool, ReadError> {
    // A record is of the subtree in which its institution's writer stands now, whoever signed it.
    let inside = |record: &Record| {
        let envelope = record.envelope();
        let writer = view.institution(&envelope.origin).and_then(|known| view.path_of(&known.writer));
        writer.or_else(|| view.key_path(&envelope.key_id)).is_some_and(|path| child.contains(path))
    };
    let concerns = |registration: &Record| -> Result<bool, ReadError> {
        Ok(!registration.envelope().tombstone && interest.person(registration)?.iter().any(inside))
    };
    let envelope = record.envelope();
    match envelope.known_flow() {
        Some(Flow::Registration) if envelope.kind == Kind::Registration as u32 => {
            Ok(inside(record) || concerns(record)?)
        }
        Some(Flow::DocumentEntry) if inside(record) || is_kept_in(record, child, view) => Ok(true),
        Some(Flow::DocumentEntry) => match envelope.subject {
            Some(subject) => store.get(&subject)?.map_or(Ok(false), |patient| concerns(&patient)),
            None => Ok(false),
        },
        Some(Flow::Link) => {
            if links::contradicts_inside(record, child, interest, view)? {
                return Ok(true);
            }
            let Some([a, b]) = links::ends(record, store)? else { return Ok(false) };
            let of_concern = |end: &Record| Ok(inside(end) || concerns(end)?);
            Ok(of_concern(&a)? && of_concern(&b)?)
        }
        flow => Ok(is_for_everybody(flow)),
    }
}

/// Whether an entry is of a document whose content is kept in a subtree that its institution left: a custodian that did not know of
/// it any more could not hand the content out.
fn is_kept_in(entry: &Record, subtree: &NodePath, view: &DirectoryView) -> bool {
    let envelope = entry.envelope();
    envelope.kind == Kind::DocumentEntry as u32
        && view.left(&envelope.origin, subtree)
        && entry
            .decode_body::<DocumentEntry>()
            .ok()
            .and_then(|body| OriginId::try_from(&body.custodian[..]).ok())
            .and_then(|custodian| view.path_of(&custodian))
            .is_some_and(|path| subtree.contains(path))
}

/// Whether records of this class go down to every node.
fn is_for_everybody(flow: Option<Flow>) -> bool {
    matches!(
        flow,
        Some(Flow::Directory | Flow::CodeSystem | Flow::Policy | Flow::Catalogue | Flow::Revocation)
    )
}

/// What goes to the child because of some records.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub records: Vec<Record>,
    /// What it is to forget, in this version or an earlier one.
    pub retractions: Vec<(RecordKey, Version)>,
}

impl Selected {
    fn tell(records: Vec<Record>) -> Self {
        Self { records, retractions: Vec::new() }
    }

    fn retract(&mut self, record: &Record) {
        self.retractions.push((record.key(), record.envelope().version));
    }

    /// Tells one more. The child forgets when all of a slice has come, whatever of it came first: what was retracted because of an
    /// earlier record of the slice is not, if it is told because of a later one.
    fn tell_also(&mut self, record: Record) {
        let (key, version) = (record.key(), record.envelope().version);
        self.retractions.retain(|(gone, upto)| *gone != key || *upto < version);
        self.records.push(record);
    }

    /// Retracts more, and does not tell them.
    pub fn retract_also(&mut self, retractions: Vec<(RecordKey, Version)>) {
        if !retractions.is_empty() {
            let gone = |record: &Record| {
                let named = |(key, upto): &(RecordKey, Version)| {
                    *key == record.key() && record.envelope().version <= *upto
                };
                retractions.iter().any(named)
            };
            self.records.retain(|record| !gone(record));
            self.retractions.extend(retractions);
        }
    }
}

/// Selects for one child, during one session.
#[derive(Debug)]
pub(crate) struct Selection {
    interest: Arc<dyn Interest>,
    child: NodePath,
    moves: Moves,
    sent: HashSet<(RecordKey, Version)>,
}

impl Selection {
    pub fn new(interest: Arc<dyn Interest>, child: NodePath, moves: Moves) -> Self {
        Self { interest, child, moves, sent: HashSet::new() }
    }

    /// The institutions that moved into the child's subtree by one of these records, and up to where their records are to be
    /// looked for again.
    pub fn moved_in(&mut self, records: &[Record], upto: u64, view: &DirectoryView) -> Vec<(OriginId, u64)> {
        self.moves.meet(records, upto, &self.child, view)
    }

    /// What the child is to have because these records are there, each once. Up to `after` it has been told.
    pub async fn of(
        &mut self,
        records: Vec<Record>,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        if self.sent.len() > MAX_REMEMBERED {
            self.sent.clear();
        }
        let mut selected = Selected::default();
        for record in records {
            let key = record.key();
            let Selected { records, retractions } = self.because_of(record, after, view, store)?;
            for wanted in records {
                // A person's other registrations are looked up as they are now: of one that came just now it may not be known here
                // yet whose it is, and then the child could not be told. Its own turn comes.
                let its_turn = wanted.key() == key;
                if (its_turn || view.explains(wanted.envelope()))
                    && self.sent.insert((wanted.key(), wanted.envelope().version))
                {
                    selected.tell_also(wanted);
                }
            }
            self.retracted(&retractions);
            selected.retract_also(retractions);
            // A person may have many registrations and documents: others want to run too.
            tokio::task::yield_now().await;
        }
        Ok(selected)
    }

    /// What the child is to forget because this node forgot some records: the same, and whoever was of concern only over them.
    /// What came again, it forgets unless it is told that: the version that came follows none, so nobody would find in it what was
    /// told before.
    pub fn forgotten(
        &self,
        forgotten: &[Forgotten],
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<(RecordKey, Version)>, ReadError> {
        let mut selected = Selected::default();
        for gone in forgotten {
            let again = match store.get(&gone.key)? {
                Some(record) => {
                    self.stays(&record, view) || is_told(&record, &self.child, &*self.interest, view, store)?
                }
                None => false,
            };
            if !again {
                // What the child signed itself it forgets only for a version of a later writer's.
                let own = view.key_path(&gone.signer()).is_some_and(|path| self.child.contains(path));
                let next = Version { term: gone.version.term.saturating_add(1), epoch: 0, seq: 0 };
                selected.retractions.push((gone.key, if own { next } else { gone.version }));
            }
            if let Some(before) = store.before_forgetting(gone)? {
                self.parted_without(&before, view, store, &mut selected)?;
            }
        }
        Ok(selected.retractions)
    }

    /// The child forgets these, so they may be told again.
    pub fn retracted(&mut self, retractions: &[(RecordKey, Version)]) {
        for retraction in retractions {
            self.sent.remove(retraction);
        }
    }

    fn because_of(
        &self,
        record: Record,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        let signed_inside = self.is_signed_inside(&record, view);
        match record.envelope().known_flow() {
            Some(Flow::Registration) if record.envelope().kind == Kind::Registration as u32 => {
                self.because_of_registration(record, after, view, store)
            }
            Some(Flow::DocumentEntry) if !signed_inside => {
                self.because_of_document(record, after, view, store)
            }
            flow if is_for_everybody(flow) && !signed_inside && self.may_know(&record, view) => {
                Ok(Selected::tell(vec![record]))
            }
            Some(Flow::Link) => self.because_of_link(record, view, store),
            // Consents come with the policy issue.
            _ => Ok(Selected::default()),
        }
    }

    /// The end of a term goes after all that it ends, so not before it is known here for whom that is.
    pub(crate) fn may_know(&self, record: &Record, view: &DirectoryView) -> bool {
        match Fact::of_record(record) {
            Some(Fact::TermEnd { institution, term, .. }) => self.moves.is_followed(&institution, term, view),
            _ => true,
        }
    }

    fn because_of_registration(
        &self,
        record: Record,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        let signed_inside = self.is_signed_inside(&record, view);
        let history = store.history(&record.key(), MAX_HISTORY)?;
        let mut selected = self.because_it_changed(&history, after, view, store)?;
        if record.envelope().tombstone {
            self.retract_links(&record, view, &mut selected)?;
        }
        if record.envelope().tombstone && !signed_inside && self.is_of_subtree(&record, view) {
            selected.records.push(record);
            return Ok(selected);
        }
        let person = if record.envelope().tombstone { Vec::new() } else { self.interest.person(&record)? };
        if person.iter().any(|member| self.is_of_subtree(member, view)) {
            self.tell_person(person, view, store, &mut selected)?;
        } else if !signed_inside {
            // A child that signed an earlier version itself does not forget it, so it is told what became of it.
            if self.is_stale_inside(&record, &history, after, view) {
                selected.records.push(record);
            } else {
                if self.was_told(&history, after, view)? {
                    self.retract_all(&record, view, &mut selected)?;
                }
                self.retract_what_left(&record, view, &mut selected);
            }
        }
        Ok(selected)
    }

    /// The others of the persons that the earlier versions of a registration made, if they are of no concern any more.
    fn because_it_changed(
        &self,
        history: &[(u64, Record)],
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        let mut selected = Selected::default();
        let mut met = HashSet::new();
        for (lsn, earlier) in history.iter().skip(1) {
            let before =
                if earlier.envelope().tombstone { Vec::new() } else { self.interest.person(earlier)? };
            for member in before.into_iter().filter(|member| member.key() != earlier.key()) {
                if met.insert(member.key()) && !is_told(&member, &self.child, &*self.interest, view, store)? {
                    self.retract_all(&member, view, &mut selected)?;
                }
            }
            if *lsn <= after {
                break;
            }
        }
        if let [(_, now), _, ..] = history {
            self.retract_others(now, &met, (view, store), &mut selected)?;
        }
        Ok(selected)
    }

    /// Tells all of a person that is of concern, with documents and links.
    fn tell_person(
        &self,
        person: Vec<Record>,
        view: &DirectoryView,
        store: &Store,
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        let links = self.links_of(&person, view, store)?;
        let outside = |one: &Record| !self.is_signed_inside(one, view);
        for member in person {
            let documents = self.interest.documents(&member.key())?;
            selected.records.extend(std::iter::once(member).chain(documents).filter(outside));
        }
        selected.records.extend(links.into_iter().filter(outside));
        Ok(())
    }

    /// Retracts a registration with its documents and links, but for what is the subtree's own.
    fn retract_all(
        &self,
        registration: &Record,
        view: &DirectoryView,
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        self.retract_with_documents(registration, view, selected)?;
        self.retract_links(registration, view, selected)
    }

    fn retract_with_documents(
        &self,
        registration: &Record,
        view: &DirectoryView,
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        for record in self.interest.documents(&registration.key())?.iter().chain([registration]) {
            if !self.stays(record, view) {
                selected.retract(record);
            }
        }
        Ok(())
    }

    /// What came after the first change to a record of an institution that moved away, and is of no concern: of the changes before,
    /// none is true any more, and nor is what the child signed itself. They may have been forgotten or reclaimed here.
    fn retract_what_left(&self, record: &Record, view: &DirectoryView, selected: &mut Selected) {
        if view.left(&record.envelope().origin, &self.child) {
            selected.retract(record);
        }
    }

    /// Whether the child keeps a record whatever becomes of interests: it is the subtree's own, or follows what was.
    fn stays(&self, record: &Record, view: &DirectoryView) -> bool {
        view.left(&record.envelope().origin, &self.child)
            || self.is_signed_inside(record, view)
            || self.is_of_subtree(record, view)
    }

    /// Whether somebody of the subtree is held to be the same person.
    fn is_of_concern(&self, registration: &Record, view: &DirectoryView) -> Result<bool, ReadError> {
        let person = self.interest.person(registration)?;
        Ok(person.iter().any(|member| self.is_of_subtree(member, view)))
    }

    /// Whether the child was told of a version: of the one before what is told now, or of a later one that went ahead with the
    /// rest of its person.
    fn was_told(
        &self,
        history: &[(u64, Record)],
        after: u64,
        view: &DirectoryView,
    ) -> Result<bool, ReadError> {
        for (lsn, earlier) in history {
            if !earlier.envelope().tombstone && self.is_of_concern(earlier, view)? {
                return Ok(true);
            }
            if *lsn <= after {
                break;
            }
        }
        Ok(false)
    }

    /// Whether the child holds an earlier version that it signed itself, and was told of none since.
    fn is_stale_inside(
        &self,
        record: &Record,
        history: &[(u64, Record)],
        after: u64,
        view: &DirectoryView,
    ) -> bool {
        let earlier = history.iter().filter(|(_, one)| one.envelope().version < record.envelope().version);
        for (lsn, one) in earlier {
            if self.is_signed_inside(one, view) {
                return true;
            }
            if *lsn <= after {
                return false;
            }
        }
        false
    }

    fn because_of_document(
        &self,
        document: Record,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        let Some(subject) = document.envelope().subject else { return Ok(Selected::default()) };
        let patient = store.get(&subject)?.filter(|patient| !patient.envelope().tombstone);
        if let Some(patient) = patient
            && self.is_of_concern(&patient, view)?
        {
            let patient = Some(patient).filter(|patient| !self.is_signed_inside(patient, view));
            return Ok(Selected::tell(patient.into_iter().chain([document]).collect()));
        }
        if self.is_of_subtree(&document, view) || is_kept_in(&document, &self.child, view) {
            return Ok(Selected::tell(vec![document]));
        }
        let history = store.history(&document.key(), MAX_HISTORY)?;
        if self.is_stale_inside(&document, &history, after, view) {
            return Ok(Selected::tell(vec![document]));
        }
        let mut selected = Selected::default();
        self.retract_what_left(&document, view, &mut selected);
        Ok(selected)
    }

    /// Whether a record was signed in the child's subtree: that it has itself.
    fn is_signed_inside(&self, record: &Record, view: &DirectoryView) -> bool {
        view.key_path(&record.envelope().key_id).is_some_and(|path| self.child.contains(path))
    }

    /// Whether a record's institution is the subtree's now, whoever signed it.
    fn is_of_subtree(&self, record: &Record, view: &DirectoryView) -> bool {
        match self.moves.writer(&record.envelope().origin, view) {
            Some(writer) => view.path_of(&writer).is_some_and(|path| self.child.contains(path)),
            None => self.is_signed_inside(record, view),
        }
    }
}

#[cfg(test)]
mod tests;
