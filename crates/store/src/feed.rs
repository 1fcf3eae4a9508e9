//! Reading the log as a feed: every current record once, at its latest change.

use std::sync::Arc;

use model::{Envelope, Record};

use crate::content::Content;
use crate::error::ReadError;
use crate::log::Walk;
use crate::log::item::Item;
use crate::log::read::Frame;
use crate::shared::Shared;
use crate::types::FeedSlice;

/// Most bytes of the log read for one slice: a call stays short where nearly everything is superseded or filtered out.
const SCAN_BYTES: u64 = 16 * 1024 * 1024;

/// A place in the log, moving on. Positions are log sequence numbers; all records of one commit have the same.
///
/// It keeps the store's files open (and locked) for as long as it lives.
#[derive(Debug)]
pub struct FeedReader {
    shared: Arc<Shared>,
    after: u64,
    /// Its next frame is the one after `after`; none until the first read and after an error.
    walk: Option<Walk>,
}

impl FeedReader {
    pub(crate) fn new(shared: Arc<Shared>, after: u64) -> Self {
        Self { shared, after, walk: None }
    }

    /// The position that has been read up to.
    pub fn position(&self) -> u64 {
        self.after
    }

    /// The next records that pass `filter`, superseded ones left out. At most `max_records` and `max_bytes`, but always
    /// at least one commit, and a commit is never split. An empty slice with `upto` under `head` is no end: read on.
    /// Beyond the head (a position of another store) nothing is read.
    ///
    /// After an error the same position is tried again.
    pub fn next(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        filter: &dyn Fn(&Envelope) -> bool,
    ) -> Result<FeedSlice, ReadError> {
        let head = *self.shared.head.borrow();
        let mut slice = FeedSlice { records: Vec::new(), upto: self.after, head };
        if self.after >= head {
            return Ok(slice);
        }
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk::after(&self.shared.log, self.after)?,
        };
        let (mut bytes, mut scanned) = (0, 0);
        while slice.upto < head && scanned < SCAN_BYTES {
            let before = walk.clone();
            let Some(frame) = walk.next(&self.shared.log)? else { break };
            let records = self.current(&frame, filter)?;
            let more: usize = records.iter().map(Record::size).sum();
            let fits = slice.records.len() + records.len() <= max_records && bytes + more <= max_bytes;
            if !fits && !slice.records.is_empty() {
                walk = before;
                break;
            }
            bytes += more;
            scanned += frame.payload.len() as u64;
            slice.records.extend(records);
            slice.upto = frame.header.lsn;
            self.after = slice.upto;
            if slice.records.len() >= max_records || bytes >= max_bytes {
                break;
            }
        }
        self.walk = Some(walk);
        Ok(slice)
    }

    /// The frame's records that pass the filter and are still current.
    fn current(&self, frame: &Frame, filter: &dyn Fn(&Envelope) -> bool) -> Result<Vec<Record>, ReadError> {
        let lsn = frame.header.lsn;
        let content = Content::of(frame).map_err(|_| self.shared.log.damaged(frame.place, lsn))?;
        let mut records = Vec::new();
        for (span, item) in content.items {
            let Item::Record { record, .. } = item else { continue };
            if !filter(record.envelope()) {
                continue;
            }
            let pointer = self.shared.pointer(&record.key())?;
            if pointer.is_some_and(|pointer| (pointer.lsn, pointer.offset) == (lsn, span.offset)) {
                records.push(record);
            }
        }
        Ok(records)
    }
}
