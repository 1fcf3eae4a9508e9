//! Reading the log as a feed: every current record once, at its latest change.

use std::sync::Arc;

use model::{Envelope, KeyId, Record, RecordKey};

use crate::content::Content;
use crate::error::ReadError;
use crate::log::item::{Item, NotAnItem, Pointer};
use crate::log::skip::{Gap, Look};
use crate::log::{Log, Walk};
use crate::shared::Shared;
use crate::types::{FeedSlice, Forgotten};

/// Most bytes of the log read for one slice: a call stays short where nearly everything is superseded or filtered out.
const SCAN_BYTES: u64 = 16 * 1024 * 1024;

/// A slice that is being filled.
struct Filling<'a> {
    slice: FeedSlice,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
    filter: &'a dyn Fn(&Envelope) -> bool,
    may: &'a dyn Fn(&KeyId, u32) -> bool,
}

impl Filling<'_> {
    fn is_full(&self) -> bool {
        self.slice.records.len() + self.slice.forgotten.len() >= self.max_records
            || self.bytes >= self.max_bytes
    }

    /// Takes a commit's records, unless there is no room for them behind others.
    fn take(&mut self, lsn: u64, records: Vec<Record>) -> bool {
        let more: usize = records.iter().map(Record::size).sum();
        let fits = self.slice.records.len() + records.len() <= self.max_records
            && self.bytes + more <= self.max_bytes;
        if !fits && !self.slice.records.is_empty() {
            return false;
        }
        self.bytes += more;
        self.slice.records.extend(records);
        self.slice.upto = lsn;
        true
    }
}

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
    /// A damaged place of the log is passed when every current record in it can be read by itself, or none is left there;
    /// else the error is given, and at the next call the same position is tried again. The first time a damaged place is
    /// met, all of the index is looked through.
    pub fn next(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        filter: &dyn Fn(&Envelope) -> bool,
    ) -> Result<FeedSlice, ReadError> {
        self.next_of(max_records, max_bytes, filter, &|_, _| true)
    }

    /// The same for whoever can tell from the signing key and the flow class alone (see [`crate::Store::digest`]) that a record
    /// does not pass: damaged ones that cannot pass are no error then.
    pub fn next_of(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        filter: &dyn Fn(&Envelope) -> bool,
        may: &dyn Fn(&KeyId, u32) -> bool,
    ) -> Result<FeedSlice, ReadError> {
        let head = *self.shared.head.borrow();
        let mut filling = Filling {
            slice: FeedSlice { records: Vec::new(), forgotten: Vec::new(), upto: self.after, head },
            bytes: 0,
            max_records,
            max_bytes,
            filter,
            may,
        };
        let filled = if self.after < head { self.fill(&mut filling) } else { Ok(()) };
        match filled {
            Err(error) if filling.slice.upto == self.after => Err(error),
            // What was read before an error is given; the next call begins with the error.
            _ => {
                self.after = filling.slice.upto;
                Ok(filling.slice)
            }
        }
    }

    fn fill(&mut self, filling: &mut Filling<'_>) -> Result<(), ReadError> {
        let head = filling.slice.head;
        let log = &self.shared.log;
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk::seek(log, self.after, head)?,
        };
        let mut scanned = 0;
        while filling.slice.upto < head && scanned < SCAN_BYTES {
            let before = walk.clone();
            let gap = match walk.look(log, head).map_err(Log::io)? {
                Look::End => break,
                Look::Gap(gap) => gap,
                Look::Frame(frame) => {
                    scanned += frame.payload.len() as u64;
                    if frame.header.is_part() {
                        // No records are in it, and its position is not reached yet.
                        continue;
                    }
                    let (place, lsn) = (frame.place, frame.header.last_lsn());
                    match Content::of(&frame) {
                        Ok(content) => {
                            let (records, forgotten) = self.current(content, filling.filter)?;
                            if !filling.take(lsn, records) {
                                walk = before;
                                break;
                            }
                            filling.slice.forgotten.extend(forgotten);
                            if filling.is_full() {
                                break;
                            }
                            continue;
                        }
                        Err(NotAnItem) => Gap { place, lsn, upto: lsn },
                    }
                }
            };
            if !self.pass(&gap, filling)? || gap.upto >= head {
                // The place is sought again next time.
                return Ok(());
            }
            if filling.is_full() {
                break;
            }
        }
        self.walk = Some(walk);
        Ok(())
    }

    /// Takes what is still current in a damaged place, record by record. Whether this got to its end.
    fn pass(&self, gap: &Gap, filling: &mut Filling<'_>) -> Result<bool, ReadError> {
        let log = &self.shared.log;
        log.note(gap.place, gap.lsn, gap.upto);
        let Some(current) = self.shared.current_in(gap.lsn, gap.upto)? else {
            return Err(log.damaged(gap.place, gap.lsn));
        };
        let after = filling.slice.upto;
        let left = current.partition_point(|pointer| pointer.lsn <= after);
        for commit in current[left..].chunk_by(|one, next| one.lsn == next.lsn) {
            let mut records = Vec::with_capacity(commit.len());
            let may_pass = |pointer: &&Pointer| {
                !pointer.forgotten && (filling.may)(&pointer.class().signer, pointer.class().flow)
            };
            for pointer in commit.iter().filter(may_pass) {
                // None: it has been superseded meanwhile.
                let Some(record) = log.record(pointer)? else { continue };
                if (filling.filter)(record.envelope()) {
                    records.push(record);
                }
            }
            let lsn = commit[0].lsn;
            if !filling.take(lsn, records) || filling.is_full() && lsn < gap.upto {
                return Ok(false);
            }
        }
        filling.slice.upto = gap.upto.max(after);
        Ok(true)
    }

    /// The records of a frame that pass the filter and are still current, and what it says was forgotten: also if it came again
    /// since. Whoever was told of the version that went does not see that in the one that came.
    fn current(
        &self,
        content: Content,
        filter: &dyn Fn(&Envelope) -> bool,
    ) -> Result<(Vec<Record>, Vec<Forgotten>), ReadError> {
        let (mut records, mut forgotten) = (Vec::new(), Vec::new());
        let is_now = |key: &RecordKey, offset| -> Result<bool, ReadError> {
            let pointer = self.shared.pointer(key)?;
            Ok(pointer.is_some_and(|pointer| (pointer.lsn, pointer.offset) == (content.lsn, offset)))
        };
        for (span, item) in content.items {
            match item {
                Item::Record { record, .. }
                    if filter(record.envelope()) && is_now(&record.key(), span.offset)? =>
                {
                    records.push(record);
                }
                Item::Forgotten { key, of, .. } => {
                    forgotten.push(Forgotten { key, version: of.version(), of });
                }
                _ => {}
            }
        }
        Ok((records, forgotten))
    }
}
