//! Clustering: which of a few registrations are one person.
//!
//! What humans joined, what rules join and what is the same in every field is put together first, into *bundles*. Then groups of bundles grow from the
//! strongest score on: two join when their best pair is likely enough, nothing bars them (other resident IDs, other twins, a human's decision),
//! and no third group that one of them could as well belong to stands against it. No human's decision is cut off here by a bound: whoever
//! asks with too much gets nothing, and decides otherwise.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::features::Features;
use crate::linker::{Likely, Linker, Place};
use crate::model::{Model, probability};
use crate::person::Person;

/// Nodes that are clustered together, and registrations compared for it.
const MAX_BUNDLES: usize = 48;
const MAX_COMPARED: usize = 64;
/// Different registrations that speak for one bundle.
const MAX_PER_BUNDLE: usize = 8;

/// Match weight in bits below which two groups are taken to be two persons.
const TWO_PERSONS: f32 = -2.0;
/// How much of the strongest doubt between two groups counts against their best pair (chosen on tuning seeds).
pub(crate) const DOUBT: f32 = 0.25;

/// Registrations that are one person before any score is asked.
#[derive(Debug, Default)]
struct Bundle {
    members: Vec<usize>,
    /// Those of the members that are compared: no two the same in every field.
    speakers: Vec<usize>,
    person: Person,
}

/// Registrations to be clustered, as bundles, and all weights between these.
#[derive(Debug)]
pub struct Bundles<'a> {
    linker: &'a Linker,
    places: &'a [Place],
    /// Of each registration.
    features: Vec<Features>,
    all: Vec<Bundle>,
    /// The bundle of each registration.
    bundle_of: Vec<usize>,
    best: Vec<f32>,
    worst: Vec<f32>,
    /// By a human, or as twins.
    barred: Vec<bool>,
}

/// What clustering found about the registration that was asked for.
#[derive(Debug)]
pub struct Found {
    /// The group of each registration.
    pub groups: Vec<usize>,
    pub same: Option<Likely>,
    pub doubtful: bool,
    pub possible: Vec<Likely>,
}

impl<'a> Bundles<'a> {
    /// Makes bundles of the registrations; none when there are too many.
    pub fn of(linker: &'a Linker, places: &'a [Place]) -> Option<Self> {
        let features: Vec<Features> = places.iter().map(|place| linker.features(*place)).collect();
        let apart = human_pairs(linker, places, false);
        let mut sets = Sets { leader: (0..places.len()).collect(), apart: &apart };
        for (a, b) in human_pairs(linker, places, true) {
            sets.join(a, b);
        }
        for (key, same) in [(rule_key as Key, true), (identity_key as Key, false)] {
            let mut first: HashMap<u64, Vec<usize>> = HashMap::new();
            for (at, of) in features.iter().enumerate() {
                let Some(key) = key(of) else { continue };
                let known = first.entry(key).or_default();
                // A human may hold two apart that are the same in every field: each then gathers its own.
                if !known.iter().any(|other| sets.join(*other, at)) && (same || known.len() < MAX_BUNDLES) {
                    known.push(at);
                }
            }
        }
        let mut bundles: Vec<Bundle> = Vec::new();
        let mut bundle_of = vec![usize::MAX; places.len()];
        for at in 0..places.len() {
            let leader = sets.leader(at);
            if bundle_of[leader] == usize::MAX {
                bundle_of[leader] = bundles.len();
                bundles.push(Bundle::default());
            }
            bundle_of[at] = bundle_of[leader];
            bundles[bundle_of[at]].members.push(at);
            bundles[bundle_of[at]].person.add(places[at], &features[at]);
        }
        if bundles.len() > MAX_BUNDLES {
            return None;
        }
        let n = bundles.len();
        let mut this = Self {
            linker,
            places,
            features,
            all: bundles,
            bundle_of,
            best: vec![0.0; n * n],
            worst: vec![0.0; n * n],
            barred: vec![false; n * n],
        };
        this.choose_speakers();
        this.weigh(&apart);
        Some(this)
    }

    fn choose_speakers(&mut self) {
        let most = (MAX_COMPARED / self.all.len().max(1)).clamp(1, MAX_PER_BUNDLE);
        for bundle in &mut self.all {
            let mut known: Vec<u64> = Vec::new();
            // The latest first: telephone numbers and addresses change.
            for at in bundle.members.iter().rev() {
                let key = fingerprint(&self.features[*at]);
                if !known.contains(&key) && known.len() < most {
                    known.push(key);
                    bundle.speakers.push(*at);
                }
            }
        }
    }

