//! Who is one person: of every registration the person, of every person the members.

use crate::features::Features;
use crate::linker::Place;
use crate::lists::reserve;
use crate::person::Person;

/// Stands for the person of one registration: what is known of it is what its registration says.
const ALONE: u32 = u32::MAX;
/// Stands where a registration stands for no person.
const NONE: u32 = u32::MAX - 1;

/// Persons among registrations, each under the place of its first member. Half of them have one registration, and nothing is kept of those.
#[derive(Debug, Default)]
pub struct People {
    person_of: Vec<Place>,
    /// Where in `known` the person is that a registration stands for.
    at: Vec<u32>,
    known: Vec<Person>,
    /// Unused places of `known`.
    free: Vec<u32>,
    count: u32,
}

impl People {
    /// Takes in a registration as a person of its own. Its place is the next one, or that of one that left.
    pub fn take(&mut self, place: Place) {
        if place as usize == self.at.len() {
            reserve(&mut self.person_of, 1);
            reserve(&mut self.at, 1);
            self.person_of.push(place);
            self.at.push(ALONE);
        } else {
            self.person_of[place as usize] = place;
            self.at[place as usize] = ALONE;
        }
        self.count += 1;
    }

    /// Forgets a registration that is a person of its own.
    pub fn leave(&mut self, place: Place) {
        self.dissolve(place);
    }

    /// Whether the place is a registration's now.
    pub fn has(&self, place: Place) -> bool {
        self.person_of.get(place as usize).is_some_and(|person| self.at[*person as usize] != NONE)
    }

    pub fn person_of(&self, place: Place) -> Place {
        self.person_of[place as usize]
    }

    /// The person of each registration, by place.
    pub fn all(&self) -> &[Place] {
        &self.person_of
    }

    /// How many persons there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Registrations of a person, in the order in which they joined it.
    pub fn members(&self, person: Place) -> &[Place] {
        match self.at[person as usize] {
            ALONE => std::slice::from_ref(&self.person_of[person as usize]),
            NONE => &[],
            at => &self.known[at as usize].members,
        }
    }

    /// Whether a registration cannot be of a person.
    pub fn bars(&self, person: Place, of: &Features, features: &impl Fn(Place) -> Features) -> bool {
        match self.at[person as usize] {
            ALONE => {
                let mut alone = Person::default();
                alone.add(person, &features(person));
                alone.bars(of, features)
            }
            NONE => false,
            at => self.known[at as usize].bars(of, features),
        }
    }

    /// Joins a registration that is a person of its own to a person.
    pub fn join(&mut self, place: Place, person: Place, features: &impl Fn(Place) -> Features) {
        self.dissolve(place);
        self.add(place, person, features);
    }

    /// Makes groups of registrations persons: `groups` says of each registration which. They must be all members of the persons that they
    /// are of.
    pub fn regroup(&mut self, members: &[Place], groups: &[usize], features: &impl Fn(Place) -> Features) {
        for place in members {
            self.dissolve(self.person_of(*place));
        }
        let mut first = std::collections::HashMap::new();
        for (place, group) in members.iter().zip(groups) {
            let person = *first.entry(*group).or_insert(*place);
            if person == *place {
                self.take(*place);
            } else {
                self.add(*place, person, features);
            }
        }
    }

    fn add(&mut self, place: Place, person: Place, features: &impl Fn(Place) -> Features) {
        self.person_of[place as usize] = person;
        if self.at[person as usize] == ALONE {
            let mut known = Person::default();
            known.add(person, &features(person));
            self.at[person as usize] = self.keep(known);
        }
        self.known[self.at[person as usize] as usize].add(place, &features(place));
    }

    fn keep(&mut self, person: Person) -> u32 {
        if let Some(at) = self.free.pop() {
            self.known[at as usize] = person;
            return at;
        }
        reserve(&mut self.known, 1);
        self.known.push(person);
        self.known.len() as u32 - 1
    }

    fn dissolve(&mut self, person: Place) {
        let at = std::mem::replace(&mut self.at[person as usize], NONE);
        self.count -= u32::from(at != NONE);
        if at < NONE {
            self.known[at as usize] = Person::default();
            self.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::body::{Identifier, Registration};

    use super::*;

    const NUMBERS: [&str; 3] = ["530102198503124514", "530102198503124573", ""];

    /// Every third place has the first number, every third the second, the others none.
    fn features(place: Place) -> Features {
        let value = NUMBERS[place as usize % 3].to_owned();
        let identifiers = vec![Identifier { r#type: "01".into(), value, assigner: String::new() }];
        Features::of(&Registration { name: "段正明".into(), identifiers, ..Registration::default() }, None)
    }

    fn people(count: Place) -> People {
        let mut people = People::default();
        (0..count).for_each(|place| people.take(place));
        people
    }

    #[test]
    fn members_stand_in_the_order_in_which_they_joined() {
        let mut people = people(6);
        for place in [5, 3, 4] {
            people.join(place, 2, &features);
        }
        assert_eq!((people.members(2), people.members(1), people.count()), (&[2, 5, 3, 4][..], &[1][..], 3));
        people.regroup(&[2, 3, 4, 5], &[7, 0, 7, 0], &features);
        assert_eq!((people.members(2), people.members(3), people.count()), (&[2, 4][..], &[3, 5][..], 4));
        assert_eq!(people.all(), [0, 1, 2, 3, 2, 3]);
    }

    #[test]
    fn other_numbers_bar_whether_alone_or_not() {
        let mut people = people(6);
        let bars = |people: &People, person, place| people.bars(person, &features(place), &features);
        assert!(bars(&people, 0, 1) && !bars(&people, 0, 3) && !bars(&people, 0, 2) && !bars(&people, 2, 0));
        people.join(2, 0, &features);
        assert!(bars(&people, 0, 1) && !bars(&people, 0, 3));
        // A human joined both numbers: either will do.
        people.join(1, 0, &features);
        assert!(!bars(&people, 0, 1) && !bars(&people, 0, 3));
    }

    #[test]
    fn what_persons_of_several_took_is_used_again() {
        let mut people = people(40);
        for _ in 0..50 {
            (2..40).for_each(|place| people.join(place, place % 2, &features));
            let all: Vec<Place> = (0..40).collect();
            people.regroup(&all, &all.iter().map(|place| *place as usize).collect::<Vec<_>>(), &features);
            assert_eq!(people.count(), 40);
        }
        assert_eq!((people.known.len(), people.free.len()), (2, 2));
        people.leave(7);
        assert!(!people.has(7) && people.has(8) && !people.has(40) && people.members(7).is_empty());
    }
}
