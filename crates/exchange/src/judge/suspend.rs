//! Links that contradict each other: humans at nodes that could not see each other's word joined, over others, whom one of them had
//! separated.
//!
//! Of the joins of such a person the weakest that is in the way is suspended, by a record of the lowest node that sees all of it
//! ([`model::person_link::contradictions`]); its neighbours hold that record with the link, so persons are the same everywhere.
//! What is suspended already counts as if it were not when this is worked out: so it follows from what was decided alone, and is taken
//! back when that changes.

use std::collections::BTreeSet;

use model::RecordKey;
use model::body::{LinkBasis, LinkDecision, LinkLayer, PersonLink};
use model::person_link::{Decided, contradictions};
use store::ReadError;

use super::desk::{Desk, MAX_COMPONENT, reference};

impl Desk {
    /// Suspends what contradicts a human's separation among those whom these are joined to, and takes back what this node suspended
    /// there and need not be any more.
    pub(super) fn settle(&mut self, keys: &[RecordKey]) -> Result<(), ReadError> {
        if !self.graph.has_contested() {
            return Ok(());
        }
        let Some(members) = self.joined_or_suspended(keys) else {
            self.refused += 1;
            return Ok(());
        };
        if !members.iter().any(|key| self.graph.is_contested(key)) {
            return Ok(());
        }
        let wanted = self.in_the_way(&members);
        let before = self.own_suspended(&members);
        let now: BTreeSet<(RecordKey, RecordKey)> =
            wanted.iter().map(|join| (join.a.key, join.b.key)).collect();
        for (a, b) in before.difference(&now) {
            self.suspend((a, b), 0, LinkDecision::None)?;
        }
        for join in wanted.iter().filter(|join| !before.contains(&(join.a.key, join.b.key))) {
            self.suspend((&join.a.key, &join.b.key), join.weight_millibits, LinkDecision::Suspended)?;
        }
        if before != now {
            let members: Vec<RecordKey> = members.into_iter().collect();
            self.refresh(&members);
        }
        Ok(())
    }

    /// These and all whom they are joined to over links, suspended or not; none when they are too many to look at.
    fn joined_or_suspended(&self, keys: &[RecordKey]) -> Option<BTreeSet<RecordKey>> {
        let mut members: BTreeSet<RecordKey> =
            keys.iter().filter(|key| self.places.contains_key(key)).copied().collect();
        let mut todo: Vec<RecordKey> = members.iter().copied().collect();
        while let Some(key) = todo.pop() {
            let Some(end) = self.end_of(&key) else { continue };
            for other in self.graph.others(&key) {
                let joined = self.end_of(other).is_some_and(|other| self.graph.join(&end, &other).is_some());
                if joined && members.insert(*other) {
                    todo.push(*other);
                }
            }
            if members.len() > MAX_COMPONENT {
                return None;
            }
        }
        Some(members)
    }

    /// The joins among these that must give way, but for those of which a node below sees as much as this one.
    fn in_the_way(&self, members: &BTreeSet<RecordKey>) -> Vec<Decided> {
        let (mut joins, mut apart) = (Vec::new(), Vec::new());
        for key in members {
            let Some(end) = self.end_of(key) else { continue };
            for other in self.graph.others(key).iter().filter(|other| key < *other && members.contains(other))
            {
                let Some(other) = self.end_of(other) else { continue };
                joins.extend(self.graph.join(&end, &other));
                if self.graph.by_humans(&end, &other) == Some(false) {
                    apart.push([end.key, other.key]);
                }
            }
        }
        let mut found = contradictions(&joins, &apart);
        found.retain(|one| !self.is_seen_below(&one.members));
        found.into_iter().map(|one| one.join).collect()
    }

    /// Whether all of these are in the subtree of one child.
    fn is_seen_below(&self, members: &[RecordKey]) -> bool {
        let branch = |key: &RecordKey| {
            let writer = self.places.get(key).and_then(|place| self.writer(*place));
            writer.and_then(|writer| self.own.child_towards(writer))
        };
        let branches: BTreeSet<_> = members.iter().map(branch).collect();
        branches.len() == 1 && !branches.contains(&None)
    }

    /// Pairs with one of these whose join this node suspends.
    fn own_suspended(&self, members: &BTreeSet<RecordKey>) -> BTreeSet<(RecordKey, RecordKey)> {
        let mut pairs = BTreeSet::new();
        for key in members {
            let Some(end) = self.end_of(key) else { continue };
            for other in self.graph.others(key) {
                let other = self.end_of(other);
                if other.is_some_and(|other| self.graph.own_suspends(&end, &other, self.origin)) {
                    pairs.extend(other.map(|other| (end.key.min(other.key), end.key.max(other.key))));
                }
            }
        }
        pairs
    }

    fn suspend(
        &mut self,
        (a, b): (&RecordKey, &RecordKey),
        weight_millibits: i32,
        decision: LinkDecision,
    ) -> Result<(), ReadError> {
        let held = |key: &RecordKey| self.places.get(key).and_then(|place| self.held[*place as usize]);
        let Some((a, b)) = held(a).zip(held(b)) else { return Ok(()) };
        self.put(PersonLink {
            a: Some(reference(&a)),
            b: Some(reference(&b)),
            layer: LinkLayer::Suspension as i32,
            decision: decision as i32,
            basis: LinkBasis::Conflict as i32,
            weight_millibits,
            ..PersonLink::default()
        })
    }
}
