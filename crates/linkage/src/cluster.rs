//! Clustering: which of a few registrations are one person, from the weights of all their pairs.
//!
//! Groups grow from the strongest pair on. Two groups join when their best pair is likely enough, no pair of theirs is excluded (two resident
//! IDs, two twins), and no third group that one of them could as well belong to stands against it.

use crate::linker::{EXCLUDED, JOINED, Link, Linker, Place, RULE, SEPARATED};
use crate::model::{Model, probability};

/// A weight for every pair of the registrations.
#[derive(Debug)]
pub struct Pairs {
    places: Vec<Place>,
    weights: Vec<f32>,
}

impl Pairs {
    pub fn of(linker: &Linker, places: &[Place]) -> Self {
        let n = places.len();
        let mut weights = vec![0.0; n * n];
        for a in 0..n {
            for b in a + 1..n {
                let weight = linker.pair(places[a], places[b]);
                weights[a * n + b] = weight;
                weights[b * n + a] = weight;
            }
        }
        Self { places: places.to_vec(), weights }
    }

    pub fn weight(&self, a: usize, b: usize) -> f32 {
        self.weights[a * self.places.len() + b]
    }

    /// The group of each registration, by the smallest place in it.
    pub fn cluster(&self, model: &Model) -> Vec<usize> {
        let n = self.places.len();
        let mut groups: Vec<usize> = (0..n).collect();
        let mut tried: Vec<(usize, usize)> = Vec::new();
        while let Some((a, b, weight)) =
            self.best(&groups, &tried).filter(|(_, _, weight)| probability(*weight) >= model.same_from)
        {
            let odds = odds(weight);
            let against = self.against(&groups, a, b).max(self.against(&groups, b, a));
            if odds / (1.0 + odds + against) >= model.same_from {
                let (from, to) = (a.max(b), a.min(b));
                groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
                tried.retain(|(x, y)| *x != from && *y != from && *x != to && *y != to);
            } else {
                tried.push((a, b));
            }
        }
        groups
    }

    /// The likeliest two groups to join that were not tried.
    fn best(&self, groups: &[usize], tried: &[(usize, usize)]) -> Option<(usize, usize, f32)> {
        let n = groups.len();
        let mut best: Option<(usize, usize, f32)> = None;
        for a in 0..n {
            for b in a + 1..n {
                let (x, y) = (groups[a].min(groups[b]), groups[a].max(groups[b]));
                let weight = self.weight(a, b);
                if x == y || best.is_some_and(|(_, _, known)| weight <= known) || tried.contains(&(x, y)) {
                    continue;
                }
                if let Some(weight) = self.between(groups, x, y)
                    && best.is_none_or(|(_, _, known)| weight > known)
                {
                    best = Some((x, y, weight));
                }
            }
        }
        best
    }

    /// The weight between two groups; none when a pair is excluded.
    fn between(&self, groups: &[usize], x: usize, y: usize) -> Option<f32> {
        let (mut best, mut worst) = (f32::MIN, 0f32);
        for a in (0..groups.len()).filter(|a| groups[*a] == x) {
            for b in (0..groups.len()).filter(|b| groups[*b] == y) {
                let weight = self.weight(a, b);
                best = best.max(weight);
                worst = worst.min(weight);
            }
        }
        match worst {
            // A human joined two of them: rules and scores give way, another human does not.
            worst if best >= JOINED => (worst > SEPARATED).then_some(best),
            worst if worst <= EXCLUDED => None,
            _ if best >= RULE => Some(best),
            worst => Some(best + DOUBT * worst),
        }
    }

    /// Odds that the group belongs to a third one which excludes the other.
    fn against(&self, groups: &[usize], x: usize, other: usize) -> f32 {
        let mut thirds: Vec<usize> =
            groups.iter().copied().filter(|group| *group != x && *group != other).collect();
        thirds.sort_unstable();
        thirds.dedup();
        let rivals = thirds
            .into_iter()
            .filter(|third| self.between(groups, other, *third).is_none_or(|weight| weight < -2.0));
        rivals.filter_map(|third| self.between(groups, x, third)).map(odds).sum()
    }

    /// The surest link of a registration into its group, and whether the group as a whole leaves it in doubt.
    pub fn nearest(&self, one: usize, groups: &[usize], model: &Model) -> (Option<Link>, bool) {
        let others = || (0..groups.len()).filter(|other| *other != one && groups[*other] == groups[one]);
        let nearest = others().max_by(|a, b| self.weight(one, *a).total_cmp(&self.weight(one, *b)));
        let Some(nearest) = nearest else { return (None, false) };
        let weight = self.weight(one, nearest);
        let worst = others().map(|other| self.weight(one, other)).fold(0.0, f32::min);
        let doubtful = weight < RULE && probability(weight + DOUBT * worst) < model.sure_from;
        (Some(Link { other: self.places[nearest], weight }), doubtful)
    }

    /// Registrations of other groups that the one may belong to, one of each group, likeliest first.
    pub fn open(&self, one: usize, groups: &[usize], model: &Model) -> Vec<Link> {
        let mut open: Vec<(usize, Link)> = Vec::new();
        for other in (0..groups.len()).filter(|other| groups[*other] != groups[one]) {
            let weight = self.weight(one, other);
            let known = open.iter().position(|(group, _)| *group == groups[other]);
            if self
                .between(groups, groups[one], groups[other])
                .is_none_or(|weight| probability(weight) < model.possible_from)
            {
                continue;
            }
            let link = Link { other: self.places[other], weight };
            match known {
                Some(place) if open[place].1.weight < weight => open[place].1 = link,
                Some(_) => {}
                None => open.push((groups[other], link)),
            }
        }
        open.sort_by(|a, b| b.1.weight.total_cmp(&a.1.weight));
        open.into_iter().map(|(_, link)| link).collect()
    }
}

/// Odds of a weight, as far as numbers go.
fn odds(weight: f32) -> f32 {
    weight.min(60.0).exp2()
}

/// How much of the strongest doubt between two groups counts against their best pair (chosen on tuning seeds).
pub(crate) const DOUBT: f32 = 0.25;
