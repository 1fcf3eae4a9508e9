//! The segments there are, and reading single items of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use model::RecordKey;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::damage::Damage;
use super::format::{self, ITEM_HEADER, Identity, Moved};
use super::item::{self, Item, Pointer};
use super::table::{Table, TableError, Tables};
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

/// How a segment's file is to be read. It holds for as long as the generation does: whoever read by it asks afterwards
/// whether it still is the one ([`Log::is_now`]), and reads again if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    /// Bytes that are durable and may be read.
    pub len: u64,
    /// Moves when the file is replaced by a rewritten one.
    pub generation: u64,
    /// Of a rewritten segment, what it was.
    pub moved: Option<Moved>,
}

#[derive(Debug, Default)]
struct Segment {
    layout: Layout,
    /// Where frames begin: position to offset, sparse.
    marks: Marks,
}

/// Why an item was not read.
enum Missed {
    /// At this offset.
    Damaged(u64),
    Io(io::Error),
}

/// Where some frames begin: position to offset.
pub(crate) type Marks = BTreeMap<u64, u64>;

/// Whether no frame close before this one is known.
pub(crate) fn is_far(marks: &Marks, lsn: u64, offset: u64) -> bool {
    let known = marks.range(..=lsn).next_back().map_or(0, |(_, known)| *known);
    offset >= known + MARK_BYTES
}

/// The log as its readers see it.
#[derive(Debug)]
pub(crate) struct Log {
    pub storage: Arc<dyn Storage>,
    pub identity: Identity,
    segments: RwLock<BTreeMap<u64, Segment>>,
    tables: Tables,
    damage: Mutex<Damage>,
    /// Moves whenever there is something new to repair.
    pub damage_news: watch::Sender<u64>,
}

impl Log {
    pub(crate) fn new(storage: Arc<dyn Storage>, identity: Identity) -> Self {
        let damage_news = watch::Sender::new(0);
        let (tables, damage) = (Tables::default(), Mutex::default());
        Self { storage, identity, segments: RwLock::default(), tables, damage, damage_news }
    }

    /// Makes `len` bytes of a segment readable.
    pub(crate) fn set_len(&self, segment: u64, len: u64) {
        self.segments.write().entry(segment).or_default().layout.len = len;
    }

    /// Says that a segment was rewritten.
    pub(crate) fn set_moved(&self, segment: u64, moved: Moved) {
        self.segments.write().entry(segment).or_default().layout.moved = Some(moved);
    }

    pub(crate) fn len_of(&self, segment: u64) -> Option<u64> {
        self.segments.read().get(&segment).map(|segment| segment.layout.len)
    }

    pub(crate) fn layout(&self, segment: u64) -> Option<Layout> {
        self.segments.read().get(&segment).map(|segment| segment.layout)
    }

    /// Whether a segment is still to be read like this, apart from what was appended.
    pub(crate) fn is_now(&self, segment: u64, layout: &Layout) -> bool {
        self.layout(segment).is_some_and(|now| now.generation == layout.generation)
    }

    /// First positions of all segments but the last, with their layouts.
    pub(crate) fn closed(&self) -> Vec<(u64, Layout)> {
        let segments = self.segments.read();
        let last = segments.len().saturating_sub(1);
        segments.iter().take(last).map(|(first, segment)| (*first, segment.layout)).collect()
    }

    /// Puts a rewritten file, which is durable, in the place of a segment's. After an error it may be either.
    pub(crate) fn replace(&self, segment: u64, len: u64, moved: Moved, marks: Marks) -> io::Result<()> {
        let mut segments = self.segments.write();
        let Some(held) = segments.get_mut(&segment) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // Under the lock, so that nobody who looks afterwards takes bytes of one file for those of the other.
        self.storage.rename(&format::fresh_name(segment), &format::segment_name(segment))?;
        let generation = held.layout.generation + 1;
        *held = Segment { layout: Layout { len, generation, moved: Some(moved) }, marks };
        drop(segments);
        self.damage.lock().forget(&format::segment_name(segment));
        self.storage.sync_dir()
    }

    /// Reads all of the table of a rewritten segment again.
    pub(crate) fn check_table(&self, segment: u64, layout: &Layout) -> Result<(), TableError> {
        let (storage, name) = (self.storage.as_ref(), format::segment_name(segment));
        Table::read(storage, &name, layout.len, self.identity.salt)?.check(storage, &name)
    }

