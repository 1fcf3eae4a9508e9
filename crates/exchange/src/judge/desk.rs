//! The linker's desk: registrations of the subtree, what was decided about them, and the links to be written.
//!
//! *The linker proposes, records dispose*: whom the linker holds to be one person is written as links, and then persons are what the links
//! say, here as everywhere. So a restart, an order of arrival or another node's decision can never leave two opinions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use linkage::{Features, Likely, Linker, Place, Proposal, Scorer};
use model::body::{
    FieldWeight, Kind, LinkBasis, LinkDecision, LinkLayer, PersonLink, Registration, RegistrationRef,
};
use model::person_link::{self, Decided, End, MAX_WEIGHT};
use model::{NodePath, OriginId, Record, RecordId, RecordKey, Version};
use replication::{DirectoryView, may_decide, standing};
use store::{Draft, ReadError, Store};

use super::graph::Graph;
use super::queue::Queue;
use crate::person_links::{DraftError, link_draft, link_key};

/// Registrations of a person beyond which the linker joins no more to it: nobody is at so many desks, it is somebody's test data.
const MAX_JOINED: usize = 256;
/// Links about institutions, or by nodes, that are not known, that are looked at when these are. Some 10 MB; a root that lost its disk
/// may get its links back before all else.
const MAX_STRANGE_LINKS: usize = 100_000;
/// Registrations of a person as the linker sees it; beyond it others' links join nobody here, so that nobody can hold this node up.
pub(super) const MAX_COMPONENT: usize = 1_024;
/// Persons that a registration may belong to, of whom humans are asked.
const MAX_POSSIBLE: usize = 4;
/// Registrations of one side, of one branch of the tree, that a link may end at.
const MAX_SPEAKERS: usize = 4;

/// A registration of the subtree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub end: End,
    origin: OriginId,
    id: RecordId,
    version: Version,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) own: NodePath,
    pub(super) origin: OriginId,
    store: Store,
    view: Arc<DirectoryView>,
    pub(super) linker: Linker,
    pub(super) graph: Graph,
    pub(super) places: HashMap<RecordKey, Place>,
    pub(super) held: Vec<Option<Held>>,
    /// The registration that is taken in just now, and that nobody may find yet.
    entering: Option<Place>,
    /// By the id of the link's record; what the latest one says.
    drafts: BTreeMap<RecordId, Draft>,
    /// Registrations of institutions, and links about institutions or by nodes, of which the directory knows nothing yet. A registration is
    /// admitted only when its institution is known, so it waits for a moment; a link may wait for ever.
    strangers: BTreeSet<RecordKey>,
    /// By whom is not known.
    strange_links: BTreeSet<(OriginId, RecordKey)>,
    waits_for_humans: Queue,
    /// Joins refused because the person would have become too large, and contradictions not looked into for the same reason.
    pub refused: u64,
}

impl Desk {
    pub fn new(
        (own, origin): (NodePath, OriginId),
        store: Store,
        view: Arc<DirectoryView>,
        scorer: Scorer,
        waits_for_humans: Queue,
    ) -> Self {
        waits_for_humans.clear();
        Self {
            own,
            origin,
            store,
            view,
            linker: Linker::new(scorer),
            graph: Graph::default(),
            places: HashMap::new(),
            held: Vec::new(),
            entering: None,
            drafts: BTreeMap::new(),
            strangers: BTreeSet::new(),
            strange_links: BTreeSet::new(),
            waits_for_humans,
            refused: 0,
        }
    }

    /// The directory as it is known now. What a moment ago was of an institution that nobody knew is taken in; whether all is.
    pub fn see(&mut self, view: Arc<DirectoryView>) -> Result<bool, ReadError> {
        if Arc::ptr_eq(&self.view, &view) {
            return Ok(self.strangers.is_empty());
        }
        self.view = view;
        let mut again = std::mem::take(&mut self.strangers);
        again.extend(self.links_of_known());
        for key in again {
            if let Some(record) = self.store.get(&key)? {
                self.meet(&record)?;
            }
        }
        Ok(self.strangers.is_empty())
    }

