//! The one place that decides whether a certificate belongs to the mesh and may be used for what it is shown for.
//!
//! webpki builds and verifies the path of signatures to the root; on that path, intermediates included, containment is
//! checked: every name in the trust domain, every authority directly under its issuer's path, the leaf where it belongs.
//! Does no I/O and reads no clock.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};

use crate::facts::{Facts, Uses};
use crate::name::{Name, SpiffeId};
use crate::refusal::{Moment, Refusal};
use model::TrustDomain;

/// Most codes in the path of an authority: webpki follows at most six authorities between root and leaf.
pub const MAX_AUTHORITY_CODES: usize = 6;

/// Most certificates looked at beside the leaf: a full path, and room for a root or a renewed authority sent along.
const MAX_SENT: usize = MAX_AUTHORITY_CODES + 3;

/// Most certificates of one subject: an authority's old and new one while it is renewed. webpki tries every way through
/// certificates that share a subject, so more would let a stranger buy seconds of our time with one handshake.
const MAX_OF_ONE_SUBJECT: usize = 2;

/// The certificate that a mesh trusts and, with it, the mesh's trust domain.
#[derive(Clone)]
pub struct Root {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    facts: Arc<Facts>,
}

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// As the client of a TLS connection.
    Client,
    /// As its server.
    Server,
    /// For signing records.
    Signing,
}

/// Tells which certificates no longer count. Asked on every handshake, for every certificate of the path, so it answers
/// from memory.
pub trait Revocations: Send + Sync + std::fmt::Debug {
    /// Whether the certificate with this name and serial (lower-case hexadecimal), issued by `issuer`, is revoked.
    fn is_revoked(&self, name: &Name, serial: &str, issuer: &Name) -> bool;
}

/// Nothing is revoked.
#[derive(Debug, Clone, Copy)]
pub struct NothingRevoked;

impl Revocations for NothingRevoked {
    fn is_revoked(&self, _name: &Name, _serial: &str, _issuer: &Name) -> bool {
        false
    }
}

impl Root {
    /// Reads a mesh's root certificate.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let der = der.clone().into_owned();
        let facts = Facts::of(&der)?;
        let is_root =
            facts.id.name == Name::Authority(None) && facts.is_authority && facts.uses.sign_certificates;
        if !is_root {
            return Err(Refusal::WrongRole { name: facts.id, needed: "the root of a mesh" });
        }
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|reason| Refusal::Chain { name: facts.id.clone(), reason })?
            .to_owned();
        Ok(Self { der, anchor, facts: Arc::new(facts) })
    }

    /// The trust domain of the mesh.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.facts.id.trust_domain
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.facts.serial
    }

    /// When it ends, milliseconds since 1970-01-01 UTC.
    pub fn not_after_ms(&self) -> u64 {
        self.facts.not_after.ms
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({}, {})", self.facts.id, self.facts.serial)
    }
}

/// Verifies `leaf` with the certificates sent along, as of `at`.
pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
    root: &Root,
    purpose: Purpose,
    at: Moment,
    revocations: &dyn Revocations,
) -> Result<Facts, Refusal> {
    if sent.len() > MAX_SENT {
        return Err(Refusal::ChainLength(sent.len() + 1));
    }
    check_subjects(sent)?;
    let facts = Facts::of(leaf)?;
    // Asked first because it makes the clearest answers; whatever passes here must still pass the whole path.
    check_domain(&facts, root)?;
    check_time(&facts, at)?;
    check_time(root.facts(), at)?;
    let chain_refusal = |reason| chain_refusal(&facts, sent, at, reason);
    let end_entity = EndEntityCert::try_from(leaf).map_err(chain_refusal)?;
    let refusal = RefCell::new(None);
    let judge = |path: &VerifiedPath<'_>| {
        check_path(path, &facts, root, purpose, revocations).map_err(|found| {
            refusal.borrow_mut().get_or_insert(found);
            // Not fatal: another path through the same certificates may hold.
            webpki::Error::UnknownIssuer
        })
    };
    let verified = end_entity.verify_for_usage(
        rustls::crypto::ring::default_provider().signature_verification_algorithms.all,
        std::slice::from_ref(&root.anchor),
        sent,
        at.unix_time(),
        JudgedHere,
        None,
        Some(&judge),
    );
    match verified {
        Ok(_) => Ok(facts),
        Err(reason) => Err(refusal.into_inner().unwrap_or_else(|| chain_refusal(reason))),
    }
}

fn check_subjects(sent: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    // What cannot be read has no subject and leads webpki nowhere.
    let read: Vec<_> = sent.iter().filter_map(|der| EndEntityCert::try_from(der).ok()).collect();
    for one in &read {
        if read.iter().filter(|other| other.subject() == one.subject()).count() > MAX_OF_ONE_SUBJECT {
            return Err(Refusal::Malformed("more than two certificates of one authority in its chain"));
        }
    }
    Ok(())
}

/// Extended uses are judged on the verified path by [`check_leaf`], with words of our own.
struct JudgedHere;

