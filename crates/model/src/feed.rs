//! What two neighbours say to each other about a feed. The talk itself is in `proto/tiermesh/v1/feed.proto`.

use bytes::Bytes;

use crate::body::EpochEntry;
use crate::{NodePath, OriginId, Record, RecordKey, TrustDomain, Version};

/// Versions of the protocol that this software speaks, newest last.
pub const PROTOCOLS: &[u32] = &[1];
/// Most epochs a greeting lists.
pub const MAX_EPOCHS: usize = 1024;
/// Most bytes of one batch's records before compression.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Which way a feed goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the parent.
    Up,
    /// To a child.
    Down,
    /// To a child that lost its records: those of its own subtree.
    Restore,
}

/// The sender's greeting.
#[derive(Debug, Clone)]
pub struct Hello {
    pub protocols: Vec<u32>,
    pub direction: Direction,
    pub path: NodePath,
    pub origin: OriginId,
    pub trust_domain: TrustDomain,
    /// Numbering of this feed: the name of the sender's log.
    pub generation: [u8; 16],
    pub head: u64,
    /// The sender's epochs, newest first; empty when its store is empty and it asks before it accepts writes.
    pub epochs: Vec<EpochEntry>,
    /// Of each of them the position at which it began in the sender's log; empty from a sender that does not say it.
    pub began: Vec<u64>,
    /// Last seq the sender committed as a writer.
    pub last_seq: u64,
    pub now_ms: u64,
    pub software: String,
    /// Key, node and epoch records, so that the first batch can be verified.
    pub introduction: Vec<Record>,
}

/// The receiver's answer to a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub protocol: u32,
    /// Durably applied, in the sender's generation; 0: nothing.
    pub position: u64,
    pub now_ms: u64,
    pub path: NodePath,
    pub origin: OriginId,
    pub max_batch_bytes: u32,
    pub max_in_flight: u32,
    /// Most bytes a second of batches; none: as fast as it goes.
    pub max_bytes_per_s: Option<u64>,
    pub software: String,
    /// Records of this feed that the receiver holds in quarantine.
    pub refused: Refused,
    /// The receiver asks for the links of its own that it wrote in epochs before this one and has lost; 0: for none.
    pub lost_before: u32,
}

/// Most quarantined records that a welcome or acknowledgement names.
pub const MAX_REFUSED: usize = 1024;
/// Longest reason of one, in characters.
pub const MAX_REASON: usize = 256;

/// Records that the receiver keeps in quarantine instead of applying them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// At most [`MAX_REFUSED`].
    pub records: Vec<RefusedRecord>,
    /// There are more.
    pub incomplete: bool,
}

/// A record that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    pub key: RecordKey,
    pub version: Version,
    /// The rule that was broken, for operators; at most [`MAX_REASON`] characters.
    pub reason: String,
}

impl Refused {
    /// Adds one, within the limits.
    pub fn push(&mut self, key: RecordKey, version: Version, reason: &str) {
        if self.records.len() >= MAX_REFUSED {
            self.incomplete = true;
            return;
        }
        self.records.push(RefusedRecord { key, version, reason: reason.chars().take(MAX_REASON).collect() });
    }
}

/// How a batch's payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Zstd,
}

/// Records after one position up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub after: u64,
    pub upto: u64,
    pub compression: Compression,
    /// Length of the payload before compression.
    pub raw_len: u32,
    /// A serialized `RecordList`, compressed.
    pub payload: Bytes,
    /// The feed's head when the batch was read.
    pub head: u64,
    pub now_ms: u64,
    /// What the receiver is to forget, at most [`MAX_RETRACTIONS`]: in this version or an earlier one.
    pub retractions: Vec<(RecordKey, Version)>,
}

/// Most retractions of one batch.
pub const MAX_RETRACTIONS: usize = 1024;

/// Alive, and how the nodes below are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub head: u64,
    pub now_ms: u64,
    /// At most [`MAX_BELOW`].
    pub below: Vec<NodeSeen>,
    /// What the sender holds of this feed.
    pub proof: Option<Proof>,
    /// What the receiver is to hold, a few buckets at a time.
    pub check: Option<Check>,
    /// Down feeds: how far the receiver's log is judged; at most [`MAX_JUDGES`].
    pub judged: Vec<JudgedUpTo>,
}

