//! What can go wrong with keys, certificates and the files that hold them; each says in one line what to do.

use std::path::PathBuf;
use std::sync::Arc;

use crate::name::{NameError, SpiffeId};
use crate::refusal::Refusal;

/// Errors of this crate, except refusals of peers ([`Refusal`]).
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{} is missing: issue it with `tiermesh ca`, or correct the path", file.display())]
    Missing { file: PathBuf },
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{} cannot be written: {source}", file.display())]
    Unwritable { file: PathBuf, source: std::io::Error },
    #[error("{} may be read by others than its owner: run `chmod 600 {}`", file.display(), file.display())]
    Exposed { file: PathBuf },
    #[error("{} is not {expected}: put the right file there, or issue it again", file.display())]
    Malformed { file: PathBuf, expected: &'static str },
    #[error("{} does not hold the key of {}: they must come from the same issue", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{}: {refusal}", file.display())]
    Refused { file: PathBuf, refusal: Refusal },
    #[error("{} exists and is not overwritten: choose another directory", file.display())]
    Exists { file: PathBuf },
    #[error("{issuer} may not issue {name}: an authority issues only for what is directly under it")]
    NotAllowed { issuer: Arc<SpiffeId>, name: Arc<SpiffeId> },
    #[error("the authority {issuer} expired: renew it first")]
    AuthorityExpired { issuer: Arc<SpiffeId> },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("an advertised name is a DNS name or an IP address, without a port")]
    Advertise,
    #[error("the request for a certificate is not acceptable: {0}")]
    Request(&'static str),
    #[error("a key or certificate could not be made: {0}")]
    Crypto(#[from] rcgen::Error),
    #[error("the TLS configuration does not hold together: {0}")]
    Tls(#[from] rustls::Error),
}
