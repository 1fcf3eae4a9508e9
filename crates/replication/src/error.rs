//! Why a link ends, named by what the neighbour or the operator should do about it.

use model::{EpochId, NodePath, OriginId, TrustDomain};
use store::{CommitError, ReadError};

/// Most records of one feed in quarantine. An honest neighbour has few there: what came before what it
/// needs, or what a successor overruled. One that has so many needs somebody's look, and its
/// feed waits for that.
pub const MAX_QUARANTINED: u64 = 10_000;

/// Why the receiver of a feed refuses its sender. [`LinkRefusal::reason`] is stable, for machines; the text is for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefusal {
    #[error("the child belongs to the mesh {theirs}, this node to {ours}: check the child's configuration")]
    WrongTree { theirs: TrustDomain, ours: TrustDomain },
    #[error(
        "{announced} is not directly under {ours}, or not the name in its certificate ({certified}): check the child's parent and path"
    )]
    NotAChild { announced: NodePath, certified: NodePath, ours: NodePath },
    #[error(
        "no common version of the feed protocol (theirs {theirs:?}, ours {ours:?}): upgrade the older node"
    )]
    UnsupportedProtocol { theirs: Vec<u32>, ours: Vec<u32> },
    #[error(
        "{path} is known here as origin {known} and announces {announced}: bring the node's identity folder (origin.id, signing key) back from its backup, or enrol it anew under another path"
    )]
    OriginChanged { path: NodePath, known: OriginId, announced: OriginId },
    #[error(
        "epoch {counter} of {path} is known here as another start ({known}): a clone or an old backup is running; stop it; if this is the only one, put its data folder aside and keep it, and start it with an empty one"
    )]
    EpochFenced { path: NodePath, counter: u32, known: EpochId },
    #[error(
        "{path} is known here up to epoch {known_epoch}, seq {known_seq}; it announces {announced}{}",
        announced.advice()
    )]
    RestoreNeeded { path: NodePath, known_epoch: u32, known_seq: u64, announced: Announced },
    #[error(
        "{path} is already connected in its epoch {live}: a clone started beside the living node? Stop one of them"
    )]
    AlreadyConnected { path: NodePath, live: EpochId },
    #[error(
        "{ours} does not write itself yet, so it cannot say what it knows of {path}: it waits for its own parent, or for room on its disk; it is asked again"
    )]
    NotReady { path: NodePath, ours: NodePath },
    #[error("the greeting cannot be accepted: {why}")]
    BadHello { why: String },
    #[error("a batch cannot be read: {0}")]
    BadBatch(&'static str),
    #[error(
        "the receiver holds {MAX_QUARANTINED} records of this feed in quarantine and takes no more: list them, act on their reasons"
    )]
    QuarantineFull,
    #[error("the restore is over: this node has its records")]
    Restored,
    #[error("the receiver's store cannot take it: {0}")]
    Store(CommitError),
    #[error("the receiver's store cannot be read: {0}")]
    StoreRead(ReadError),
}

/// What a sender knows of itself, for [`LinkRefusal::RestoreNeeded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// An empty store.
    Nothing,
    /// An epoch, and the last seq before it or in it.
    Epoch { counter: u32, seq: u64 },
    /// The end of its feed.
    Head(u64),
}

impl Announced {
    /// What an operator is to do.
    fn advice(self) -> &'static str {
        match self {
            Self::Nothing => {
                ": a lost disk; its records are sent back, and then it writes again: keep it running"
            }
            Self::Epoch { .. } | Self::Head(_) => {
                ": an old backup; stop it, put its data folder aside and keep it, and start it with an empty one: it is restored"
            }
        }
    }
}

impl std::fmt::Display for Announced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("an empty store"),
            Self::Epoch { counter, seq } => write!(f, "epoch {counter}, seq {seq}"),
            Self::Head(head) => write!(f, "a feed that ends at {head}, before what was applied here"),
        }
    }
}

impl LinkRefusal {
    /// Machine-readable reason; never changes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::WrongTree { .. } => "WRONG_TREE",
            Self::NotAChild { .. } => "NOT_A_CHILD",
            Self::UnsupportedProtocol { .. } => "UNSUPPORTED_PROTOCOL",
            Self::OriginChanged { .. } => "ORIGIN_CHANGED",
            Self::EpochFenced { .. } => "EPOCH_FENCED",
            Self::RestoreNeeded { .. } => "RESTORE_NEEDED",
            Self::AlreadyConnected { .. } => "ALREADY_CONNECTED",
            Self::NotReady { .. } => "NOT_READY",
            Self::QuarantineFull => "QUARANTINE_FULL",
            Self::Restored => "RESTORED",
            Self::BadHello { .. } => "BAD_HELLO",
            Self::BadBatch(_) => "BAD_BATCH",
            Self::Store(_) | Self::StoreRead(_) => "STORE",
        }
    }
}

/// How a feed's session ended other than by a closed stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// This end refuses: tell the neighbour reason and text, and end the call.
    #[error("{0}")]
    Refused(#[from] LinkRefusal),
    /// The neighbour refused: show it; retrying helps only after somebody acted on it.
    #[error("{message} ({reason})")]
    RefusedByPeer { reason: String, message: String },
    /// The neighbour knows more of this node than the node itself: restore first.
    #[error(
        "the parent has applied position {position} of this node's feed, which ends at {head}: an old backup or a lost disk? Restore this node first"
    )]
    ParentKnowsMore { position: u64, head: u64 },
    /// The neighbour broke the protocol: one of the two is faulty.
    #[error("the neighbour broke the feed protocol: {0}")]
    Protocol(&'static str),
    /// The neighbour said what this node cannot read: one of the two is faulty, or newer than what it says it speaks.
    #[error("a frame of the neighbour cannot be read: {field} {rule}")]
    Unreadable { field: &'static str, rule: &'static str },
    /// The connection broke or was never made: connect again.
    #[error("the connection broke: {cause}")]
    Broken { cause: String },
    /// Nothing was heard for too long: connect again.
    #[error("nothing was heard for {0} s")]
    Silent(u64),
    /// The same child connected again; this session gave way.
    #[error("replaced by a newer connection of the same node")]
    Replaced,
    /// The own store cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
}

impl LinkError {
    /// Machine-readable reason, for status and for the neighbour.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::RefusedByPeer { reason, .. } => reason,
            Self::ParentKnowsMore { .. } => "RESTORE_NEEDED",
            Self::Protocol(_) | Self::Unreadable { .. } => "PROTOCOL",
            Self::Broken { .. } => "BROKEN",
            Self::Silent(_) => "SILENT",
            Self::Replaced => "REPLACED",
            Self::Read(_) => "STORE",
        }
    }
}
