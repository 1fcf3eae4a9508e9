//! What the directory says of institutions that have, or had, another writer.
//!
//! ```text
//! decided  INSTITUTION of term 2, by the lowest common ancestor of the old and the new writer
//!    │ down                                               │ down, after it all that is held of the institution
//!    ▼                                                    ▼
//! old writer: refuses, then TERM_END of term 1  ── up, down ──▶  new writer: holds the end, so all before it: writes
//! ```
//! A feed keeps the order of its sender's log, so the end of a term comes wherever it comes after everything that was written
//! in the term. That holds through any number of nodes, also while one of them lags, and needs no positions or clocks.
//! Until the old writer knows of the move it goes on writing in its term, and the new one waits; so no two nodes ever write
//! at once, unless an operator declares the old one dead: then the decider ends the term in its place and says how far it had
//! its records ([`TermEnd::held_seq`]). What comes of the old writer beyond that is *late*: valid, and where its successor has
//! written the same record meanwhile, that counts and the late one is kept in quarantine for somebody to look at.
//!
//! *Two who decide on one term* without knowing of each other (an operator above who has not heard of the move below): the decision
//! counts that the old writer has followed, which its end of the term says, because that successor may have written; until it
//! has followed any, that of the node higher up. Whoever asks again afterwards decides on the next term.
//!
//! A node never changes its place. One that must stand elsewhere is replaced by a new node: its institutions move, then the node above
//! both says that the new one stands for it ([`DirectoryView::stands_for`]), so that the documents it keeps are found.

use model::{NodePath, OriginId, RecordKey, Version};

use super::{DirectoryView, InstitutionFact, TermEnd, term_end_key};

/// A term whose end its successor waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    pub term: u32,
    /// Where the writer of that term stands; none if it is not known here.
    pub writer: Option<NodePath>,
}

impl DirectoryView {
    /// Where the node stands that writes for an institution now.
    pub fn writer_path(&self, institution: &OriginId) -> Option<&NodePath> {
        self.path_of(&self.institution(institution)?.writer)
    }

    /// The node that ended this term, so that everything written in it is held wherever that record is held.
    pub fn term_end(&self, institution: &OriginId, term: u32) -> Option<&TermEnd> {
        self.term_ends(institution, term).next()
    }

    /// The same, and if it was ended without its writer, and by it after all, both.
    fn term_ends(&self, institution: &OriginId, term: u32) -> impl Iterator<Item = &TermEnd> {
        let known = self.institution_in(institution, term).zip(self.institution_in(institution, term + 1));
        let ends = self.ends.get(&(*institution, term)).map_or(&[][..], Vec::as_slice);
        let counts = move |end: &&TermEnd| {
            known.is_some_and(|(this, next)| {
                end.next_writer == next.writer
                    && (end.said_by == this.writer
                        || (end.said_by == next.decided_by && end.held_seq.is_some()))
            })
        };
        ends.iter().filter(counts)
    }

    /// Whether this node has ended a term, whoever it thought would come next.
    pub fn has_ended(&self, node: &OriginId, institution: &OriginId, term: u32) -> bool {
        self.ends.get(&(*institution, term)).is_some_and(|ends| ends.iter().any(|end| end.said_by == *node))
    }

    /// The first earlier term whose records may not all be here, for the institution's writer; none: it may write.
    pub fn awaited(&self, institution: &OriginId) -> Option<Awaited> {
        let now = self.institution(institution)?;
        (1..now.term).find_map(|term| {
            let writer = self.institution_in(institution, term).map(|then| then.writer);
            let held = self.term_end(institution, term).is_some();
            (!held).then(|| Awaited { term, writer: writer.and_then(|node| self.path_of(&node)).cloned() })
        })
    }

    /// The terms that this node has written in, has not ended, and that another writer follows.
    pub fn to_end(&self, node: &OriginId) -> Vec<(InstitutionFact, OriginId)> {
        let mut open = Vec::new();
        for institution in self.moved() {
            let origin = &institution.origin;
            for then in self.terms(origin).filter(|then| then.writer == *node) {
                if let Some(next) = self.institution_in(origin, then.term + 1)
                    && !self.has_ended(node, origin, then.term)
                {
                    open.push((then.clone(), next.writer));
                }
            }
        }
        open
    }

    /// Whether a record was written after what the decider of the next term held of its writer's: the successor may not
    /// have seen it.
    pub fn is_late(&self, institution: &OriginId, version: Version) -> bool {
        let held = self.term_ends(institution, version.term).filter_map(|end| end.held_seq).min();
        held.is_some_and(|held_seq| version.seq > held_seq)
    }

    /// Whether each of these terms was ended by its own writer, and nobody decided otherwise about who follows: then whatever was written
    /// in it was held above both before its successor wrote.
    pub(crate) fn were_handed_over(&self, institution: &OriginId, mut terms: std::ops::Range<u32>) -> bool {
        terms.all(|term| {
            let ends = self.ends.get(&(*institution, term)).map_or(&[][..], Vec::as_slice);
            self.term_end(institution, term).is_some()
                && ends.iter().all(|end| end.held_seq.is_none())
                && self.claims(institution, term + 1).len() < 2
        })
    }

    /// The keys of the records that say how the terms of an institution ended.
    pub(crate) fn end_keys(&self, institution: &OriginId) -> Vec<RecordKey> {
        let terms = self.ends.range((*institution, 0)..=(*institution, u32::MAX));
        terms
            .flat_map(|((_, term), ends)| {
                ends.iter().map(|end| term_end_key(end.said_by, institution, *term))
            })
            .collect()
    }

    /// Whether this institution once wrote in a subtree and writes elsewhere now: a node there may hold versions of its own and the
    /// first ones that followed them.
    pub(crate) fn left(&self, institution: &OriginId, subtree: &NodePath) -> bool {
        let inside = |node: &OriginId| self.path_of(node).is_some_and(|path| subtree.contains(path));
        self.institution(institution).is_some_and(|now| !inside(&now.writer))
            && self.terms(institution).any(|then| inside(&then.writer))
    }

    /// Whether institutions that once wrote in this subtree write elsewhere now: its nodes hold records that others change.
    pub(crate) fn moved_from(&self, subtree: &NodePath) -> bool {
        self.moved().any(|now| {
            let inside = |node: &OriginId| self.path_of(node).is_some_and(|path| subtree.contains(path));
            !inside(&now.writer) && self.terms(&now.origin).any(|then| inside(&then.writer))
        })
    }
}
