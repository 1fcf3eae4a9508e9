//! What goes down to a child: the directory, and the records of persons in whom it has an interest (design.md, *Words*).
//!
//! ```text
//! directory, code system, policy, catalogue, revocation   from anywhere but the child's subtree
//! registration from the subtree                           the rest of its person, with their documents: an interest may be new
//! registration from elsewhere                             if somebody in the subtree is the same person: the whole person
//!                                                         if the version before was: the change, which ends the interest
//! document entry from elsewhere                           if its patient's person has a registration in the subtree
//! ```
//! The rule looks at what is held now and not at what was held when the record was committed. That is right in both
//! directions: whatever changes an interest later is itself a record that comes later in the feed.

use std::collections::HashSet;
use std::sync::Arc;

use model::body::Kind;
use model::{Envelope, Flow, NodePath, Record, RecordKey, Version};
use store::{ReadError, Store};

use crate::DirectoryView;

/// Most versions of a registration looked through for the one that the child was told last.
const MAX_HISTORY: usize = 64;
/// Most records remembered as sent in a session; past it everything is forgotten and may be sent again.
const MAX_REMEMBERED: usize = 64 * 1024;

/// Which registrations are one person: the query-time rule for now, the linker later.
pub trait Interest: std::fmt::Debug + Send + Sync {
    /// The living registrations held to be the same person as this one, which is among them unless it is dead. It may be an
    /// earlier version of its record.
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError>;
    /// The document entries about a registration.
    fn documents(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError>;
}

/// Whether the rule needs to see a record with this envelope at all.
pub(crate) fn concerns_down(envelope: &Envelope) -> bool {
    // An unknown flow class goes up only; so do counters, messages and audit entries.
    !matches!(
        envelope.known_flow(),
        None | Some(Flow::Unspecified | Flow::Counter | Flow::Message | Flow::Audit)
    )
}

/// Selects for one child, during one session.
#[derive(Debug)]
pub(crate) struct Selection {
    interest: Arc<dyn Interest>,
    child: NodePath,
    sent: HashSet<(RecordKey, Version)>,
}

impl Selection {
    pub fn new(interest: Arc<dyn Interest>, child: NodePath) -> Self {
        Self { interest, child, sent: HashSet::new() }
    }

    /// What the child is to have because these records are there, each once. Up to `after` it has been told.
    pub fn of(
        &mut self,
        records: Vec<Record>,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        if self.sent.len() > MAX_REMEMBERED {
            self.sent.clear();
        }
        let mut selected = Vec::new();
        for record in records {
            for wanted in self.because_of(record, after, view, store)? {
                if self.sent.insert((wanted.key(), wanted.envelope().version)) {
                    selected.push(wanted);
                }
            }
        }
        Ok(selected)
    }

    fn because_of(
        &self,
        record: Record,
        after: u64,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        let inside = self.is_inside(&record, view);
        match record.envelope().known_flow() {
            Some(Flow::Registration) if record.envelope().kind == Kind::Registration as u32 => {
                self.because_of_registration(record, (inside, after), view, store)
            }
            Some(Flow::DocumentEntry) if !inside => self.because_of_document(record, view, store),
            Some(Flow::Directory | Flow::CodeSystem | Flow::Policy | Flow::Catalogue | Flow::Revocation)
                if !inside =>
            {
                Ok(vec![record])
            }
            // Links and consents come with the linker and the policy issue.
            _ => Ok(Vec::new()),
        }
    }

    fn because_of_registration(
        &self,
        record: Record,
        (inside, after): (bool, u64),
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        let mut wanted = Vec::new();
        let person = if record.envelope().tombstone { Vec::new() } else { self.interest.person(&record)? };
        if person.iter().any(|member| self.is_inside(member, view)) {
            for member in person {
                if !self.is_inside(&member, view) {
                    let documents = self.interest.documents(&member.key())?;
                    wanted.push(member);
                    wanted.extend(documents.into_iter().filter(|document| !self.is_inside(document, view)));
                }
            }
        } else if !inside {
            // The version that the child was told last, if it was told of any: the one before what is told now, or a later
            // one that went ahead with the rest of its person.
            for (lsn, earlier) in store.history(&record.key(), MAX_HISTORY)? {
                let living = !earlier.envelope().tombstone;
                if living && self.interest.person(&earlier)?.iter().any(|member| self.is_inside(member, view))
                {
                    wanted.push(record);
                    break;
                }
                if lsn <= after {
                    break;
                }
            }
        }
        Ok(wanted)
    }

    fn because_of_document(
        &self,
        document: Record,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        let Some(subject) = document.envelope().subject else { return Ok(Vec::new()) };
        let Some(patient) = store.get(&subject)?.filter(|patient| !patient.envelope().tombstone) else {
            return Ok(Vec::new());
        };
        let concerned = self.interest.person(&patient)?.iter().any(|member| self.is_inside(member, view));
        Ok(if concerned { vec![patient, document] } else { Vec::new() })
    }

    /// Whether a record was written in the child's subtree: that it has itself.
    fn is_inside(&self, record: &Record, view: &DirectoryView) -> bool {
        view.key_path(&record.envelope().key_id).is_some_and(|path| self.child.contains(path))
    }
}
