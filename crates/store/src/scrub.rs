//! The scrub: reads the log's bytes again, so that damage is found while somebody else still has what was there.
//!
//! It reads the files (through the system's cache: what is cached proves nothing about the disk under it) and
//! checks every checksum that opening and reading check. Does not repair anything: see [`crate::Store::repair`].

use std::sync::atomic::Ordering;

use model::KeyId;

use crate::content::Content;
use crate::digest::{Class, Digest};
use crate::error::ReadError;
use crate::index::meta;
use crate::keys::PARTITIONS;
use crate::log::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, segment_name};
use crate::log::item::{Item, Pointer};
use crate::log::moved::Stub;
use crate::log::skip::{Gap, Look, is_damage};
use crate::log::table::TableError;
use crate::log::{Log, Place, Walk};
use crate::shared::Shared;
use crate::types::{Recomputed, ScrubPlace, Scrubbed};

/// Most damaged places of one call; the next one goes on behind them.
const MOST_DAMAGED: usize = 64;

impl Shared {
    pub(crate) fn scrub(&self, from: ScrubPlace, max_bytes: u64) -> Result<Scrubbed, ReadError> {
        let head = *self.head.borrow();
        let mut done = Scrubbed { bytes: 0, frames: 0, damaged: Vec::new(), next: None };
        let mut position = from.position;
        if position >= head {
            return Ok(done);
        }
        let mut walk = Walk::seek(&self.log, position, head)?;
        // A place is a position: it is left where one is read to its end.
        let mut inside = false;
        while position < head {
            let enough = done.bytes > 0 && done.bytes >= max_bytes || done.damaged.len() >= MOST_DAMAGED;
            if enough && !inside {
                done.next = Some(ScrubPlace { position });
                break;
            }
            let found = match walk.look(&self.log, head).map_err(Log::io)? {
                Look::Frame(frame) => {
                    done.bytes += (FRAME_HEADER + frame.payload.len()) as u64;
                    let FrameHeader { lsn, .. } = frame.header;
                    let upto = frame.header.last_lsn();
                    inside = frame.header.is_part();
                    if !inside {
                        position = upto;
                        done.frames += 1;
                    }
                    let unreadable = Content::of(&frame).is_err();
                    let gap = Gap { place: frame.place, lsn, upto };
                    (frame.place, unreadable.then_some(gap))
                }
                Look::Gap(gap) => {
                    (position, inside) = (gap.upto.max(position), false);
                    done.bytes += self.bytes_between(gap.place, walk.place());
                    (gap.place, Some(gap))
                }
                Look::End => break,
            };
            let (place, gap) = found;
            if place.offset == SEGMENT_HEADER as u64 {
                self.scrub_ends(place.segment, &mut done)?;
            }
            done.damaged.extend(gap.map(|gap| self.log.note(gap.place, gap.lsn, gap.upto)));
        }
        Ok(done)
    }

    /// Compares the index with its checksums, a partition at a time: what is to be folded meanwhile waits for one partition only.
    pub(crate) fn verify_index(&self) -> Result<bool, ReadError> {
        for partition in 0..PARTITIONS {
            let metas = self.metas.lock();
            if self.index_failed.load(Ordering::SeqCst) {
                return Err(ReadError::Index);
            }
            let right =
                self.index_read(|index| meta::verify_partition(index, partition as u8, &metas[partition]))?;
            drop(metas);
            if !right {
                // From now on nobody believes it.
                self.index_broken();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a segment's header again, and the table of a rewritten one.
    fn scrub_ends(&self, segment: u64, done: &mut Scrubbed) -> Result<(), ReadError> {
        if !self.header_is_good(segment)? {
            done.damaged.push(self.log.note(Place { segment, offset: 0 }, segment, segment - 1));
        }
        loop {
            let Some(layout) = self.log.layout(segment) else { return Ok(()) };
            let Some(moved) = layout.moved else { return Ok(()) };
            let checked = self.log.check_table(segment, &layout);
            if !self.log.is_now(segment, &layout) {
                continue;
            }
            return match checked {
                Ok(()) => Ok(()),
                Err(TableError::Io(error)) => Err(Log::io(error)),
                Err(TableError::Damaged) => {
                    // Every item of the segment is found through it.
                    let place = Place { segment, offset: layout.len };
                    done.damaged.push(self.log.note(place, segment, moved.last_lsn));
                    Ok(())
                }
            };
        }
    }

    fn bytes_between(&self, from: Place, to: Place) -> u64 {
        let end = if to.segment == from.segment && to.offset > from.offset {
            to.offset
        } else {
            self.log.len_of(from.segment).unwrap_or_default()
        };
        end.saturating_sub(from.offset).max(1)
    }

    fn header_is_good(&self, segment: u64) -> Result<bool, ReadError> {
        let mut bytes = [0; SEGMENT_HEADER];
        let read = match self.log.storage.read_at(&segment_name(segment), 0, &mut bytes) {
            Ok(read) => read,
            Err(error) if is_damage(&error) => return Ok(false),
            Err(error) => return Err(Log::io(error)),
        };
        let header = SegmentHeader::decode(&bytes[..read]);
        Ok(header.is_ok_and(|header| header.first_lsn == segment && header.identity == self.log.identity))
    }

    pub(crate) fn recompute_digest(&self, of: &dyn Fn(&KeyId, u32) -> bool) -> Result<Recomputed, ReadError> {
        // Half a segment as it was and half of it rewritten would add up to something else.
        let _no_rewriting = self.reclaim.lock();
        let (lsn, kept) = self.view.read().digest(of);
        let mut found = Digest::default();
        let mut walk = Walk::after(&self.log, 0)?;
        while walk.next_lsn() <= lsn {
            let Some(frame) = walk.next(&self.log)? else { break };
            let content = Content::of(&frame).map_err(|_| self.log.damaged(frame.place, frame.header.lsn))?;
            for (span, item) in &content.items {
                let (key, pointer, supersedes) = match item {
                    Item::Record { record, supersedes } => {
                        (record.key(), Pointer::to(record, content.lsn, *span), supersedes)
                    }
                    Item::Stub(Stub { key, pointer, supersedes, .. }) => (*key, *pointer, supersedes),
                    Item::Forgotten { key, of, supersedes } => {
                        (*key, Pointer::to_forgotten(of, content.lsn, *span), supersedes)
                    }
                    Item::Position { .. } | Item::Quarantined(_) => continue,
                };
                let accepted = |class: Class| of(&class.signer, class.flow);
                if !pointer.forgotten && accepted(pointer.class()) {
                    found.add(&key, pointer.digest());
                }
                if let Some(old) = supersedes.filter(|old| !old.forgotten && accepted(old.class())) {
                    found.remove(&key, old.digest());
                }
            }
        }
        Ok(Recomputed { lsn, kept, found })
    }
}
