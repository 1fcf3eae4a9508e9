//! Walking the log frame by frame.

use std::io;

use bytes::Bytes;

use super::format::{FRAME_HEADER, FrameHeader, HeaderError, SEGMENT_HEADER, segment_name};
use super::segments::{Layout, Log, Place};
use super::skip::is_damage;
use crate::error::ReadError;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// A frame whose checksums are right.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub header: FrameHeader,
    /// Where its header begins.
    pub place: Place,
    pub payload: Bytes,
    /// Where its segment ended before it was rewritten, if it was.
    pub original_len: Option<u32>,
}

impl Frame {
    /// Where the next frame begins.
    pub(crate) fn end(&self) -> Place {
        Place { segment: self.place.segment, offset: self.payload_offset() + self.payload.len() as u64 }
    }

    /// Where the next frame began before the segment was rewritten. Of the frames of a rewritten segment only the last
    /// one's is known, and nothing depends on the others': an index that covers a part of one is made again.
    pub(crate) fn original_end(&self) -> Place {
        self.original_len
            .map_or_else(|| self.end(), |len| Place { segment: self.place.segment, offset: u64::from(len) })
    }

    pub(crate) fn payload_offset(&self) -> u64 {
        self.place.offset + FRAME_HEADER as u64
    }
}

/// What is at a place of the log.
#[derive(Debug)]
pub(crate) enum Step {
    Frame(Frame),
    /// The log ends here.
    End,
    Bad(Bad),
}

/// Bytes that are not the frame that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    pub place: Place,
    /// The position that was expected.
    pub lsn: u64,
    pub why: &'static str,
    pub kind: BadKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadKind {
    /// The file ends inside the frame.
    Incomplete,
    Damaged,
    Unsupported,
}

/// A place between two frames, moving on. If the segment is rewritten meanwhile, it finds its place again.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    next_lsn: u64,
    place: Place,
    /// Of the segment, for which the place holds; none at a segment's start, which always is one.
    generation: Option<u64>,
    /// Frames before this position are passed over.
    least: u64,
    chunk: Bytes,
    chunk_at: Place,
}

impl Walk {
    /// A walk whose next frame has position `lsn` and begins at `place`, in this generation of the segment.
    pub(crate) fn from(lsn: u64, place: Place, generation: u64) -> Self {
        Self {
            next_lsn: lsn,
            place,
            generation: Some(generation),
            least: 0,
            chunk: Bytes::new(),
            chunk_at: Place::default(),
        }
    }

    /// A walk that begins with a segment.
    pub(crate) fn of_segment(first_lsn: u64) -> Self {
        let place = Place { segment: first_lsn, offset: SEGMENT_HEADER as u64 };
        Self { generation: None, ..Self::from(first_lsn, place, 0) }
    }

    /// A walk whose next frame is the one after `lsn`; it must not be beyond the log's end.
    pub(crate) fn after(log: &Log, lsn: u64) -> Result<Self, ReadError> {
        let target = lsn + 1;
        let Some((near, place, generation)) = log.near(target) else {
            return Err(log.damaged(Place::default(), target));
        };
        let mut walk = Self::from(near, place, generation);
        while walk.next_lsn < target {
            if walk.next(log)?.is_none() {
                break;
            }
        }
        Ok(walk)
    }

