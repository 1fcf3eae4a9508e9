//! Blocking: which registrations are compared at all.
//!
//! A blocking rule makes keys of a registration; two are compared when they share a key of one rule. Every rule alone would miss
//! some true pairs; each is there for a kind of error that the others do not survive.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::features::{Birth, Features};
use crate::normalise::{Name, NameKind};

/// A rule's name, for explanations and gauges.
pub const RULES: [&str; 13] = [
    "resident_id",
    "resident_id_start",
    "resident_id_end",
    "document",
    "phone",
    "name_and_year",
    "name_and_day",
    "name_and_village",
    "birth_and_house",
    "birth_and_village",
    "mother_and_birth",
    "birth_and_surname",
    "name_and_place",
];

/// A key: the rule and a hash of what it makes of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub rule: u8,
    pub value: u64,
}

impl Key {
    /// Whether the key is that of a whole identifier: all who share it are one person, or there is one number for many.
    pub fn is_identifier(&self) -> bool {
        matches!(self.rule, 0 | 3)
    }
}

/// The keys of a registration.
pub fn keys(of: &Features) -> Vec<Key> {
    let mut keys = Keys(Vec::with_capacity(16));
    if let Some(number) = &of.resident {
        keys.add(0, &number.digits);
        // Region, year, month and the day's first digit; month, day, sequence and check. One slip leaves one of them whole unless it is in
        // the three digits that both have; the rules of names and births are there for that.
        keys.add(1, &number.digits[..number.digits.len().min(13)]);
        keys.add(2, &number.digits[number.digits.len().saturating_sub(8)..]);
    }
    for document in &of.others {
        keys.add(3, document);
    }
    for phone in &of.phones {
        keys.add(4, phone);
    }
    names(of, &mut keys);
    births(of, &mut keys);
    keys.0
}

fn names(of: &Features, keys: &mut Keys) {
    let Some(name) = reading(&of.name) else { return };
    let newborn = of.name.kind == NameKind::Newborn;
    if of.birth.is_known() {
        keys.add(5, &(name, of.birth.year, newborn));
    }
    if of.birth.is_full() {
        keys.add(6, &(name, of.birth.month, of.birth.day, newborn));
    }
    for address in &of.addresses {
        if let Some(village) = address.village_key() {
            keys.add(7, &(name, village));
        }
    }
    if of.place != 0 || !of.birth.is_known() {
        // Without a birth date only the place is left.
        keys.add(12, &(name, of.place));
    }
    for mother in of.mother().into_iter().chain(of.contacts.iter().map(|contact| &contact.name)) {
        if let Some(mother) = reading(mother).filter(|_| of.birth.is_full()) {
            keys.add(10, &(mother, of.birth));
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
            keys.add(8, &(house, year));
        }
        if let Some(village) = address.village_key() {
            keys.add(9, &(village, year, month, day));
        }
    }
    if let (Some(surname), true) = (of.name.sounds.first(), of.name.is_own()) {
        keys.add(11, &(surname.first(), year, month, day, of.sex));
    }
}

/// The name as it is read, as a number; none where it tells nobody apart.
fn reading(name: &Name) -> Option<u64> {
    if name.kind == NameKind::Absent {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    for sound in name.reading() {
        sound.hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// The key under which how common a name is gets counted.
pub fn name_key(name: &Name) -> Option<u64> {
    reading(name)
}

/// A hash that is the same in every run of one release; it is never stored.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

struct Keys(Vec<Key>);

impl Keys {
    fn add(&mut self, rule: u8, value: &(impl Hash + ?Sized)) {
        let mut hasher = DefaultHasher::new();
        rule.hash(&mut hasher);
        value.hash(&mut hasher);
        let key = Key { rule, value: hasher.finish() };
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }
}