    /// Takes out the links that waited for whoever is known by now.
    fn links_of_known(&mut self) -> Vec<RecordKey> {
        let unknown: BTreeSet<OriginId> = self.strange_links.iter().map(|(origin, _)| *origin).collect();
        let known: BTreeSet<OriginId> = unknown.into_iter().filter(|origin| self.is_known(origin)).collect();
        let (found, waiting) = std::mem::take(&mut self.strange_links)
            .into_iter()
            .partition::<BTreeSet<_>, _>(|(origin, _)| known.contains(origin));
        self.strange_links = waiting;
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether the directory knows where this node is, or any that this institution has written at.
    fn is_known(&self, origin: &OriginId) -> bool {
        let writes_at_known =
            || self.view.terms(origin).any(|term| self.view.path_of(&term.writer).is_some());
        self.view.path_of(origin).is_some() || writes_at_known()
    }

    pub fn registrations(&self) -> usize {
        self.places.len()
    }

    pub fn persons(&self) -> u32 {
        self.linker.persons()
    }

    /// The links to be written.
    pub fn drafts(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts).into_values().collect()
    }

    /// Takes in a record that was judged before, without judging anything.
    pub fn load(&mut self, record: &Record) {
        // It may have been written again since it was read.
        self.unload(&record.key());
        if record.envelope().kind == Kind::Link as u32 {
            self.note(record);
        } else if let Some((held, features)) = self.read(record) {
            self.take(held, features);
        } else if !record.envelope().tombstone && self.view.writer_path(&record.envelope().origin).is_none() {
            self.strangers.insert(record.key());
        }
    }

    /// Forgets what was loaded.
    pub fn unload(&mut self, key: &RecordKey) {
        self.graph.forget(key, link_key);
        if let Some(place) = self.places.remove(key) {
            self.held[place as usize] = None;
            self.linker.remove(place);
        }
    }

    /// Whether there are registrations that wait for the directory: it learns of an institution when its record is in the log already.
    pub fn has_strangers(&self) -> bool {
        !self.strangers.is_empty()
    }

    /// Makes persons of all that was loaded, as the links say; answers what is to be entered.
    pub fn loaded(&mut self) -> Vec<RecordKey> {
        let mut all: Vec<Place> = self.places.values().copied().collect();
        all.sort_unstable();
        let groups = self.components(&all);
        self.linker.regroup(&all, &groups);
        all.into_iter().filter_map(|place| self.key(place)).collect()
    }

    /// Lets a loaded registration be found.
    pub fn enter(&mut self, key: &RecordKey) {
        if let Some(place) = self.places.get(key) {
            self.linker.enter(*place);
        }
    }

    /// Whether a registration is of an institution that has had another writer: its pairs may be another node's to judge than they were.
    pub fn has_moved(&self, key: &RecordKey) -> bool {
        let held = self.places.get(key).and_then(|place| self.held[*place as usize]);
        held.is_some_and(|held| self.view.terms(&held.origin).nth(1).is_some())
    }

    /// Asks the linker about a registration that was loaded.
    pub fn judge_again(&mut self, key: &RecordKey) -> Result<(), ReadError> {
        self.settle(&[*key])?;
        self.judge(key)
    }

    /// Takes in the next record of the log, and decides what it makes necessary.
    pub fn meet(&mut self, record: &Record) -> Result<(), ReadError> {
        if record.envelope().kind == Kind::Link as u32 {
            if let Some(decided) = self.note(record) {
                let ends = [decided.a.key, decided.b.key];
                self.refresh(&ends);
                self.settle(&ends)?;
                // Whoever is parted may belong to others; what humans say is heard at once; what a node said that was the pair's judge,
                // and is no more, may be out of its sight by now; and what this one said before it lost it and got it back, it may
                // have taken back meanwhile.
                if decided.layer == LinkLayer::Human
                    || decided.by == self.origin
                    || self.graph.joined(&decided.a, &decided.b) != Some(true)
                    || self.succeeds(&decided)
                {
                    self.judge(&ends[0])?;
                    self.judge(&ends[1])?;
                }
            }
            return Ok(());
        }
        let key = record.key();
        let known = self.places.get(&key).and_then(|place| self.held[*place as usize]);
        if known.is_some_and(|held| held.version == record.envelope().version) {
            return Ok(());
        }
        let was_with = self.leave(&key)?;
        if !record.envelope().tombstone && self.view.writer_path(&record.envelope().origin).is_none() {
            self.strangers.insert(key);
        }
        let Some((held, features)) = self.read(record) else {
            // It may have been what held its person together.
            for other in was_with {
                self.judge(&other)?;
            }
            return Ok(());
        };
        let place = self.take(held, features);
        self.entering = Some(place);
        self.refresh(&[key]);
        self.settle(&[key])?;
        self.judge(&key)?;
        self.linker.enter(place);
        self.entering = None;
        // It may be somebody else now, and have been what held its person together.
        let places = was_with.iter().filter_map(|other| self.places.get(other));
        let persons: BTreeSet<u32> = places.map(|place| self.linker.person_of(*place)).collect();
        if persons.len() > 1 {
            for other in was_with {
                self.judge(&other)?;
            }
        }
        Ok(())
    }

