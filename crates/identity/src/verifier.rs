//! rustls verifiers for both sides: a peer is who its one URI name says, on a chain that holds up to the mesh's root.
//!
//! A server accepts any name of the mesh; what it may do is decided above. A client accepts exactly the name it
//! expects; DNS names and addresses decide nothing.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

use crate::chain::{self, Purpose, Revocations, Root};
use crate::facts::Facts;
use crate::name::Name;
use crate::refusal::{Moment, Refusal};

/// Judges clients: anybody of the mesh, nobody anonymous.
pub(crate) struct AnyoneOfTheMesh {
    pub common: Common,
}

/// Judges servers: exactly this one.
pub(crate) struct Exactly {
    pub common: Common,
    pub expected: Name,
}

/// What both sides need.
pub(crate) struct Common {
    root: Root,
    revocations: Arc<dyn Revocations>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Common {
    pub fn new(root: Root, revocations: Arc<dyn Revocations>) -> Self {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        Self { root, revocations, algorithms }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<Facts, Refusal> {
        chain::verify(leaf, sent, &self.root, purpose, Moment::of(now), &*self.revocations)
    }

    fn verify_tls13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }
}

impl ClientCertVerifier for AnyoneOfTheMesh {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a client has one certificate for the mesh and shows it.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.common.verify(leaf, sent, Purpose::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls_12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.common.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.common.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self.common.verify(leaf, sent, Purpose::Server, now)?;
        if found.id.name != self.expected {
            let expected = self.expected.in_domain(&found.id.trust_domain);
            return Err(Refusal::WrongPeer { found: found.id, expected }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls_12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.common.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.common.algorithms.supported_schemes()
    }
}

fn tls_12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl fmt::Debug for AnyoneOfTheMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyoneOfTheMesh({:?})", self.common.root)
    }
}

impl fmt::Debug for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exactly({:?}, {:?})", self.expected, self.common.root)
    }
}

#[cfg(test)]
mod tests;
