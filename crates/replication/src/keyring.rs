//! The seam to certificates: which record-signing keys are a node's.

use std::fmt::Debug;

use model::body::SigningKeyEntry;
use model::{NodePath, VerifyingKey};

/// A record-signing key whose certificate chain was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedKey {
    /// The node that its certificate names.
    pub path: NodePath,
    pub key: VerifyingKey,
}

/// Judges certificate chains of record-signing keys. Implemented where certificates are known; tests bring their own.
pub trait Keyring: Send + Sync + Debug {
    /// Checks the chain up to the mesh's root as of the moment it was issued: key records are kept for ever, a certificate that
    /// has ended since must not make old records unverifiable, and no clock decides. (A stolen key is revocation's matter.)
    /// The error tells an operator why, in one line.
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String>;
}