    /// A record that is not held any more.
    pub fn forget(&mut self, key: &RecordKey) -> Result<(), ReadError> {
        if let Some((a, b)) = self.graph.forget(key, link_key) {
            self.refresh(&[a, b]);
            self.settle(&[a, b])?;
        }
        for other in self.leave(key)? {
            self.judge(&other)?;
        }
        Ok(())
    }

    /// A link that has been written.
    pub fn written(&mut self, record: &Record) {
        if let Some(decided) = self.note(record) {
            self.refresh(&[decided.a.key, decided.b.key]);
        }
    }

    /// A living registration of the subtree, and what the linker knows of it.
    fn read(&self, record: &Record) -> Option<(Held, Features)> {
        let envelope = record.envelope();
        if envelope.tombstone || envelope.kind != Kind::Registration as u32 {
            return None;
        }
        let writer = self.view.writer_path(&envelope.origin).filter(|path| self.own.contains(path))?;
        let body: Registration = record.decode_body().ok()?;
        let end = End { key: record.key(), born_ms: body.born_ms };
        let held = Held { end, origin: envelope.origin, id: envelope.id, version: envelope.version };
        Some((held, Features::of(&body, Some(&writer.region()))))
    }

    fn take(&mut self, held: Held, features: Features) -> Place {
        let place = self.linker.take(features);
        if self.held.len() <= place as usize {
            self.held.resize(place as usize + 1, None);
        }
        self.held[place as usize] = Some(held);
        self.places.insert(held.end.key, place);
        let said = |key: &RecordKey| {
            let (other, end) = (*self.places.get(key)?, self.end_of(key)?);
            Some((other, self.fixed(&held.end, &end)?))
        };
        let said: Vec<(Place, bool)> = self.graph.others(&held.end.key).iter().filter_map(said).collect();
        for (other, same) in said {
            self.linker.note_given(place, other, Some(same));
        }
        place
    }

    /// Takes a registration away, and what was suspended because of it and need not be any more; whom it was linked to.
    fn leave(&mut self, key: &RecordKey) -> Result<Vec<RecordKey>, ReadError> {
        let was_with = self.remove(key);
        let touched: Vec<RecordKey> = self.graph.others(key).to_vec();
        self.settle(&touched)?;
        Ok(was_with)
    }

    /// Takes a registration away; those that it was linked to are persons without it now.
    fn remove(&mut self, key: &RecordKey) -> Vec<RecordKey> {
        let Some(place) = self.places.remove(key) else { return Vec::new() };
        let held = self.held[place as usize];
        let was_with: Vec<RecordKey> = self
            .graph
            .others(key)
            .iter()
            .copied()
            .filter(|other| {
                let known = self.end_of(other);
                held.zip(known)
                    .is_some_and(|(held, other)| self.graph.joined(&held.end, &other) == Some(true))
            })
            .collect();
        self.held[place as usize] = None;
        self.linker.remove(place);
        self.refresh(&was_with);
        was_with
    }

    pub(super) fn end_of(&self, key: &RecordKey) -> Option<End> {
        self.places.get(key).and_then(|place| self.held[*place as usize]).map(|held| held.end)
    }

