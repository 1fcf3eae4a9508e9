//! One moment of the directory.

use std::collections::{BTreeMap, BTreeSet};

use model::body::EpochEntry;
use model::{Envelope, KeyId, NodePath, OriginId, VerifyingKey, Version};

use super::{Fact, TermEnd};
use crate::epoch;

/// A node as its records describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFact {
    pub origin: OriginId,
    pub path: NodePath,
    /// Chinese name of the region; empty until the node's own record is here.
    pub name: String,
    /// Label: province, prefecture, county; empty until the node's own record is here.
    pub tier: String,
    /// Of the node's record; zero until it is here.
    pub version: Version,
}

/// An institution and who writes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstitutionFact {
    pub origin: OriginId,
    pub code: String,
    pub name: String,
    /// The node that writes in this term.
    pub writer: OriginId,
    /// Which writer of the origin it is, from 1.
    pub term: u32,
    /// The node whose record says so.
    pub decided_by: OriginId,
    pub version: Version,
}

/// A record-signing key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFact {
    pub key: VerifyingKey,
    pub node: OriginId,
}

/// What is known from directory records at one moment. Ordered maps, so that nothing depends on a hash seed.
#[derive(Debug, Clone, Default)]
pub struct DirectoryView {
    nodes: BTreeMap<OriginId, NodeFact>,
    paths: BTreeMap<NodePath, OriginId>,
    /// By term: who wrote what stays known for as long as there are records of it.
    institutions: BTreeMap<OriginId, BTreeMap<u32, InstitutionFact>>,
    /// What was said of a term of an institution, of each decider its latest word; what counts of it stands in `institutions`.
    claims: BTreeMap<OriginId, BTreeMap<u32, Vec<InstitutionFact>>>,
    /// Institutions that had more than one writer.
    moved: BTreeSet<OriginId>,
    /// What ended which term of which institution.
    pub(super) ends: BTreeMap<(OriginId, u32), Vec<TermEnd>>,
    /// Who stands for whom, and who said so.
    successors: BTreeMap<OriginId, (OriginId, OriginId)>,
    keys: BTreeMap<KeyId, KeyFact>,
    /// Ascending by counter.
    epochs: BTreeMap<OriginId, Vec<EpochEntry>>,
}

impl DirectoryView {
    /// A node by its origin.
    pub fn node(&self, origin: &OriginId) -> Option<&NodeFact> {
        self.nodes.get(origin)
    }

    /// The origin of the node at a path.
    pub fn origin_at(&self, path: &NodePath) -> Option<OriginId> {
        self.paths.get(path).copied()
    }

    /// Where a node stands.
    pub fn path_of(&self, node: &OriginId) -> Option<&NodePath> {
        self.nodes.get(node).map(|node| &node.path)
    }

