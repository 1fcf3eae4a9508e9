//! The way to the neighbours, as the use cases need it. `rpc` implements it over the links.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use model::body::DocumentEntry;
use model::fetch::Fetched;
use model::query::{ContentQuery, DocumentAnswer, DocumentQuery, PatientAnswer, PatientQuery};
use model::{NodePath, RecordKey};

use crate::{Deadline, ExchangeError};

/// A neighbour in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    Parent,
    /// The child at this path.
    Child(NodePath),
}

/// Why a neighbour's answer is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("{to} is not connected")]
    NotConnected {
        to: String,
        /// This node's clock when the link was lost; 0: never connected.
        since_ms: u64,
    },
    #[error("{to} did not answer in time")]
    Deadline { to: String },
    /// It answered with an error of the use case.
    #[error("{to} refused: {error}")]
    Refused { to: String, error: ExchangeError },
    #[error("the link to {to} failed: {reason}")]
    Failed { to: String, reason: String },
}

/// A document on its way: the entry, then its content.
pub struct Content {
    pub entry: DocumentEntry,
    /// Chunks in order, at most 256 KiB each; ends with an error if the hash does not match.
    pub chunks: BoxStream<'static, Result<Bytes, ExchangeError>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(\"...\")")
    }
}

/// Calls to neighbours. Every call ends by its deadline.
#[async_trait::async_trait]
pub trait Peers: Send + Sync + fmt::Debug {
    /// Whether a call to this neighbour would go out now.
    fn callable(&self, to: &Hop) -> bool;
    async fn find_patients(
        &self,
        to: &Hop,
        query: PatientQuery,
        deadline: Deadline,
    ) -> Result<PatientAnswer, PeerError>;
    async fn find_documents(
        &self,
        to: &Hop,
        query: DocumentQuery,
        deadline: Deadline,
    ) -> Result<DocumentAnswer, PeerError>;
    async fn retrieve(&self, to: &Hop, query: ContentQuery, deadline: Deadline)
    -> Result<Content, PeerError>;
    /// Records by their keys, at most [`model::fetch::MAX_KEYS`]; nothing of what comes is verified yet.
    async fn fetch(&self, to: &Hop, keys: Vec<RecordKey>, deadline: Deadline) -> Result<Fetched, PeerError>;
}
