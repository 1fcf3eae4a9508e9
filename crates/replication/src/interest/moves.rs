//! Who writes for an institution, as one session of a down feed sees it: the directory, and the decisions that the session has
//! met in the log and that are published a moment later.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{NodePath, OriginId, Record};

use crate::{DirectoryView, Fact};

/// The decisions of one session.
#[derive(Debug)]
pub(crate) struct Moves {
    /// Where the session began, and what was known then.
    began: u64,
    at_start: Arc<DirectoryView>,
    /// Latest term and its writer, of decisions met. Bounded by the institutions that move during a session.
    met: BTreeMap<OriginId, (u32, OriginId)>,
}

impl Moves {
    pub fn new(began: u64, at_start: Arc<DirectoryView>) -> Self {
        Self { began, at_start, met: BTreeMap::new() }
    }

    /// Notes the decisions among records read up to a position. Answers the institutions that moved into the subtree of
    /// `child`, and up to where the log was read before that was known.
    pub fn meet(
        &mut self,
        records: &[Record],
        upto: u64,
        child: &NodePath,
        view: &DirectoryView,
    ) -> Vec<(OriginId, u64)> {
        let inside = |node: &OriginId| view.path_of(node).is_some_and(|path| child.contains(path));
        let mut moved = Vec::new();
        for record in records {
            let Some(Fact::Institution { origin, term, writer, .. }) = Fact::of_record(record) else {
                continue;
            };
            if term < 2 {
                continue;
            }
            let before = view.institution_in(&origin, term - 1).map(|before| before.writer);
            let before = before.or_else(|| {
                self.met.get(&origin).filter(|(met, _)| *met == term - 1).map(|(_, writer)| *writer)
            });
            let met = self.met.entry(origin).or_insert((term, writer));
            if met.0 < term {
                *met = (term, writer);
            }
            let known = self.at_start.institution_in(&origin, term).is_some();
            let until = if known { self.began } else { upto };
            if until > 0 && inside(&writer) && !before.is_some_and(|before| inside(&before)) {
                moved.push((origin, until));
            }
        }
        moved
    }

    /// The institution's writer now; none if it is none of an institution known here.
    pub fn writer(&self, institution: &OriginId, view: &DirectoryView) -> Option<OriginId> {
        let known = view.institution(institution);
        let met = self.met.get(institution);
        match (known, met) {
            (Some(known), Some((term, _))) if known.term >= *term => Some(known.writer),
            (_, Some((_, writer))) => Some(*writer),
            (known, None) => known.map(|known| known.writer),
        }
    }

    /// Whether the decision that follows this term is known.
    pub fn is_followed(&self, institution: &OriginId, term: u32, view: &DirectoryView) -> bool {
        view.institution(institution).is_some_and(|known| known.term > term)
            || self.met.get(institution).is_some_and(|(met, _)| *met > term)
    }
}
