//! Ids, paths, region codes, envelopes and flows of the mesh. Pure: no I/O, no clock, no randomness, no async.
//!
//! Read [`record`] first: it is what everything else stores, ships and signs.

pub mod body;
pub mod clock;
pub mod codes;
pub mod date;
pub mod feed;
pub mod fetch;
pub mod id;
pub mod institution_code;
pub mod normalise;
pub mod path;
pub mod person;
pub mod person_link;
pub mod query;
pub mod record;
pub mod resident_id;
pub mod signing;
pub mod social_credit;
pub mod validate;

pub use body::{Availability, Flow, Kind};
pub use clock::{Clock, Entropy};
pub use date::PartialDate;
pub use id::{EpochId, KeyId, Number, OriginId, RecordId, RecordKey};
pub use institution_code::InstitutionCode;
pub use path::{NodePath, RegionCode, TrustDomain};
pub use record::{Envelope, Record, RecordError, Version};
pub use resident_id::ResidentId;
pub use signing::{SigningKey, VerifyingKey};
pub use social_credit::SocialCreditCode;
