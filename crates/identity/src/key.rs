//! Private keys: ECDSA P-256 for TLS and authorities, Ed25519 for signing records. Never printed, wiped when dropped.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use crate::error::IdentityError;

/// PKCS #8 (RFC 8410) of an Ed25519 key, up to its 32-byte seed.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// SubjectPublicKeyInfo (RFC 8410) of an Ed25519 key, up to its 32 bytes.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An ECDSA P-256 key of a TLS end or an authority.
pub struct PrivateKey {
    pair: Zeroizing<KeyPair>,
}

/// The public key a certificate is asked for, P-256 only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) SubjectPublicKeyInfo);

impl PrivateKey {
    /// Makes a key from the operating system's randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self { pair: Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?) })
    }

    /// Reads PKCS #8.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from(der);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).ok()?;
        Some(Self { pair: Zeroizing::new(pair) })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        // A P-256 key pair's own SubjectPublicKeyInfo is one by construction.
        PublicKey(SubjectPublicKeyInfo::from_der(&self.pair.subject_public_key_info()).expect("a P-256 key"))
    }

    pub(crate) fn public_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der())
    }

    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(\"...\")")
    }
}

impl PublicKey {
    /// Takes the public key out of a certificate request (PKCS #10, PEM) after checking its signature. Nothing else of
    /// it counts: the authority decides name, uses and life.
    pub fn from_request(pem: &str) -> Result<Self, IdentityError> {
        let request = rcgen::CertificateSigningRequestParams::from_pem(pem)
            .map_err(|_| IdentityError::Request("not a signed PKCS #10 request in PEM"))?;
        let key = request.public_key;
        // The request names the signature's algorithm, which does not tell the curve; the length of the point does.
        let point = key.der_bytes();
        if *key.algorithm() != PKCS_ECDSA_P256_SHA256 || point.len() != 65 || point[0] != 4 {
            return Err(IdentityError::Request("the key must be ECDSA on P-256"));
        }
        let found = SubjectPublicKeyInfo::from_der(&key.subject_public_key_info());
        found.map(Self).map_err(|_| IdentityError::Request("the key must be ECDSA on P-256"))
    }
}

/// A new record-signing key's seed, from the operating system's randomness.
pub(crate) fn new_seed() -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed)?;
    Ok(seed)
}

/// Fills from the operating system's randomness.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), IdentityError> {
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(bytes).map_err(|_| IdentityError::Crypto(rcgen::Error::RingUnspecified))
}

/// PKCS #8 in PEM of a record-signing key.
pub(crate) fn seed_to_pem(seed: &[u8; 32]) -> Zeroizing<String> {
    let der = Zeroizing::new([&ED25519_PKCS8[..], seed].concat());
    Zeroizing::new(crate::files::to_pem("PRIVATE KEY", &der))
}

/// The record-signing key in a PKCS #8 document.
pub(crate) fn signing_key_from_pkcs8(der: &[u8]) -> Option<model::SigningKey> {
    let seed = der.strip_prefix(&ED25519_PKCS8)?.try_into().ok()?;
    Some(model::SigningKey::from_seed(seed))
}

/// SubjectPublicKeyInfo of a record-signing key.
pub(crate) fn spki_of(key: &model::VerifyingKey) -> Vec<u8> {
    [&ED25519_SPKI[..], key.as_bytes()].concat()
}

/// The record-signing key in a SubjectPublicKeyInfo.
pub(crate) fn verifying_key_of(spki: &[u8]) -> Option<model::VerifyingKey> {
    let bytes = spki.strip_prefix(&ED25519_SPKI)?.try_into().ok()?;
    model::VerifyingKey::from_bytes(bytes)
}
