//! A certificate authority: the mesh's root, kept offline, or a node's, which issues for what is directly under it.
//!
//! Every certificate lies within its issuer's life and starts five minutes early, for clocks that are behind.
//! Does no I/O except [`Authority::load`] and reads no clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{NodePath, TrustDomain, VerifyingKey};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::chain::{self, MAX_AUTHORITY_CODES, Root};
use crate::error::IdentityError;
use crate::facts::{Facts, hex};
use crate::files;
use crate::key::{self, PrivateKey, PublicKey};
use crate::name::{Name, Role, SpiffeId};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Life of a root.
pub const ROOT_LIFE: Duration = DAY.saturating_mul(20 * 365 + 5);
/// Life of a node's authority.
pub const AUTHORITY_LIFE: Duration = DAY.saturating_mul(5 * 365 + 1);

/// How much earlier than now a certificate starts, seconds.
const BACKDATED_S: u64 = 300;

/// The last second that a certificate can name, 9999-12-31T23:59:59Z.
const LAST_S: u64 = 253_402_300_799;

/// id-kp-documentSigning (RFC 9336).
const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];

/// An authority that can issue.
#[derive(Debug)]
pub struct Authority {
    facts: Facts,
    /// Its certificate, then its issuers', without the root; empty for the root authority.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    root: Root,
}

/// A certificate just issued, with its issuers'.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub id: Arc<SpiffeId>,
    pub kind: Kind,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_after_ms: u64,
    /// Leaf first, root left out.
    pub chain: Vec<CertificateDer<'static>>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Root,
    Authority,
    Node,
    Signing,
    Institution,
    Operator,
    Auditor,
    Service,
}

/// From when and for how long a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// Milliseconds since 1970-01-01 UTC.
    pub now_ms: u64,
    /// Cut where the issuer's life ends.
    pub life: Duration,
}

impl Authority {
    /// Makes the root of a new mesh.
    pub fn new_root(trust_domain: &TrustDomain, now_ms: u64) -> Result<Self, IdentityError> {
        let key = PrivateKey::generate()?;
        let id = Name::Authority(None).in_domain(trust_domain);
        let start_s = (now_ms / 1000).saturating_sub(BACKDATED_S);
        let end_s = (now_ms / 1000).saturating_add(ROOT_LIFE.as_secs());
        let (params, _) = profile(&id, Kind::Root, &[], start_s, end_s)?;
        let der = CertificateDer::from(params.self_signed(key.pair())?);
        let malformed = |_| IdentityError::Request("the trust domain does not make a root");
        let root = Root::from_der(&der).map_err(malformed)?;
        Ok(Self { facts: root.facts().clone(), chain: Vec::new(), key, root })
    }

