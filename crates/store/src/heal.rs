//! Which current records are in damaged places of the log.
//!
//! The index is looked through once per place, and what it says is kept (see `log/damage.rs`): nothing current ever
//! moves into a damaged place, so afterwards only those few records have to be looked at again.

use std::sync::Arc;

use model::RecordKey;
use prost::Message;

use crate::error::ReadError;
use crate::index::for_each;
use crate::keys::{Key, PARTITIONS};
use crate::log::item::Pointer;
use crate::shared::Shared;

/// Most records remembered of one damaged place: more than a segment holds as a rule.
const MOST_KEYS: usize = 1 << 18;

type Keys = Arc<Vec<RecordKey>>;

impl Shared {
    /// Keys of up to `limit` current records that are in known damaged places and cannot be read.
    pub(crate) fn damaged_keys(&self, limit: usize) -> Result<Vec<RecordKey>, ReadError> {
        let mut found = Vec::new();
        for place in self.log.damage().0 {
            if place.healed {
                continue;
            }
            let (keys, complete) = self.keys_in(place.lsn, place.upto)?;
            let before = found.len();
            for (key, pointer) in self.current_of(&keys, place.lsn, place.upto)? {
                if found.len() >= limit {
                    return Ok(found);
                }
                if pointer.forgotten {
                    // Nobody has it.
                    continue;
                }
                match self.log.record(&pointer) {
                    Ok(_) => {}
                    Err(ReadError::Index) => return Err(ReadError::Index),
                    Err(_) => found.push(key),
                }
            }
            if complete && found.len() == before {
                self.log.heal(&place);
            }
        }
        Ok(found)
    }

    /// Where the current records between two positions are, in the order of the log; the positions are those of a
    /// damaged place. None if there are too many to tell.
    pub(crate) fn current_in(&self, lsn: u64, upto: u64) -> Result<Option<Vec<Pointer>>, ReadError> {
        let (keys, complete) = self.keys_in(lsn, upto)?;
        if !complete {
            return Ok(None);
        }
        let mut current: Vec<Pointer> =
            self.current_of(&keys, lsn, upto)?.into_iter().map(|(_, pointer)| pointer).collect();
        current.sort_unstable_by_key(|pointer| (pointer.lsn, pointer.offset));
        Ok(Some(current))
    }

    /// Those of some records that are current between two positions.
    fn current_of(
        &self,
        keys: &[RecordKey],
        lsn: u64,
        upto: u64,
    ) -> Result<Vec<(RecordKey, Pointer)>, ReadError> {
        let mut current = Vec::new();
        for key in keys {
            if let Some(pointer) = self.pointer(key)?.filter(|held| (lsn..=upto).contains(&held.lsn)) {
                current.push((*key, pointer));
            }
        }
        Ok(current)
    }

    /// Records that may be current between two positions, and whether these are all.
    fn keys_in(&self, lsn: u64, upto: u64) -> Result<(Keys, bool), ReadError> {
        if let Some(keys) = self.log.known_keys(lsn, upto) {
            return Ok((keys, true));
        }
        let mut ranges = self.log.unexplored();
        ranges.push((lsn, upto));
        let mut last = (Keys::default(), true);
        for ((lsn, upto), keys) in ranges.iter().zip(self.look_through(&ranges)?) {
            let complete = keys.len() < MOST_KEYS;
            let keys = Arc::new(keys);
            if complete {
                self.log.explored(*lsn, *upto, keys.clone());
            }
            last = (keys, complete);
        }
        Ok(last)
    }

    /// Walks through all records for those that are in some ranges of positions.
    fn look_through(&self, ranges: &[(u64, u64)]) -> Result<Vec<Vec<RecordKey>>, ReadError> {
        let mut found = vec![Vec::new(); ranges.len()];
        let mut take = |key: &RecordKey, pointer: &Pointer| {
            for ((lsn, upto), keys) in ranges.iter().zip(&mut found) {
                if (lsn..=upto).contains(&&pointer.lsn) && keys.len() < MOST_KEYS {
                    keys.push(*key);
                }
            }
        };
        // First the overlays, then the index, as all readers do: what is folded meanwhile is found in one of them.
        {
            let view = self.view.read();
            let folding = view.folding.iter().flat_map(|folding| folding.all_records());
            view.active.all_records().chain(folding).for_each(|(key, pointer)| take(key, pointer));
        }
        let mut broken = false;
        for partition in 0..PARTITIONS as u8 {
            self.index_read(|index| {
                for_each(index, &Key::record_table(partition), &mut |key, value| match (
                    Key::decode(key),
                    Pointer::decode(value),
                ) {
                    (Some(Key::Record { key }), Ok(pointer)) => take(&key, &pointer),
                    _ => broken = true,
                })
            })?;
        }
        if broken {
            return Err(self.index_broken());
        }
        for keys in &mut found {
            keys.sort_unstable();
            keys.dedup();
        }
        Ok(found)
    }
}
