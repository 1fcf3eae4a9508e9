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

/// Whether every one of these signatures over headers is its key's, checked together: about half the work of one by one.
///
/// A false answer does not say which one is bad. A true one means that each was made with its key's secret half; unlike
/// [`VerifyingKey::verify`] it may accept an unusual form that only that key's holder could have made.
pub fn verify_batch(signed: &[(&VerifyingKey, &[u8], &[u8])]) -> bool {
    let messages: Vec<Vec<u8>> = signed.iter().map(|(_, header, _)| tagged(header)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let keys: Vec<_> = signed.iter().map(|(key, _, _)| key.inner).collect();
    let signatures: Result<Vec<_>, _> =
        signed.iter().map(|(_, _, signature)| ed25519_dalek::Signature::from_slice(signature)).collect();
    signatures.is_ok_and(|signatures| ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok())
}

fn tagged(header: &[u8]) -> Vec<u8> {
    [RECORD_TAG, header].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_good_only_if_each_signature_is() {
        let keys = [SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32])];
        let public = keys.each_ref().map(SigningKey::verifying_key);
        let headers: Vec<Vec<u8>> = (0..10u8).map(|n| vec![n; 100]).collect();
        let signatures: Vec<[u8; 64]> =
            headers.iter().enumerate().map(|(at, header)| keys[at % 2].sign(header)).collect();
        let signed = |signatures: &[[u8; 64]]| {
            let all: Vec<(&VerifyingKey, &[u8], &[u8])> =
                (0..10).map(|at| (&public[at % 2], &headers[at][..], &signatures[at][..])).collect();
            verify_batch(&all)
        };
        assert!(signed(&signatures) && verify_batch(&[]));
        for at in 0..10 {
            let mut forged = signatures.clone();
            forged[at][5] ^= 1;
            assert!(!signed(&forged), "{at}");
            let mut swapped = signatures.clone();
            swapped[at] = keys[(at + 1) % 2].sign(&headers[at]);
            assert!(!signed(&swapped), "{at}");
        }
    }
}
