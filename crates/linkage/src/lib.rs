//! Record linkage: which registrations are the same human being.
//!
//! Pure: no I/O, no clock, no randomness, no async; the same registrations in the same order give the same persons.
//! A registration is [normalised](normalise) into [features], [blocking](block) proposes candidates, [comparisons](compare) give one level per
//! field, the [model] scores them, the [linker] decides.

pub mod block;
mod cluster;
pub mod compare;
pub mod evaluate;
pub mod explain;
pub mod features;
mod holders;
pub mod index;
pub mod linker;
mod lists;
pub mod model;
pub mod normalise;
mod packed;
mod people;
mod person;
pub mod quality;
pub mod search;
pub mod spelling;
pub mod train;

pub use explain::Explanation;
pub use features::Features;
pub use linker::{Likely, Linker, Outcome, Place, Proposal};
pub use model::{Model, ModelError, Scorer};