    /// Loads an authority from a directory with `authority.pem`, `authority.key` and `root.pem`.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let (file, key_file) = (dir.join(files::AUTHORITY_CERTIFICATE), dir.join(files::AUTHORITY_KEY));
        let root = files::read_root(&dir.join(files::ROOT_CERTIFICATE))?;
        let mut chain = files::read_certificates(&file)?;
        chain.retain(|der| der != root.der());
        let facts = chain::check_issuing_chain(&chain, &root)
            .map_err(|refusal| IdentityError::Refused { file: file.clone(), refusal })?;
        let key = files::read_key(&key_file)?;
        if key.public_der() != facts.public_key {
            return Err(IdentityError::Mismatch { certificate: file, key: key_file });
        }
        Ok(Self { facts, chain, key, root })
    }

    /// `<path>`, or nothing below the trust domain for the root.
    pub fn name(&self) -> &Name {
        &self.facts.id.name
    }

    /// Its name with the mesh.
    pub fn id(&self) -> Arc<SpiffeId> {
        self.facts.id.clone()
    }

    /// The root of the mesh.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// When it ends, milliseconds since 1970-01-01 UTC.
    pub fn not_after_ms(&self) -> u64 {
        self.facts.not_after.ms
    }

    /// Its own certificate, then its issuers', without the root; for the root authority the root certificate.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        if self.chain.is_empty() { vec![self.root.der().clone()] } else { self.chain.clone() }
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Issues the TLS certificate of the node at `path`, with `advertise` (DNS names and IP addresses) for clients
    /// that check such names.
    pub fn issue_node(
        &self,
        path: &NodePath,
        key: &PublicKey,
        advertise: &[String],
        term: Term,
    ) -> Result<Certificate, IdentityError> {
        let names = advertise.iter().map(|text| advertised(text)).collect::<Result<Vec<_>, _>>()?;
        self.issue(Name::Node(path.clone()), Kind::Node, &key.0, &names, term)
    }

    /// Issues the certificate of the authority of the node at `path`.
    pub fn issue_authority(
        &self,
        path: &NodePath,
        key: &PublicKey,
        term: Term,
    ) -> Result<Certificate, IdentityError> {
        self.issue(Name::Authority(Some(path.clone())), Kind::Authority, &key.0, &[], term)
    }

    /// Issues the record-signing certificate of the node at `path`.
    pub fn issue_signing(
        &self,
        path: &NodePath,
        key: &VerifyingKey,
        term: Term,
    ) -> Result<Certificate, IdentityError> {
        let key = SubjectPublicKeyInfo::from_der(&key::spki_of(key))?;
        self.issue(Name::Node(path.clone()), Kind::Signing, &key, &[], term)
    }

    /// Issues the certificate of an institution, operator, auditor or service.
    pub fn issue_client(
        &self,
        name: &Name,
        key: &PublicKey,
        term: Term,
    ) -> Result<Certificate, IdentityError> {
        let kind = match name.role() {
            Role::Institution => Kind::Institution,
            Role::Operator => Kind::Operator,
            Role::Auditor => Kind::Auditor,
            Role::Service => Kind::Service,
            Role::Authority | Role::Node => {
                let name = name.in_domain(&self.facts.id.trust_domain);
                return Err(IdentityError::NotAllowed { issuer: self.id(), name });
            }
        };
        self.issue(name.clone(), kind, &key.0, &[], term)
    }

    fn issue(
        &self,
        name: Name,
        kind: Kind,
        key: &impl PublicKeyData,
        advertise: &[SanType],
        term: Term,
    ) -> Result<Certificate, IdentityError> {
        let id = name.in_domain(&self.facts.id.trust_domain);
        let too_deep = kind == Kind::Authority && codes(&name) > MAX_AUTHORITY_CODES;
        if too_deep || !self.name().may_issue(&name) {
            return Err(IdentityError::NotAllowed { issuer: self.id(), name: id });
        }
        let now_s = term.now_ms / 1000;
        let start_s = now_s.saturating_sub(BACKDATED_S).max(self.facts.not_before.ms / 1000);
        let end_s = now_s.saturating_add(term.life.as_secs()).min(self.facts.not_after.ms / 1000);
        if end_s <= now_s {
            return Err(IdentityError::AuthorityExpired { issuer: self.id() });
        }
        let (params, serial) = profile(&id, kind, advertise, start_s, end_s)?;
        let issuer = Issuer::from_ca_cert_der(&self.chain()[0], self.key.pair())?;
        let der = CertificateDer::from(params.signed_by(key, &issuer)?);
        let chain = std::iter::once(der).chain(self.chain.iter().cloned()).collect();
        Ok(Certificate { id, kind, serial, not_after_ms: end_s * 1000, chain })
    }
}

/// The contents of a certificate, and its serial.
fn profile(
    id: &SpiffeId,
    kind: Kind,
    advertise: &[SanType],
    start_s: u64,
    end_s: u64,
) -> Result<(CertificateParams, String), IdentityError> {
    let mut params = CertificateParams::default();
    let serial = new_serial()?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let moment = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.min(LAST_S));
    params.not_before = moment(start_s);
    params.not_after = moment(end_s);
    params.distinguished_name = subject(id, kind);
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.to_string())?)];
    params.subject_alt_names.extend_from_slice(advertise);
    if matches!(kind, Kind::Root | Kind::Authority) {
        // As many authorities as may still follow, so that one more is refused by any verifier.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained((MAX_AUTHORITY_CODES - codes(&id.name)) as u8));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }
    params.extended_key_usages = match kind {
        Kind::Root | Kind::Authority => Vec::new(),
        Kind::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Kind::Signing => vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())],
        Kind::Institution | Kind::Operator | Kind::Auditor | Kind::Service => {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    Ok((params, hex(&serial)))
}

/// For people and for tools that find an issuer by it; only the URI is identity. Parts stay below X.520's 64 characters.
pub(crate) fn subject(id: &SpiffeId, kind: Kind) -> DistinguishedName {
    let common_name = match &id.name {
        Name::Authority(None) => "root".to_owned(),
        Name::Authority(Some(path)) | Name::Node(path) => path.to_string(),
        Name::Institution(_, code) => code.to_string(),
        Name::Operator(_, account) | Name::Auditor(_, account) | Name::Service(_, account) => {
            account.to_string()
        }
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, id.trust_domain.as_str());
    subject.push(DnType::OrganizationalUnitName, kind.as_str());
    subject.push(DnType::CommonName, common_name);
    subject
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Authority => "authority",
            Self::Node => "node",
            Self::Signing => "signing",
            Self::Institution => "institution",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Service => "service",
        }
    }
}

fn codes(name: &Name) -> usize {
    name.path().map_or(0, |path| path.regions().len())
}

fn advertised(text: &str) -> Result<SanType, IdentityError> {
    match ServerName::try_from(text) {
        Ok(ServerName::DnsName(name)) => Ok(SanType::DnsName(Ia5String::try_from(name.as_ref())?)),
        Ok(ServerName::IpAddress(address)) => Ok(SanType::IpAddress(address.into())),
        _ => Err(IdentityError::Advertise),
    }
}

/// 16 random bytes, positive and never shortened in DER.
fn new_serial() -> Result<[u8; 16], IdentityError> {
    let mut serial = [0; 16];
    key::random(&mut serial)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}
