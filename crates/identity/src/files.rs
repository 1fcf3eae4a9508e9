//! Files that hold keys and certificates (PEM), and the names they have in a directory.
//!
//! Private keys must belong to their owner alone. Files appear whole or not at all, and none is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::chain::Root;
use crate::error::IdentityError;
use crate::key::PrivateKey;

/// A node's TLS certificate, then its issuers', without the root.
pub const NODE_CERTIFICATE: &str = "node.pem";
pub const NODE_KEY: &str = "node.key";
/// A node's record-signing certificate, then its issuers', without the root.
pub const SIGNING_CERTIFICATE: &str = "signing.pem";
pub const SIGNING_KEY: &str = "signing.key";
/// An authority's certificate, then its issuers', without the root; for the root authority the root certificate.
pub const AUTHORITY_CERTIFICATE: &str = "authority.pem";
pub const AUTHORITY_KEY: &str = "authority.key";
/// The mesh's root certificate.
pub const ROOT_CERTIFICATE: &str = "root.pem";
/// The certificate of an institution, operator, auditor or service, then its issuers', without the root.
pub const CLIENT_CERTIFICATE: &str = "client.pem";
pub const CLIENT_KEY: &str = "client.key";

/// Longest file read: many times what a full chain needs.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a chain of certificates, at least one.
pub(crate) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let malformed =
        || IdentityError::Malformed { file: file.to_owned(), expected: "a PEM file of certificates" };
    let blocks = pem::parse_many(read(file, false)?.as_slice()).map_err(|_| malformed())?;
    if blocks.is_empty() || blocks.iter().any(|block| block.tag() != "CERTIFICATE") {
        return Err(malformed());
    }
    Ok(blocks.into_iter().map(|block| CertificateDer::from(block.into_contents())).collect())
}

/// Reads the mesh's root.
pub(crate) fn read_root(file: &Path) -> Result<Root, IdentityError> {
    let found = read_certificates(file)?;
    let [der] = &found[..] else {
        return Err(IdentityError::Malformed { file: file.to_owned(), expected: "one root certificate" });
    };
    Root::from_der(der).map_err(|refusal| IdentityError::Refused { file: file.to_owned(), refusal })
}

/// Reads the key of a TLS end or an authority.
pub(crate) fn read_key(file: &Path) -> Result<PrivateKey, IdentityError> {
    let der = read_pkcs8(file)?;
    PrivateKey::from_pkcs8(&der).ok_or_else(|| IdentityError::Malformed {
        file: file.to_owned(),
        expected: "an ECDSA P-256 key in PKCS #8",
    })
}

/// Reads a record-signing key.
pub(crate) fn read_signing_key(file: &Path) -> Result<model::SigningKey, IdentityError> {
    let der = read_pkcs8(file)?;
    crate::key::signing_key_from_pkcs8(&der).ok_or_else(|| IdentityError::Malformed {
        file: file.to_owned(),
        expected: "an Ed25519 key in PKCS #8",
    })
}

fn read_pkcs8(file: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let expected = "a private key in PEM (BEGIN PRIVATE KEY)";
    match pem::parse(read(file, true)?.as_slice()) {
        Ok(block) if block.tag() == "PRIVATE KEY" => Ok(Zeroizing::new(block.into_contents())),
        _ => Err(IdentityError::Malformed { file: file.to_owned(), expected }),
    }
}

fn read(file: &Path, private: bool) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing { file: file.to_owned() },
        _ => IdentityError::Unreadable { file: file.to_owned(), source },
    };
    let opened = File::open(file).map_err(unreadable)?;
    // Asked of the open file, so that what is checked is what is read.
    let metadata = opened.metadata().map_err(unreadable)?;
    if private && metadata.permissions().mode() & 0o077 != 0 {
        return Err(IdentityError::Exposed { file: file.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(MAX_BYTES) as usize + 1));
    opened.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// One PEM block.
pub(crate) fn to_pem(tag: &str, der: &[u8]) -> String {
    let format = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), format)
}

/// A chain of certificates in PEM.
pub(crate) fn chain_to_pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect()
}

/// A directory to write to, and what shall stand in it. Nothing is written before [`NewFiles::write`].
#[derive(Debug)]
pub(crate) struct NewFiles<'a> {
    dir: &'a Path,
}

impl<'a> NewFiles<'a> {
    /// Refuses a directory in which one of `names` exists: a key that is overwritten is lost.
    pub fn in_dir(dir: &'a Path, names: &[&str]) -> Result<Self, IdentityError> {
        for name in names {
            let file = dir.join(name);
            match file.symlink_metadata() {
                Ok(_) => return Err(IdentityError::Exists { file }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(IdentityError::Unreadable { file, source }),
            }
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| IdentityError::Unwritable { file: dir.to_owned(), source })?;
        Ok(Self { dir })
    }

    /// Writes a private key, mode 0600.
    pub fn key(&self, name: &str, pem: &str) -> Result<(), IdentityError> {
        self.write(name, pem, 0o600)
    }

    /// Writes certificates, mode 0644.
    pub fn certificates(&self, name: &str, chain: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
        self.write(name, &chain_to_pem(chain), 0o644)
    }

    /// Writes a file beside its place, syncs it and moves it there.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), IdentityError> {
        let file = self.dir.join(name);
        let beside = self.dir.join(format!(".{name}.new"));
        let written =
            write_and_move(&beside, &file, text, mode).and_then(|()| File::open(self.dir)?.sync_all());
        written.map_err(|source| {
            // What is left beside is of no use; if it cannot be removed either, the error below says why.
            let _ = fs::remove_file(&beside);
            IdentityError::Unwritable { file, source }
        })
    }
}

fn write_and_move(beside: &Path, file: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Left there by a crash; the mode below is only given to a new file.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(beside, file)
}
