//! The linker: registrations one at a time, each joined to the person it belongs to, or left alone, or shown to a human.

use std::collections::HashMap;

use crate::block;
use crate::cluster::{self, Pairs};
use crate::compare::{Levels, compare};
use crate::features::Features;
use crate::index::BlockingIndex;
use crate::model::{Frequencies, Score, Scorer, probability};
use crate::normalise::Belongs;

/// A registration in the linker: its place in order of arrival.
pub type Place = u32;

/// A decision about two registrations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub other: Place,
    pub weight: f32,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub place: Place,
    /// The registration it is linked to most surely, of the person it was joined to.
    pub same: Option<Link>,
    /// Whether that link is likely enough to be made and not likely enough to go unseen: for a human.
    pub doubtful: bool,
    /// Registrations it may belong to, one of each person, likeliest first: for a human.
    pub possible: Vec<Link>,
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
    features: Vec<Features>,
    blocks: BlockingIndex,
    person_of: Vec<u32>,
    members: Vec<Vec<Place>>,
    /// Persons by how their name sounds, and by telephone number.
    names: HashMap<u64, u32>,
    phones: HashMap<u64, u32>,
    /// Registrations by county and by prefecture (four digits) of the institution, and by county of the address.
    places: HashMap<u32, u32>,
    counties: HashMap<u32, u32>,
    persons: u32,
    /// What humans decided, by the smaller and the larger place.
    humans: HashMap<(Place, Place), bool>,
}

/// The weights of decisions that are not by score: beyond every score, humans beyond rules.
pub(crate) const JOINED: f32 = 1000.0;
pub(crate) const RULE: f32 = 100.0;
pub(crate) const EXCLUDED: f32 = -100_000.0;
pub(crate) const SEPARATED: f32 = -1_000_000.0;
/// Persons looked at for one registration, and registrations settled together.
const MAX_NEAR: usize = 8;
const MAX_SETTLED: usize = 48;

impl Linker {
    pub fn new(scorer: Scorer) -> Self {
        Self {
            scorer,
            features: Vec::new(),
            blocks: BlockingIndex::default(),
            person_of: Vec::new(),
            members: Vec::new(),
            names: HashMap::new(),
            phones: HashMap::new(),
            places: HashMap::new(),
            counties: HashMap::new(),
            persons: 0,
            humans: HashMap::new(),
        }
    }

    /// Takes in a registration and decides who it is.
    pub fn register(&mut self, features: Features) -> Outcome {
        let keys = block::keys(&features);
        let places = self.blocks.candidates(&keys);
        let place = self.features.len() as Place;
        let near = self.near(&features, &places);
        self.blocks.insert(&keys, place);
        self.person_of.push(place);
        self.members.push(vec![place]);
        self.features.push(features);
        self.persons += 1;
        let outcome = match near[..] {
            [] => Outcome { place, ..Outcome::default() },
            [person] => self.join(place, person).unwrap_or_else(|| self.settle(place, &near)),
            _ => self.settle(place, &near),
        };
        self.count(place);
        outcome
    }

    /// Takes in a human's decision that two registrations are the same person, or are not. It stands before every rule and score;
    /// the latest about a pair counts. Unknown places and a pair of one registration are ignored.
    pub fn decide(&mut self, a: Place, b: Place, same: bool) {
        if a == b || a.max(b) as usize >= self.features.len() {
            return;
        }
        self.humans.insert((a.min(b), a.max(b)), same);
        let near = [self.person_of(a), self.person_of(b)];
        self.settle(a, &near);
    }

    /// The person of a registration, as the place of one of its members.
    pub fn person_of(&self, place: Place) -> u32 {
        self.person_of[place as usize]
    }

    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    pub fn features(&self, place: Place) -> &Features {
        &self.features[place as usize]
    }

    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// How many registrations would be compared with one of these keys.
    pub fn candidates(&self, keys: &[block::Key]) -> usize {
        self.blocks.candidates(keys).len()
    }

    /// Persons so far.
    pub fn persons(&self) -> u32 {
        self.persons
    }

    /// Keys of the blocking index, and how many of them are closed.
    pub fn keys(&self) -> (usize, usize) {
        self.blocks.sizes()
    }

    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Compares and scores two registrations as they stand.
    pub fn compare(&self, a: &Features, b: &Features) -> (Levels, Frequencies, Score) {
        let levels = compare(a, b);
        let frequencies = self.frequencies(a, b);
        let score = self.scorer.score(&levels, &frequencies, self.persons as f32);
        (levels, frequencies, score)
    }

