//! Record-signing keys: Ed25519 (RFC 8032), apart from the keys that TLS uses.

use std::fmt;

use ed25519_dalek::Signer;

use crate::KeyId;

/// What is signed is this tag, then the header: a signature made here can never pass for one made elsewhere.
const RECORD_TAG: &[u8] = b"tiermesh record v1\0";

/// A node's record-signing key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
    id: KeyId,
}

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 secret key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = KeyId::of(inner.verifying_key().as_bytes());
        Self { inner, id }
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Signs a record header.
    pub fn sign(&self, header: &[u8]) -> [u8; 64] {
        self.inner.sign(&tagged(header)).to_bytes()
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { inner: self.inner.verifying_key(), id: self.id }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, \"...\")", self.id)
    }
}

/// The public half of a record-signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    inner: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl VerifyingKey {
    /// Reads a public key; none if the bytes are no point of the curve or a weak one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let inner = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak())?;
        Some(Self { inner, id: KeyId::of(bytes) })
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        self.inner.as_bytes()
    }

    /// Whether `signature` is this key's over `header`.
    pub fn verify(&self, header: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.inner.verify_strict(&tagged(header), &signature).is_ok())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.id)
    }
}

fn tagged(header: &[u8]) -> Vec<u8> {
    [RECORD_TAG, header].concat()
}
