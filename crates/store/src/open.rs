//! Opening: the log first, then the index, then what the index does not cover yet.
//!
//! The index is brought up to date or made again; both are ordinary starts. The log is opened as it is or refused; the
//! only thing ever cut off it is an unfinished write at its end (see `log/scan.rs`).

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Notify, watch};

use crate::content::{Content, changes};
use crate::error::{OpenError, ReadError, is_full};
use crate::index::meta::{self, MadeFrom, Metas};
use crate::index::sled::{self, SledError, SledIndex};
use crate::index::{Index, IndexFailed, PartitionMeta};
use crate::keys::{Key, PARTITIONS};
use crate::log::format::{SEGMENT_HEADER, segment_name};
use crate::log::read::{Bad, Step, Walk};
use crate::log::scan::{self, Found};
use crate::log::tail::Tail;
use crate::log::{Layout, Log, Place};
use crate::mark::{self, Mark};
use crate::options::{IndexChoice, Options};
use crate::shared::{Gate, Shared};
use crate::types::{IndexKind, OpenReport};
use crate::view::View;

/// Records up to which an index that was not closed is verified at every start: it takes half a second.
const VERIFY_RECORDS: u64 = 300_000;

/// With less room than this an index cannot be expected to open.
const INDEX_ROOM: u64 = 4 << 20;

pub(crate) fn open(options: Options) -> Result<(Arc<Shared>, Tail, OpenReport), OpenError> {
    options.limits.check()?;
    let began = Instant::now();
    let mut report = OpenReport::default();
    let storage = options.storage.clone();
    let mark = Mark::read(storage.as_ref())
        .map_err(|source| OpenError::Io { doing: "read the store's mark", source })?;
    let log = open_log(&options, &mark, &mut report)?;
    let mut opening = Opening { options: &options, mark: &mark, log: Arc::new(log), report: &mut report };
    let (shared, end, next_lsn) = opening.run()?;
    let tail = Tail::new(shared.log.clone(), end, next_lsn, options.limits.segment_bytes);
    write_mark(&shared.log, &options.boot_id, &mark)?;
    report.last_lsn = next_lsn - 1;
    report.total = began.elapsed();
    Ok((shared, tail, report))
}

fn open_log(options: &Options, mark: &Mark, report: &mut OpenReport) -> Result<Log, OpenError> {
    match scan::find(&options.storage, options.node)? {
        Found::Log(log, cut) => {
            report.tail_cut = cut;
            report.power_loss = mark.power_loss(&options.boot_id);
            Ok(*log)
        }
        Found::Nothing if index_exists(&options.index)? => Err(OpenError::LogMissing),
        Found::Nothing => {
            report.created = true;
            scan::create(&options.storage, options.node)
        }
    }
}

fn index_exists(choice: &IndexChoice) -> Result<bool, OpenError> {
    match choice {
        IndexChoice::Memory(index) => Ok(!index.is_empty()),
        IndexChoice::Sled { path, .. } => {
            sled::exists(path).map_err(|source| OpenError::Io { doing: "look at the index", source })
        }
    }
}

/// Says that the store is open from now on, so that a crash is known for one.
fn write_mark(log: &Log, boot_id: &str, mark: &Mark) -> Result<(), OpenError> {
    let open = Mark::Open { boot_id: boot_id.to_owned() };
    if *mark == open {
        return Ok(());
    }
    let storage = log.storage.as_ref();
    let written = match open.write(storage) {
        // Without any mark the next start assumes the worst, which is safe and needs no room.
        Err(error) if is_full(&error) => mark::remove(storage),
        written => written,
    };
    written.map_err(|source| OpenError::Io { doing: "write the store's mark", source })
}

struct Opening<'a> {
    options: &'a Options,
    mark: &'a Mark,
    log: Arc<Log>,
    report: &'a mut OpenReport,
}