    /// Persons that the registration may belong to, likeliest first; with them those that a resident ID rules out, since who
    /// belongs to them may have to be decided anew.
    fn near(&self, features: &Features, places: &[Place]) -> Vec<u32> {
        let possible = self.scorer.model().possible_from;
        let mut persons: Vec<(f32, u32)> = Vec::new();
        for place in places {
            let weight = self.weight(features, &self.features[*place as usize]);
            let person = self.person_of[*place as usize];
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

    /// The weight of a pair: by rule, or by score.
    fn weight(&self, a: &Features, b: &Features) -> f32 {
        if same_by_rule(a, b) { RULE } else { self.compare(a, b).2.weight() }
    }

    /// The weight of a pair of known registrations: by a human, by rule, or by score.
    pub(crate) fn pair(&self, a: Place, b: Place) -> f32 {
        let human = if self.humans.is_empty() { None } else { self.humans.get(&(a.min(b), a.max(b))) };
        let (one, other) = (self.features(a), self.features(b));
        match human {
            Some(true) => JOINED,
            Some(false) => SEPARATED,
            None if excluded(one, other) => EXCLUDED,
            None => self.weight(one, other),
        }
    }

    /// Adds a new registration to the only person that it may belong to, if none of the members is against it: the usual case,
    /// which settles nothing anew.
    fn join(&mut self, place: Place, person: u32) -> Option<Outcome> {
        let members = &self.members[person as usize];
        let weights: Vec<f32> =
            members.iter().take(MAX_SETTLED).map(|member| self.pair(place, *member)).collect();
        let nearest = (0..weights.len()).max_by(|a, b| weights[*a].total_cmp(&weights[*b]))?;
        let (weight, worst) = (weights[nearest], weights.iter().copied().fold(0.0, f32::min));
        let model = self.scorer.model();
        let sure = if weight >= RULE { 1.0 } else { probability(weight + cluster::DOUBT * worst) };
        if worst <= EXCLUDED || sure < model.same_from {
            return None;
        }
        let same = Some(Link { other: members[nearest], weight });
        let outcome = Outcome { place, same, doubtful: sure < model.sure_from, possible: Vec::new() };
        self.members[place as usize].clear();
        self.members[person as usize].push(place);
        self.person_of[place as usize] = person;
        self.persons -= 1;
        Some(outcome)
    }

    /// Decides anew who of the members of these persons and the registration belong together.
    fn settle(&mut self, place: Place, near: &[u32]) -> Outcome {
        let mut members = vec![place];
        for person in near {
            let more = self.members[*person as usize].iter().copied().filter(|other| *other != place);
            members.extend(more);
        }
        members.sort_unstable();
        members.dedup();
        if members.len() > MAX_SETTLED {
            // The person the registration is nearest to, as far as that goes; a person of so many is one for the quality view.
            let weight = |other: &Place| if *other == place { f32::MAX } else { self.pair(place, *other) };
            members.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
            members.truncate(MAX_SETTLED);
            members.sort_unstable();
        }
        let pairs = Pairs::of(self, &members);
        let groups = pairs.cluster(self.scorer.model());
        let new = members.binary_search(&place).expect("the registration is among them");
        let (same, doubtful) = pairs.nearest(new, &groups, self.scorer.model());
        let possible = pairs.open(new, &groups, self.scorer.model());
        self.regroup(&members, &groups);
        Outcome { place, same, doubtful, possible }
    }

    /// Makes the groups persons.
    fn regroup(&mut self, members: &[Place], groups: &[usize]) {
        let mut before: Vec<u32> = members.iter().map(|place| self.person_of[*place as usize]).collect();
        before.sort_unstable();
        before.dedup();
        let mut left: Vec<(u32, Vec<Place>)> = Vec::new();
        for person in &before {
            let rest: Vec<Place> = std::mem::take(&mut self.members[*person as usize])
                .into_iter()
                .filter(|place| !members.contains(place))
                .collect();
            left.push((*person, rest));
        }
        self.persons -= before.len() as u32;
        let mut firsts: Vec<usize> = groups.to_vec();
        firsts.sort_unstable();
        firsts.dedup();
        for group in firsts {
            let grouped: Vec<Place> =
                (0..members.len()).filter(|one| groups[*one] == group).map(|one| members[one]).collect();
            let mut all = grouped.clone();
            // Members beyond the bound stay with the first of theirs.
            if let Some((_, rest)) = left.iter_mut().find(|(person, rest)| {
                !rest.is_empty() && grouped.iter().any(|place| self.person_of[*place as usize] == *person)
            }) {
                all.append(rest);
            }
            let person = all[0];
            for place in &all {
                self.person_of[*place as usize] = person;
            }
            self.members[person as usize] = all;
            self.persons += 1;
        }
    }

    fn frequencies(&self, a: &Features, b: &Features) -> Frequencies {
        let persons = self.persons.max(1) as f32;
        let name = block::name_key(&a.name).and_then(|key| self.names.get(&key)).copied().unwrap_or(0);
        let shared = a.phones.iter().filter(|phone| b.phones.contains(phone));
        let phone = shared.filter_map(|phone| self.phones.get(phone)).min().copied().unwrap_or(0);
        let seen = self.features.len().max(1) as f32;
        let share =
            |counts: &HashMap<u32, u32>, key: u32| counts.get(&key).map_or(0.0, |count| *count as f32 / seen);
        let place = if a.place == b.place {
            share(&self.places, a.place)
        } else {
            share(&self.places, a.place / 100)
        };
        let county = a.addresses.first().map_or(0.0, |address| share(&self.counties, address.county));
        Frequencies {
            // One person with this name is known: the one compared with. Another half is for those not met yet.
            name: (name as f32 - 0.5).max(0.5) / persons,
            // Up to eight of a household share a number.
            phone: phone.saturating_sub(8) as f32 / persons,
            place,
            county,
            twin: a.name.birth_order != 0 || b.name.birth_order != 0,
        }
    }

    /// Counts place and county, and name and telephone number once per person.
    fn count(&mut self, place: Place) {
        let features = &self.features[place as usize];
        if features.place != 0 {
            *self.places.entry(features.place).or_insert(0) += 1;
            *self.places.entry(features.place / 100).or_insert(0) += 1;
        }
        if let Some(address) = features.addresses.first().filter(|address| address.county != 0) {
            *self.counties.entry(address.county).or_insert(0) += 1;
        }
        let others = &self.members[self.person_of[place as usize] as usize];
        let key = block::name_key(&features.name);
        let known = |has: &dyn Fn(&Features) -> bool| {
            others.iter().any(|other| *other != place && has(&self.features[*other as usize]))
        };
        if let Some(key) = key.filter(|key| !known(&|other| block::name_key(&other.name) == Some(*key))) {
            *self.names.entry(key).or_insert(0) += 1;
        }
        for phone in features.phones.iter().filter(|phone| !known(&|other| other.phones.contains(phone))) {
            *self.phones.entry(*phone).or_insert(0) += 1;
        }
    }
}

/// Whether two registrations are one person, whatever else differs: the same valid resident ID, or the same other document, under
/// the same name.
fn same_by_rule(a: &Features, b: &Features) -> bool {
    if !a.name.is_own() || !b.name.is_own() || !a.name.sounds_like(&b.name) {
        return false;
    }
    match (&a.resident, &b.resident) {
        (Some(one), Some(other)) => one.valid && one.digits == other.digits,
        _ => a.others.iter().any(|document| b.others.contains(document)),
    }
}

/// Whether two registrations are two persons, whatever else agrees.
fn excluded(a: &Features, b: &Features) -> bool {
    other_number(a, b) || other_twin(a, b)
}

/// Whether they are numbered children of one birth.
fn other_twin(a: &Features, b: &Features) -> bool {
    let (one, other) = (&a.name, &b.name);
    one.birth_order != 0
        && other.birth_order != 0
        && one.birth_order != other.birth_order
        && one.sounds_like(other)
}

/// Whether both have a valid resident ID of their own, and not the same.
pub fn other_number(a: &Features, b: &Features) -> bool {
    let (Some(one), Some(other)) = (a.own_number(), b.own_number()) else { return false };
    one.digits != other.digits && (one.belongs == Belongs::Own || other.belongs == Belongs::Own)
}
