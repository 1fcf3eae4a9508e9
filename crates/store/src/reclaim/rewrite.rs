//! Rewriting one segment: what is current is kept byte for byte, of what was superseded a stub stays.
//!
//! A version that was superseded leaves its pointer and the one that it superseded itself, so that an index made from the
//! log counts and adds up as if it were still there. Versions that followed on each other leave one stub together, and
//! none if what superseded the last of them is kept in the same segment: that then says to supersede what the first did.
//! Stubs wait for the next version, up to a number; the rest are written with the next frame.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use model::{Kind, RecordKey};

use super::lost::{Lost, Saved};
use super::output::{Output, bytes_of, is_record};
use super::{GivenUp, HeldUp};
use crate::content::own_seq;
use crate::error::ReadError;
use crate::log::format::{FLAG_OWN, FRAME_HEADER, Moved, SegmentHeader};
use crate::log::item::{self, Item, Pointer, Span};
use crate::log::moved::{self, Found, Kept, Relinked, Stub};
use crate::log::read::Frame;
use crate::log::skip::{Gap, Look};
use crate::log::{Log, Walk};
use crate::shared::Shared;

/// Most stubs that wait for what superseded them: about 10 MB.
const MOST_STUBS: usize = if cfg!(test) { 6 } else { 1 << 15 };
/// Most positions of one frame.
const MOST_POSITIONS: u64 = 1 << 16;

/// What became of a piece: bytes read.
pub(super) enum Piece {
    Read(u64),
    /// All of the segment is written.
    End(u64),
}

/// An item as it was found: its place before the segment was ever rewritten, and its bytes with their header.
struct Input {
    original: Span,
    bytes: Bytes,
    item: Item,
    relinked: Option<Relinked>,
}

/// A segment that is being rewritten.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub segment: u64,
    moved: Moved,
    len: u64,
    walk: Walk,
    out: Output,
    /// Stubs that may yet be joined with a later version.
    waiting: BTreeMap<RecordKey, Stub>,
    /// Stubs for the next frame.
    ready: Vec<Stub>,
    /// Positions of which nothing is kept, not written yet.
    run: Option<(u64, u64)>,
    /// What the segment's damaged places do not say; none as long as there are none.
    lost: Option<Lost>,
    /// Own seqs that the next frame must vouch for.
    seq: u64,
}

impl Rewrite {
    pub(super) fn begin(shared: &Shared, segment: u64) -> io::Result<Self> {
        let log = &shared.log;
        let closed = log.closed();
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let at = closed.iter().position(|(first, _)| *first == segment).ok_or_else(missing)?;
        let next = log.segment_after(segment).ok_or_else(missing)?;
        let original_len = |at: usize| {
            let layout = closed[at].1;
            layout.moved.map_or(layout.len, |moved| u64::from(moved.original_len))
        };
        let before = at.checked_sub(1).map_or((0, 0), |before| (closed[before].0, original_len(before)));
        // A closed segment is no longer than its offsets can tell.
        let moved = Moved { original_len: original_len(at) as u32, last_lsn: next - 1 };
        let header = SegmentHeader { identity: log.identity, first_lsn: segment, before, moved: Some(moved) };
        Ok(Self {
            segment,
            moved,
            len: closed[at].1.len,
            walk: Walk::of_segment(segment),
            out: Output::create(log, &header)?,
            waiting: BTreeMap::new(),
            ready: Vec::new(),
            run: None,
            lost: None,
            seq: 0,
        })
    }

    /// Takes what follows from the rest of the log for a segment with damaged places, before anything of it is read.
    pub(super) fn mend(&mut self, shared: &Shared) -> Result<(), GivenUp> {
        let mut lost = shared.lost(self.segment, self.moved.last_lsn)?;
        // The damaged bytes may have been a commit of the own writer.
        self.seq = shared.view.read().writer.last_seq;
        let first = lost.first(self.segment);
        self.lost = Some(lost);
        for stub in first {
            self.leave(stub);
        }
        Ok(())
    }

    /// Goes on for about so many bytes.
    pub(super) fn piece(&mut self, shared: &Shared, max_bytes: u64) -> Result<Piece, GivenUp> {
        let mut read = 0;
        while self.walk.next_lsn() <= self.moved.last_lsn {
            if read > 0 && read >= max_bytes {
                return Ok(Piece::Read(read));
            }
            match self.walk.look(&shared.log, self.moved.last_lsn).map_err(Log::io)? {
                Look::Frame(frame) => {
                    read += (FRAME_HEADER + frame.payload.len()) as u64;
                    self.frame(shared, &frame)?;
                }
                Look::Gap(gap) => {
                    read += 1;
                    self.gap(shared, &gap)?;
                }
                Look::End => break,
            }
        }
        Ok(Piece::End(read))
    }

