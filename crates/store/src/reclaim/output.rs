//! The file that takes a segment's place, while it is written.

use std::io;
use std::sync::Arc;

use crate::log::Log;
use crate::log::format::{
    FLAG_MOVED, FLAG_PART, FRAME_HEADER, FrameHeader, ITEM_HEADER, Moved, SegmentHeader, fresh_name,
};
use crate::log::item::Item;
use crate::log::moved::{self, Kept, Stub};
use crate::log::segments::{Marks, is_far};
use crate::log::table;

/// Bytes written at a time.
const CHUNK: usize = 1024 * 1024;
/// Most stubs of one frame; more go into frames before it, of the same position.
const FRAME_STUBS: usize = if cfg!(test) { 2 } else { 4096 };

#[derive(Debug)]
pub(super) struct Output {
    log: Arc<Log>,
    segment: u64,
    name: String,
    /// Bytes of the file that are written.
    written: u64,
    buffer: Vec<u8>,
    /// Original offsets and places of all that was kept.
    pairs: Vec<(u32, u32)>,
    marks: Marks,
    /// Bytes of the records among it.
    record_bytes: u64,
}

impl Output {
    pub(super) fn create(log: &Arc<Log>, header: &SegmentHeader) -> io::Result<Self> {
        let name = fresh_name(header.first_lsn);
        log.storage.create(&name)?;
        Ok(Self {
            log: log.clone(),
            segment: header.first_lsn,
            name,
            written: 0,
            buffer: header.encode().to_vec(),
            pairs: Vec::new(),
            marks: Marks::new(),
            record_bytes: 0,
        })
    }

    /// Bytes of the file, without its table.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes what a frame stands for: positions from `first` to `last`.
    pub(super) fn frame(
        &mut self,
        (first, last): (u64, u64),
        flags: u8,
        kept: &[(Kept, bool)],
        stubs: &[Stub],
        seq: u64,
    ) -> io::Result<()> {
        let mut parts = stubs.chunks(FRAME_STUBS).peekable();
        while let Some(part) = parts.next_if(|_| stubs.len() > FRAME_STUBS) {
            self.put((first, first), FLAG_PART, &[], part, 0)?;
        }
        let rest: &[Stub] = if stubs.len() > FRAME_STUBS { &[] } else { stubs };
        self.put((first, last), flags, kept, rest, seq)
    }

    fn put(
        &mut self,
        (first, last): (u64, u64),
        flags: u8,
        kept: &[(Kept, bool)],
        stubs: &[Stub],
        seq: u64,
    ) -> io::Result<()> {
        let at = self.len();
        if is_far(&self.marks, first, at) && flags & FLAG_PART == 0 && stubs.len() <= FRAME_STUBS {
            self.marks.insert(first, at);
        }
        let items: Vec<&Kept> = kept.iter().map(|(kept, _)| kept).collect();
        let (payload, places) = moved::encode(&items, stubs, seq);
        for ((kept, counts), place) in kept.iter().zip(places) {
            let place = at + (FRAME_HEADER + place) as u64;
            if kept.original != 0 {
                self.pairs.push((kept.original, place as u32));
            }
            self.record_bytes += if *counts { kept.bytes.len() as u64 } else { 0 };
        }
        let header = FrameHeader {
            length: payload.len() as u32,
            lsn: first,
            place: (last - first) as u16,
            flags: flags | FLAG_MOVED,
            payload_crc: crc32c::crc32c(&payload),
        };
        self.buffer.extend_from_slice(&header.encode(self.log.identity.salt));
        self.buffer.extend_from_slice(&payload);
        if self.buffer.len() >= CHUNK { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.log.storage.append(&self.name, self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the table, makes the file durable and tells its length.
    pub(super) fn complete(&mut self) -> io::Result<u64> {
        self.pairs.sort_unstable();
        let table = table::encode(&self.pairs, self.len(), self.record_bytes, self.log.identity.salt);
        self.buffer.extend_from_slice(&table);
        self.write()?;
        self.log.storage.sync_data(&self.name)?;
        Ok(self.written)
    }

    /// Puts the file in the segment's place.
    pub(super) fn replace(self, moved: Moved) -> io::Result<()> {
        self.log.replace(self.segment, self.written, moved, self.marks)
    }
}

/// The bytes of a kept item with its header, out of its frame's payload.
pub(super) fn bytes_of(payload: &bytes::Bytes, found: &moved::Found) -> bytes::Bytes {
    payload.slice(found.at - ITEM_HEADER..found.at + found.original.length as usize)
}

/// Whether an item's bytes are counted as a record's.
pub(super) fn is_record(item: &Item) -> bool {
    matches!(item, Item::Record { .. } | Item::Forgotten { .. })
}
