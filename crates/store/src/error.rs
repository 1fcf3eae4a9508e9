//! What can go wrong, named by what the caller should do about it.

use std::io;

use model::{RecordError, RecordKey};

/// Why a store does not open. Nothing was changed unless a variant says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store of this one) has the directory open: end it first.
    #[error("the {0} is in use by another process")]
    InUse(&'static str),
    /// Acknowledged bytes are damaged: restore this file from a copy, or this node from its parent.
    #[error(
        "log segment {segment} is damaged at byte {offset} ({why}): put back a good copy of the file, or restore the node from its parent"
    )]
    Corrupt { segment: String, offset: u64, why: &'static str },
    /// The index has seen more of the log than is there: an old copy of the log, or lost files.
    #[error(
        "the log ends at {end} but {applied} was acknowledged: put back the log's latest files, or restore the node from its parent"
    )]
    LogBehind { applied: u64, end: u64 },
    /// There is an index but no log: the log's directory is the wrong one or was emptied.
    #[error(
        "the log is empty but its index is not: put the log back, or remove the index to start a new store"
    )]
    LogMissing,
    /// A file of the log is not there.
    #[error("log segment {0} is missing: put the file back, or restore the node from its parent")]
    SegmentMissing(String),
    /// The log was written by another node: check the configured data directory and node key.
    #[error(
        "this log belongs to another node: data_dir is wrong, or the identity folder was replaced; bring origin.id and lookup.key back from its backup"
    )]
    OtherNode,
    /// Written by a later release, or sealed with a key this one does not have.
    #[error("log segment {segment} needs {what}, which this release does not support")]
    Unsupported { segment: String, what: &'static str },
    /// A limit that the store cannot work with.
    #[error("{0}")]
    Limits(&'static str),
    #[error("cannot {doing}: {source}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Why a commit was not made. After [`CommitError::Failed`] a later start may show that it was made after all;
/// after every other variant it was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The record held is not the expected one: read it again and decide anew.
    #[error("record {key} has changed")]
    Changed { key: RecordKey },
    /// The version held is not lower than the one this writer would give: it is not the origin's writer any more.
    #[error("record {key} is held in a version of a later writer")]
    Outranked { key: RecordKey },
    /// A record sent for repair is not the one that is damaged: ask another neighbour.
    #[error("record {key} is not the one that is held, though its version is the same")]
    Different { key: RecordKey },
    /// The disk is full: retry when there is room. Reading goes on.
    #[error("the disk is full")]
    Full,
    /// The writer's queue is full: retry later.
    #[error("the store has more to write than it can: retry later")]
    Overloaded,
    /// No epoch has been opened since the start.
    #[error("no epoch is open: this node does not write yet")]
    NotWriting,
    /// More than [`crate::MAX_COMMIT_RECORDS`] records or [`crate::MAX_COMMIT_BYTES`]: split it.
    #[error("the commit is too large")]
    TooLarge,
    /// A draft that cannot be a record.
    #[error("not a record: {0}")]
    Invalid(RecordError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A write or sync failed: the outcome is not known, and the store takes no more writes until it is opened again.
    #[error("the log could not be written ({0}): restart the node")]
    Failed(io::ErrorKind),
    /// The index cannot be read or written: it is rebuilt at the next start.
    #[error("the index failed: restart the node, which rebuilds it")]
    Index,
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes there are damaged: fetch the record from a neighbour.
    #[error("log segment {segment} is damaged at byte {offset} (position {lsn})")]
    Corrupt { segment: String, offset: u64, lsn: u64 },
    /// The log could not be read: retry, look at the disk.
    #[error("the log could not be read: {0}")]
    Io(io::ErrorKind),
    /// The index failed: it is rebuilt at the next start.
    #[error("the index failed: restart the node, which rebuilds it")]
    Index,
}

impl From<ReadError> for CommitError {
    /// A decision needs what is held; if that cannot be read, nothing is decided.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Index => Self::Index,
            ReadError::Corrupt { .. } => Self::Failed(io::ErrorKind::InvalidData),
            ReadError::Io(kind) => Self::Failed(kind),
        }
    }
}

/// Whether this means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