    fn frame(&mut self, shared: &Shared, frame: &Frame) -> Result<(), GivenUp> {
        let Ok(items) = moved::items(frame) else {
            shared.log.note(frame.place, frame.header.lsn, frame.header.last_lsn());
            return Err(GivenUp::HeldUp(HeldUp::Damaged));
        };
        self.seq = self.seq.max(items.seq);
        for stub in items.stubs {
            self.leave(stub);
        }
        if frame.header.is_part() {
            return Ok(());
        }
        let (first, last) = (frame.header.lsn, frame.header.last_lsn());
        let own = frame.header.flags & FLAG_OWN;
        let mut kept = Vec::new();
        for found in items.found {
            let bytes = bytes_of(&frame.payload, &found);
            let Found { original, item, relinked, .. } = found;
            kept.extend(self.keep(shared, last, own != 0, Input { original, bytes, item, relinked })?);
        }
        self.put((first, last), own, &kept).map_err(|error| GivenUp::write(&error))?;
        // The table comes yet, but most of what there is to gain is known by now.
        if self.out.len() > self.len && self.lost.is_none() { Err(GivenUp::Futile) } else { Ok(()) }
    }

    /// A damaged place: what can be read in it by itself is kept.
    fn gap(&mut self, shared: &Shared, gap: &Gap) -> Result<(), GivenUp> {
        if self.lost.is_none() {
            // Found just now: the next round begins with what is lost of it.
            shared.log.note(gap.place, gap.lsn, gap.upto);
            return Err(GivenUp::HeldUp(HeldUp::Damaged));
        }
        let write = |error: io::Error| GivenUp::write(&error);
        // A feed's last position may have been here. Where it was not, a later one follows or it is the same.
        let feeds = shared.view.read().feeds.clone();
        let position = |(feed, position)| {
            let bytes = item::alone(&Item::Position { feed, position });
            (Kept { original: 0, bytes, relinked: None }, false)
        };
        let mut kept: Vec<(Kept, bool)> = feeds.into_iter().map(position).collect();
        let mut at = gap.lsn;
        let mut saved = shared.saved(gap)?.into_iter().peekable();
        while let Some(Saved { lsn, .. }) = saved.peek() {
            let lsn = *lsn;
            self.put_empty((at, lsn), &mut kept).map_err(write)?;
            while let Some(Saved { original, bytes, item, .. }) = saved.next_if(|saved| saved.lsn == lsn) {
                let input = Input { original, bytes, item, relinked: None };
                kept.extend(self.keep(shared, lsn, false, input)?);
            }
            self.put((lsn, lsn), 0, &kept).map_err(write)?;
            kept.clear();
            at = lsn + 1;
        }
        self.put_empty((at, gap.upto + 1), &mut kept).map_err(write)
    }

    /// Puts positions up to one (excluded) of which nothing is left but what is in `kept`, if there are any.
    fn put_empty(&mut self, (mut at, end): (u64, u64), kept: &mut Vec<(Kept, bool)>) -> io::Result<()> {
        if at < end && !kept.is_empty() {
            self.put((at, at), 0, kept)?;
            kept.clear();
            at += 1;
        }
        while at < end {
            let last = (end - 1).min(at + MOST_POSITIONS - 1);
            self.put((at, last), 0, &[])?;
            at = last + 1;
        }
        Ok(())
    }

    /// An item as it is kept, and whether it is a record; none if it goes.
    fn keep(
        &mut self,
        shared: &Shared,
        lsn: u64,
        own: bool,
        input: Input,
    ) -> Result<Option<(Kept, bool)>, ReadError> {
        let Input { original, bytes, item, mut relinked } = input;
        match &item {
            Item::Record { record, supersedes } => {
                let pointer = Pointer::to(record, lsn, original);
                let key = record.key();
                let seq = own_seq(record, own, shared.own()).unwrap_or_default();
                let held = shared.pointer(&key)?;
                let current = held.is_some_and(|held| (held.lsn, held.offset) == (lsn, pointer.offset));
                // An epoch's record says more of its writer than a stub can.
                let is_epoch =
                    record.envelope().origin == shared.node && record.envelope().kind == Kind::Epoch as u32;
                if !current && !is_epoch {
                    self.leave(Stub { key, pointer, supersedes: *supersedes, seq });
                    return Ok(None);
                }
                self.take_over(key, supersedes.as_ref(), &pointer, seq, &mut relinked);
            }
            Item::Forgotten { key, of, supersedes } => {
                let pointer = Pointer::to_forgotten(of, lsn, original);
                let held = shared.pointer(key)?;
                if held.is_none_or(|held| (held.lsn, held.offset) != (lsn, pointer.offset)) {
                    self.leave(Stub { key: *key, pointer, supersedes: *supersedes, seq: 0 });
                    return Ok(None);
                }
                self.take_over(*key, supersedes.as_ref(), &pointer, 0, &mut relinked);
            }
            Item::Position { feed, position } => {
                if shared.view.read().feeds.get(feed) != Some(position) {
                    return Ok(None);
                }
            }
            Item::Quarantined(_) | Item::Stub(_) => {}
        }
        Ok(Some((Kept { original: original.offset, bytes, relinked }, is_record(&item))))
    }

