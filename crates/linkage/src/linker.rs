//! The linker: registrations one at a time, each joined to the person it belongs to, or left alone, or shown to a human.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use crate::block;
use crate::cluster::{self, Bundles, Found};
use crate::compare::{
    AddressLevel, BirthLevel, ContactLevel, IdentifierLevel, Levels, NameLevel, PhoneLevel, compare, field,
};
use crate::features::Features;
use crate::holders::Holders;
use crate::index::BlockingIndex;
use crate::lists::{self, Lists, reserve};
use crate::model::{Frequencies, Score, Scorer, probability};
use crate::packed::Packed;
use crate::people::People;

/// A registration in the linker: its place in order of arrival. Below 2^31 - 1, so that indexes can hold it.
pub type Place = u32;

/// The other registration of a pair, and the pair's match weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likely {
    pub other: Place,
    /// log2 of the odds that the two are one person, in bits; 100 by rule.
    pub weight: f32,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub place: Place,
    /// The registration it is linked to most surely, of the person it was joined to.
    pub same: Option<Likely>,
    /// Whether that link is likely enough to be made and not likely enough to go unseen: for a human.
    pub doubtful: bool,
    /// Registrations it may belong to, one of each person, likeliest first: for a human.
    pub possible: Vec<Likely>,
}

impl Outcome {
    /// Whether a human should look at it.
    pub fn is_for_review(&self) -> bool {
        self.doubtful || !self.possible.is_empty()
    }
}

/// Persons among registrations that arrive one at a time.
#[derive(Debug)]
pub struct Linker {
    scorer: Scorer,
    features: Vec<Packed>,
    blocks: BlockingIndex,
    people: People,
    /// How many persons bear a name of each sound, and each telephone number, as they were when registered: a number each.
    names: Lists,
    phones: Lists,
    /// How many registrations by county and by prefecture (four digits) of the institution, and by county of the address.
    places: HashMap<u32, u32>,
    counties: HashMap<u32, u32>,
    /// What humans decided, under both places.
    humans: HashMap<Place, Vec<(Place, bool)>>,
    holders: Holders,
    /// Places of registrations that were removed, to be given again.
    free: Vec<Place>,
}

/// Who a registration belongs together with, before anybody acts on it.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// With nobody that it is not with already.
    Alone,
    /// With this person, as that is.
    Join(u32),
    /// All members of some persons, by place, and the group of each of them.
    Settle { members: Vec<Place>, groups: Vec<usize> },
}

/// The weight of what a rule decides. No score of the shipped model comes near; one that did would be as sure.
pub(crate) const RULE: f32 = 100.0;
/// Persons looked at for one registration, and registrations settled together.
const MAX_NEAR: usize = 8;
const MAX_SETTLED: usize = 512;
/// Registrations of one person that a new one is compared with before it joins.
const MAX_ASKED: usize = 48;
/// Persons of a household who share a telephone number.
const HOUSEHOLD: u32 = 8;
/// Below so many persons, chance is reckoned as among these: a young index has not met the strangers yet.
const MIN_PERSONS: f32 = 2_000.0;

impl Linker {
    pub fn new(scorer: Scorer) -> Self {
        Self {
            scorer,
            features: Vec::new(),
            blocks: BlockingIndex::default(),
            people: People::default(),
            names: Lists::default(),
            phones: Lists::default(),
            places: HashMap::new(),
            counties: HashMap::new(),
            humans: HashMap::new(),
            holders: Holders::default(),
            free: Vec::new(),
        }
    }

    /// Takes in a registration and decides who it is.
    pub fn register(&mut self, mut features: Features) -> Outcome {
        let place = self.keep(&mut features);
        let keys = block::keys(&features);
        let (proposal, outcome) = self.propose(place, &features, &keys);
        match proposal {
            Proposal::Alone => {}
            Proposal::Join(person) => self.join(place, person),
            Proposal::Settle { members, groups } => self.regroup(&members, &groups),
        }
        self.show(place, &features, &keys);
        outcome
    }

    /// Takes in a registration as a person of its own that nobody finds yet.
    pub fn take(&mut self, mut features: Features) -> Place {
        self.keep(&mut features)
    }

