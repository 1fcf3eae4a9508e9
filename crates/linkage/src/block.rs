//! Blocking: which registrations are compared at all.
//!
//! A blocking rule makes keys of a registration; two are compared when they share a key of one rule. Every rule alone would miss
//! some true pairs; each is there for a kind of error that the others do not survive.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::features::{Birth, Features};
use crate::normalise::{Name, NameKind};

/// A blocking rule: what two registrations must have in common to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    ResidentId,
    ResidentIdStart,
    ResidentIdEnd,
    Document,
    Phone,
    NameAndYear,
    NameAndDay,
    NameAndVillage,
    BirthAndHouse,
    BirthAndVillage,
    MotherAndBirth,
    BirthAndSurname,
    NameAndPlace,
}

/// A key: the rule and a hash of what it makes of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub rule: Rule,
    pub value: u64,
}

impl Key {
    /// Whether the key is that of a whole identifier: all who share it are one person, or there is one number for many.
    pub fn is_identifier(&self) -> bool {
        matches!(self.rule, Rule::ResidentId | Rule::Document)
    }
}

/// The keys of a registration.
pub fn keys(of: &Features) -> Vec<Key> {
    let mut keys = Keys(Vec::with_capacity(16));
    if let Some(number) = &of.resident {
        keys.add(Rule::ResidentId, &number.digits);
        // Region, year, month and the day's first digit; month, day, sequence and check. One slip leaves one of them whole unless it is in
        // the three digits that both have; the rules of names and births are there for that.
        keys.add(Rule::ResidentIdStart, &number.digits[..number.digits.len().min(13)]);
        keys.add(Rule::ResidentIdEnd, &number.digits[number.digits.len().saturating_sub(8)..]);
    }
    for document in &of.others {
        keys.add(Rule::Document, document);
    }
    for phone in &of.phones {
        keys.add(Rule::Phone, phone);
    }
    names(of, &mut keys);
    births(of, &mut keys);
    keys.0
}

fn names(of: &Features, keys: &mut Keys) {
    let Some(name) = name_key(&of.name) else { return };
    let newborn = of.name.kind == NameKind::Newborn;
    if of.birth.is_known() {
        keys.add(Rule::NameAndYear, &(name, of.birth.year, newborn));
    }
    if of.birth.is_full() {
        keys.add(Rule::NameAndDay, &(name, of.birth.month, of.birth.day, newborn));
    }
    for address in &of.addresses {
        if let Some(village) = address.village_key() {
            keys.add(Rule::NameAndVillage, &(name, village));
        }
    }
    if of.place != 0 || !of.birth.is_known() {
        // Without a birth date only the place is left.
        keys.add(Rule::NameAndPlace, &(name, of.place));
    }
    for mother in of.mother().into_iter().chain(of.contacts.iter().map(|contact| &contact.name)) {
        if let Some(mother) = name_key(mother).filter(|_| of.birth.is_full()) {
            keys.add(Rule::MotherAndBirth, &(mother, of.birth));
        }
    }
}

fn births(of: &Features, keys: &mut Keys) {
    let Birth { year, month, day } = of.birth;
    if !of.birth.is_full() {
        return;
    }
    for address in &of.addresses {
        if let Some(house) = address.house_key() {
            keys.add(Rule::BirthAndHouse, &(house, year));
        }
        if let Some(village) = address.village_key() {
            keys.add(Rule::BirthAndVillage, &(village, year, month, day));
        }
    }
    if let (Some(surname), true) = (of.name.reading().next(), of.name.is_own()) {
        keys.add(Rule::BirthAndSurname, &(surname, year, month, day, of.sex));
    }
}

/// The name as it is read, as a number; none where it tells nobody apart.
pub fn name_key(name: &Name) -> Option<u64> {
    if name.kind == NameKind::Absent {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    for sound in name.reading() {
        sound.hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// A hash that is the same in every run of one release; it is never stored.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

struct Keys(Vec<Key>);

impl Keys {
    fn add(&mut self, rule: Rule, value: &(impl Hash + ?Sized)) {
        let key = Key { rule, value: hash(&(rule, hash(value))) };
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }
}