    /// Lets what is kept supersede what the stub of the versions before it did, if it can.
    fn take_over(
        &mut self,
        key: RecordKey,
        supersedes: Option<&Pointer>,
        pointer: &Pointer,
        seq: u64,
        relinked: &mut Option<Relinked>,
    ) {
        if let Some(stub) = self.waiting.remove(&key) {
            if follows(&stub, supersedes, pointer) && stub.seq <= seq {
                *relinked = Some(Relinked(stub.supersedes));
            } else {
                self.ready.push(stub);
            }
        }
        self.leave_lost(key, pointer);
    }

    /// Leaves a stub, and those of lost versions that follow on it.
    fn leave(&mut self, stub: Stub) {
        let (key, pointer) = (stub.key, stub.pointer);
        self.join(stub);
        self.leave_lost(key, &pointer);
    }

    fn leave_lost(&mut self, key: RecordKey, pointer: &Pointer) {
        let mut pointer = *pointer;
        while let Some(stub) = self.lost.as_mut().and_then(|lost| lost.after(key, &pointer)) {
            pointer = stub.pointer;
            self.join(stub);
        }
    }

    /// Takes a stub, which joins that of the version before if it can.
    fn join(&mut self, stub: Stub) {
        let Some(held) = self.waiting.get_mut(&stub.key) else {
            self.waiting.insert(stub.key, stub);
            return;
        };
        if follows(held, stub.supersedes.as_ref(), &stub.pointer) {
            held.pointer = stub.pointer;
            held.seq = held.seq.max(stub.seq);
        } else {
            let before = std::mem::replace(held, stub);
            self.ready.push(before);
        }
    }

    /// Writes what is kept of some positions, or waits whether there is nothing of the next ones either.
    fn put(&mut self, (first, last): (u64, u64), flags: u8, kept: &[(Kept, bool)]) -> io::Result<()> {
        let at_end = last == self.moved.last_lsn;
        if at_end || self.waiting.len() > MOST_STUBS {
            self.ready.extend(std::mem::take(&mut self.waiting).into_values());
        }
        if kept.is_empty() {
            if self.run.is_some_and(|(begin, _)| last - begin >= MOST_POSITIONS) {
                self.end_run()?;
            }
            self.run = Some((self.run.map_or(first, |(begin, _)| begin), last));
            // Not many stubs wait for long, and all that do fit into the frames of one position.
            if at_end || self.ready.len() > MOST_STUBS { self.end_run() } else { Ok(()) }
        } else {
            self.end_run()?;
            self.write((first, last), flags, kept)
        }
    }

    fn end_run(&mut self) -> io::Result<()> {
        match self.run.take() {
            Some(positions) => self.write(positions, 0, &[]),
            None => Ok(()),
        }
    }

    fn write(&mut self, positions: (u64, u64), flags: u8, kept: &[(Kept, bool)]) -> io::Result<()> {
        let stubs = std::mem::take(&mut self.ready);
        self.out.frame(positions, flags, kept, &stubs, std::mem::take(&mut self.seq))
    }

    /// Puts the copy in the segment's place, and tells how many bytes that freed.
    pub(super) fn finish(mut self, shared: &Shared) -> Result<u64, GivenUp> {
        let len = self.out.complete().map_err(|error| GivenUp::write(&error))?;
        if len >= self.len && self.lost.is_none() {
            return Err(GivenUp::Futile);
        }
        // A kill would else leave an index that covers a part of the segment as it was, and is made again.
        shared.index_read(|index| index.flush())?;
        self.out.replace(self.moved).map_err(|error| GivenUp::write(&error))?;
        // One that had to be mended may have grown.
        Ok(self.len.saturating_sub(len))
    }
}

/// Whether a version follows directly on those of a stub, and is counted as they were.
fn follows(stub: &Stub, supersedes: Option<&Pointer>, pointer: &Pointer) -> bool {
    supersedes == Some(&stub.pointer) && stub.pointer.counts_like(pointer)
}
