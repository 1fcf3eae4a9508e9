//! Where each institution files: the nodes that wrote for it, term by term, as the operator had it and as the hospitals were
//! answered.

use std::collections::BTreeMap;

use model::{OriginId, Version};

/// One institution.
#[derive(Debug, Clone, Default)]
struct Home {
    /// Places of its writers, by term: the first one wrote in term 1.
    places: Vec<usize>,
    /// The next one, which the operator has ordered; whether it was decided nobody knows yet.
    ordered: Option<usize>,
    /// In how many terms it will have been written for in the end.
    terms: usize,
    /// The latest term in which a write was acknowledged; 0: none yet.
    written: u32,
}

/// All institutions, by their origins.
#[derive(Debug, Clone, Default)]
pub struct Homes {
    all: BTreeMap<OriginId, Home>,
}

impl Homes {
    /// An institution files with a node first, and will move so many times.
    pub fn first(&mut self, institution: OriginId, place: usize, moves: usize) {
        let home = Home { places: vec![place], terms: 1 + moves, ..Home::default() };
        self.all.insert(institution, home);
    }

    /// The operator is about to ask for a move.
    pub fn order(&mut self, institution: &OriginId, to: usize) {
        if let Some(home) = self.all.get_mut(institution) {
            home.ordered = Some(to);
        }
    }

    /// What was ordered is decided.
    pub fn decided(&mut self, institution: &OriginId) {
        if let Some(home) = self.all.get_mut(institution) {
            home.places.extend(home.ordered.take());
        }
    }

    /// A write was acknowledged by the node at a place; what is wrong with that, if anything is.
    pub fn written(&mut self, institution: &OriginId, place: usize, version: Version) -> Option<String> {
        let home = self.all.get_mut(institution)?;
        if home.places.len() + 1 == version.term as usize && home.ordered == Some(place) {
            home.places.extend(home.ordered.take());
        }
        let before = home.written;
        home.written = before.max(version.term);
        let writer = home.places.get((version.term as usize).saturating_sub(1));
        if writer != Some(&place) {
            return Some(format!("node {place} writes in term {}, which is of {writer:?}", version.term));
        }
        let late = version.term < before;
        late.then(|| format!("node {place} writes in term {} after one in term {before}", version.term))
    }

    /// The node that files for an institution, as far as was decided.
    pub fn now(&self, institution: &OriginId) -> Option<usize> {
        self.all.get(institution)?.places.last().copied()
    }

    /// Every node that has filed for it.
    pub fn ever(&self, institution: &OriginId) -> Vec<usize> {
        self.all.get(institution).map(|home| home.places.clone()).unwrap_or_default()
    }

    /// Where the hospital may be told to go next when the node at a place refuses it.
    pub fn other(&self, institution: &OriginId, place: usize) -> usize {
        let known = self.known(institution);
        let at = known.iter().rposition(|known| *known == place);
        at.and_then(|at| known.get((at + 1) % known.len())).copied().unwrap_or(place)
    }

    /// Every node that a hospital has a certificate of.
    pub fn known(&self, institution: &OriginId) -> Vec<usize> {
        let home = self.all.get(institution);
        home.map(|home| home.places.iter().copied().chain(home.ordered).collect()).unwrap_or_default()
    }

    /// Whether an institution moves at all.
    pub fn moves(&self, institution: &OriginId) -> bool {
        self.all.get(institution).is_some_and(|home| home.terms > 1)
    }

    /// Whether an institution that moves has yet to write at its last node.
    pub fn is_due(&self, institution: &OriginId) -> bool {
        self.all.get(institution).is_some_and(|home| home.terms > 1 && (home.written as usize) < home.terms)
    }

    /// The first institution of which that is so, and how far it is.
    pub fn due(&self) -> Option<(OriginId, String)> {
        let (institution, home) = self.all.iter().find(|(institution, _)| self.is_due(institution))?;
        let Home { places, terms, written, .. } = home;
        Some((*institution, format!("a hospital of {places:?} has written in term {written} of {terms}")))
    }
}