    /// Takes in a link, if it is one and who decided it may.
    fn note(&mut self, record: &Record) -> Option<Decided> {
        let decided = Decided::of(record).ok()?;
        // What is to be written follows it.
        if decided.by == self.origin && self.drafts.contains_key(&record.envelope().id) {
            return None;
        }
        let path = self.view.path_of(&decided.by);
        let path = match path.map(|path| (path, may_decide(&decided, path, &self.view))) {
            Some((path, Some(true))) => path,
            Some((_, Some(false))) => return None,
            None | Some((_, None)) => {
                let [a, b] = decided.origins;
                // About what is known and no institution nothing can ever be decided.
                let unknown = [decided.by, a, b].into_iter().find(|origin| !self.is_known(origin))?;
                if self.strange_links.len() < MAX_STRANGE_LINKS {
                    self.strange_links.insert((unknown, record.key()));
                } else {
                    // It is looked at again at the next start; those who read links from the store see it meanwhile.
                    tracing::warn!(
                        most = MAX_STRANGE_LINKS,
                        "too many links about unknown institutions: the linker leaves one out"
                    );
                }
                return None;
            }
        };
        let changed = self.graph.note(record.key(), decided, standing(&decided, path, &self.view));
        self.queue(record.key(), &decided);
        self.hear(&decided);
        (changed || decided.layer == LinkLayer::Human).then_some(decided)
    }

    /// Puts this node's link into the queue for humans, or takes it out.
    fn queue(&mut self, link: RecordKey, decided: &Decided) {
        if decided.by == self.origin && decided.layer != LinkLayer::Human {
            let asks = matches!(decided.decision, LinkDecision::Possible | LinkDecision::Suspended)
                || decided.decision == LinkDecision::Same && decided.doubtful;
            self.waits_for_humans.set(link, [decided.a.key, decided.b.key], asks);
        }
    }

    /// Lets the linker know what humans say of a pair, and whom others hold apart, if both are held.
    fn hear(&mut self, decided: &Decided) {
        if decided.by == self.origin && decided.layer == LinkLayer::Machine {
            return;
        }
        let (a, b) = (self.places.get(&decided.a.key), self.places.get(&decided.b.key));
        if let (Some(a), Some(b)) = (a.copied(), b.copied())
            && let (Some(one), Some(two)) = (self.end_of(&decided.a.key), self.end_of(&decided.b.key))
        {
            self.linker.note_given(a, b, self.fixed(&one, &two));
        }
    }

    /// What the linker may not overrule: a suspension, humans, and whose pair it is.
    fn fixed(&self, one: &End, two: &End) -> Option<bool> {
        if self.graph.is_suspended(one, two) {
            return Some(false);
        }
        self.graph.by_humans(one, two).or_else(|| self.apart_by_others(one, two).then_some(false))
    }

    /// Whether others hold a pair apart that is not this node's to judge.
    fn apart_by_others(&self, one: &End, two: &End) -> bool {
        let place = |end: &End| self.places.get(&end.key).copied();
        let is_mine = place(one).zip(place(two)).is_some_and(|(one, two)| self.is_mine(one, two));
        !is_mine && self.graph.by_others(one, two, self.origin) == Some(false)
    }

    /// Makes the persons of these registrations, and all whom they touch, what the links say.
    pub(super) fn refresh(&mut self, keys: &[RecordKey]) {
        let mut members: BTreeSet<Place> = BTreeSet::new();
        let mut todo: Vec<Place> = keys.iter().filter_map(|key| self.places.get(key)).copied().collect();
        let mut persons: BTreeSet<u32> = BTreeSet::new();
        while let Some(place) = todo.pop() {
            let person = self.linker.person_of(place);
            let all = self.linker.members(person);
            if persons.contains(&person) || !members.is_empty() && members.len() + all.len() > MAX_COMPONENT {
                continue;
            }
            persons.insert(person);
            members.extend(all);
            todo.extend(all.iter().flat_map(|member| self.joined_to(*member)));
        }
        let members: Vec<Place> = members.into_iter().collect();
        let groups = self.components(&members);
        self.linker.regroup(&members, &groups);
        let parts: BTreeSet<usize> = groups.into_iter().collect();
        if parts.len() > persons.len() {
            let entered: Vec<Place> =
                members.into_iter().filter(|place| Some(*place) != self.entering).collect();
            self.linker.find_again(&entered);
        }
    }

    fn joined_to(&self, place: Place) -> Vec<Place> {
        let Some(held) = self.held[place as usize] else { return Vec::new() };
        let joined = |key: &RecordKey| {
            let other = self.end_of(key)?;
            (self.graph.joined(&held.end, &other) == Some(true)).then(|| self.places[key])
        };
        self.graph.others(&held.end.key).iter().filter_map(joined).collect()
    }

