//! Tests of the whole store, mostly on memory that fails as disks do.

mod basics;
pub(crate) mod support;