    fn weigh(&mut self, apart: &[(usize, usize)]) {
        let n = self.all.len();
        for a in 0..n {
            for b in a + 1..n {
                let (mut best, mut worst) = (f32::MIN, 0f32);
                for one in &self.all[a].speakers {
                    for other in &self.all[b].speakers {
                        let weight = self.weight(*one, *other);
                        best = best.max(weight);
                        worst = worst.min(weight);
                    }
                }
                let (one, other) = (&self.all[a].person, &self.all[b].person);
                let features = |place| self.linker.features(place);
                self.set(a, b, best, worst, one.twin_of(other, &features));
            }
        }
        for (a, b) in apart {
            let (a, b) = (self.bundle_of[*a], self.bundle_of[*b]);
            self.barred[a * n + b] = true;
            self.barred[b * n + a] = true;
        }
    }

    fn weight(&self, a: usize, b: usize) -> f32 {
        self.linker.weight(&self.features[a], &self.features[b])
    }

    fn set(&mut self, a: usize, b: usize, best: f32, worst: f32, barred: bool) {
        let n = self.all.len();
        for place in [a * n + b, b * n + a] {
            self.best[place] = best;
            self.worst[place] = worst;
            self.barred[place] |= barred;
        }
    }

    /// The weight between two groups; none when something bars them. Resident IDs are asked each time: once a human joined two of them,
    /// either will do.
    fn between(&self, a: usize, b: usize) -> Option<f32> {
        let place = a * self.all.len() + b;
        let barred = self.barred[place] || self.all[a].person.excludes(&self.all[b].person);
        (!barred).then(|| self.best[place] + DOUBT * self.worst[place])
    }

    /// Groups all bundles, and says what became of the registration at `new`.
    pub fn cluster(mut self, new: usize, model: &Model) -> Found {
        let n = self.all.len();
        let mut group: Vec<usize> = (0..n).collect();
        let mut tried = vec![false; n * n];
        while let Some((a, b, weight)) = self.strongest(&group, &tried, model) {
            let odds = odds(weight);
            let against = self.against(&group, a, b).max(self.against(&group, b, a));
            if odds / (1.0 + odds + against) < model.same_from {
                tried[a * n + b] = true;
                continue;
            }
            self.merge(&group, a, b);
            group.iter_mut().filter(|group| **group == b).for_each(|group| *group = a);
            for other in 0..n {
                tried[a.min(other) * n + a.max(other)] = false;
            }
        }
        let groups: Vec<usize> = self.bundle_of.iter().map(|bundle| group[*bundle]).collect();
        let (same, doubtful) = self.nearest(new, &groups, model);
        let possible = self.open(new, &groups, model);
        Found { groups, same, doubtful, possible }
    }

    /// The likeliest two groups that were not tried, smaller first.
    fn strongest(&self, group: &[usize], tried: &[bool], model: &Model) -> Option<(usize, usize, f32)> {
        let n = group.len();
        let alive = |a: &usize| group[*a] == *a;
        let pairs = (0..n).filter(alive).flat_map(|a| (a + 1..n).filter(alive).map(move |b| (a, b)));
        let open = pairs.filter(|(a, b)| !tried[a * n + b]);
        let weighed = open.filter_map(|(a, b)| Some((a, b, self.between(a, b)?)));
        let likely = weighed.filter(|(_, _, weight)| probability(*weight) >= model.same_from);
        likely.max_by(|one, other| one.2.total_cmp(&other.2))
    }

    /// Odds that group `a` belongs to a third one which cannot be `b`'s.
    fn against(&self, group: &[usize], a: usize, b: usize) -> f32 {
        let thirds = (0..group.len()).filter(|third| group[*third] == *third && *third != a && *third != b);
        let rivals = thirds.filter(|third| self.between(b, *third).is_none_or(|weight| weight < TWO_PERSONS));
        rivals.filter_map(|third| self.between(a, third)).map(odds).sum()
    }

    /// Takes group `b` into `a`: the best of both, the worst of both, and whatever bars either.
    fn merge(&mut self, group: &[usize], a: usize, b: usize) {
        let n = self.all.len();
        let taken = std::mem::take(&mut self.all[b].person);
        self.all[a].person.merge(&taken);
        for other in (0..n).filter(|other| group[*other] == *other && *other != a && *other != b) {
            let (one, two) = (a * n + other, b * n + other);
            let (best, worst) = (self.best[one].max(self.best[two]), self.worst[one].min(self.worst[two]));
            let barred = self.barred[one] || self.barred[two];
            self.set(a, other, best, worst, barred);
        }
    }

