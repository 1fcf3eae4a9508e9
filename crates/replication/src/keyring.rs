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
    /// Checks the chain up to the mesh's root as of `recorded_ms`, the time that the key's record states (milliseconds since
    /// 1970): key records are kept for ever, and a certificate that has ended since must not make old records unverifiable.
    /// The error tells an operator why, in one line.
    fn admit(&self, entry: &SigningKeyEntry, recorded_ms: u64) -> Result<AdmittedKey, String>;
}
