//! What is known of a person as a whole, however many registrations it has.

use smallvec::SmallVec;

use crate::features::Features;
use crate::linker::Place;
use crate::normalise::ResidentNumber;
use crate::normalise::identifier::NumberCode;

/// Twins remembered of a person; they are registered as such in their first days only.
const MAX_TWINS: usize = 8;

/// The members, and what of theirs bars others.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub members: Vec<Place>,
    /// The valid resident IDs that are, or may be, its own, each once, and none that may be a slip of another. More than one only when a
    /// human joined them.
    numbers: Numbers,
    /// Members that are numbered children of one birth.
    twins: Vec<Place>,
}

/// Most persons have one. Prints none.
#[derive(Clone, Default)]
struct Numbers(SmallVec<[NumberCode; 1]>);

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Numbers({})", self.0.len())
    }
}

impl Person {
    pub fn add(&mut self, place: Place, features: &Features) {
        self.members.push(place);
        self.add_number(features.own_number().map(ResidentNumber::code));
        if features.name.birth_order != 0 && self.twins.len() < MAX_TWINS {
            self.twins.push(place);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.members.extend_from_slice(&other.members);
        other.numbers.0.iter().for_each(|number| self.add_number(Some(*number)));
        self.twins.extend(other.twins.iter().take(MAX_TWINS - self.twins.len().min(MAX_TWINS)));
    }

    fn add_number(&mut self, number: Option<NumberCode>) {
        let Some(number) = number else { return };
        match self.numbers.0.iter_mut().find(|known| known.may_be(number)) {
            // The form with a check digit is the right one.
            Some(known) if known.is_old() && !number.is_old() => *known = number,
            Some(_) => {}
            None => self.numbers.0.push(number),
        }
    }

    /// Whether both have valid resident IDs, and none that may be the other's.
    pub fn excludes(&self, other: &Self) -> bool {
        let (one, other) = (&self.numbers.0, &other.numbers.0);
        !one.is_empty()
            && !other.is_empty()
            && !one.iter().any(|number| other.iter().any(|other| number.may_be(*other)))
    }

    /// Whether a registration cannot be of this person: it has another number, or is another child of its birth.
    pub fn bars(&self, of: &Features, features: &impl Fn(Place) -> Features) -> bool {
        let number = of.own_number().map(ResidentNumber::code);
        let known = &self.numbers.0;
        number.is_some_and(|number| !known.is_empty() && !known.iter().any(|known| known.may_be(number)))
            || of.name.birth_order != 0 && self.twins().any(|twin| other_twin(of, &features(twin)))
    }

    fn twins(&self) -> impl Iterator<Item = Place> + '_ {
        self.twins.iter().copied()
    }

    /// Whether one has another child of the birth that the other has one of.
    pub fn twin_of(&self, other: &Self, features: &impl Fn(Place) -> Features) -> bool {
        self.twins().any(|one| other.twins().any(|two| other_twin(&features(one), &features(two))))
    }
}

/// Whether two registrations are numbered children of one birth.
fn other_twin(a: &Features, b: &Features) -> bool {
    let (one, other) = (&a.name, &b.name);
    one.birth_order != 0
        && other.birth_order != 0
        && one.birth_order != other.birth_order
        && one.sounds_like(other)
}

#[cfg(test)]
mod tests {
    use model::body::{Identifier, Registration};

    use super::*;

    fn of(number: &str) -> Features {
        let identifiers =
            vec![Identifier { r#type: "01".into(), value: number.into(), assigner: String::new() }];
        let registration =
            Registration { identifiers, birth_date: "1958-06-02".into(), ..Registration::default() };
        Features::of(&registration, None)
    }

    /// Slips of slips would lead from anybody to anybody.
    #[test]
    fn a_person_keeps_the_number_of_which_the_others_are_slips() {
        let mut person = Person::default();
        for (place, number) in ["530101580602852", "530102580602852"].into_iter().enumerate() {
            assert!(!person.bars(&of(number), &|_| unreachable!("nobody is a twin")));
            person.add(place as Place, &of(number));
        }
        assert!(person.bars(&of("530112580602852"), &|_| unreachable!("nobody is a twin")));
    }
}
