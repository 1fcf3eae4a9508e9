//! Why a certificate was not accepted, in words that tell an operator what to do.
//!
//! rustls carries a refusal inside its own error; [`Refusal::of`] gets it out again for the accept loop's log.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError, PeerIncompatible};

use crate::name::{NameError, SpiffeId};

/// A refused certificate or handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no certificate was presented: the caller needs one of this mesh")]
    NoCertificate,
    #[error("the certificate cannot be read ({0}): issue a new one")]
    Malformed(&'static str),
    #[error("the name in the certificate is malformed ({0}): issue a new one")]
    MalformedName(NameError),
    #[error("the certificate carries {0} URI names where exactly one is allowed: issue a new one")]
    NameCount(usize),
    #[error("{name} belongs to another mesh: this one is {trust_domain}")]
    WrongTrustDomain { name: Arc<SpiffeId>, trust_domain: String },
    #[error("{name} was not issued under this mesh's root: compare root.pem on both sides")]
    UnknownRoot { name: Arc<SpiffeId> },
    #[error("{name} was issued by {issuer}, which may only issue for what is directly under it")]
    NotUnderIssuer { name: Arc<SpiffeId>, issuer: Arc<SpiffeId> },
    #[error("the certificate of {name} may not be used as {needed}")]
    WrongRole { name: Arc<SpiffeId>, needed: &'static str },
    #[error("the peer is {found}, expected {expected}: is the address right?")]
    WrongPeer { found: Arc<SpiffeId>, expected: Arc<SpiffeId> },
    #[error("the certificate of {name} expired {since}: renew it, or correct the clock")]
    Expired { name: Arc<SpiffeId>, since: Moment },
    #[error("the certificate of {name} is not valid before {from}: wait, or correct the clock")]
    NotYetValid { name: Arc<SpiffeId>, from: Moment },
    #[error("the certificate of {name} is revoked")]
    Revoked { name: Arc<SpiffeId> },
    #[error("the chain of {name} does not hold ({reason:?})")]
    Chain { name: Arc<SpiffeId>, reason: webpki::Error },
    #[error("{0} certificates in a chain are more than a mesh can need")]
    ChainLength(usize),
    #[error("the peer does not speak TLS 1.3")]
    TlsVersion,
    #[error("the peer does not speak a protocol of this listener (ALPN): is it a client of this mesh?")]
    Protocol,
}

/// A point in time, printed in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 UTC.
    pub ms: u64,
}

impl Moment {
    pub(crate) fn of(time: UnixTime) -> Self {
        Self { ms: time.as_secs().saturating_mul(1000) }
    }

    pub(crate) fn unix_time(self) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.ms))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_second((self.ms / 1000) as i64) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} s after 1970", self.ms / 1000),
        }
    }
}

impl Refusal {
    /// The refusal behind a failed handshake, if that was the reason. The other end only sees a TLS alert, so whoever
    /// refuses logs this.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<Self>().cloned()
            }
            rustls::Error::NoCertificatesPresented => Some(Self::NoCertificate),
            rustls::Error::NoApplicationProtocol => Some(Self::Protocol),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Some(Self::TlsVersion),
            _ => None,
        }
    }

    /// As [`Refusal::of`], for the error that tokio-rustls reports.
    pub fn of_io(error: &std::io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<rustls::Error>().and_then(Self::of)
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}
