//! What goes into the store and comes out of it, apart from records.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use model::{EpochId, Flow, KeyId, OriginId, Record, RecordId, RecordKey, Version};

use crate::digest::Digest;
use crate::log::item::Pointer;

/// Most records of one commit or apply.
pub const MAX_COMMIT_RECORDS: usize = 1024;
/// Most bytes of one commit or apply: records and quarantined ones together.
pub const MAX_COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Which of a link's two feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From a child to its parent.
    Up,
    /// From a parent to its child.
    Down,
    /// From a parent to a child that lost its records: those of the child's own subtree.
    Restore,
}

impl Direction {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Up => 1,
            Self::Down => 2,
            Self::Restore => 3,
        }
    }

    pub(crate) fn of_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Up),
            2 => Some(Self::Down),
            3 => Some(Self::Restore),
            _ => None,
        }
    }
}

/// A feed that this node receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId {
    /// The node that sends it.
    pub peer: OriginId,
    pub direction: Direction,
}

/// A place in a feed: everything up to it has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition {
    /// Of the sender's numbering.
    pub generation: [u8; 16],
    pub position: u64,
}

/// An epoch of the own writer that was noted outside the log, for a log that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEpoch {
    pub counter: u32,
    pub id: EpochId,
    pub base_seq: u64,
}

/// What the writer must find under a draft's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    /// Nothing, not even a tombstone.
    Absent,
    /// Exactly this version.
    Version(Version),
}

/// A record to be: the writer gives it its version, time and signature.
#[derive(Clone)]
pub struct Draft {
    pub flow: Flow,
    pub kind: u32,
    pub id: RecordId,
    pub origin: OriginId,
    /// Which writer of the origin this node is.
    pub term: u32,
    pub subject: Option<RecordKey>,
    pub tombstone: bool,
    pub body: Bytes,
    pub expect: Expect,
}

impl Draft {
    /// The key its record will have.
    pub fn key(&self) -> RecordKey {
        RecordKey::of(self.kind, self.origin, self.id)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("kind", &self.kind)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// A commit that is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its position in the log.
    pub lsn: u64,
    pub epoch: u32,
    pub seq: u64,
    /// The signed records, in the order of their drafts.
    pub records: Vec<Record>,
}

/// What a peer sent and the caller has verified.
#[derive(Debug, Default)]
pub struct Apply {
    pub records: Vec<Record>,
    pub quarantined: Vec<Quarantined>,
    /// Records to forget, each if it is held in just this version.
    pub forget: Vec<(RecordKey, Version)>,
    /// The position that this reaches; durable together with the records or not at all.
    pub position: Option<(FeedId, FeedPosition)>,
}

/// An apply that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Position in the log up to which it is covered.
    pub lsn: u64,
    /// Records that were new here.
    pub kept: usize,
    /// Records of which this or a higher version was held.
    pub repeated: usize,
    /// Quarantined records not yet held.
    pub quarantined: usize,
    /// Records forgotten.
    pub forgotten: usize,
}

/// A record that could not be applied, kept as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub from: FeedId,
    /// The wire bytes.
    pub raw: Bytes,
    /// Names the rule that was broken, never a person.
    pub reason: String,
    /// SHA-256 of `raw`: one that is held already from this feed is not kept again.
    pub hash: [u8; 32],
}

impl fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantined")
            .field("from", &self.from)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// What is known of a quarantined record without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantinedRecord {
    pub key: RecordKey,
    pub version: Version,
    /// To digests, if it counted: see [`crate::contribution`].
    pub contribution: u128,
}

/// What became here, by now, of a record that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is held under its key.
    Missing,
    /// An earlier version is held.
    Older(Version),
    /// The same bytes are held: it was admitted later.
    Held(Version),
    /// A later version is held, which its writer made in the same epoch or which followed on it here.
    Superseded(Version),
    /// A later version is held of another epoch or another writer, who may not have known of it.
    Overruled(Version),
    /// The same version is held with other bytes.
    OtherBytes(Version),
    /// It was held, in this version or a later one, and forgotten again: it is no concern of this node any more.
    Forgotten(Version),
}

impl Standing {
    /// Whether nothing of it is missing here.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Held(_) | Self::Superseded(_) | Self::Forgotten(_))
    }
}

/// What is known of a held record without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRecord {
    pub version: Version,
    pub signer: KeyId,
    /// The number of its flow class; those from [`crate::OTHER_FLOWS`] on as that one.
    pub flow: u32,
    /// To digests: see [`crate::contribution`].
    pub contribution: u128,
}

/// A piece of a feed.
#[derive(Debug, Clone)]
pub struct FeedSlice {
    /// In log order.
    pub records: Vec<Record>,
    /// What was forgotten on the way, whatever the filter; it may have come again since. Those of a damaged place are left out.
    pub forgotten: Vec<Forgotten>,
    /// Position reached: every record up to it that passes the filter and is not superseded has been given.
    pub upto: u64,
    /// The feed's last position at that moment.
    pub head: u64,
}

