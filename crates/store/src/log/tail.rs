//! The end of the log, where the one writer appends.

use std::io;
use std::sync::Arc;

use super::format::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader, segment_name};
use super::segments::{Log, Place};
use crate::error::is_full;

/// Why a group was not written. Nothing of it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailError {
    /// No room; the log is as it was before, and the next group may fit.
    Full,
    /// The disk failed. What is durable is not known, so the log takes nothing more until it is opened again.
    Failed(io::ErrorKind),
}

/// Invariant: the segment's file holds `len` durable bytes, and everything beyond them was never acknowledged.
#[derive(Debug)]
pub(crate) struct Tail {
    log: Arc<Log>,
    segment: u64,
    len: u64,
    next_lsn: u64,
    segment_bytes: u64,
    failed: Option<io::ErrorKind>,
}

/// Frames of one write and sync, built up in memory.
#[derive(Debug, Default)]
pub(crate) struct Group {
    bytes: Vec<u8>,
    frames: u16,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn frames(&self) -> u64 {
        u64::from(self.frames)
    }
}

impl Tail {
    /// The end of an opened log, all of it durable.
    pub(crate) fn new(log: Arc<Log>, end: Place, next_lsn: u64, segment_bytes: u64) -> Self {
        Self { log, segment: end.segment, len: end.offset, next_lsn, segment_bytes, failed: None }
    }

    /// Makes ready for a group: a full segment is closed and the next one begun.
    pub(crate) fn begin(&mut self) -> Result<Group, TailError> {
        self.usable()?;
        if self.len >= self.segment_bytes {
            self.roll()?;
        }
        Ok(Group::default())
    }

    /// Position and payload place that the group's next frame will have.
    pub(crate) fn next_frame(&self, group: &Group) -> (u64, u64) {
        (self.next_lsn + group.frames(), self.len + group.bytes.len() as u64 + FRAME_HEADER as u64)
    }

    /// Adds a frame to the group and returns the place where it will end.
    pub(crate) fn add(&self, group: &mut Group, payload: &[u8], flags: u8) -> Place {
        let header = FrameHeader {
            length: payload.len() as u32,
            lsn: self.next_frame(group).0,
            place: group.frames,
            flags,
            payload_crc: crc32c::crc32c(payload),
        };
        group.bytes.extend_from_slice(&header.encode(self.log.identity.salt));
        group.bytes.extend_from_slice(payload);
        group.frames += 1;
        Place { segment: self.segment, offset: self.len + group.bytes.len() as u64 }
    }

    /// Writes a group and makes it durable, or leaves the log as it was.
    pub(crate) fn write(&mut self, group: &Group) -> Result<(), TailError> {
        self.usable()?;
        let name = segment_name(self.segment);
        let storage = &self.log.storage;
        if let Err(error) = storage.append(&name, self.len, &group.bytes) {
            tracing::warn!(%error, segment = name, "log could not be written");
            let cut = storage.truncate(&name, self.len).map_err(|error| error.kind());
            return Err(match cut {
                Ok(()) if is_full(&error) => TailError::Full,
                Ok(()) => self.fail(error.kind()),
                Err(kind) => self.fail(kind),
            });
        }
        if let Err(error) = storage.sync_data(&name) {
            tracing::error!(%error, segment = name, "log could not be synced; no more writes until the next start");
            // What could not be synced can still be read from the system's cache and would pass for durable after a
            // restart, so it is cut off. If even that fails, nothing can be done here that helps.
            if let Err(error) = storage.truncate(&name, self.len) {
                tracing::error!(%error, segment = name, "log could not be cut back");
            }
            return Err(self.fail(error.kind()));
        }
        self.log.mark(self.segment, 0, self.next_lsn, self.len);
        self.len += group.bytes.len() as u64;
        self.next_lsn += group.frames();
        self.log.set_len(self.segment, self.len);
        Ok(())
    }

    fn usable(&self) -> Result<(), TailError> {
        self.failed.map_or(Ok(()), |kind| Err(TailError::Failed(kind)))
    }

    fn fail(&mut self, kind: io::ErrorKind) -> TailError {
        self.failed = Some(kind);
        TailError::Failed(kind)
    }

    fn roll(&mut self) -> Result<(), TailError> {
        let before = (self.segment, self.len);
        if let Err(error) = create_segment(&self.log, self.next_lsn, before) {
            tracing::warn!(%error, "log segment could not be begun");
            // Left in place it would say of this segment that it ends here.
            let name = segment_name(self.next_lsn);
            let storage = &self.log.storage;
            let removed = match storage.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => storage.sync_dir(),
            };
            return Err(match removed {
                Ok(()) if is_full(&error) => TailError::Full,
                Ok(()) => self.fail(error.kind()),
                Err(error) => self.fail(error.kind()),
            });
        }
        self.segment = self.next_lsn;
        self.len = SEGMENT_HEADER as u64;
        Ok(())
    }
}

/// Makes a segment, durable with its name before anything is put into it.
pub(crate) fn create_segment(log: &Log, first_lsn: u64, before: (u64, u64)) -> io::Result<()> {
    let name = segment_name(first_lsn);
    let header = SegmentHeader { identity: log.identity, first_lsn, before, moved: None };
    log.storage.create(&name)?;
    log.storage.append(&name, 0, &header.encode())?;
    log.storage.sync_data(&name)?;
    log.storage.sync_dir()?;
    log.set_len(first_lsn, SEGMENT_HEADER as u64);
    Ok(())
}
