//! What to ship, how to apply it, who may write what, epochs. Rules without I/O, and drivers over a stream of frames.
//!
//! ```text
//! Sender::ship ──────▶ introduction ─▶ Shipping (window) ─▶ slices of store's feed ─▶ batch::encode ─▶ frames
//!                                                                                                      │
//! Receiver::serve ◀── greeting, epoch (admit or refuse) ◀──────────────────────────────────────────────┘
//!         └─ batch::decode ─▶ entitlement (admit or quarantine) ─▶ store.apply (the last commit with the position) ─▶ ack
//! ```
//!
//! One sender and one receiver run every feed; what stands in it is its rule (`send::route`): **up** all that a subtree wrote,
//! **down** the directory and the persons in whom a child has an interest ([`Interest`]), **restore** what a child that lost its
//! disk wrote ([`is_restoring`]). An up feed is proven by digests and mended where it differs (`proof`, `send::proving`);
//! of a down feed the sender asks its rule about every record, a little at a time, and compares bucket by bucket (`send::sweep`).
//!
//! Read [`entitlement`] for who may write, [`epoch`] for which start of a writer is admitted. The streams, their transport and
//! the neighbour's verified path come from outside: this crate knows nothing of gRPC, TLS or certificates ([`Keyring`]).
//! How an institution gets another writer: [`DirectoryView::awaited`] and its module. A node never moves; another one stands for it
//! ([`DirectoryView::stands_for`]). It does not yet do: revocation.

pub mod batch;
mod confirmations;
mod directory;
pub mod entitlement;
pub mod epoch;
mod error;
mod flow;
mod interest;
pub mod judged;
mod keyring;
mod links;
pub mod numbering;
mod proof;
mod receive;
mod restore;
mod send;
#[cfg(test)]
mod testing;

use model::{NodePath, OriginId, TrustDomain};

pub use confirmations::{Confirmation, Confirmations};
pub use directory::{
    Awaited, DIRECTORY_SPACE, Directory, DirectoryView, Fact, InstitutionFact, KeyFact, NodeFact, TermEnd,
    directory_term, directory_terms, term_id,
};
pub use entitlement::{may_decide, standing};
pub use error::{LinkError, LinkRefusal};
pub use flow::flows_up;
pub use interest::{Interest, is_told};
pub use keyring::{AdmittedKey, Keyring};
pub use links::{Health, LinkView, Links};
pub use receive::{Receiver, ReceiverSettings};
pub use restore::{Restores, is_informed, is_restoring, note_lost};
pub use send::{Children, Sender, SenderSettings};

/// Who this node is, for its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    pub path: NodePath,
    pub origin: OriginId,
    pub trust_domain: TrustDomain,
    /// Name and version of the software, at most 64 characters.
    pub software: String,
    /// Versions of the feed's protocol that it speaks, newest last: [`model::feed::PROTOCOLS`], but in tests of other releases.
    pub protocols: Vec<u32>,
}
