//! Walking the log over damaged places, to the next frame that can be read.
//!
//! For feeds and the scrub, which must get on behind a place that is damaged. Opening does not: what it cannot read
//! it refuses. A frame is recognised by its magic and a header checksum with the log's secret salt, so nothing inside a
//! record passes for one.

use std::io;

use super::format::{FRAME_HEADER, FRAME_MAGIC, FrameHeader, segment_name};
use super::read::{Frame, Step, Walk};
use super::segments::{Layout, Log, Place};
use crate::error::ReadError;

/// Bytes looked through at a time.
const CHUNK: usize = 256 * 1024;
/// What is given up at a time where the disk cannot read: a block.
const BLOCK: u64 = 4096;

/// Bytes in which no frame can be read, up to the next good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub place: Place,
    /// The first position in it.
    pub lsn: u64,
    /// The last position in it.
    pub upto: u64,
}

/// What comes next on a walk that nothing stops.
#[derive(Debug)]
pub(crate) enum Look {
    Frame(Frame),
    Gap(Gap),
    /// The log ends here.
    End,
}

impl Walk {
    /// A walk whose next frame is the one after `lsn`, over whatever is damaged before it. If that frame itself is in a
    /// damaged place, the walk stands before the place.
    pub(crate) fn seek(log: &Log, lsn: u64, head: u64) -> Result<Self, ReadError> {
        let target = lsn + 1;
        let Some((near, place, generation)) = log.near(target) else {
            return Err(log.damaged(Place::default(), target));
        };
        let mut walk = Self::from(near, place, generation);
        while walk.next_lsn() < target {
            let before = walk.clone();
            match walk.look(log, head).map_err(Log::io)? {
                Look::Gap(gap) if gap.upto >= target => return Ok(before),
                Look::Gap(_) | Look::Frame(_) => {}
                Look::End => break,
            }
        }
        Ok(walk)
    }

    /// Steps over the next frame, or over all that is damaged before it. A gap up to `head` leaves the walk where it is
    /// of no further use: what is behind it was not there yet when it was looked for.
    pub(crate) fn look(&mut self, log: &Log, head: u64) -> io::Result<Look> {
        loop {
            match self.step(log) {
                Ok(Step::Frame(frame)) => return Ok(Look::Frame(frame)),
                Ok(Step::End) if self.next_lsn() > head => return Ok(Look::End),
                Ok(Step::End | Step::Bad(_)) => {}
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
            let layout = self.settle(log);
            let (behind, gap) = self.skip(log, &layout, head)?;
            // Else what was looked through may be another file's.
            if log.is_now(gap.place.segment, &layout) {
                *self = behind;
                return Ok(Look::Gap(gap));
            }
        }
    }

    /// The gap here, and the walk that goes on behind it.
    fn skip(&self, log: &Log, layout: &Layout, head: u64) -> io::Result<(Self, Gap)> {
        let (place, lsn) = (self.place(), self.next_lsn());
        let next_segment = log.segment_after(place.segment);
        let most = next_segment.map_or(u64::MAX, |next| next - 1);
        let found = match frame_behind(log, place, lsn)? {
            Some(found) => Some(found),
            None => find_frame(log, place, lsn + 1, most)?,
        };
        let generation = layout.generation;
        let behind = match (found, next_segment) {
            (Some((lsn, offset)), _) => Self::from(lsn, Place { segment: place.segment, offset }, generation),
            (None, Some(next)) => Self::of_segment(next),
            (None, None) => Self::from(head.max(lsn) + 1, place, generation),
        };
        let upto = (behind.next_lsn() - 1).min(head.max(lsn));
        Ok((behind, Gap { place, lsn, upto }))
    }
}

/// Position and offset of the next frame if this one's header is good, and only what it holds is not.
fn frame_behind(log: &Log, place: Place, lsn: u64) -> io::Result<Option<(u64, u64)>> {
    let header = |offset: u64, lsn: u64| -> io::Result<Option<FrameHeader>> {
        let mut bytes = [0; FRAME_HEADER];
        if log.len_of(place.segment).is_none_or(|len| offset + FRAME_HEADER as u64 > len) {
            return Ok(None);
        }
        match log.storage.read_at(&segment_name(place.segment), offset, &mut bytes) {
            Ok(read) => {
                let header = FrameHeader::decode(&bytes[..read], log.identity.salt).ok();
                Ok(header.filter(|header| header.lsn == lsn))
            }
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let Some(bad) = header(place.offset, lsn)? else { return Ok(None) };
    let end = place.offset + FRAME_HEADER as u64 + u64::from(bad.length);
    let next = bad.next_lsn();
    if bad.is_part() {
        // What follows is of the same position, all of which is given up.
        return Ok(None);
    }
    Ok(header(end, next)?.map(|_| (next, end)))
}

/// The first frame header behind a place of a segment, with a position in these bounds: its position and offset.
fn find_frame(log: &Log, place: Place, least: u64, most: u64) -> io::Result<Option<(u64, u64)>> {
    let name = segment_name(place.segment);
    let len = log.len_of(place.segment).unwrap_or_default();
    let mut at = place.offset + 1;
    let mut chunk = vec![0; CHUNK];
    // After a failed read only what is left of a block.
    let mut wanted = CHUNK as u64;
    while at + (FRAME_HEADER as u64) <= len {
        let length = wanted.min(len - at);
        let read = match log.storage.read_at(&name, at, &mut chunk[..length as usize]) {
            Ok(read) => read,
            Err(error) if is_damage(&error) => {
                let left = BLOCK - at % BLOCK;
                if length <= left {
                    at += length;
                }
                wanted = BLOCK - at % BLOCK;
                continue;
            }
            Err(error) => return Err(error),
        };
        wanted = CHUNK as u64;
        // Where no header begins any more: the file is shorter than it was, or a block follows that cannot be read.
        let end = read.saturating_sub(FRAME_HEADER - 1);
        for start in (0..end).filter(|start| chunk[*start] == FRAME_MAGIC[0]) {
            if let Ok(header) = FrameHeader::decode(&chunk[start..start + FRAME_HEADER], log.identity.salt)
                && (least..=most).contains(&header.lsn)
            {
                return Ok(Some((header.lsn, at + start as u64)));
            }
        }
        at += if end == 0 { length } else { end as u64 };
    }
    Ok(None)
}

/// Whether reading will not succeed later either: the disk lost the bytes, or the file is gone.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
