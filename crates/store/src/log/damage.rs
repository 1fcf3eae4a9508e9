//! Places of the log that are known to be damaged, and which records were in them.
//!
//! Known since the start only: the next start finds them when it reads them, or by a scrub. Positions of current records
//! only ever grow, so a list of the records in a place that was complete once never misses one later.

use std::sync::Arc;

use model::RecordKey;

use crate::types::DamagedPlace;

/// Most damaged places remembered; more are only counted.
const DAMAGED_PLACES: usize = 64;

#[derive(Debug)]
struct Known {
    place: DamagedPlace,
    /// The records that were current in it when the index was looked through; none if it was not yet.
    keys: Option<Arc<Vec<RecordKey>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Damage {
    known: Vec<Known>,
    reads: u64,
    found: u64,
}

impl Damage {
    /// Remembers a place. Whether it is a new one; if not, it is told whether it is healed.
    pub(crate) fn note(&mut self, place: &mut DamagedPlace) -> bool {
        if let Some(known) = self.known.iter().find(|known| holds(&known.place, place)) {
            place.healed = known.place.healed;
            return false;
        }
        self.found += 1;
        self.known.retain(|known| !holds(place, &known.place));
        if self.known.len() >= DAMAGED_PLACES
            && let Some(healed) = self.known.iter().position(|known| known.place.healed)
        {
            self.known.remove(healed);
        }
        if self.known.len() < DAMAGED_PLACES {
            self.known.push(Known { place: place.clone(), keys: None });
        }
        true
    }

    /// Counts that something at this position could not be served. Whether that is news: the place was held for healed.
    pub(crate) fn met(&mut self, lsn: u64) -> bool {
        self.reads += 1;
        let mut news = false;
        let here = self.known.iter_mut().filter(|known| known.place.lsn <= lsn && lsn <= known.place.upto);
        here.for_each(|known| news |= std::mem::take(&mut known.place.healed));
        news
    }

    pub(crate) fn places(&self) -> Vec<DamagedPlace> {
        self.known.iter().map(|known| known.place.clone()).collect()
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads
    }

    /// Places found since the start, also those that are not remembered.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    /// Records that may be current between these positions, if that is known.
    pub(crate) fn keys(&self, lsn: u64, upto: u64) -> Option<Arc<Vec<RecordKey>>> {
        let around =
            |known: &&Known| known.place.lsn <= lsn && upto <= known.place.upto && known.keys.is_some();
        self.known.iter().find(around).and_then(|known| known.keys.clone())
    }

    /// Ranges of positions of which the records are not known.
    pub(crate) fn unexplored(&self) -> Vec<(u64, u64)> {
        let unexplored = self.known.iter().filter(|known| known.keys.is_none());
        unexplored.map(|known| (known.place.lsn, known.place.upto)).collect()
    }

    /// Keeps the records of a place.
    pub(crate) fn explored(&mut self, lsn: u64, upto: u64, keys: Arc<Vec<RecordKey>>) {
        let same = |known: &&mut Known| (known.place.lsn, known.place.upto) == (lsn, upto);
        if let Some(known) = self.known.iter_mut().find(same) {
            known.keys = Some(keys);
        }
    }

    /// Forgets the places of a segment whose file has been replaced.
    pub(crate) fn forget(&mut self, segment: &str) {
        self.known.retain(|known| known.place.segment != segment);
    }

    /// Notes that no current record is damaged there any more.
    pub(crate) fn heal(&mut self, place: &DamagedPlace) {
        self.known
            .iter_mut()
            .filter(|known| known.place == *place)
            .for_each(|known| known.place.healed = true);
    }
}

/// Whether all of `inner` is known with `outer`. What holds no records (a segment's header) stands for itself.
fn holds(outer: &DamagedPlace, inner: &DamagedPlace) -> bool {
    if inner.upto < inner.lsn {
        return (&outer.segment, outer.offset) == (&inner.segment, inner.offset);
    }
    outer.lsn <= inner.lsn && inner.upto <= outer.upto
}
