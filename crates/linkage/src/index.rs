//! The blocking index: who shares a key with whom, in bounded memory per key.

use smallvec::{SmallVec, smallvec};

use crate::block::Key;
use crate::lists::{self, Lists};

/// Registrations kept under one key. A key that more share tells nobody apart (a clinic's own telephone number, a commonest name of
/// a year); whoever is really the same shares a rarer key of another rule. Such a key is closed: it proposes nobody. Only the keys of whole
/// identifiers stay open with the first of theirs: a person may well be registered a hundred times.
const MAX_PER_KEY: usize = 96;

/// Registrations of one person under one key; the others would add nothing that these do not tell.
const MAX_PER_PERSON: usize = 4;

/// Candidates compared with one registration.
pub const MAX_CANDIDATES: usize = 400;

/// Stands for the places of a closed key.
const CLOSED: u32 = lists::MAX;

/// Places of registrations by blocking key.
#[derive(Debug, Default)]
pub struct BlockingIndex {
    keys: Lists,
    closed: usize,
}

impl BlockingIndex {
    /// Registrations that share a key with these, each once, in order of arrival; at most [`MAX_CANDIDATES`], those of rarer keys
    /// first.
    pub fn candidates(&self, keys: &[Key]) -> Vec<u32> {
        let mut found: SmallVec<[&[u32]; 16]> =
            keys.iter().map(|key| self.keys.get(key.value)).filter(|places| !is_closed(places)).collect();
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
            let mut full = false;
            self.keys.push_if(key.value, place, |places| {
                if is_closed(places) || places.contains(&place) {
                    return false;
                }
                let of_person = places.iter().filter(|other| person_of[**other as usize] == person).count();
                full = of_person < MAX_PER_PERSON && places.len() >= MAX_PER_KEY;
                of_person < MAX_PER_PERSON && !full
            });
            if full && !key.is_identifier() {
                self.keys.change(key.value, |places| *places = smallvec![CLOSED]);
                self.closed += 1;
            }
        }
    }

    /// Removes a registration. A key that is closed stays so.
    pub fn remove(&mut self, keys: &[Key], place: u32) {
        for key in keys {
            if self.keys.get(key.value).contains(&place) {
                self.keys.change(key.value, |places| places.retain(|other| *other != place));
            }
        }
    }

    /// Number of keys, and how many of them are closed.
    pub fn sizes(&self) -> (usize, usize) {
        (self.keys.keys(), self.closed)
    }
}

fn is_closed(places: &[u32]) -> bool {
    places == [CLOSED]
}
