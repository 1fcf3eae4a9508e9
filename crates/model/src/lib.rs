//! Ids, paths, region codes, envelopes and flows of the mesh. Pure: no I/O, no clock, no randomness, no async.
//!
//! Read [`record`] first: it is what everything else stores, ships and signs.

pub mod body;
pub mod clock;
pub mod feed;
pub mod id;
pub mod path;
pub mod query;
pub mod record;
pub mod signing;

pub use body::{Availability, Flow, Kind};
pub use clock::Clock;
pub use id::{EpochId, KeyId, Number, OriginId, RecordId, RecordKey};
pub use path::{NodePath, RegionCode, TrustDomain};
pub use record::{Envelope, Record, RecordError, Version};
pub use signing::{SigningKey, VerifyingKey};