    /// The surest link of a registration into its group, and whether its group as a whole leaves it in doubt.
    fn nearest(&self, one: usize, groups: &[usize], model: &Model) -> (Option<Likely>, bool) {
        let mates = || self.speakers().filter(|other| *other != one && groups[*other] == groups[one]);
        let own_bundle = self.all[self.bundle_of[one]].members.iter().find(|other| **other != one);
        let nearest = mates().max_by(|a, b| self.weight(one, *a).total_cmp(&self.weight(one, *b)));
        let Some(nearest) = nearest.or(own_bundle.copied()) else { return (None, false) };
        let weight = self.weight(one, nearest);
        let worst = mates().map(|other| self.weight(one, other)).fold(0.0, f32::min);
        let doubtful = own_bundle.is_none() && probability(weight + DOUBT * worst) < model.sure_from;
        (Some(Likely { other: self.places[nearest], weight }), doubtful)
    }

    /// Registrations of other groups that the one may belong to, one of each group, likeliest first.
    fn open(&self, one: usize, groups: &[usize], model: &Model) -> Vec<Likely> {
        let mut open: Vec<(usize, Likely)> = Vec::new();
        for other in self.speakers().filter(|other| groups[*other] != groups[one]) {
            let possible = self.between(groups[one], groups[other]);
            if possible.is_none_or(|weight| probability(weight) < model.possible_from) {
                continue;
            }
            let link = Likely { other: self.places[other], weight: self.weight(one, other) };
            match open.iter_mut().find(|(group, _)| *group == groups[other]) {
                Some((_, known)) if known.weight < link.weight => *known = link,
                Some(_) => {}
                None => open.push((groups[other], link)),
            }
        }
        open.sort_by(|a, b| b.1.weight.total_cmp(&a.1.weight));
        open.into_iter().map(|(_, link)| link).collect()
    }

    fn speakers(&self) -> impl Iterator<Item = usize> + '_ {
        self.all.iter().flat_map(|bundle| bundle.speakers.iter().copied())
    }
}

type Key = fn(&Features) -> Option<u64>;

/// The same valid resident ID under one name.
fn rule_key(of: &Features) -> Option<u64> {
    let name = of.name.is_own().then(|| crate::block::name_key(&of.name)).flatten()?;
    let number = of.resident.as_ref().filter(|number| number.valid)?;
    Some(crate::block::hash(&(&number.digits, name)))
}

/// What a registration says of the person, where that is enough to know somebody again. None when fewer than three of own name, full
/// birth date, telephone and address are there: two of those are not one person.
fn identity_key(of: &Features) -> Option<u64> {
    let evidence = usize::from(of.name.is_own())
        + usize::from(of.birth.is_full())
        + usize::from(!of.phones.is_empty())
        + usize::from(!of.addresses.is_empty());
    (evidence >= 3).then(|| fingerprint(of))
}

/// What a registration says of the person: not where and when it was made, nor who a contact is to it.
fn fingerprint(of: &Features) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&of.name.chars, of.name.birth_order, of.name.kind as u8, of.sex, of.birth, &of.phones).hash(&mut hasher);
    (of.resident.as_ref().map(|number| &number.digits), &of.others, &of.addresses, of.ethnicity)
        .hash(&mut hasher);
    for contact in &of.contacts {
        contact.name.chars.hash(&mut hasher);
    }
    hasher.finish()
}

/// Pairs among the registrations that a human joined, or holds apart; by their places among them.
fn human_pairs(linker: &Linker, places: &[Place], same: bool) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (a, place) in places.iter().enumerate() {
        for (other, decision) in linker.human_decisions(*place) {
            if let Ok(b) = places.binary_search(other)
                && a < b
                && *decision == same
            {
                pairs.push((a, b));
            }
        }
    }
    pairs
}

/// Union-find over registrations that never puts together two that a human holds apart.
struct Sets<'a> {
    leader: Vec<usize>,
    apart: &'a [(usize, usize)],
}

impl Sets<'_> {
    fn leader(&mut self, mut one: usize) -> usize {
        while self.leader[one] != one {
            self.leader[one] = self.leader[self.leader[one]];
            one = self.leader[one];
        }
        one
    }

    /// Joins two sets; whether they are one now.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.leader(a), self.leader(b));
        if a == b {
            return true;
        }
        let apart = self.apart;
        let held_apart = apart.iter().any(|(x, y)| {
            let (x, y) = (self.leader(*x), self.leader(*y));
            (x, y) == (a, b) || (x, y) == (b, a)
        });
        if !held_apart {
            self.leader[a.max(b)] = a.min(b);
        }
        !held_apart
    }
}

/// Odds of a weight; beyond 2^60 they are all the same, and their sums far from overflow.
fn odds(weight: f32) -> f32 {
    weight.min(60.0).exp2()
}
