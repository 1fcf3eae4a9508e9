//! Whose records an answer holds, how fresh they are, and who is missing.
//!
//! A node below that is cut off may hold what nobody here has seen, so an answer while one is cut off is not complete, and
//! says which.

use std::collections::BTreeMap;

use model::NodePath;
use model::feed::NodeSeen;
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
        let now_ms = self.parts.clock.now_ms();
        let mut newest: BTreeMap<NodePath, u64> = BTreeMap::new();
        newest.insert(own.clone(), 0);
        for (path, recorded_ms) in records {
            if let Ok(path) = path.parse::<NodePath>() {
                let held = newest.entry(path).or_default();
                *held = recorded_ms.max(*held);
            }
        }
        let below = self.parts.links.below(own, &self.parts.directory.snapshot(), now_ms);
        let below: BTreeMap<NodePath, NodeSeen> =
            below.into_iter().map(|seen| (seen.path.clone(), seen)).collect();
        for path in below.values().filter(|seen| !seen.connected).map(|seen| &seen.path) {
            newest.entry(path.clone()).or_default();
        }
        let source = |(path, newest_record_ms)| self.source(path, newest_record_ms, &below, now_ms);
        let sources: Vec<Source> = newest.into_iter().map(source).collect();
        let complete = sources.iter().all(|source| source.state != SourceState::NoReply);
        AnswerScope { answered_by: own.clone(), complete, sources, answered_ms: now_ms }
    }

    fn source(
        &self,
        path: NodePath,
        newest_record_ms: u64,
        below: &BTreeMap<NodePath, NodeSeen>,
        now_ms: u64,
    ) -> Source {
        let state = if path == self.parts.node.path { SourceState::Live } else { SourceState::Replicated };
        let source = Source { path, state, heard_ms: 0, newest_record_ms, behind: 0, reason: String::new() };
        // Of a node that is not below, and of one that nobody between has told of yet, nothing more is known.
        let Some(seen) = below.get(&source.path) else { return source };
        let heard_ms = seen.heard_ago_ms.map_or(0, |ago| now_ms.saturating_sub(ago));
        let source = Source { heard_ms, behind: seen.behind, ..source };
        if seen.connected {
            return source;
        }
        let reason = "not connected: what it wrote since is not here".to_owned();
        Source { state: SourceState::NoReply, reason, ..source }
    }
}