/// Why an index was not brought up to date.
enum Stopped {
    /// It cannot be used, but the log can: make it again.
    Rebuild(&'static str),
    Open(OpenError),
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

type UpToDate = (Arc<Shared>, Place, u64);

impl Opening<'_> {
    fn run(&mut self) -> Result<UpToDate, OpenError> {
        let began = Instant::now();
        let found = self.existing_index();
        self.report.index_open = began.elapsed().saturating_sub(self.report.index_verify);
        match found.and_then(|(index, metas)| self.catch_up(index, metas)) {
            Ok(done) => Ok(done),
            Err(Stopped::Open(error)) => Err(error),
            Err(Stopped::Rebuild(why)) => self.rebuild(why),
        }
    }

    fn made_from(&self) -> MadeFrom {
        MadeFrom { store_id: self.log.identity.store_id, derivation: self.options.derivation.version() }
    }

    /// The index that is there, as far as it can be believed.
    fn existing_index(&mut self) -> Result<(Box<dyn Index>, Vec<PartitionMeta>), Stopped> {
        let io = |source| OpenError::Io { doing: "look at the index", source };
        if mark::rebuild_asked(self.log.storage.as_ref()).map_err(io)? {
            return Err(Stopped::Rebuild("it failed while it was in use"));
        }
        if let (IndexChoice::Sled { path, .. }, Mark::Closed { index: Some(digest) }) =
            (&self.options.index, self.mark)
            && sled::digest(path).map_err(io)? != *digest
        {
            return Err(Stopped::Rebuild("its files changed while the store was closed"));
        }
        if matches!(self.mark, Mark::Closed { .. }) {
            // sled writes when it opens: if this start is killed, the digest must not be asked for again.
            write_mark(&self.log, &self.options.boot_id, self.mark)?;
        }
        let index: Box<dyn Index> = match &self.options.index {
            IndexChoice::Memory(index) => Box::new(index.clone()),
            IndexChoice::Sled { path, cache_bytes } => {
                Box::new(SledIndex::open(path, *cache_bytes).map_err(|error| match error {
                    SledError::InUse => Stopped::Open(OpenError::InUse("index")),
                    // Nothing is wrong with an index that only lacks room.
                    SledError::Failed if self.no_room() => Stopped::Open(io(ErrorKind::StorageFull.into())),
                    SledError::Failed => Stopped::Rebuild("it could not be opened"),
                    SledError::Io(source) => Stopped::Open(io(source)),
                })?)
            }
        };
        let unreadable = |IndexFailed| Stopped::Rebuild("it could not be read");
        let metas = match meta::read_all(index.as_ref(), self.made_from()).map_err(unreadable)? {
            Metas::Covers(metas) => metas,
            Metas::Useless(why) => return Err(Stopped::Rebuild(why)),
            Metas::Empty if self.report.created => self.blank(index.as_ref()).map_err(unreadable)?,
            Metas::Empty => return Err(Stopped::Rebuild("it was empty")),
        };
        let records: u64 =
            metas.iter().flat_map(PartitionMeta::counts).map(|count| count.live + count.tombstones).sum();
        let closed = matches!(self.mark, Mark::Closed { .. });
        if self.report.power_loss || !closed && records <= VERIFY_RECORDS {
            let began = Instant::now();
            let right = meta::verify(index.as_ref(), &metas).map_err(unreadable)?;
            self.report.index_verify = began.elapsed();
            self.report.verified = true;
            if !right {
                return Err(Stopped::Rebuild("its checksums were wrong"));
            }
        }
        Ok((index, metas))
    }

    fn no_room(&self) -> bool {
        self.log.storage.free_bytes().is_ok_and(|free| free < INDEX_ROOM)
    }

    /// Writes that every partition covers nothing.
    fn blank(&self, index: &dyn Index) -> Result<Vec<PartitionMeta>, IndexFailed> {
        let mut meta = PartitionMeta::new(self.made_from());
        meta.cover(0, Place { segment: 1, offset: SEGMENT_HEADER as u64 });
        for partition in 0..PARTITIONS as u8 {
            index.apply(vec![(Key::Meta { partition }.encode(), meta.to_value())])?;
        }
        Ok(vec![meta; PARTITIONS])
    }

    fn rebuild(&mut self, why: &'static str) -> Result<UpToDate, OpenError> {
        tracing::warn!(why, "the index is made again from the log");
        self.report.rebuilt = Some(why);
        self.report.replayed = 0;
        let io = |source| OpenError::Io { doing: "make the index again", source };
        let failed = || io(std::io::Error::other("the index failed"));
        let index: Box<dyn Index> = match &self.options.index {
            IndexChoice::Memory(index) => {
                index.lose();
                Box::new(index.clone())
            }
            IndexChoice::Sled { path, cache_bytes } => {
                sled::remove(path).map_err(io)?;
                Box::new(SledIndex::open(path, *cache_bytes).map_err(|error| match error {
                    SledError::InUse => OpenError::InUse("index"),
                    SledError::Failed => failed(),
                    SledError::Io(source) => io(source),
                })?)
            }
        };
        mark::rebuild_begun(self.log.storage.as_ref()).map_err(io)?;
        let metas = self.blank(index.as_ref()).map_err(|IndexFailed| failed())?;
        self.catch_up(index, metas).map_err(|stopped| match stopped {
            Stopped::Open(error) => error,
            Stopped::Rebuild(_) => failed(),
        })
    }

    /// Puts into the overlay, and where that is full into the index, what the log has and the index has not.
    fn catch_up(&mut self, index: Box<dyn Index>, metas: Vec<PartitionMeta>) -> Result<UpToDate, Stopped> {
        let began = Instant::now();
        let covered: [u64; PARTITIONS] = std::array::from_fn(|partition| metas[partition].applied);
        let start = metas
            .iter()
            .min_by_key(|meta| meta.applied)
            .map_or((0, Place::default()), |meta| (meta.applied, meta.end()));
        self.check_log_reaches(&metas)?;
        self.check_not_inside(&covered)?;
        let view = View::load(index.as_ref(), &metas)
            .map_err(|IndexFailed| Stopped::Rebuild("it could not be read"))?;
        let shared = self.share(index, metas, view, start.0);
        let walk = self.replay(&shared, start, &covered)?;
        let last_lsn = walk.next_lsn() - 1;
        let applied = covered.iter().copied().max().unwrap_or_default();
        if last_lsn < applied {
            return Err(OpenError::LogBehind { applied, end: last_lsn }.into());
        }
        // What a killed process left in the system's cache becomes readable only when it is durable.
        let synced = shared.log.storage.sync_data(&segment_name(walk.place().segment));
        let synced = synced.and_then(|()| shared.log.storage.sync_dir());
        synced.map_err(|source| OpenError::Io { doing: "sync the log", source })?;
        shared.view.write().lsn = last_lsn;
        shared.head.send_replace(last_lsn);
        self.report.replay = began.elapsed();
        Ok((shared, walk.place(), last_lsn + 1))
    }

    /// The index covers only what was durable: if the log is shorter, it has lost acknowledged frames.
    fn check_log_reaches(&self, metas: &[PartitionMeta]) -> Result<(), OpenError> {
        let Some(furthest) = metas.iter().max_by_key(|meta| meta.applied) else { return Ok(()) };
        let end = furthest.end();
        let original_len =
            |layout: Layout| layout.moved.map_or(layout.len, |moved| moved.original_len.into());
        if self.log.layout(end.segment).is_some_and(|layout| end.offset <= original_len(layout)) {
            return Ok(());
        }
        let last = self.log.last_segment().unwrap_or(1);
        let mut walk = Walk::of_segment(last);
        let io = |source| OpenError::Io { doing: "read the log", source };
        while let Step::Frame(_) = walk.step(&self.log).map_err(io)? {}
        Err(OpenError::LogBehind { applied: furthest.applied, end: walk.next_lsn() - 1 })
    }

    /// A rewritten segment says what all of it changes, not what any part of it does: an index that covers a part, which
    /// only one can that lost what it had, is made again.
    fn check_not_inside(&self, covered: &[u64; PARTITIONS]) -> Result<(), Stopped> {
        let inside = |applied: &u64| {
            let next = applied + 1;
            let segment = self.log.segment_with(next).filter(|first| *first < next);
            segment.and_then(|first| self.log.layout(first)).is_some_and(|layout| layout.moved.is_some())
        };
        if covered.iter().any(inside) {
            return Err(Stopped::Rebuild("it is older than what was reclaimed of the log"));
        }
        Ok(())
    }

    fn share(
        &self,
        index: Box<dyn Index>,
        metas: Vec<PartitionMeta>,
        view: View,
        applied: u64,
    ) -> Arc<Shared> {
        let index_kind = match &self.options.index {
            IndexChoice::Memory(_) => IndexKind::Memory,
            IndexChoice::Sled { path, .. } => IndexKind::Sled(path.clone()),
        };
        Arc::new(Shared {
            log: self.log.clone(),
            index,
            index_kind,
            derivation: self.options.derivation.clone(),
            clock: self.options.clock.clone(),
            node: self.options.node,
            signing: self.options.signing.clone(),
            limits: self.options.limits,
            view: RwLock::new(view),
            metas: Mutex::new(metas),
            index_applied: AtomicU64::new(applied),
            index_failed: AtomicBool::new(false),
            index_failure: Notify::new(),
            gate: Mutex::new(Gate::default()),
            gate_moved: Condvar::new(),
            head: watch::Sender::new(0),
            moved: Notify::new(),
            room_wanted: AtomicU64::new(0),
            log_failed: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            tail_cut: RwLock::new(self.report.tail_cut.clone()),
            reclaim: Mutex::default(),
            reclaim_status: Mutex::default(),
        })
    }

    fn replay(
        &mut self,
        shared: &Shared,
        (applied, place): (u64, Place),
        covered: &[u64; PARTITIONS],
    ) -> Result<Walk, Stopped> {
        let next = applied + 1;
        // Where a segment begins it is not asked where the one before it ended, which may be another place now.
        let begins = self.log.has_segment(next);
        let mut walk = if begins { Walk::of_segment(next) } else { Walk::from(next, place, 0) };
        let io = |source| OpenError::Io { doing: "read the log", source };
        let bound = shared.limits.overlay_bytes / 2;
        let mut fold_at = bound;
        loop {
            match walk.step(&self.log).map_err(io)? {
                Step::Frame(frame) => {
                    let content = Content::of(&frame).map_err(|_| OpenError::Unsupported {
                        segment: segment_name(frame.place.segment),
                        what: "a later kind of entry",
                    })?;
                    let changes = changes(&content, shared.own(), shared.derivation.as_ref());
                    let overlay = {
                        let mut view = shared.view.write();
                        view.absorb(&content, &changes, Some(covered));
                        view.overlay_bytes()
                    };
                    self.report.replayed += 1;
                    // Half a position must not get into the index.
                    if overlay >= fold_at && !content.part {
                        fold_at = if fold(shared)? { bound } else { overlay + bound };
                    }
                }
                Step::End if self.log.last_segment() == Some(walk.place().segment) => return Ok(walk),
                Step::End => {
                    let Place { segment, offset } = walk.place();
                    let why = "the next segment does not follow on";
                    return Err(OpenError::Corrupt { segment: segment_name(segment), offset, why }.into());
                }
                Step::Bad(bad) => {
                    self.cut_or_refuse(shared, &bad, applied)?;
                    return Ok(walk);
                }
            }
        }
    }

    fn cut_or_refuse(&mut self, shared: &Shared, bad: &Bad, applied: u64) -> Result<(), Stopped> {
        if bad.lsn == applied + 1 {
            // The place came from the index, which must not be the reason to refuse: look from the segment's start.
            let walk = Walk::after(&self.log, applied).map_err(|error| match error {
                ReadError::Corrupt { segment, offset, .. } => {
                    OpenError::Corrupt { segment, offset, why: "frame checksum" }
                }
                ReadError::Io(kind) => OpenError::Io { doing: "read the log", source: kind.into() },
                ReadError::Index => OpenError::Io { doing: "read the log", source: ErrorKind::Other.into() },
            })?;
            if walk.place() != bad.place {
                return Err(Stopped::Rebuild("it led to a wrong place in the log"));
            }
        }
        scan::judge(&self.log, bad, self.report.power_loss)?;
        let cut = scan::cut(&self.log, bad.place)?;
        tracing::warn!(
            segment = cut.segment,
            offset = cut.offset,
            bytes = cut.bytes,
            "cut an unfinished write off the log"
        );
        self.report.tail_cut = Some(cut.clone());
        *shared.tail_cut.write() = Some(cut);
        Ok(())
    }
}

/// Whether there was room. A full disk is no reason to refuse reading: then what the index lacks stays in memory, where
/// it holds writers back until it can be folded.
fn fold(shared: &Shared) -> Result<bool, Stopped> {
    let folded = shared.fold().map_err(|_| Stopped::Rebuild("it failed while it was brought up to date"))?;
    if !folded {
        tracing::warn!("the disk is full: what the index lacks is kept in memory");
    }
    Ok(folded)
}
