//! The segments there are, and reading single items of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use model::RecordKey;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::damage::Damage;
use super::format::{self, ITEM_HEADER, Identity};
use super::item::{self, Item, Pointer};
use crate::error::ReadError;
use crate::storage::Storage;
use crate::types::DamagedPlace;

/// Bytes between two remembered places of a segment: a seek reads at most so much, and the places of a log of 100 GB
/// take a few megabytes.
const MARK_BYTES: u64 = 1024 * 1024;

/// A byte of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    /// First position of the segment.
    pub segment: u64,
    pub offset: u64,
}

#[derive(Debug, Default)]
struct Segment {
    /// Bytes that are durable and may be read.
    len: u64,
    /// Where frames begin: position to offset, sparse.
    marks: BTreeMap<u64, u64>,
}

/// The log as its readers see it.
#[derive(Debug)]
pub(crate) struct Log {
    pub storage: Arc<dyn Storage>,
    pub identity: Identity,
    segments: RwLock<BTreeMap<u64, Segment>>,
    damage: Mutex<Damage>,
    /// Moves whenever there is something new to repair.
    pub damage_news: watch::Sender<u64>,
}

impl Log {
    pub(crate) fn new(storage: Arc<dyn Storage>, identity: Identity) -> Self {
        let damage_news = watch::Sender::new(0);
        Self { storage, identity, segments: RwLock::default(), damage: Mutex::default(), damage_news }
    }

    /// Makes `len` bytes of a segment readable.
    pub(crate) fn set_len(&self, segment: u64, len: u64) {
        self.segments.write().entry(segment).or_default().len = len;
    }

    pub(crate) fn len_of(&self, segment: u64) -> Option<u64> {
        self.segments.read().get(&segment).map(|segment| segment.len)
    }

    /// First position of the segment that holds this one.
    pub(crate) fn segment_with(&self, lsn: u64) -> Option<u64> {
        self.segments.read().range(..=lsn).next_back().map(|(first, _)| *first)
    }

    /// First position of the segment after this one.
    pub(crate) fn segment_after(&self, segment: u64) -> Option<u64> {
        self.segments.read().range(segment + 1..).next().map(|(first, _)| *first)
    }

    pub(crate) fn has_segment(&self, first_lsn: u64) -> bool {
        self.segments.read().contains_key(&first_lsn)
    }

    pub(crate) fn last_segment(&self) -> Option<u64> {
        self.segments.read().keys().next_back().copied()
    }

    /// Number of segments and their bytes.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let segments = self.segments.read();
        (segments.len(), segments.values().map(|segment| segment.len).sum())
    }

    /// Remembers that a frame begins here, unless one close before it is known.
    pub(crate) fn mark(&self, segment: u64, lsn: u64, offset: u64) {
        let near = |segment: &Segment| {
            segment.marks.range(..=lsn).next_back().is_some_and(|(_, known)| offset < known + MARK_BYTES)
        };
        if offset < MARK_BYTES || self.segments.read().get(&segment).is_none_or(near) {
            return;
        }
        if let Some(segment) = self.segments.write().get_mut(&segment) {
            segment.marks.insert(lsn, offset);
        }
    }

    /// The nearest known frame at or before this position: its own position and place.
    pub(crate) fn near(&self, lsn: u64) -> Option<(u64, Place)> {
        let segments = self.segments.read();
        let (first, segment) = segments.range(..=lsn).next_back()?;
        let start = (*first, format::SEGMENT_HEADER as u64);
        let (lsn, offset) =
            segment.marks.range(..=lsn).next_back().map_or(start, |(lsn, offset)| (*lsn, *offset));
        Some((lsn, Place { segment: *first, offset }))
    }

    /// Reads one item, checking its checksum.
    pub(crate) fn item(&self, lsn: u64, offset: u32, length: u32) -> Result<Item, ReadError> {
        let Some(segment) = self.segment_with(lsn) else {
            return Err(self.damaged(Place::default(), lsn));
        };
        let start = u64::from(offset).saturating_sub(ITEM_HEADER as u64);
        let place = Place { segment, offset: start };
        let wanted = ITEM_HEADER + length as usize;
        // A pointer that leads out of the segment comes from a damaged index; it must not decide how much to allocate.
        if self.len_of(segment).is_none_or(|len| start + wanted as u64 > len) {
            return Err(self.damaged(place, lsn));
        }
        let mut bytes = vec![0; wanted];
        let read =
            self.storage.read_at(&format::segment_name(segment), start, &mut bytes).map_err(Self::io)?;
        bytes.truncate(read);
        item::read_one(Bytes::from(bytes)).map_err(|_| self.damaged(place, lsn))
    }

    /// Reads a record by its pointer.
    pub(crate) fn record(&self, pointer: &Pointer) -> Result<model::Record, ReadError> {
        match self.item(pointer.lsn, pointer.offset, pointer.length)? {
            Item::Record { record, .. } if record.envelope().version == pointer.version() => Ok(record),
            _ => {
                let segment = self.segment_with(pointer.lsn).unwrap_or_default();
                Err(self.damaged(Place { segment, offset: u64::from(pointer.offset) }, pointer.lsn))
            }
        }
    }

    /// Remembers and reports a place that failed its checksum and so could not be served.
    pub(crate) fn damaged(&self, place: Place, lsn: u64) -> ReadError {
        let segment = self.note(place, lsn, lsn).segment;
        if self.damage.lock().met(lsn) {
            self.damage_news.send_modify(|news| *news += 1);
        }
        ReadError::Corrupt { segment, offset: place.offset, lsn }
    }

    /// Remembers a place that failed its checksum.
    pub(crate) fn note(&self, place: Place, lsn: u64, upto: u64) -> DamagedPlace {
        let segment = format::segment_name(place.segment);
        let mut found = DamagedPlace { segment, offset: place.offset, lsn, upto, healed: false };
        if self.damage.lock().note(&mut found) {
            tracing::error!(segment = found.segment, offset = found.offset, lsn, upto, "log is damaged");
            self.damage_news.send_modify(|news| *news += 1);
        }
        found
    }

    /// Damaged places that are remembered, how many were found, and how often something there could not be served.
    pub(crate) fn damage(&self) -> (Vec<DamagedPlace>, u64, u64) {
        let damage = self.damage.lock();
        (damage.places(), damage.found(), damage.reads())
    }

    /// Records that may be current between two positions of a damaged place, if they were looked for already.
    pub(crate) fn known_keys(&self, lsn: u64, upto: u64) -> Option<Arc<Vec<RecordKey>>> {
        self.damage.lock().keys(lsn, upto)
    }

    /// Ranges of positions of damaged places whose records have not been looked for.
    pub(crate) fn unexplored(&self) -> Vec<(u64, u64)> {
        self.damage.lock().unexplored()
    }

    pub(crate) fn explored(&self, lsn: u64, upto: u64, keys: Arc<Vec<RecordKey>>) {
        self.damage.lock().explored(lsn, upto, keys);
    }

    pub(crate) fn heal(&self, place: &DamagedPlace) {
        self.damage.lock().heal(place);
    }

    pub(crate) fn io(error: io::Error) -> ReadError {
        tracing::error!(%error, "log could not be read");
        ReadError::Io(error.kind())
    }
}