    /// The table of a rewritten segment.
    pub(crate) fn table(&self, segment: u64, layout: &Layout) -> Result<Arc<Table>, TableError> {
        let (storage, name) = (self.storage.as_ref(), format::segment_name(segment));
        let read = || Table::read(storage, &name, layout.len, self.identity.salt);
        self.tables.get(segment, layout.generation, read)
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
        (segments.len(), segments.values().map(|segment| segment.layout.len).sum())
    }

    /// Remembers that a frame begins here, unless one close before it is known or the segment is of another generation.
    pub(crate) fn mark(&self, segment: u64, generation: u64, lsn: u64, offset: u64) {
        let of_use =
            |held: &Segment| held.layout.generation == generation && is_far(&held.marks, lsn, offset);
        if offset < MARK_BYTES || !self.segments.read().get(&segment).is_some_and(of_use) {
            return;
        }
        if let Some(held) = self.segments.write().get_mut(&segment).filter(|held| of_use(held)) {
            held.marks.insert(lsn, offset);
        }
    }

    /// The nearest known frame at or before this position: its own position, its place, and the generation of the segment
    /// for which that holds.
    pub(crate) fn near(&self, lsn: u64) -> Option<(u64, Place, u64)> {
        let segments = self.segments.read();
        let (first, segment) = segments.range(..=lsn).next_back()?;
        let start = (*first, format::SEGMENT_HEADER as u64);
        let (lsn, offset) =
            segment.marks.range(..=lsn).next_back().map_or(start, |(lsn, offset)| (*lsn, *offset));
        Some((lsn, Place { segment: *first, offset }, segment.layout.generation))
    }

    /// Reads one item, checking its checksum. None if it was superseded and is not there any more.
    pub(crate) fn item(&self, lsn: u64, offset: u32, length: u32) -> Result<Option<Item>, ReadError> {
        Ok(self.item_bytes(lsn, offset, length)?.map(|(_, item)| item))
    }

    /// The same, with the item's bytes and their header.
    pub(crate) fn item_bytes(
        &self,
        lsn: u64,
        offset: u32,
        length: u32,
    ) -> Result<Option<(Bytes, Item)>, ReadError> {
        loop {
            let Some(segment) = self.segment_with(lsn) else {
                return Err(self.damaged(Place::default(), lsn));
            };
            let layout = self.layout(segment).unwrap_or_default();
            let read = self.item_in(segment, &layout, offset, length);
            if !self.is_now(segment, &layout) {
                continue;
            }
            return read.map_err(|missed| match missed {
                Missed::Damaged(offset) => self.damaged(Place { segment, offset }, lsn),
                Missed::Io(error) => Self::io(error),
            });
        }
    }

    fn item_in(
        &self,
        segment: u64,
        layout: &Layout,
        offset: u32,
        length: u32,
    ) -> Result<Option<(Bytes, Item)>, Missed> {
        let name = format::segment_name(segment);
        let offset = if layout.moved.is_some() {
            let find = |table: Arc<Table>| table.find(self.storage.as_ref(), &name, offset);
            match self.table(segment, layout).and_then(find) {
                Ok(Some(place)) => place,
                Ok(None) => return Ok(None),
                Err(TableError::Damaged) => return Err(Missed::Damaged(layout.len)),
                Err(TableError::Io(error)) => return Err(Missed::Io(error)),
            }
        } else {
            offset
        };
        let start = u64::from(offset).saturating_sub(ITEM_HEADER as u64);
        let wanted = ITEM_HEADER + length as usize;
        // A pointer that leads out of the segment comes from a damaged index; it must not decide how much to allocate.
        if start + wanted as u64 > layout.len {
            return Err(Missed::Damaged(start));
        }
        let mut bytes = vec![0; wanted];
        let read = self.storage.read_at(&name, start, &mut bytes).map_err(Missed::Io)?;
        bytes.truncate(read);
        let bytes = Bytes::from(bytes);
        let item = item::read_one(bytes.clone()).map_err(|_| Missed::Damaged(start))?;
        Ok(Some((bytes, item)))
    }

    /// Reads a record by its pointer. None if it was superseded and is not there any more.
    pub(crate) fn record(&self, pointer: &Pointer) -> Result<Option<model::Record>, ReadError> {
        match self.item(pointer.lsn, pointer.offset, pointer.length)? {
            None => Ok(None),
            Some(Item::Record { record, .. }) if record.envelope().version == pointer.version() => {
                Ok(Some(record))
            }
            Some(_) => {
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