    /// All nodes, by origin.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeFact> {
        self.nodes.values()
    }

    /// The node that was named to stand for one that handed everything over; itself it may have been succeeded since.
    pub fn successor(&self, node: &OriginId) -> Option<OriginId> {
        self.successors.get(node).map(|(successor, _)| *successor)
    }

    /// Where the node stands that named it.
    pub(crate) fn succession_by(&self, node: &OriginId) -> Option<&NodePath> {
        self.successors.get(node).and_then(|(_, by)| self.path_of(by))
    }

    /// The node that stands for this one in the end: itself, unless it handed everything over.
    pub fn stands_for(&self, node: &OriginId) -> OriginId {
        let mut at = *node;
        // No longer than there are successions, should they ever go in a circle.
        for _ in 0..self.successors.len() {
            let Some(next) = self.successor(&at) else { break };
            at = next;
        }
        at
    }

    /// The nodes that handed everything over to others, and for each of them who stands for it in the end.
    pub fn succeeded(&self) -> impl Iterator<Item = (&OriginId, OriginId)> {
        self.successors.keys().map(|node| (node, self.stands_for(node)))
    }

    /// An institution by its origin, as it is now: in its latest term.
    pub fn institution(&self, origin: &OriginId) -> Option<&InstitutionFact> {
        self.institutions.get(origin)?.last_key_value().map(|(_, latest)| latest)
    }

    /// An institution as it was in a term.
    pub fn institution_in(&self, origin: &OriginId, term: u32) -> Option<&InstitutionFact> {
        self.institutions.get(origin)?.get(&term)
    }

    /// An institution in all its known terms, ascending.
    pub fn terms(&self, origin: &OriginId) -> impl Iterator<Item = &InstitutionFact> {
        self.institutions.get(origin).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether everything is known by which a record with this envelope is judged: its key, who writes for its origin in its term,
    /// and its epoch. What was committed a moment ago may not be published yet.
    pub(crate) fn explains(&self, envelope: &Envelope) -> bool {
        let Some(node) = self.key(&envelope.key_id).map(|key| key.node) else { return false };
        let version = envelope.version;
        let writes = envelope.origin == node || self.institution_in(&envelope.origin, version.term).is_some();
        writes && epoch::covers(self.epochs(&node), version.epoch, version.seq).is_some()
    }

    /// All institutions, by origin, as they are now.
    pub fn institutions(&self) -> impl Iterator<Item = &InstitutionFact> {
        self.institutions.values().filter_map(|terms| terms.last_key_value().map(|(_, latest)| latest))
    }

    /// The institutions that had more than one writer, as they are now.
    pub fn moved(&self) -> impl Iterator<Item = &InstitutionFact> {
        self.moved.iter().filter_map(|origin| self.institution(origin))
    }

    /// A signing key.
    pub fn key(&self, id: &KeyId) -> Option<&KeyFact> {
        self.keys.get(id)
    }

    /// Where the node stands that signs with this key.
    pub fn key_path(&self, id: &KeyId) -> Option<&NodePath> {
        self.path_of(&self.keys.get(id)?.node)
    }

    /// The ids of a node's signing keys.
    pub(crate) fn signing_keys(&self, node: &OriginId) -> impl Iterator<Item = KeyId> {
        self.keys.iter().filter(move |(_, key)| key.node == *node).map(|(id, _)| *id)
    }

    /// The epochs known of a node, ascending by counter.
    pub fn epochs(&self, node: &OriginId) -> &[EpochEntry] {
        self.epochs.get(node).map_or(&[], Vec::as_slice)
    }

    /// Takes in what an admitted record says. A lower version never replaces a higher one, so order does not matter, but for the first
    /// binding of a path to an origin, which stays, and for successions whose deciders are not known yet.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Key { node, key, path } => {
                self.keys.entry(key.id()).or_insert(KeyFact { key, node });
                if let Some(path) = path {
                    self.bind(node, path);
                }
            }
            Fact::Node { origin, path, name, tier, version } => {
                self.bind(origin, path);
                if let Some(node) = self.nodes.get_mut(&origin).filter(|node| node.version < version) {
                    (node.name, node.tier, node.version) = (name, tier, version);
                }
            }
            Fact::Institution { origin, code, name, writer, term, decided_by, version } => {
                let entry = InstitutionFact { origin, code, name, writer, term, decided_by, version };
                self.enter(entry);
            }
            Fact::TermEnd { institution, term, end } => {
                let known = self.ends.entry((institution, term)).or_default();
                match known.iter_mut().find(|known| known.said_by == end.said_by) {
                    Some(known) if known.version < end.version => *known = end,
                    Some(_) => return,
                    None => known.push(end),
                }
                self.choose(institution, term.saturating_add(1));
            }
            Fact::Succession { node, successor, decided_by } => {
                // Of two that both may decide the higher one counts.
                let depth = |by: &OriginId| self.path_of(by).map_or(usize::MAX, NodePath::depth);
                let held = self.successors.get(&node).map(|(_, by)| depth(by));
                if held.is_none_or(|held| depth(&decided_by) < held) {
                    self.successors.insert(node, (successor, decided_by));
                }
            }
            Fact::Epoch { node, entry } => {
                let known = self.epochs.entry(node).or_default();
                if let Err(at) = known.binary_search_by_key(&entry.counter, |held| held.counter)
                    && epoch::fits(known, &entry).is_ok()
                {
                    known.insert(at, entry);
                }
            }
        }
    }

    /// Of one decider the latest word on a term counts.
    fn enter(&mut self, entry: InstitutionFact) {
        let (origin, term) = (entry.origin, entry.term);
        let claims = self.claims.entry(origin).or_default().entry(entry.term).or_default();
        match claims.iter_mut().find(|held| held.decided_by == entry.decided_by) {
            Some(held) if held.version < entry.version => *held = entry,
            Some(_) => return,
            None => claims.push(entry),
        }
        self.choose(origin, term);
    }

    /// Looks again at who writes for an institution from this term on. A decision follows the one before that counts, and is that of
    /// the lowest node above both writers. Of several who decided without knowing of each other the one counts for whom the
    /// writer before has ended its term, because that one may have written; else the one who ended it in that writer's place;
    /// else the one higher up.
    fn choose(&mut self, origin: OriginId, from: u32) {
        let mut chosen = self.institutions.remove(&origin).unwrap_or_default();
        let claims = self.claims.get(&origin).into_iter().flat_map(|terms| terms.range(from..));
        for (term, of_term) in claims {
            let counts = self.counts(&chosen, *term, of_term).cloned();
            let same = |held: &InstitutionFact| {
                counts.as_ref().is_some_and(|now| {
                    (now.decided_by, now.version, now.writer) == (held.decided_by, held.version, held.writer)
                })
            };
            // What follows depends on this one only.
            if *term > from && chosen.get(term).is_some_and(same) {
                break;
            }
            match counts {
                Some(now) => drop(chosen.insert(*term, now)),
                None => drop(chosen.remove(term)),
            }
        }
        if chosen.keys().any(|term| *term > 1) {
            self.moved.insert(origin);
        }
        self.institutions.insert(origin, chosen);
    }

    fn counts<'a>(
        &self,
        chosen: &BTreeMap<u32, InstitutionFact>,
        term: u32,
        claims: &'a [InstitutionFact],
    ) -> Option<&'a InstitutionFact> {
        let origin = claims.first()?.origin;
        let depth = |node: &OriginId| self.path_of(node).map_or(usize::MAX, NodePath::depth);
        let before_term = term.saturating_sub(1);
        let before = chosen.get(&before_term).map(|before| before.writer);
        if before.is_none() && !self.claims(&origin, before_term).is_empty() {
            return None;
        }
        let follows = |claim: &&InstitutionFact| {
            let Some(before) = before.filter(|_| term > 1) else { return true };
            match (self.path_of(&before), self.path_of(&claim.writer), self.path_of(&claim.decided_by)) {
                (Some(from), Some(to), Some(by)) => {
                    before != claim.writer && from.common(to).as_ref() == Some(by)
                }
                // What a node lost comes back in any order.
                _ => true,
            }
        };
        let ends = self.ends.get(&(origin, before_term)).map_or(&[][..], Vec::as_slice);
        let ended = |claim: &InstitutionFact| {
            let for_it = |end: &&TermEnd| end.next_writer == claim.writer;
            if ends.iter().filter(for_it).any(|end| Some(end.said_by) == before) {
                return 0;
            }
            let without = |end: &TermEnd| end.said_by == claim.decided_by && end.held_seq.is_some();
            if ends.iter().filter(for_it).any(without) { 1 } else { 2 }
        };
        claims
            .iter()
            .filter(follows)
            .min_by_key(|claim| (ended(claim), depth(&claim.decided_by), claim.decided_by))
    }

    /// Everything that was said of who writes for an institution in a term.
    pub(crate) fn claims(&self, origin: &OriginId, term: u32) -> &[InstitutionFact] {
        self.claims.get(origin).and_then(|terms| terms.get(&term)).map_or(&[], Vec::as_slice)
    }

    fn bind(&mut self, origin: OriginId, path: NodePath) {
        if self.nodes.contains_key(&origin) || self.paths.contains_key(&path) {
            return;
        }
        self.paths.insert(path.clone(), origin);
        let node =
            NodeFact { origin, path, name: String::new(), tier: String::new(), version: Version::default() };
        self.nodes.insert(origin, node);
        // Who decides is a question of places.
        for institution in self.moved.clone() {
            self.choose(institution, 1);
        }
    }
}
