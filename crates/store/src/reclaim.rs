//! Reclaiming: closed segments are rewritten without what was superseded.
//!
//! ```text
//! look (usage.rs): live bytes per segment, from the index ─► segments worth it, most dead bytes first
//! rewrite (rewrite.rs): walk the segment, keep what is current, leave stubs ─► <first>.seg.new, synced
//! replace (log/segments.rs): one rename over <first>.seg
//! ```
//! Positions and the index do not change: see `log/mod.rs` for what a rewritten segment looks like. One segment at a time,
//! and a bounded number of bytes per call. Memory: eight bytes per segment and per item of the one that is rewritten, and
//! a bounded number of stubs.
//!
//! Does not decide when it is done, and frees nothing of the last segment, of current tombstones or of what is quarantined.

mod lost;
mod output;
mod rewrite;
mod usage;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use crate::error::{ReadError, is_full};
use crate::log::Log;
use crate::log::format::fresh_name;
use crate::shared::{Shared, room_to_fold};
use crate::types::{HeldUp, Reclaimed};
use rewrite::{Piece, Rewrite};
use usage::Worth;

/// How far reclaiming has come.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    closed: bool,
    /// The head when a round found nothing more to do: as long as it stands, there is nothing to look for.
    done_at: u64,
    /// Segments still to be rewritten in this round, the next one last; none between rounds.
    round: Option<Vec<Worth>>,
    rewrite: Option<Box<Rewrite>>,
    /// Segments that would not have become shorter. They are not tried again until the next start.
    futile: BTreeSet<u64>,
}

impl Reclaim {
    /// Ends all reclaiming of this start.
    pub(crate) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}

/// Why a rewriting was given up. The segment is as it was.
#[derive(Debug)]
enum GivenUp {
    HeldUp(HeldUp),
    /// It would not become shorter.
    Futile,
    Read(ReadError),
}

impl From<ReadError> for GivenUp {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl GivenUp {
    fn write(error: &io::Error) -> Self {
        if is_full(error) {
            return Self::HeldUp(HeldUp::NoRoom);
        }
        tracing::warn!(%error, "a copy of a log segment could not be written");
        Self::HeldUp(HeldUp::Failed(error.kind()))
    }
}

impl Shared {
    pub(crate) fn reclaim(&self, max_bytes: u64) -> Result<Reclaimed, ReadError> {
        let mut state = self.reclaim.lock();
        let mut done = Reclaimed::default();
        if state.closed || !self.next_rewrite(&mut state)? {
            return Ok(done);
        }
        done.more = true;
        let Some(rewrite) = state.rewrite.as_mut() else { return Ok(done) };
        let segment = rewrite.segment;
        let ended = match rewrite.piece(self, max_bytes) {
            Ok(Piece::Read(bytes)) => {
                done.read = bytes;
                return Ok(done);
            }
            Ok(Piece::End(bytes)) => {
                done.read = bytes;
                state.rewrite.take().map_or(Ok(0), |rewrite| rewrite.finish(self))
            }
            Err(given_up) => Err(given_up),
        };
        state.rewrite = None;
        let mut status = self.reclaim_status.lock();
        status.running = false;
        match ended {
            Ok(freed) => {
                done.freed = freed;
                status.reclaimed_bytes += freed;
                status.segments += 1;
                tracing::info!(segment, freed, "superseded records were taken out of a log segment");
                return Ok(done);
            }
            Err(GivenUp::Futile) => drop(state.futile.insert(segment)),
            Err(GivenUp::HeldUp(why)) => status.held_up = Some(why),
            Err(GivenUp::Read(error)) => {
                drop(status);
                self.remove_copy(segment);
                return Err(error);
            }
        }
        drop(status);
        self.remove_copy(segment);
        Ok(done)
    }

    /// Makes ready what is to be rewritten now. Whether there is anything.
    fn next_rewrite(&self, state: &mut Reclaim) -> Result<bool, ReadError> {
        if state.rewrite.is_some() {
            return Ok(true);
        }
        let head = *self.head.borrow();
        if state.round.is_none() {
            if state.done_at == head && self.log.damage().0.is_empty() {
                return Ok(false);
            }
            let usage = self.look(&state.futile)?;
            let mut status = self.reclaim_status.lock();
            (status.dead_bytes, status.looked_at, status.held_up) = (usage.dead_bytes, head, usage.held_up);
            state.round = Some(usage.worth);
        }
        while let Some(worth) = state.round.as_mut().and_then(Vec::pop) {
            let room = worth.copy_bytes + room_to_fold(self.view.read().overlay_bytes() as u64);
            if self.log.storage.free_bytes().map_err(Log::io)? < room {
                self.reclaim_status.lock().held_up = Some(HeldUp::NoRoom);
                continue;
            }
            let begun = Rewrite::begin(self, worth.segment).map_err(|error| GivenUp::write(&error));
            let begun = begun.and_then(|mut rewrite| {
                if worth.damaged {
                    rewrite.mend(self)?;
                }
                Ok(rewrite)
            });
            match begun {
                Ok(rewrite) => {
                    state.rewrite = Some(Box::new(rewrite));
                    self.reclaim_status.lock().running = true;
                    return Ok(true);
                }
                Err(given_up) => {
                    self.remove_copy(worth.segment);
                    match given_up {
                        GivenUp::HeldUp(why) => self.reclaim_status.lock().held_up = Some(why),
                        GivenUp::Futile => {}
                        GivenUp::Read(error) => return Err(error),
                    }
                }
            }
        }
        state.round = None;
        // What was held up is looked for again next time.
        state.done_at = if self.reclaim_status.lock().held_up.is_none() { head } else { 0 };
        Ok(false)
    }

    /// Removes the copy of a segment that is not rewritten after all. What cannot be removed goes at the next start.
    fn remove_copy(&self, segment: u64) {
        match self.log.storage.remove(&fresh_name(segment)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, segment, "an unfinished copy of a log segment could not be removed");
            }
            _ => {}
        }
    }
}
