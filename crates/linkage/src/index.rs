//! The blocking index: who shares a key with whom, in bounded memory per key.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::block::Key;

/// Registrations kept under one key. A key that more share tells nobody apart (a clinic's own telephone number, a commonest name of
/// a year); whoever is really the same shares a rarer key of another rule. Such a key is closed: it proposes nobody. Only the keys of whole
/// identifiers stay open with the first of theirs: a person may well be registered a hundred times.
const MAX_PER_KEY: usize = 96;

/// Registrations of one person under one key; the others would add nothing that these do not tell.
const MAX_PER_PERSON: usize = 4;

/// Candidates compared with one registration.
pub const MAX_CANDIDATES: usize = 400;

/// Places of registrations by blocking key.
#[derive(Debug, Default)]
pub struct BlockingIndex {
    keys: HashMap<Key, Places, BuildHasherDefault<KeyHasher>>,
    closed: usize,
}

/// Most keys have one or two registrations: no allocation for those.
#[derive(Debug)]
enum Places {
    Few([u32; 3], u8),
    Many(Vec<u32>),
    Closed,
}

impl BlockingIndex {
    /// Registrations that share a key with these, each once, in order of arrival; at most [`MAX_CANDIDATES`], those of rarer keys
    /// first.
    pub fn candidates(&self, keys: &[Key]) -> Vec<u32> {
        let mut found: Vec<&[u32]> =
            keys.iter().filter_map(|key| self.keys.get(key)).map(Places::as_slice).collect();
        found.sort_by_key(|places| places.len());
        let mut candidates: Vec<u32> = Vec::with_capacity(found.iter().map(|places| places.len()).sum());
        for places in found {
            if candidates.len() + places.len() > MAX_CANDIDATES {
                candidates.sort_unstable();
                candidates.dedup();
                if candidates.len() + places.len() > MAX_CANDIDATES {
                    break;
                }
            }
            candidates.extend_from_slice(places);
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    /// Adds a registration under its keys, unless enough of its person stand there: keys count persons, not visits.
    pub fn insert(&mut self, keys: &[Key], place: u32, person_of: &[u32]) {
        let person = person_of[place as usize];
        for key in keys {
            let places = self.keys.entry(*key).or_insert(Places::Few([0; 3], 0));
            let of_person =
                places.as_slice().iter().filter(|other| person_of[**other as usize] == person).count();
            let stands = places.as_slice().contains(&place);
            if !stands && of_person < MAX_PER_PERSON && places.push(place, key.is_identifier()) {
                self.closed += 1;
            }
        }
    }

    /// Removes a registration. A key that is closed stays so.
    pub fn remove(&mut self, keys: &[Key], place: u32) {
        for key in keys {
            if let Some(places) = self.keys.get_mut(key) {
                places.remove(place);
                if places.as_slice().is_empty() && !matches!(places, Places::Closed) {
                    self.keys.remove(key);
                }
            }
        }
    }

    /// Number of keys, and how many of them are closed.
    pub fn sizes(&self) -> (usize, usize) {
        (self.keys.len(), self.closed)
    }
}

impl Places {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::Few(places, count) => &places[..usize::from(*count)],
            Self::Many(places) => places,
            Self::Closed => &[],
        }
    }

    fn remove(&mut self, place: u32) {
        match self {
            Self::Few(places, count) => {
                let held = &mut places[..usize::from(*count)];
                if let Some(at) = held.iter().position(|other| *other == place) {
                    held.copy_within(at + 1.., at);
                    *count -= 1;
                }
            }
            Self::Many(places) => places.retain(|other| *other != place),
            Self::Closed => {}
        }
    }

    /// Adds a place; true when that closes the key.
    fn push(&mut self, place: u32, stays: bool) -> bool {
        match self {
            Self::Few(places, count) if usize::from(*count) < places.len() => {
                places[usize::from(*count)] = place;
                *count += 1;
            }
            Self::Few(places, _) => {
                let mut many = places.to_vec();
                many.push(place);
                *self = Self::Many(many);
            }
            Self::Many(places) if places.len() < MAX_PER_KEY => places.push(place),
            Self::Many(_) if stays => {}
            Self::Many(_) => {
                *self = Self::Closed;
                return true;
            }
            Self::Closed => {}
        }
        false
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// What an enum is hashed as.
    fn write_isize(&mut self, rule: isize) {
        self.write_u64(rule as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