impl ExtendedKeyUsageValidator for JudgedHere {
    fn validate(&self, _iter: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn check_path(
    path: &VerifiedPath<'_>,
    leaf: &Facts,
    root: &Root,
    purpose: Purpose,
    revocations: &dyn Revocations,
) -> Result<(), Refusal> {
    let mut issuer = root.facts().id.clone();
    // webpki keeps them from the leaf up; containment is followed from the root down.
    for certificate in path.intermediate_certificates().rev() {
        let facts = Facts::of(&certificate.der())?;
        check_link(&facts, &issuer, root, revocations)?;
        check_authority(&facts)?;
        issuer = facts.id;
    }
    check_link(leaf, &issuer, root, revocations)?;
    check_leaf(leaf, purpose)
}

fn check_link(
    facts: &Facts,
    issuer: &Arc<SpiffeId>,
    root: &Root,
    revocations: &dyn Revocations,
) -> Result<(), Refusal> {
    check_domain(facts, root)?;
    if !issuer.name.may_issue(&facts.id.name) {
        return Err(Refusal::NotUnderIssuer { name: facts.id.clone(), issuer: issuer.clone() });
    }
    if revocations.is_revoked(&facts.id.name, &facts.serial, &issuer.name) {
        return Err(Refusal::Revoked { name: facts.id.clone() });
    }
    Ok(())
}

fn check_authority(facts: &Facts) -> Result<(), Refusal> {
    let no_extended_use =
        Uses { sign_certificates: true, digital_signature: facts.uses.digital_signature, ..Uses::default() };
    if facts.is_authority && facts.uses == no_extended_use {
        return Ok(());
    }
    Err(Refusal::WrongRole { name: facts.id.clone(), needed: "an authority" })
}

/// A leaf's uses must fit its role exactly: a record-signing certificate bears a node's name too, and only its use
/// keeps it from being one end of a connection.
fn check_leaf(facts: &Facts, purpose: Purpose) -> Result<(), Refusal> {
    let is_node = matches!(facts.id.name, Name::Node(_));
    let tls = Uses { digital_signature: true, client_auth: true, server_auth: is_node, ..Uses::default() };
    let signing = Uses { digital_signature: true, sign_documents: true, ..Uses::default() };
    let (wanted, needed, may) = match purpose {
        Purpose::Client => (tls, "the client of a connection", true),
        Purpose::Server => (tls, "the server of a connection", is_node),
        Purpose::Signing => (signing, "a key that signs records", is_node),
    };
    if may && facts.uses == wanted && !facts.is_authority {
        return Ok(());
    }
    Err(Refusal::WrongRole { name: facts.id.clone(), needed })
}

fn check_domain(facts: &Facts, root: &Root) -> Result<(), Refusal> {
    if facts.id.trust_domain == *root.trust_domain() {
        return Ok(());
    }
    Err(Refusal::WrongTrustDomain { name: facts.id.clone(), trust_domain: root.trust_domain().to_string() })
}

fn check_time(facts: &Facts, at: Moment) -> Result<(), Refusal> {
    if at < facts.not_before {
        return Err(Refusal::NotYetValid { name: facts.id.clone(), from: facts.not_before });
    }
    // Certificates count in whole seconds, the last of them included.
    if at.ms / 1000 > facts.not_after.ms / 1000 {
        return Err(Refusal::Expired { name: facts.id.clone(), since: facts.not_after });
    }
    Ok(())
}

/// Says in our words why webpki found no path.
fn chain_refusal(leaf: &Facts, sent: &[CertificateDer<'_>], at: Moment, reason: webpki::Error) -> Refusal {
    let name = leaf.id.clone();
    match reason {
        // The root of another mesh may bear the same name: then it is the signature that tells.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            Refusal::UnknownRoot { name }
        }
        webpki::Error::CaUsedAsEndEntity => Refusal::WrongRole { name, needed: "one end of a connection" },
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => sent
            .iter()
            .filter_map(|der| Facts::of(der).ok())
            .find_map(|facts| check_time(&facts, at).err())
            .unwrap_or(Refusal::Chain { name, reason }),
        reason => Refusal::Chain { name, reason },
    }
}

/// Checks an authority's own chain, its certificate first, up to the root: for the moment an authority is loaded.
pub(crate) fn check_issuing_chain(chain: &[CertificateDer<'_>], root: &Root) -> Result<Facts, Refusal> {
    if chain.len() > MAX_AUTHORITY_CODES {
        return Err(Refusal::ChainLength(chain.len()));
    }
    let mut issuer = root.facts().clone();
    for der in chain.iter().rev() {
        let facts = Facts::of(der)?;
        check_link(&facts, &issuer.id, root, &NothingRevoked)?;
        check_authority(&facts)?;
        if !issuer.has_signed(der) {
            return Err(Refusal::UnknownRoot { name: facts.id });
        }
        issuer = facts;
    }
    Ok(issuer)
}
