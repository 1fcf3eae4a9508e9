//! What a certificate says: its one name, its uses, its time. Read strictly, believed only after the chain is verified.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::name::SpiffeId;
use crate::refusal::{Moment, Refusal};

/// id-kp-documentSigning (RFC 9336), in dotted form.
const DOCUMENT_SIGNING: &str = "1.3.6.1.5.5.7.3.36";

/// One certificate's contents.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub id: Arc<SpiffeId>,
    /// Lower-case hexadecimal.
    pub serial: String,
    pub fingerprint: [u8; 32],
    pub not_before: Moment,
    pub not_after: Moment,
    pub is_authority: bool,
    pub uses: Uses,
    /// Raw DER of the subject's public key with its algorithm.
    pub public_key: Vec<u8>,
}

/// What its key may be used for: key usage and extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // the bits of two X.509 extensions
pub(crate) struct Uses {
    pub sign_certificates: bool,
    pub digital_signature: bool,
    pub client_auth: bool,
    pub server_auth: bool,
    pub sign_documents: bool,
    /// Any extended use beside the three above, `any` among them.
    pub other: bool,
}

impl Facts {
    /// Reads a certificate. A name that is missing, doubled or malformed is a refusal: there is nothing to decide by.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not an X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(Refusal::Malformed("bytes after its end"));
        }
        let bad = |what| move |_| Refusal::Malformed(what);
        let constraints =
            certificate.basic_constraints().map_err(bad("basic constraints"))?.map(|found| found.value);
        let validity = certificate.validity();
        Ok(Self {
            id: name(&certificate)?,
            serial: hex(certificate.raw_serial()),
            fingerprint: Sha256::digest(der).into(),
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            is_authority: constraints.is_some_and(|found| found.ca),
            uses: uses(&certificate)?,
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Whether the signature on `certificate` was made with this certificate's key.
    pub fn has_signed(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, key)) = SubjectPublicKeyInfo::from_der(&self.public_key) else { return false };
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, found)| found.verify_signature(Some(&key)).is_ok())
    }
}

fn name(certificate: &X509Certificate<'_>) -> Result<Arc<SpiffeId>, Refusal> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Refusal::Malformed("subject alternative names"))?
        .map(|found| &found.value.general_names[..])
        .unwrap_or_default();
    let mut uris = Vec::new();
    for name in names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(Refusal::Malformed("subject alternative names")),
            _ => {}
        }
    }
    let [uri] = uris[..] else { return Err(Refusal::NameCount(uris.len())) };
    uri.parse().map(Arc::new).map_err(Refusal::MalformedName)
}

fn uses(certificate: &X509Certificate<'_>) -> Result<Uses, Refusal> {
    let mut uses = Uses::default();
    if let Some(found) = certificate.key_usage().map_err(|_| Refusal::Malformed("key usage"))? {
        uses.sign_certificates = found.value.key_cert_sign();
        uses.digital_signature = found.value.digital_signature();
    }
    if let Some(found) =
        certificate.extended_key_usage().map_err(|_| Refusal::Malformed("extended key usage"))?
    {
        let found = found.value;
        uses.client_auth = found.client_auth;
        uses.server_auth = found.server_auth;
        uses.sign_documents = found.other.iter().any(|oid| oid.to_id_string() == DOCUMENT_SIGNING);
        uses.other = found.any
            || found.code_signing
            || found.email_protection
            || found.time_stamping
            || found.ocsp_signing
            || found.other.iter().any(|oid| oid.to_id_string() != DOCUMENT_SIGNING);
    }
    Ok(uses)
}

fn moment(seconds: i64) -> Moment {
    Moment { ms: u64::try_from(seconds).unwrap_or(0).saturating_mul(1000) }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
