//! What has been decided about pairs of registrations, as the log tells it.

use std::collections::{HashMap, HashSet};

use model::body::{LinkDecision, LinkLayer};
use model::person_link::{Decided, End, Standing, is_suspended, joined, strongest};
use model::{OriginId, RecordKey};

/// A decision, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Noted {
    decided: Decided,
    /// Of the node that decided, when it was met: a move has everything met again.
    standing: Standing,
}

/// All decisions that were met.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pairs: HashMap<(RecordKey, RecordKey), Vec<Noted>>,
    others: HashMap<RecordKey, Vec<RecordKey>>,
    /// Whom a link record is about.
    about: HashMap<RecordKey, (RecordKey, RecordKey)>,
    /// Registrations that a human separated from another, and ends of suspended links; some of them once, and no more.
    contested: HashSet<RecordKey>,
}

impl Graph {
    /// Takes in a decision in place of the same node's earlier one in the same layer; whether it changes what is joined.
    pub fn note(&mut self, link: RecordKey, decided: Decided, standing: Standing) -> bool {
        let (a, b) = (decided.a, decided.b);
        let before = self.joined(&a, &b);
        let separates = decided.layer == LinkLayer::Human && decided.decision == LinkDecision::Different;
        if separates || decided.layer == LinkLayer::Suspension {
            self.contested.extend([a.key, b.key]);
        }
        let all = self.pairs.entry((a.key, b.key)).or_default();
        let noted = Noted { decided, standing };
        let same = |one: &&mut Noted| one.decided.by == decided.by && one.decided.layer == decided.layer;
        if let Some(known) = all.iter_mut().find(same) {
            *known = noted;
        } else {
            all.push(noted);
            self.about.insert(link, (a.key, b.key));
            for (one, other) in [(a.key, b.key), (b.key, a.key)] {
                let others = self.others.entry(one).or_default();
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        self.joined(&a, &b) != before
    }

    /// Forgets a link that is not held any more; whom it was about.
    pub fn forget(
        &mut self,
        link: &RecordKey,
        by: impl Fn(&Decided) -> RecordKey,
    ) -> Option<(RecordKey, RecordKey)> {
        let pair = self.about.remove(link)?;
        if let Some(all) = self.pairs.get_mut(&pair) {
            all.retain(|one| by(&one.decided) != *link);
        }
        Some(pair)
    }

    /// Registrations about which and this one something was decided.
    pub fn others(&self, of: &RecordKey) -> &[RecordKey] {
        self.others.get(of).map_or(&[], Vec::as_slice)
    }

    /// Whether two registrations in these lives are joined; none when nothing was decided about them.
    pub fn joined(&self, one: &End, other: &End) -> Option<bool> {
        self.joined_by(one, other, |_| true)
    }

    /// The same without what this node's linker decided.
    pub fn by_others(&self, one: &End, other: &End, own: OriginId) -> Option<bool> {
        self.joined_by(one, other, |decided| decided.by != own || decided.layer != LinkLayer::Machine)
    }

    fn joined_by(&self, one: &End, other: &End, counts: impl Fn(&Decided) -> bool + Copy) -> Option<bool> {
        joined(self.living(one, other).filter(move |(decided, _)| counts(decided)))
    }

    /// Whether anybody is contested, and whether this registration is.
    pub fn has_contested(&self) -> bool {
        !self.contested.is_empty()
    }

    pub fn is_contested(&self, one: &RecordKey) -> bool {
        self.contested.contains(one)
    }

    /// The decision that joins two registrations in these lives, whether suspended or not.
    pub fn join(&self, one: &End, other: &End) -> Option<(Decided, Standing)> {
        let (decided, standing) = strongest(self.living(one, other))?;
        (decided.decision == LinkDecision::Same).then_some((*decided, standing))
    }

    /// Whether what joins them is suspended.
    pub fn is_suspended(&self, one: &End, other: &End) -> bool {
        is_suspended(self.living(one, other))
    }

    /// Whether this node suspends what joins them.
    pub fn own_suspends(&self, one: &End, other: &End, own: OriginId) -> bool {
        is_suspended(self.living(one, other).filter(|(decided, _)| decided.by == own))
    }

    fn living(&self, one: &End, other: &End) -> impl Iterator<Item = (&Decided, Standing)> + Clone {
        let (a, b) = if one.key < other.key { (*one, *other) } else { (*other, *one) };
        let all = self.pairs.get(&(a.key, b.key)).map_or(&[][..], Vec::as_slice);
        let living = all.iter().filter(move |noted| noted.decided.a == a && noted.decided.b == b);
        living.map(|noted| (&noted.decided, noted.standing))
    }

    /// What this node's linker decided about them.
    fn own(&self, one: &RecordKey, other: &RecordKey, own: OriginId) -> Option<&Noted> {
        let all = self.pairs.get(&(*one.min(other), *one.max(other)))?;
        all.iter().find(|noted| noted.decided.by == own && noted.decided.layer == LinkLayer::Machine)
    }

    /// What this node's linker says of them, in these lives.
    pub fn own_said(&self, one: &End, other: &End, own: OriginId) -> Option<LinkDecision> {
        let (a, b) = if one.key < other.key { (one, other) } else { (other, one) };
        let noted = self.own(&a.key, &b.key, own)?;
        ((noted.decided.a, noted.decided.b) == (*a, *b)).then_some(noted.decided.decision)
    }

    /// What counts of what linkers say of them.
    pub fn by_machines(&self, one: &End, other: &End) -> Option<Decided> {
        let machines = self.living(one, other).filter(|(decided, _)| decided.layer == LinkLayer::Machine);
        strongest(machines).map(|(decided, _)| *decided)
    }

    /// What humans say of them; none when they say nothing.
    pub fn by_humans(&self, one: &End, other: &End) -> Option<bool> {
        self.joined_by(one, other, |decided| decided.layer == LinkLayer::Human)
    }
}