    pub(crate) fn next_lsn(&self) -> u64 {
        self.next_lsn
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The next frame of what is known to be good; none at the end.
    pub(crate) fn next(&mut self, log: &Log) -> Result<Option<Frame>, ReadError> {
        match self.step(log).map_err(Log::io)? {
            Step::Frame(frame) => Ok(Some(frame)),
            Step::End => Ok(None),
            Step::Bad(bad) => Err(log.damaged(bad.place, bad.lsn)),
        }
    }

    /// Looks at what comes next, and steps over it if it is a good frame.
    pub(crate) fn step(&mut self, log: &Log) -> io::Result<Step> {
        loop {
            let layout = self.settle(log);
            let found = self.here(log, &layout);
            if !log.is_now(self.place.segment, &layout) {
                // What was read may be of either file.
                continue;
            }
            let found = found?;
            if let Step::Frame(frame) = &found {
                if !frame.header.is_part() {
                    log.mark(self.place.segment, layout.generation, self.next_lsn, self.place.offset);
                }
                (self.next_lsn, self.place) = (frame.header.next_lsn(), frame.end());
                if frame.header.last_lsn() < self.least {
                    continue;
                }
            }
            return Ok(found);
        }
    }

    /// Goes on to the next segment at the end of one, and finds the place again in one that was rewritten.
    pub(super) fn settle(&mut self, log: &Log) -> Layout {
        let mut layout = log.layout(self.place.segment).unwrap_or_default();
        let at_end = self.place.offset >= layout.len || layout.moved.is_some();
        if at_end && self.next_lsn != self.place.segment && log.has_segment(self.next_lsn) {
            *self = Self { least: self.least, ..Self::of_segment(self.next_lsn) };
            layout = log.layout(self.place.segment).unwrap_or_default();
        }
        if self.generation.is_some_and(|generation| generation != layout.generation)
            && let Some((near, place, generation)) = log.near(self.next_lsn)
        {
            let least = self.least.max(self.next_lsn);
            *self = Self { least, ..Self::from(near, place, generation) };
        }
        self.generation = self.generation.or(Some(layout.generation));
        if self.generation == Some(layout.generation) {
            return layout;
        }
        log.layout(self.place.segment).unwrap_or_default()
    }

    /// What is at the place, without moving.
    fn here(&mut self, log: &Log, layout: &Layout) -> io::Result<Step> {
        let len = layout.len;
        if self.place.offset >= len {
            return Ok(Step::End);
        }
        let (place, lsn) = (self.place, self.next_lsn);
        let bad = |why, kind| Ok(Step::Bad(Bad { place, lsn, why, kind }));
        let left = len - self.place.offset;
        if left < FRAME_HEADER as u64 {
            return bad("frame header is cut off", BadKind::Incomplete);
        }
        let head = self.bytes(log, 0, FRAME_HEADER)?;
        let header = match FrameHeader::decode(&head, log.identity.salt) {
            Ok(header) => header,
            Err(HeaderError::Bad(why)) => return bad(why, BadKind::Damaged),
            Err(HeaderError::Unsupported(what)) => return bad(what, BadKind::Unsupported),
        };
        if header.lsn != self.next_lsn {
            return bad("position out of order", BadKind::Damaged);
        }
        if left - (FRAME_HEADER as u64) < u64::from(header.length) {
            return bad("frame is cut off", BadKind::Incomplete);
        }
        let payload = self.bytes(log, FRAME_HEADER, header.length as usize)?;
        if crc32c::crc32c(&payload) != header.payload_crc {
            return bad("frame checksum", BadKind::Damaged);
        }
        let original_len = layout.moved.map(|moved| moved.original_len);
        Ok(Step::Frame(Frame { header, place, payload, original_len }))
    }

    /// `length` bytes from `skip` bytes after the current place; fewer if the file is shorter than it was.
    fn bytes(&mut self, log: &Log, skip: usize, length: usize) -> io::Result<Bytes> {
        let from = self.place.offset + skip as u64;
        let held = self.chunk_at.segment == self.place.segment
            && from >= self.chunk_at.offset
            && from + length as u64 <= self.chunk_at.offset + self.chunk.len() as u64;
        if !held {
            // Never past what is readable: a write that fails is cut back, and other bytes take its place.
            let len = log.len_of(self.place.segment).unwrap_or_default();
            let mut chunk = vec![0; CHUNK.max(length).min(len.saturating_sub(from) as usize)];
            let name = segment_name(self.place.segment);
            let read = match log.storage.read_at(&name, from, &mut chunk) {
                Err(error) if is_damage(&error) && chunk.len() > length => {
                    // What cannot be read may be behind what is wanted.
                    chunk.truncate(length);
                    log.storage.read_at(&name, from, &mut chunk)?
                }
                read => read?,
            };
            chunk.truncate(read);
            self.chunk = Bytes::from(chunk);
            self.chunk_at = Place { segment: self.place.segment, offset: from };
        }
        let start = (from - self.chunk_at.offset) as usize;
        Ok(self.chunk.slice(start..(start + length).min(self.chunk.len())))
    }
}