/// Most nodes that judge one log: itself and those above it.
pub const MAX_JUDGES: usize = crate::path::MAX_DEPTH;

/// How far a node above has judged the receiver's log; see `proto/tiermesh/v1/feed.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedUpTo {
    /// The node that judged: the sender, or one above it.
    pub by: NodePath,
    /// Numbering of the receiver's log to which the position belongs.
    pub numbering: [u8; 16],
    /// Every registration up to here is judged, and what follows stands in the down feed before this head.
    pub position: u64,
    /// How long ago the judge knew no more of the receiver's persons than has come down by now, milliseconds.
    pub ago_ms: u64,
}

/// Buckets of a digest: the top ten bits of a record's key.
pub const BUCKETS: u16 = 1024;
/// Most records that a verdict gives back.
pub const MAX_GIVEN_BACK: usize = 1024;

/// A bucket of a digest, or a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSum {
    pub bucket: u16,
    pub sum: u128,
    pub records: u64,
}

/// A digest of a feed at a position; see `proto/tiermesh/v1/feed.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub position: u64,
    pub total: BucketSum,
    /// Those that are not empty, if the receiver asked for them.
    pub buckets: Vec<BucketSum>,
}

/// How the receiver's digest compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Different,
    /// It is at another position.
    NotYet,
}

/// The receiver's answer to a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub position: u64,
    pub comparison: Comparison,
    /// Buckets that differ; empty if the proof gave only its total.
    pub differing: Vec<u16>,
    /// What the receiver holds in one of them, when shipping it again was not enough.
    pub given_back: Vec<Record>,
}

/// Most buckets of one check.
pub const MAX_CHECKED: usize = 64;
/// Most records that the answer to a check names.
pub const MAX_HELD: usize = 1024;

/// Consecutive buckets of what the receiver of a down feed is to hold; see `proto/tiermesh/v1/feed.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub position: u64,
    /// 1 to [`MAX_CHECKED`], in order; empty ones as well.
    pub buckets: Vec<BucketSum>,
    /// More of the one bucket given, behind this key.
    pub after: Option<RecordKey>,
}

/// The receiver's answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAnswer {
    pub position: u64,
    pub comparison: Comparison,
    /// The first bucket that differs, and what is held of it in the order of the keys, at most [`MAX_HELD`].
    pub bucket: u16,
    pub held: Vec<HeldVersion>,
    /// There is more behind the last one.
    pub incomplete: bool,
}

/// A record that the receiver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldVersion {
    pub key: RecordKey,
    pub version: Version,
    /// In quarantine and not applied.
    pub quarantined: bool,
}

/// Most nodes that a head names.
pub const MAX_BELOW: usize = 1024;

/// A node further down, as seen by the nodes between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    pub path: NodePath,
    /// Its feed to its parent is open.
    pub connected: bool,
    /// How long ago its parent heard it, in milliseconds; none: not since its parent started.
    pub heard_ago_ms: Option<u64>,
    /// Positions it had not shipped when last heard.
    pub behind: u64,
}

/// Durably applied up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    pub position: u64,
    pub applied: u32,
    pub repeated: u32,
    pub quarantined: u32,
    pub now_ms: u64,
    pub quarantined_total: u64,
    /// Those of them that are held by now, in that or a later version of the same epoch, or forgotten again.
    pub quarantined_settled: u64,
    /// The quarantined ones of the batch.
    pub refused: Refused,
    /// Answers a proof.
    pub verdict: Option<Verdict>,
    /// Answers a check.
    pub check: Option<CheckAnswer>,
}

/// What a sender says.
#[derive(Debug, Clone)]
pub enum FromSender {
    Hello(Box<Hello>),
    Batch(Batch),
    Head(Head),
}

/// What a receiver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromReceiver {
    Welcome(Welcome),
    Ack(Ack),
}