    fn keep(&mut self, features: &mut Features) -> Place {
        self.holders.note(features);
        let place = self.free.pop().unwrap_or(self.features.len() as Place);
        let packed = Packed::of(features);
        if place as usize == self.features.len() {
            reserve(&mut self.features, 1);
            self.features.push(packed);
        } else {
            self.features[place as usize] = packed;
        }
        self.people.take(place);
        place
    }

    /// From now on others are compared with the registration. To be called once, when its person is known: keys count persons.
    pub fn enter(&mut self, place: Place) {
        let features = self.features(place);
        self.show(place, &features, &block::keys(&features));
    }

    fn show(&mut self, place: Place, features: &Features, keys: &[block::Key]) {
        self.blocks.insert(keys, place, self.people.all());
        self.count(place, features, 1);
    }

    /// Forgets a registration that was entered; its place may be given to another.
    pub fn remove(&mut self, place: Place) {
        let features = self.features(place);
        let mut members = self.members(self.person_of(place)).to_vec();
        let groups: Vec<usize> = members.iter().map(|member| usize::from(*member == place)).collect();
        self.count(place, &features, -1);
        self.regroup(&members, &groups);
        self.blocks.remove(&block::keys(&features), place);
        self.holders.forget(&features);
        members.retain(|member| *member != place);
        self.find_again(&members);
        self.people.leave(place);
        for (other, _) in self.humans.remove(&place).unwrap_or_default() {
            self.set_human(other, place, None);
        }
        self.features[place as usize] = Packed::default();
        self.free.push(place);
    }

    /// Makes sure that those are found who stood in for each other as members of one person, which they are no more, or of which others
    /// left. To be called with registrations that were entered.
    pub fn find_again(&mut self, members: &[Place]) {
        for member in members.iter().rev().take(MAX_ASKED) {
            let keys = block::keys(&self.features(*member));
            self.blocks.insert(&keys, *member, self.people.all());
        }
    }

    /// Who a registration that was taken in belongs together with, as far as can be told now. Changes nothing.
    pub fn judge(&self, place: Place) -> (Proposal, Outcome) {
        let features = self.features(place);
        self.propose(place, &features, &block::keys(&features))
    }

    fn propose(&self, place: Place, features: &Features, keys: &[block::Key]) -> (Proposal, Outcome) {
        let mut places = self.blocks.candidates(keys);
        places.retain(|other| *other != place);
        let mut near = self.near(features, &places);
        let own = self.person_of(place);
        if self.members(own).len() > 1 {
            if !near.contains(&own) {
                near.push(own);
            }
            return self.settle(place, &near);
        }
        match near[..] {
            [] => (Proposal::Alone, Outcome { place, ..Outcome::default() }),
            [person] => self.joins(place, person).unwrap_or_else(|| self.settle(place, &near)),
            _ => self.settle(place, &near),
        }
    }

    /// Registrations of a person.
    pub fn members(&self, person: u32) -> &[Place] {
        self.people.members(person)
    }

    /// Takes in a human's decision that two registrations are the same person, or are not. It stands before every rule and score;
    /// the latest about a pair counts. A join that would bring together two that a human holds apart is kept but has no effect. Unknown
    /// places and a pair of one registration are ignored.
    pub fn decide(&mut self, a: Place, b: Place, same: bool) {
        if a == b || !self.people.has(a) || !self.people.has(b) {
            return;
        }
        self.note_given(a, b, Some(same));
        let near = [self.person_of(a), self.person_of(b)];
        if let Some((Proposal::Settle { members, groups }, _)) = self.try_settle(a, &near) {
            self.regroup(&members, &groups);
            return;
        }
        // Too many to settle anew: two whole persons join, or one registration leaves, alone even if a human joined it with others of them.
        let [one, other] = near;
        if same && one != other && !self.held_apart(one, other) {
            let members = [self.members(one), self.members(other)].concat();
            self.regroup(&members, &vec![0; members.len()]);
        } else if !same && one == other {
            let members = self.members(one).to_vec();
            let groups: Vec<usize> = members.iter().map(|member| usize::from(*member == b)).collect();
            self.regroup(&members, &groups);
        }
    }

