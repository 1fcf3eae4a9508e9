//! Who this process is: its certificates and keys, loaded with checks.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use model::{NodePath, SigningKey, TrustDomain};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Authority;
use crate::chain::{self, NothingRevoked, Purpose, Root};
use crate::error::IdentityError;
use crate::facts::Facts;
use crate::files;
use crate::key::PrivateKey;
use crate::name::{Name, Role};
use crate::refusal::Refusal;

/// One end of TLS connections: a certificate chain, its key, and the root of the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    facts: Facts,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    root: Root,
}

/// A node: its TLS credentials and its record-signing key with the certificates that go with it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `<path>/node`.
    pub name: Name,
    pub trust_domain: TrustDomain,
    pub path: NodePath,
    /// Signs the node's records.
    pub signing_key: SigningKey,
    credentials: Credentials,
    signing_chain: Vec<CertificateDer<'static>>,
    signing_not_after_ms: u64,
}

/// An institution, operator, auditor or service that calls nodes.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    pub name: Name,
    pub trust_domain: TrustDomain,
    credentials: Credentials,
}

impl Credentials {
    /// Reads and checks certificate chain, key and root: they belong together, hold up to the root, and may be used
    /// for `purpose`. Whether they have expired is not asked here: handshakes do, and a node says so while it runs.
    fn load(certificate: &Path, key: &Path, root: &Path, purpose: Purpose) -> Result<Self, IdentityError> {
        let root = files::read_root(root)?;
        let chain = files::read_certificates(certificate)?;
        let facts = check(&chain, &root, purpose, certificate)?;
        let read = files::read_key(key)?;
        if read.public_der() != facts.public_key {
            return Err(IdentityError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        Ok(Self { inner: Arc::new(Inner { facts, chain, key: read, root }) })
    }

    /// The name in the certificate.
    pub fn name(&self) -> &Name {
        &self.inner.facts.id.name
    }

    /// The root of the mesh.
    pub fn root(&self) -> &Root {
        &self.inner.root
    }

    /// When the certificate ends, milliseconds since 1970-01-01 UTC.
    pub fn not_after_ms(&self) -> u64 {
        self.inner.facts.not_after.ms
    }

    /// Serial number of the certificate, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.inner.facts.serial
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.inner.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.inner.key.pkcs8())
    }
}

impl Identity {
    /// Loads a node's directory; the files are named in [`crate::files`]. Its own authority is optional here, but what
    /// is there must be right.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let root_file = dir.join(files::ROOT_CERTIFICATE);
        let certificate = dir.join(files::NODE_CERTIFICATE);
        let credentials =
            Credentials::load(&certificate, &dir.join(files::NODE_KEY), &root_file, Purpose::Server)?;
        let name = credentials.name().clone();
        let Name::Node(path) = name.clone() else {
            return Err(wrong_role(&certificate, credentials.inner.facts.clone(), "a node's certificate"));
        };

        let signing_file = dir.join(files::SIGNING_CERTIFICATE);
        let signing_chain = files::read_certificates(&signing_file)?;
        let signing = check(&signing_chain, credentials.root(), Purpose::Signing, &signing_file)?;
        if signing.id.name != name {
            return Err(wrong_role(
                &signing_file,
                signing,
                "the signing certificate of the node in node.pem",
            ));
        }
        let key_file = dir.join(files::SIGNING_KEY);
        let signing_key = files::read_signing_key(&key_file)?;
        if crate::key::spki_of(&signing_key.verifying_key()) != signing.public_key {
            return Err(IdentityError::Mismatch { certificate: signing_file, key: key_file });
        }

        check_own_authority(dir, &path)?;
        Ok(Self {
            trust_domain: credentials.root().trust_domain().clone(),
            name,
            path,
            signing_key,
            credentials,
            signing_chain,
            signing_not_after_ms: signing.not_after.ms,
        })
    }

    /// Its TLS credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The root of the mesh.
    pub fn root(&self) -> &Root {
        self.credentials.root()
    }

    /// When the TLS certificate ends, milliseconds since 1970-01-01 UTC.
    pub fn not_after_ms(&self) -> u64 {
        self.credentials.not_after_ms()
    }

    /// When the record-signing certificate ends, milliseconds since 1970-01-01 UTC.
    pub fn signing_not_after_ms(&self) -> u64 {
        self.signing_not_after_ms
    }

    /// The body of the directory record by which others verify this node's records.
    pub fn signing_key_entry(&self) -> model::body::SigningKeyEntry {
        model::body::SigningKeyEntry {
            public_key: self.signing_key.verifying_key().as_bytes().to_vec().into(),
            certificate_chain: self.signing_chain.iter().map(|der| der.to_vec().into()).collect(),
        }
    }
}

impl ClientIdentity {
    /// Loads the credentials of somebody who calls nodes, from PEM files.
    pub fn load(certificate: &Path, key: &Path, root: &Path) -> Result<Self, IdentityError> {
        let credentials = Credentials::load(certificate, key, root, Purpose::Client)?;
        let name = credentials.name().clone();
        if name.role() == Role::Node {
            let facts = credentials.inner.facts.clone();
            return Err(wrong_role(
                certificate,
                facts,
                "the certificate of an institution, operator, auditor or service",
            ));
        }
        Ok(Self { name, trust_domain: credentials.root().trust_domain().clone(), credentials })
    }

    /// Its TLS credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

fn check(
    chain: &[CertificateDer<'_>],
    root: &Root,
    purpose: Purpose,
    file: &Path,
) -> Result<Facts, IdentityError> {
    let refused = |refusal| IdentityError::Refused { file: file.to_owned(), refusal };
    let (leaf, sent) = chain.split_first().ok_or_else(|| refused(Refusal::NoCertificate))?;
    // An authority issues within its own life, so the first moment of a certificate is one at which its chain holds.
    let at = Facts::of(leaf).map_err(refused)?.not_before;
    chain::verify(leaf, sent, root, purpose, at, &NothingRevoked).map_err(refused)
}

fn check_own_authority(dir: &Path, path: &NodePath) -> Result<(), IdentityError> {
    let file = dir.join(files::AUTHORITY_CERTIFICATE);
    if !file.exists() && !dir.join(files::AUTHORITY_KEY).exists() {
        return Ok(());
    }
    let authority = Authority::load(dir)?;
    if authority.name() == &Name::Authority(Some(path.clone())) {
        return Ok(());
    }
    let refusal =
        Refusal::WrongRole { name: authority.id(), needed: "the authority of the node in node.pem" };
    Err(IdentityError::Refused { file, refusal })
}

fn wrong_role(file: &Path, facts: Facts, needed: &'static str) -> IdentityError {
    IdentityError::Refused { file: file.to_owned(), refusal: Refusal::WrongRole { name: facts.id, needed } }
}

impl AsRef<Credentials> for Credentials {
    fn as_ref(&self) -> &Credentials {
        self
    }
}

impl AsRef<Credentials> for Identity {
    fn as_ref(&self) -> &Credentials {
        &self.credentials
    }
}

impl AsRef<Credentials> for ClientIdentity {
    fn as_ref(&self) -> &Credentials {
        &self.credentials
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, {}, \"...\")", self.inner.facts.id, self.inner.facts.serial)
    }
}
