//! Tests of the whole store, mostly on memory that fails as disks do.

mod basics;
mod crash;
mod damage;
mod digest;
mod disk;
mod forget;
mod golden;
mod reclaim;
mod reclaim_damage;
mod reclaim_races;
mod reclaim_threads;
mod repair;
mod scrub;
mod sled;
pub(crate) mod support;
mod threads;