    /// The component of each place, over the links among them.
    fn components(&self, members: &[Place]) -> Vec<usize> {
        let mut sets = Sets((0..members.len()).collect());
        for (at, place) in members.iter().enumerate() {
            for other in self.joined_to(*place) {
                if let Ok(other) = members.binary_search(&other) {
                    sets.join(at, other);
                }
            }
        }
        (0..members.len()).map(|at| sets.leader(at)).collect()
    }

    /// Asks the linker about a registration, and drafts the links that make its answer true, as far as they are this node's to write.
    fn judge(&mut self, key: &RecordKey) -> Result<(), ReadError> {
        let Some(place) = self.places.get(key).copied() else { return Ok(()) };
        let (proposal, outcome) = self.linker.judge(place);
        let groups: BTreeMap<usize, Vec<Place>> = match proposal {
            Proposal::Alone => return self.ask(place, &outcome.possible),
            Proposal::Join(person) => {
                let members = self.linker.members(person).iter().copied().chain([place]);
                BTreeMap::from([(0, members.collect())])
            }
            Proposal::Settle { members, groups } => {
                let mut by_group = BTreeMap::<usize, Vec<Place>>::new();
                for (place, group) in members.into_iter().zip(groups) {
                    by_group.entry(group).or_default().push(place);
                }
                by_group
            }
        };
        let members = groups.values().flatten();
        let keys: Vec<RecordKey> = members.filter_map(|place| self.key(*place)).collect();
        if self.part(&groups)? {
            self.refresh(&keys);
        }
        let mut joined = false;
        for members in groups.values() {
            joined |= self.connect(members)?;
        }
        if joined {
            self.refresh(&keys);
        }
        self.ask(place, &outcome.possible)
    }

    /// Drafts for humans whom a registration may belong to, and takes back what was drafted of others before.
    fn ask(&mut self, place: Place, possible: &[Likely]) -> Result<(), ReadError> {
        let Some(held) = self.held[place as usize] else { return Ok(()) };
        let mut asked: Vec<Place> = Vec::new();
        for link in possible.iter().take(MAX_POSSIBLE) {
            let apart = self.linker.person_of(link.other) != self.linker.person_of(place);
            let Some(end) = self.held[link.other as usize].map(|held| held.end) else { continue };
            if apart && self.is_mine(place, link.other) && self.graph.by_humans(&held.end, &end).is_none() {
                asked.push(link.other);
                self.draft(place, link.other, LinkDecision::Possible)?;
            }
        }
        let others: Vec<Place> =
            self.graph.others(&held.end.key).iter().filter_map(|key| self.places.get(key)).copied().collect();
        // Whoever was asked about stands for its person, of whom another may be the likeliest by now.
        let still: Vec<u32> = possible.iter().map(|link| self.linker.person_of(link.other)).collect();
        let settled =
            |other: &Place| !asked.contains(other) && !still.contains(&self.linker.person_of(*other));
        let others: Vec<Place> = others.into_iter().filter(settled).collect();
        for other in others {
            let Some(end) = self.held[other as usize].map(|held| held.end) else { continue };
            if self.graph.own_said(&held.end, &end, self.origin) == Some(LinkDecision::Possible) {
                self.draft(place, other, LinkDecision::None)?;
            }
        }
        Ok(())
    }

    pub(super) fn key(&self, place: Place) -> Option<RecordKey> {
        self.held[place as usize].map(|held| held.end.key)
    }

    /// Takes back this node's links between groups, and within one what it overruled when it was judge. A link that another node
    /// made when the pair was its to judge, before an institution moved, may be out of that node's sight: it is overruled.
    fn part(&mut self, groups: &BTreeMap<usize, Vec<Place>>) -> Result<bool, ReadError> {
        let group_of: HashMap<Place, usize> =
            groups.iter().flat_map(|(group, members)| members.iter().map(|place| (*place, *group))).collect();
        let mut wrong: Vec<(Place, Place, LinkDecision)> = Vec::new();
        for (place, group) in &group_of {
            let Some(held) = self.held[*place as usize] else { continue };
            for key in self.graph.others(&held.end.key) {
                let Some((other, end)) = self.places.get(key).zip(self.end_of(key)) else { continue };
                let Some(of_other) = group_of.get(other).filter(|_| place < other) else { continue };
                let own_said = self.graph.own_said(&held.end, &end, self.origin);
                if of_other == group {
                    // Whoever is judge by now is bound by what others say of the pair.
                    if own_said == Some(LinkDecision::Different) && !self.is_mine(*place, *other) {
                        wrong.push((*place, *other, LinkDecision::None));
                    }
                    continue;
                }
                let others = self.graph.by_others(&held.end, &end, self.origin);
                if others == Some(true) && self.is_mine(*place, *other) {
                    // Of machines it has the last word, once that is said.
                    if self.graph.joined(&held.end, &end) == Some(true)
                        && self.graph.by_humans(&held.end, &end).is_none()
                    {
                        wrong.push((*place, *other, LinkDecision::Different));
                    }
                // What is suspended stays said: taken back it would not be suspended any more, and would be said again.
                } else if own_said == Some(LinkDecision::Same) && !self.graph.is_suspended(&held.end, &end) {
                    wrong.push((*place, *other, LinkDecision::None));
                }
            }
        }
        wrong.sort_unstable_by_key(|(a, b, _)| (*a, *b));
        for (a, b, decision) in &wrong {
            self.draft(*a, *b, *decision)?;
        }
        Ok(!wrong.is_empty())
    }