    /// Notes what humans say of two registrations, or that they say nothing; who they are is asked for with [`Linker::judge`].
    pub fn note_given(&mut self, a: Place, b: Place, same: Option<bool>) {
        self.set_human(a, b, same);
        self.set_human(b, a, same);
    }

    fn set_human(&mut self, one: Place, other: Place, same: Option<bool>) {
        let decisions = self.humans.entry(one).or_default();
        decisions.retain(|(known, _)| *known != other);
        decisions.extend(same.map(|same| (other, same)));
        if decisions.is_empty() {
            self.humans.remove(&one);
        }
    }

    /// What humans decided about a registration: the other one, and whether they are the same person.
    pub(crate) fn human_decisions(&self, place: Place) -> &[(Place, bool)] {
        if self.humans.is_empty() {
            return &[];
        }
        self.humans.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Whether a human holds a member of one person apart from a member of the other.
    fn held_apart(&self, a: u32, b: u32) -> bool {
        let of_b = |(other, same): &(Place, bool)| !*same && self.person_of(*other) == b;
        self.members(a).iter().any(|member| self.human_decisions(*member).iter().any(of_b))
    }

    /// The person of a registration, as the place of one of its members.
    pub fn person_of(&self, place: Place) -> u32 {
        self.people.person_of(place)
    }

    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// What is compared of a registration; of a place that is nobody's, nothing.
    pub fn features(&self, place: Place) -> Features {
        self.features[place as usize].open()
    }

    /// Registrations taken in and not removed.
    pub fn len(&self) -> usize {
        self.features.len() - self.free.len()
    }

    /// How many registrations would be compared with one of these keys.
    pub fn candidates(&self, keys: &[block::Key]) -> usize {
        self.blocks.candidates(keys).len()
    }

    /// Persons so far.
    pub fn persons(&self) -> u32 {
        self.people.count()
    }

    /// Keys of the blocking index, and how many of them are closed.
    pub fn keys(&self) -> (usize, usize) {
        self.blocks.sizes()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares and scores two registrations as they stand.
    pub fn compare(&self, a: &Features, b: &Features) -> (Levels, Frequencies, Score) {
        let levels = compare(a, b);
        let frequencies = self.frequencies(a, b, &levels);
        let score = self.scorer.score(&levels, &frequencies, (self.persons() as f32).max(MIN_PERSONS));
        (levels, frequencies, score)
    }

    /// Persons that the registration may belong to, likeliest first; with them those that a resident ID rules out, since who
    /// belongs to them may have to be decided anew.
    fn near(&self, features: &Features, places: &[Place]) -> Vec<u32> {
        let possible = self.scorer.model().possible_from;
        let mut persons: Vec<(f32, u32)> = Vec::new();
        for place in places {
            let weight = self.weight(features, &self.features(*place));
            let person = self.person_of(*place);
            match persons.iter_mut().find(|(_, known)| *known == person) {
                Some((best, _)) => *best = best.max(weight),
                None => persons.push((weight, person)),
            }
        }
        persons.retain(|(weight, _)| probability(*weight) >= possible);
        persons.sort_by(|a, b| b.0.total_cmp(&a.0));
        persons.truncate(MAX_NEAR);
        persons.into_iter().map(|(_, person)| person).collect()
    }

    /// What is said about a pair of registrations: whether a rule joins them, and their match weight in bits.
    pub fn pair(&self, a: Place, b: Place) -> (bool, f32) {
        let weight = self.weight(&self.features(a), &self.features(b));
        (weight >= RULE, weight)
    }

    /// The weight of a pair: by rule, or by score.
    pub(crate) fn weight(&self, a: &Features, b: &Features) -> f32 {
        if same_by_rule(a, b) {
            return RULE;
        }
        let (levels, _, score) = self.compare(a, b);
        let weight = score.weight();
        // One field alone never tells who somebody is: a human may.
        if is_supported(&levels) { weight } else { weight.min(UNSUPPORTED) }
    }

    /// That a registration without others joins the only person that it may belong to, if none of the members is against it: the usual
    /// case, which settles nothing anew.
    fn joins(&self, place: Place, person: u32) -> Option<(Proposal, Outcome)> {
        let (features, members) = (self.features(place), self.members(person));
        if self.people.bars(person, &features, &|place| self.features(place)) {
            return None;
        }
        let asked = &members[members.len().saturating_sub(MAX_ASKED)..];
        let weights: SmallVec<[f32; 16]> =
            asked.iter().map(|member| self.weight(&features, &self.features(*member))).collect();
        let nearest = (0..weights.len()).max_by(|a, b| weights[*a].total_cmp(&weights[*b]))?;
        let (weight, worst) = (weights[nearest], weights.iter().copied().fold(0.0, f32::min));
        let model = self.scorer.model();
        let sure = if weight >= RULE { 1.0 } else { probability(weight + cluster::DOUBT * worst) };
        if sure < model.same_from {
            return None;
        }
        let same = Some(Likely { other: asked[nearest], weight });
        let outcome = Outcome { place, same, doubtful: sure < model.sure_from, possible: Vec::new() };
        Some((Proposal::Join(person), outcome))
    }

    fn join(&mut self, place: Place, person: u32) {
        self.people.join(place, person, &|place| self.features[place as usize].open());
    }

    /// Who of the members of these persons and the registration belong together.
    fn settle(&self, place: Place, near: &[u32]) -> (Proposal, Outcome) {
        if let Some(settled) = self.try_settle(place, near) {
            return settled;
        }
        // Too many to settle anew: it may have to leave those whom it is with; else the likeliest person takes it as it is, or it stays alone
        // and a human is asked.
        let own = self.person_of(place);
        let alone = self.members(own).len() == 1;
        if !alone && let Some(settled) = self.try_settle(place, &[own]) {
            return settled;
        }
        let others = || near.iter().filter(|person| **person != own);
        if let Some(joined) = others().filter(|_| alone).find_map(|person| self.joins(place, *person)) {
            return joined;
        }
        let first = |person: &u32| self.members(*person).last().copied();
        let link = |other: Place| Likely { other, weight: self.pair(place, other).1 };
        let possible = others().filter_map(first).map(link).collect();
        (Proposal::Alone, Outcome { place, possible, ..Outcome::default() })
    }

    /// As `settle`, unless they are too many.
    fn try_settle(&self, place: Place, near: &[u32]) -> Option<(Proposal, Outcome)> {
        let count: usize = near.iter().map(|person| self.members(*person).len()).sum();
        if count > MAX_SETTLED {
            return None;
        }
        let mut members = vec![place];
        for person in near {
            members.extend_from_slice(self.members(*person));
        }
        members.sort_unstable();
        members.dedup();
        let new = members.binary_search(&place).expect("the registration is among them");
        let Found { groups, same, doubtful, possible } =
            Bundles::of(self, &members)?.cluster(new, self.scorer.model());
        Some((Proposal::Settle { members, groups }, Outcome { place, same, doubtful, possible }))
    }

    /// Makes the groups persons. The members must be all of the persons that they are of.
    pub fn regroup(&mut self, members: &[Place], groups: &[usize]) {
        self.people.regroup(members, groups, &|place| self.features[place as usize].open());
    }

    /// How common what the two have in common is; zero where these levels do not ask.
    fn frequencies(&self, a: &Features, b: &Features, levels: &Levels) -> Frequencies {
        let asks = |field: usize| Frequencies::asked(field, levels[field]);
        let persons = self.persons().max(1) as f32;
        let held = |counts: &Lists, key: u64| counts.get(key).first().copied().unwrap_or(0);
        let name = if asks(field::NAME) {
            let keys = (block::name_key(&a.name), block::name_key(&b.name));
            let count = |key: Option<u64>| key.map_or(0, |key| held(&self.names, key));
            let other = if keys.0 == keys.1 { 0 } else { count(keys.1) };
            // One person with this name is known: the one compared with. Another half is for those not met yet.
            (count(keys.0).max(other) as f32 - 0.5).max(0.5) / persons
        } else {
            0.0
        };
        let shared = a.phones.iter().filter(|phone| b.phones.contains(phone));
        let phone =
            shared.map(|phone| held(&self.phones, *phone)).filter(|count| *count > 0).min().unwrap_or(0);
        let seen = self.len().max(1) as f32;
        let share =
            |counts: &HashMap<u32, u32>, key: u32| counts.get(&key).map_or(0.0, |count| *count as f32 / seen);
        let place = match asks(field::PLACE) {
            true if a.place == b.place => share(&self.places, a.place),
            true => share(&self.places, a.place / 100),
            false => 0.0,
        };
        let county =
            |of: &Features| of.addresses.first().map_or(0.0, |address| share(&self.counties, address.county));
        Frequencies {
            name,
            phone: phone.saturating_sub(HOUSEHOLD) as f32 / persons,
            place,
            county: if asks(field::ADDRESS) { county(a).max(county(b)) } else { 0.0 },
            twin: a.name.birth_order != 0 || b.name.birth_order != 0,
        }
    }

    /// Counts place and county, and name and telephone number once per person; or takes back what was counted. A split or join since then
    /// is not made up for: the counts are what chance is reckoned from.
    fn count(&mut self, place: Place, features: &Features, by: i32) {
        if features.place != 0 {
            add(&mut self.places, features.place, by);
            add(&mut self.places, features.place / 100, by);
        }
        if let Some(address) = features.addresses.first().filter(|address| address.county != 0) {
            add(&mut self.counties, address.county, by);
        }
        // Of a person of very many, the latest are asked.
        let others = self.members(self.person_of(place)).iter().rev().take(MAX_ASKED);
        let mut name = block::name_key(&features.name);
        let mut phones = features.phones.clone();
        for other in others.filter(|other| **other != place).map(|other| self.features(*other)) {
            name = name.filter(|key| block::name_key(&other.name) != Some(*key));
            phones.retain(|phone| !other.phones.contains(phone));
        }
        if let Some(key) = name {
            count(&mut self.names, key, by);
        }
        for phone in phones {
            count(&mut self.phones, phone, by);
        }
    }
}

/// Changes a count; none is kept of nobody.
fn count(counts: &mut Lists, key: u64, by: i32) {
    counts.change(key, |count| {
        let now = count.first().copied().unwrap_or(0).saturating_add_signed(by).min(lists::MAX);
        count.clear();
        count.extend(Some(now).filter(|now| *now > 0));
    });
}

/// As `count`, where a few hundred keys are all there are.
fn add<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, by: i32) {
    match counts.entry(key) {
        Entry::Vacant(_) if by <= 0 => {}
        Entry::Vacant(entry) => {
            entry.insert(by.unsigned_abs());
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() = entry.get().saturating_add_signed(by);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Whether two registrations are one person, whatever else differs: the same valid resident ID under the same name. Numbers of other
/// documents are short and given out by many, so there the birth dates must not differ either.
fn same_by_rule(a: &Features, b: &Features) -> bool {
    if !a.name.is_own() || !b.name.is_own() || !a.name.sounds_like(&b.name) {
        return false;
    }
    if let (Some(one), Some(other)) = (&a.resident, &b.resident) {
        return one.valid && one.digits == other.digits;
    }
    let document = a.others.iter().any(|document| b.others.contains(document));
    document && a.birth.is_full() && a.birth == b.birth
}

/// The most that one agreeing field weighs: less than even odds.
const UNSUPPORTED: f32 = -0.5;

/// Whether at least two fields of different kinds agree.
fn is_supported(levels: &Levels) -> bool {
    let agrees = |place: usize, last: u8| levels[place] <= last;
    let supports = [
        agrees(field::IDENTIFIER, IdentifierLevel::TwoSlips as u8)
            || levels[field::IDENTIFIER] == IdentifierLevel::DocumentSame as u8
            || levels[field::IDENTIFIER] == IdentifierLevel::DocumentSlip as u8,
        agrees(field::NAME, NameLevel::Transcription as u8)
            || levels[field::NAME] == NameLevel::NewbornSameMother as u8,
        // A year alone is a person in sixty.
        agrees(field::BIRTH, BirthLevel::Weeks as u8) && levels[field::BIRTH] != BirthLevel::YearOnly as u8,
        agrees(field::PHONE, PhoneLevel::OneSlip as u8),
        agrees(field::ADDRESS, AddressLevel::OtherHouse as u8),
        agrees(field::CONTACT, ContactLevel::Same as u8),
    ];
    supports.into_iter().filter(|supports| *supports).count() >= 2
}
