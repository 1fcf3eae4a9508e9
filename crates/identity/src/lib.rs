//! Certificate authorities, certificates, verifiers and TLS configuration.
//!
//! [`name`] says who may be named how and which authority may issue which name; [`authority`] issues by that rule and
//! [`chain`] verifies by it, for [`tls`] (both sides of every link) and for [`signing`] (who may sign a node's records).
//! [`credentials`] loads a node's or a client's own files, [`ca`] makes them.
//!
//! What it does not do: decide what a peer may do (roles are judged above), renew or revoke certificates (a seam,
//! [`Revocations`], is asked on every handshake), read the clock.

pub mod authority;
pub mod ca;
pub mod chain;
pub mod credentials;
pub mod error;
mod facts;
pub mod files;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod handshake;
mod key;
pub mod name;
pub mod refusal;
pub mod signing;
pub mod tls;
mod verifier;

pub use authority::{Authority, Certificate, Kind, Term};
pub use chain::{NothingRevoked, Revocations, Root};
pub use credentials::{ClientIdentity, Credentials, Identity};
pub use error::IdentityError;
pub use key::{PrivateKey, PublicKey};
pub use name::{Account, InstitutionCode, Name, NameError, Role, SpiffeId};
pub use refusal::{Moment, Refusal};
pub use signing::{verify_signing_chain, verify_signing_chain_as_issued};
pub use tls::{Alpn, Peer, Seams, client_config, peer_name, server_config};
