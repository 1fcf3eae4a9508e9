//! The store of a node: an append-only log, which is the data, and an index over it, which can always be made again.
//!
//! ```text
//!  commit, apply ─► queue ─► writer: decide → frame → one write and sync for the group ─► log (log/)
//!                              │ then publish
//!                              ▼
//!                          overlay (memory) ─► folder: sorted batches per partition ─► index (sled)
//!                              ▲                                                         ▲
//!  get, about, lookup ─────────┴── first the overlay, then the index ────────────────────┘ ─► bytes from the log
//!  feed readers ── walk the log in order, skip what is superseded
//! ```
//! Start reading at [`Store`]; the bytes of the log are described in `log/mod.rs`, the keys of the index in `keys.rs`. The only crate
//! that names sled. It knows nothing of gRPC, linkage or policy, verifies no signatures and enforces no rights: who may
//! write is decided before a record gets here.

mod content;
mod digest;
mod error;
mod feed;
mod heal;
mod index;
mod keys;
mod log;
mod mark;
mod open;
mod options;
mod overlay;
mod reclaim;
mod scrub;
mod shared;
mod storage;
mod store;
mod types;
mod view;
mod writer;

pub use digest::{BUCKETS, BucketDigest, Digest, OTHER_FLOWS, bucket_of, contribution};
pub use error::{CommitError, OpenError, ReadError};
pub use feed::FeedReader;
pub use index::memory::MemoryIndex;
pub use log::owner::log_owner;
pub use options::{Derivation, IndexChoice, Limits, Options, Run, Term};
pub use storage::{Cut, Files, Memory, Storage};
pub use store::{QuarantinePlace, Store};
pub use types::{
    Applied, Apply, Committed, DamagedPlace, Direction, Draft, Expect, FeedId, FeedPosition, FeedSlice,
    Forgotten, HeldRecord, HeldUp, IndexKind, KindCount, LastEpoch, MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS,
    OpenReport, Quarantined, QuarantinedRecord, ReclaimStatus, Reclaimed, Recomputed, ScrubPlace, Scrubbed,
    Standing, StoreStatus, TailCut,
};

#[cfg(test)]
mod tests;
