//! Record-signing certificates: who may sign a node's records, judged as of a given time.

use model::{NodePath, VerifyingKey};
use rustls::pki_types::CertificateDer;

use crate::chain::{self, NothingRevoked, Purpose, Root};
use crate::facts::Facts;
use crate::name::Name;
use crate::refusal::{Moment, Refusal};

/// Verifies the chain of a `SigningKeyEntry` (DER, leaf first, root left out) as of `at_ms` (milliseconds since
/// 1970-01-01 UTC): whose records the key may sign, and the key. Certificates of signing keys are kept for ever and an
/// old record is judged as of when it was made, so `at_ms` is seldom now. Revocation closes epochs and is not asked here.
pub fn verify_signing_chain<C: AsRef<[u8]>>(
    chain: &[C],
    root: &Root,
    at_ms: u64,
) -> Result<(NodePath, VerifyingKey), Refusal> {
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    let (leaf, sent) = chain.split_first().ok_or(Refusal::NoCertificate)?;
    let at = Moment { ms: at_ms };
    let facts = chain::verify(leaf, sent, root, Purpose::Signing, at, &NothingRevoked)?;
    let needed = "a key that signs records";
    let Name::Node(path) = &facts.id.name else { return Err(Refusal::WrongRole { name: facts.id, needed }) };
    let key =
        crate::key::verifying_key_of(&facts.public_key).ok_or(Refusal::Malformed("not an Ed25519 key"))?;
    Ok((path.clone(), key))
}

/// The same as of the moment the leaf was issued. An authority issues within its own life, so that is a moment at which an
/// honest chain holds; what has ended since says nothing about records signed before.
pub fn verify_signing_chain_as_issued<C: AsRef<[u8]>>(
    chain: &[C],
    root: &Root,
) -> Result<(NodePath, VerifyingKey), Refusal> {
    let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
    let issued = Facts::of(&CertificateDer::from(leaf.as_ref()))?.not_before;
    verify_signing_chain(chain, root, issued.ms)
}

#[cfg(test)]
mod tests;