    /// Links the persons that the members of a group are of now, each pair of them by the best pair of registrations that is this
    /// node's to judge. Where there is none, it is a node's below.
    fn connect(&mut self, members: &[Place]) -> Result<bool, ReadError> {
        let mut persons: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
        for place in members {
            persons.entry(self.linker.person_of(*place)).or_default().push(*place);
        }
        if persons.len() < 2 {
            return Ok(false);
        }
        if members.len() > MAX_JOINED {
            self.refused += 1;
            return Ok(false);
        }
        let units: Vec<&Vec<Place>> = persons.values().collect();
        // Whoever is of that person and not of the group comes with it.
        let whole: Vec<Vec<Place>> =
            persons.keys().map(|person| self.linker.members(*person).to_vec()).collect();
        let mut pairs: Vec<(f32, Place, Place, usize, usize)> = Vec::new();
        let mut apart: Vec<(usize, usize)> = Vec::new();
        for (at, unit) in units.iter().enumerate() {
            for (other_at, other_unit) in units.iter().enumerate().skip(at + 1) {
                if self.held_apart(&whole[at], &whole[other_at]) {
                    apart.push((at, other_at));
                    continue;
                }
                for a in self.speakers(unit) {
                    for b in self.speakers(other_unit) {
                        if self.is_mine(a, b) {
                            pairs.push((self.linker.pair(a, b).1, a, b, at, other_at));
                        }
                    }
                }
            }
        }
        pairs.sort_by(|one, two| two.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(two.1, two.2))));
        let mut sets = Sets((0..units.len()).collect());
        let mut drafted = false;
        for (_, a, b, one, other) in pairs {
            let (left, right) = (sets.leader(one), sets.leader(other));
            let barred = |(x, y): &(usize, usize)| {
                let (x, y) = (sets.peek(*x), sets.peek(*y));
                (x, y) == (left, right) || (x, y) == (right, left)
            };
            if left != right && !apart.iter().any(barred) {
                sets.join(one, other);
                self.draft(a, b, LinkDecision::Same)?;
                drafted = true;
            }
        }
        Ok(drafted)
    }

    /// Whether somebody else decided that a registration of one person is not the same as one of the other.
    fn held_apart(&self, unit: &[Place], other: &[Place]) -> bool {
        unit.iter().filter_map(|place| self.held[*place as usize]).any(|held| {
            self.graph.others(&held.end.key).iter().any(|key| {
                let known = self.places.get(key).filter(|place| other.contains(place)).and(self.end_of(key));
                known.is_some_and(|end| self.fixed(&held.end, &end) == Some(false))
            })
        })
    }

    /// The latest registrations of a person, some of each branch under this node.
    fn speakers(&self, unit: &[Place]) -> Vec<Place> {
        let mut by_branch: BTreeMap<Option<NodePath>, usize> = BTreeMap::new();
        let mut speakers = Vec::new();
        for place in unit.iter().rev() {
            let branch = self.writer(*place).and_then(|path| self.own.child_towards(path));
            let count = by_branch.entry(branch).or_default();
            if *count < MAX_SPEAKERS {
                *count += 1;
                speakers.push(*place);
            }
        }
        speakers
    }

    pub(super) fn writer(&self, place: Place) -> Option<&NodePath> {
        self.view.writer_path(&self.held[place as usize]?.origin)
    }

    /// Whether this node is the lowest one above both.
    fn is_mine(&self, a: Place, b: Place) -> bool {
        let common = self.writer(a).zip(self.writer(b)).and_then(|(a, b)| a.common(b));
        common.is_some_and(|common| common == self.own)
    }

    /// Whether another node decided on a pair that is this node's to judge.
    fn succeeds(&self, decided: &Decided) -> bool {
        let places = self.places.get(&decided.a.key).zip(self.places.get(&decided.b.key));
        decided.by != self.origin && places.is_some_and(|(a, b)| self.is_mine(*a, *b))
    }

    /// Drafts what the linker decided about a pair, and holds it to be so from now on.
    fn draft(&mut self, a: Place, b: Place, decision: LinkDecision) -> Result<(), ReadError> {
        let (Some(one), Some(two)) = (self.held[a as usize], self.held[b as usize]) else { return Ok(()) };
        let ((a, one), (b, two)) =
            if one.end.key < two.end.key { ((a, one), (b, two)) } else { ((b, two), (a, one)) };
        let (by_rule, weight) = self.linker.pair(a, b);
        let basis = match decision {
            // It must stand against a rule.
            LinkDecision::Different => LinkBasis::Conflict,
            _ if by_rule => LinkBasis::Rule,
            _ => LinkBasis::Score,
        };
        let model = self.linker.scorer().model();
        let doubtful = decision == LinkDecision::Same
            && !by_rule
            && linkage::model::probability(weight) < model.sure_from;
        let (features_a, features_b) = (self.linker.features(a), self.linker.features(b));
        let fields = linkage::explain::numbers(&self.linker, &features_a, &features_b);
        let body = PersonLink {
            a: Some(reference(&one)),
            b: Some(reference(&two)),
            layer: LinkLayer::Machine as i32,
            decision: decision as i32,
            basis: basis as i32,
            weight_millibits: millibits(weight),
            doubtful,
            model: model.version.clone(),
            form: linkage::model::FORM,
            fields: fields
                .into_iter()
                .map(|(comparison, level, weight)| FieldWeight {
                    comparison: u32::from(comparison),
                    level: u32::from(level),
                    weight_millibits: millibits(weight),
                })
                .collect(),
            ..PersonLink::default()
        };
        self.put(body)
    }

    /// Drafts a link, and takes it in as if it were written.
    pub(super) fn put(&mut self, body: PersonLink) -> Result<(), ReadError> {
        let decided = Decided::read(&body, self.origin).expect("a link of this node's own making");
        let (draft, before) = match link_draft(body, self.origin, &self.store) {
            Ok(drafted) => drafted,
            Err(DraftError::Read(error)) => return Err(error),
            Err(DraftError::Link(_)) => unreachable!("it was read a moment ago"),
        };
        let (id, key) = (decided.id(), draft.key());
        // What is said already is not said again.
        let said = before
            .as_ref()
            .and_then(|record| Decided::of(record).ok())
            .filter(|said| (said.a, said.b, said.decision) == (decided.a, decided.b, decided.decision));
        if let Some(said) = said {
            self.drafts.remove(&id);
            self.graph.note(key, said, standing(&said, &self.own, &self.view));
            self.queue(key, &said);
            self.hear(&said);
            return Ok(());
        }
        self.drafts.insert(id, draft);
        self.graph.note(key, decided, standing(&decided, &self.own, &self.view));
        self.queue(key, &decided);
        self.hear(&decided);
        Ok(())
    }
}

pub(super) fn reference(held: &Held) -> RegistrationRef {
    person_link::reference(held.origin, held.id, held.end.born_ms, held.version)
}

/// Bits as a record holds them.
fn millibits(bits: f32) -> i32 {
    (bits * 1000.0).round().clamp(-(MAX_WEIGHT as f32), MAX_WEIGHT as f32) as i32
}

/// Union-find; a set is named by its smallest.
struct Sets(Vec<usize>);

impl Sets {
    fn leader(&mut self, mut one: usize) -> usize {
        while self.0[one] != one {
            self.0[one] = self.0[self.0[one]];
            one = self.0[one];
        }
        one
    }

    /// The same, changing nothing.
    fn peek(&self, mut one: usize) -> usize {
        while self.0[one] != one {
            one = self.0[one];
        }
        one
    }

    /// Joins two sets.
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        self.0[a.max(b)] = a.min(b);
    }
}
