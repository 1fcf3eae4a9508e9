//! Whose records an answer holds, and how fresh they are.

use std::collections::BTreeMap;

use model::NodePath;
use model::query::{AnswerScope, FoundRegistration, Source, SourceState};

use crate::Exchange;

impl Exchange {
    /// The scope of an answer made from this node's store that holds these registrations.
    pub(crate) fn local_scope<'a>(&self, found: impl Iterator<Item = &'a FoundRegistration>) -> AnswerScope {
        let writers = found.map(|one| (one.node_path.as_str(), one.recorded_ms));
        self.scope_of(writers)
    }

    /// The scope of an answer that holds records of these writers, each with the time of a record.
    pub(crate) fn scope_of<'a>(&self, records: impl Iterator<Item = (&'a str, u64)>) -> AnswerScope {
        let own = &self.parts.node.path;
        let mut newest: BTreeMap<NodePath, u64> = BTreeMap::new();
        newest.insert(own.clone(), 0);
        for (path, recorded_ms) in records {
            if let Ok(path) = path.parse::<NodePath>() {
                let held = newest.entry(path).or_default();
                *held = recorded_ms.max(*held);
            }
        }
        let sources =
            newest.into_iter().map(|(path, newest_record_ms)| self.source(path, newest_record_ms)).collect();
        AnswerScope {
            answered_by: own.clone(),
            complete: true,
            sources,
            answered_ms: self.parts.clock.now_ms(),
        }
    }

    fn source(&self, path: NodePath, newest_record_ms: u64) -> Source {
        let own = &self.parts.node.path;
        if path == *own {
            return Source {
                path,
                state: SourceState::Live,
                heard_ms: 0,
                newest_record_ms,
                behind: 0,
                reason: String::new(),
            };
        }
        // What is known of a node further down is what the child on the way to it brought.
        let link = own.child_towards(&path).or_else(|| own.parent());
        let (heard_ms, behind) =
            link.map_or((0, 0), |link| (self.parts.links.heard_ms(&link), self.parts.links.behind(&link)));
        Source {
            path,
            state: SourceState::Replicated,
            heard_ms,
            newest_record_ms,
            behind,
            reason: String::new(),
        }
    }
}