/// A record that was forgotten, and the version in which it was held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forgotten {
    pub key: RecordKey,
    pub version: Version,
    /// Where its bytes are until they are reclaimed.
    pub(crate) of: Pointer,
}

impl Forgotten {
    /// The key that had signed it.
    pub fn signer(&self) -> KeyId {
        self.of.class().signer
    }
}

/// What an opening found and did.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// A new log was made.
    pub created: bool,
    /// Last position in the log.
    pub last_lsn: u64,
    /// Frames read from the log because the index did not cover them.
    pub replayed: u64,
    /// Why the index was made anew from the log, if it was.
    pub rebuilt: Option<&'static str>,
    /// The index was compared with its checksums.
    pub verified: bool,
    /// The machine went down while the store was open.
    pub power_loss: bool,
    pub tail_cut: Option<TailCut>,
    pub index_open: Duration,
    pub index_verify: Duration,
    pub replay: Duration,
    pub total: Duration,
}

/// An unfinished write that was cut off the log's end. It had not been acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailCut {
    pub segment: String,
    pub offset: u64,
    pub bytes: u64,
    /// Name of the file that keeps the bytes; none if there was no room for it.
    pub saved_to: Option<String>,
}

/// A place in the log that failed its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    pub segment: String,
    pub offset: u64,
    /// The first position in it.
    pub lsn: u64,
    /// The last position in it; less than the first if no record can be in it, as in a segment's header.
    pub upto: u64,
    /// [`crate::Store::damaged_keys`] found no record in it that is current and cannot be read.
    pub healed: bool,
}

/// How far a scrub has come. The default is the start of the log; it may be kept and used after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubPlace {
    /// Everything up to this position has been read again.
    pub position: u64,
}

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes of the log that were read, damaged ones included.
    pub bytes: u64,
    /// Commits whose checksums were right.
    pub frames: u64,
    /// In the order of the log; also those that have been healed.
    pub damaged: Vec<DamagedPlace>,
    /// Where to go on; none if the head was reached.
    pub next: Option<ScrubPlace>,
}

/// A digest as it is kept, and as the log's records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recomputed {
    /// The position at which both are meant to be the same.
    pub lsn: u64,
    pub kept: Digest,
    pub found: Digest,
}

/// A piece of reclaiming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Bytes of the log that were read.
    pub read: u64,
    /// Bytes by which the log's files became shorter.
    pub freed: u64,
    /// There is more to do now.
    pub more: bool,
}

/// Why a segment that is worth it is not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldUp {
    /// There is no room on the disk for a copy.
    NoRoom,
    /// It has damaged places whose records have not been mended.
    Damaged,
    /// The copy could not be written or put in place.
    Failed(ErrorKind),
}

/// What reclaiming has done since the start, and what it has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReclaimStatus {
    /// Bytes of superseded records in closed segments, when it last looked. Some are too few in their segment to be worth it.
    pub dead_bytes: u64,
    /// Bytes by which the log's files became shorter.
    pub reclaimed_bytes: u64,
    /// Segments rewritten.
    pub segments: u64,
    /// Position at which it last looked for something to do; 0 before the first time.
    pub looked_at: u64,
    /// A segment is being rewritten.
    pub running: bool,
    /// Why something that is worth it was left when it last looked.
    pub held_up: Option<HeldUp>,
}

/// Records of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindCount {
    pub kind: u32,
    /// Held and not tombstones.
    pub live: u64,
    pub tombstones: u64,
}

/// The index in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexKind {
    Memory,
    Sled(PathBuf),
}

/// The store at a glance.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    /// Last position in the log.
    pub head: u64,
    pub log_bytes: u64,
    pub segments: usize,
    /// Bytes of the records held now, with their headers and signatures; the rest of the log is superseded or overhead.
    pub live_bytes: u64,
    /// By kind, ascending.
    pub counts: Vec<KindCount>,
    pub quarantined: u64,
    pub overlay_bytes: u64,
    pub index: IndexKind,
    /// Position that the whole index covers.
    pub index_applied: u64,
    pub index_bytes: u64,
    /// The index failed: reads that need it fail, and the next start rebuilds it.
    pub index_failed: bool,
    /// The last write found no room, and there is none yet.
    pub disk_full: bool,
    /// A write or sync failed: no more writes until the next start.
    pub log_failed: bool,
    /// Places that failed their checksum since the start; at most 64 are remembered, healed ones the shortest.
    pub damaged: Vec<DamagedPlace>,
    /// How many such places were found, also those that are not remembered.
    pub damaged_found: u64,
    /// How often something in such a place could not be served.
    pub damaged_reads: u64,
    pub reclaim: ReclaimStatus,
    pub tail_cut: Option<TailCut>,
    /// Syncs of the log since the start, and commits that they covered.
    pub syncs: u64,
    pub commits: u64,
}

impl StoreStatus {
    /// Records of this kind that are held and not tombstones.
    pub fn live(&self, kind: u32) -> u64 {
        self.counts.iter().find(|count| count.kind == kind).map_or(0, |count| count.live)
    }
}
