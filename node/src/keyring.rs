//! Which record-signing keys are a node's: certificate chains up to the mesh's root.

use identity::Root;
use model::body::SigningKeyEntry;
use replication::{AdmittedKey, Keyring};

/// Admits keys whose certificates were issued in this mesh.
#[derive(Debug)]
pub struct CertifiedKeys {
    root: Root,
}

impl CertifiedKeys {
    pub fn new(root: Root) -> Self {
        Self { root }
    }
}

impl Keyring for CertifiedKeys {
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String> {
        let (path, key) = identity::verify_signing_chain_as_issued(&entry.certificate_chain, &self.root)
            .map_err(|refusal| refusal.to_string())?;
        if key.as_bytes()[..] != entry.public_key[..] {
            return Err("the certificate is for another key than the record names".into());
        }
        Ok(AdmittedKey { path, key })
    }
}
