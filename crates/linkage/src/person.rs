//! What is known of a person as a whole, however many registrations it has.

use crate::features::Features;
use crate::linker::Place;
use crate::normalise::ResidentNumber;

/// Twins remembered of a person; they are registered as such in their first days only.
const MAX_TWINS: usize = 8;

/// The members, and what of theirs bars others.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub members: Vec<Place>,
    /// Valid resident IDs that are, or may be, its own, each once. More than one only when a human joined them.
    numbers: Vec<ResidentNumber>,
    /// Members that are numbered children of one birth.
    twins: Vec<Place>,
}

impl Person {
    pub fn add(&mut self, place: Place, features: &Features) {
        self.members.push(place);
        if let Some(number) = features.own_number() {
            self.add_number(number);
        }
        if features.name.birth_order != 0 && self.twins.len() < MAX_TWINS {
            self.twins.push(place);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.members.extend_from_slice(&other.members);
        other.numbers.iter().for_each(|number| self.add_number(number));
        self.twins.extend(other.twins.iter().take(MAX_TWINS - self.twins.len().min(MAX_TWINS)));
    }

    fn add_number(&mut self, number: &ResidentNumber) {
        if !self.numbers.iter().any(|known| known.digits == number.digits) {
            self.numbers.push(number.clone());
        }
    }

    /// Whether both have valid resident IDs, and none in common.
    pub fn excludes(&self, other: &Self) -> bool {
        let common =
            self.numbers.iter().any(|one| other.numbers.iter().any(|number| number.digits == one.digits));
        !common && !self.numbers.is_empty() && !other.numbers.is_empty()
    }

    /// Whether this person has other numbers and not this one.
    pub fn excludes_number(&self, number: Option<&ResidentNumber>) -> bool {
        let Some(number) = number else { return false };
        !self.numbers.is_empty() && !self.numbers.iter().any(|known| known.digits == number.digits)
    }

    pub fn twins(&self) -> impl Iterator<Item = Place> + '_ {
        self.twins.iter().copied()
    }

    /// Whether one has another child of the birth that the other has one of.
    pub fn twin_of<'f>(&self, other: &Self, features: &impl Fn(Place) -> &'f Features) -> bool {
        self.twins().any(|one| other.twins().any(|two| other_twin(features(one), features(two))))
    }
}

/// Whether two registrations are numbered children of one birth.
pub fn other_twin(a: &Features, b: &Features) -> bool {
    let (one, other) = (&a.name, &b.name);
    one.birth_order != 0
        && other.birth_order != 0
        && one.birth_order != other.birth_order
        && one.sounds_like(other)
}
