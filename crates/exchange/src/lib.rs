//! The use cases: register, submit, find, retrieve, status. Each is permit → act → (later) audit; edges only convert.
//!
//! ```text
//! rpc ──▶ Exchange::register ─────────▶ store (writer signs, one sync, answer)
//!         Exchange::begin_document ───▶ repository (content durable) ──▶ store (entry)
//!         Exchange::find_* ───────────▶ store here, and the parent through `Peers`; answers merged, sources named
//!         Exchange::retrieve ─────────▶ repository here, or hop by hop towards the custodian
//! ```
//!
//! Knows nothing of gRPC, TLS or certificates: the caller is given, neighbours are behind [`Peers`].

mod acknowledge;
mod begin;
mod caller;
mod compared;
mod deadline;
mod decide;
mod documents;
mod error;
mod fetch;
mod find;
mod find_documents;
mod freshness;
mod institutions;
mod judge;
mod moves;
mod origin;
mod patients;
mod peers;
mod person;
mod person_links;
mod persons;
pub mod quality;
mod quarantine;
mod reclaim;
mod recover;
mod retrieve;
mod scrub;
#[cfg(test)]
mod stand_in;
mod status;
mod succession;
mod terms;
mod turns;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use model::{Clock, Entropy, NodePath, OriginId, RegionCode, TrustDomain};
use replication::{Directory, Links};
use repository::Repository;
use store::Store;
use tokio::sync::{RwLock, Semaphore};

pub use acknowledge::{Acknowledge, Durable};
pub use caller::{Action, Caller, Permit, Role, permit};
pub use deadline::Deadline;
pub use decide::{Decide, HeldLink, MAX_REVIEWS, Pair, Reviews, Say};
pub use documents::{ChangeStatus, DocumentSubmission, SubmitOutcome, Submitted};
pub use error::ExchangeError;
pub use institutions::{InstitutionAt, Institutions, MAX_INSTITUTIONS};
pub use judge::{Judge, JudgeStatus};
pub use moves::{InstitutionMove, MoveInstitution, MoveLink, MoveOutcome};
pub use patients::{RegisterOutcome, RegisterPatient, Registered};
pub use peers::{Content, Hop, PeerError, Peers};
pub use person::{PersonBy, WholePerson};
pub use persons::Persons;
pub use quality::{Quality, SampledStratum};
pub use quarantine::{MAX_QUARANTINE, QuarantinePage, Refused, RefusedRecord};
pub use reclaim::Reclaimer;
pub use recover::{Fate, Survivor, TakenIn};
/// What the edges need of replication.
pub use replication as feed;
pub use scrub::{ScrubSettings, ScrubStatus, Scrubber};
pub use status::{LinkStatus, Status};
/// From where a quarantined record came, and where it is kept.
pub use store::{Direction, QuarantinePlace, Standing};
/// What a status says of the store.
pub use store::{HeldUp, StoreStatus};
pub use succession::{HandOver, HandedOver, TakeOver};
pub use terms::{TermKey, Terms};

/// What a node is; fixed while it runs.
#[derive(Debug, Clone)]
pub struct Node {
    pub path: NodePath,
    /// Chinese name of the region.
    pub name: String,
    /// Label: province, prefecture, county.
    pub tier: String,
    pub origin: OriginId,
    pub trust_domain: TrustDomain,
    pub software: String,
}

impl Node {
    /// The node's region.
    pub fn region(&self) -> RegionCode {
        self.path.region()
    }

    /// Whether nothing stands above it.
    pub fn is_root(&self) -> bool {
        self.path.depth() == 0
    }
}

/// What an [`Exchange`] is made of.
#[derive(Debug)]
pub struct Parts {
    pub node: Node,
    pub store: Store,
    pub repository: Repository,
    pub directory: Directory,
    pub links: Links,
    pub receiver: replication::Receiver,
    /// What the parent is known to hold; none at a root.
    pub confirmations: Option<replication::Confirmations>,
    /// Level of a write whose caller asks for none.
    pub acknowledge: Acknowledge,
    pub peers: Arc<dyn Peers>,
    pub terms: TermKey,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// What the store found at its start, for people.
    pub opened: String,
    /// How long that took, in milliseconds.
    pub open_ms: u64,
    /// When the node's certificate ends, milliseconds since 1970.
    pub certificate_not_after_ms: u64,
}

/// The use cases of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchange {
    parts: Arc<Parts>,
    started_ms: u64,
    /// The epoch of this start is open.
    writing: Arc<AtomicBool>,
    turns: turns::Turns,
    /// Read from asking whether this node writes for an institution to the commit; written while a term is ended.
    terms: Arc<RwLock<()>>,
    uploads: Arc<Semaphore>,
    taking_over: Arc<succession::TakingOver>,
    scrubber: Scrubber,
    reclaimer: Reclaimer,
    persons: Persons,
    judge: Judge,
}

impl Exchange {
    pub fn new(parts: Parts) -> Self {
        let started_ms = parts.clock.now_ms();
        let (scrubber, reclaimer) = (Scrubber::new(&parts), Reclaimer::new(&parts));
        let judge = Judge::new(&parts);
        let persons = Persons::new(parts.store.clone(), parts.terms.clone(), parts.directory.clone());
        Self {
            parts: Arc::new(parts),
            started_ms,
            writing: Arc::default(),
            turns: turns::Turns::default(),
            terms: Arc::default(),
            uploads: Arc::new(Semaphore::new(documents::MAX_UPLOADS)),
            taking_over: Arc::default(),
            scrubber,
            reclaimer,
            persons,
            judge,
        }
    }

    pub fn node(&self) -> &Node {
        &self.parts.node
    }

    /// What the store found at its start, for people.
    pub fn opened(&self) -> &str {
        &self.parts.opened
    }

    /// What keeps the log whole, to be run beside everything else.
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// What frees the log of superseded records, to be run beside everything else.
    pub fn reclaimer(&self) -> &Reclaimer {
        &self.reclaimer
    }

    /// What decides which registrations are one person, to be run beside everything else.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The receiving end of the children's feeds.
    pub fn receiver(&self) -> &replication::Receiver {
        &self.parts.receiver
    }
}
