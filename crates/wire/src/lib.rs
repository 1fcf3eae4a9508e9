//! The protocol in Rust: generated messages and services of `proto/`, and their conversions to and from `model`.
//!
//! Conversions check form only; whether a value makes sense is validated once, in `exchange`.

mod convert;
mod feed;
mod fetch;

/// Generated from `proto/tiermesh/v1`.
pub mod v1 {
    #![allow(clippy::all, clippy::pedantic, unused_qualifications, missing_debug_implementations)]
    tonic::include_proto!("tiermesh.v1");
}

pub use convert::ConvertError;

/// All of the protocol as a serialized `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
