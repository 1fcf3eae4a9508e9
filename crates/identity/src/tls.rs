//! TLS configurations for both sides of a link, and who the peer of a connection is.
//!
//! TLS 1.3 only, certificates on both sides, no resumption in any form: it would skip the verifiers, and with them
//! revocation. One configuration per link, so that another provider or a hardware key can be chosen for one.

use std::sync::Arc;

use model::{Clock, NodePath};
use rustls::client::Resumption;
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, CommonState, ServerConfig, version};

use crate::chain::{NothingRevoked, Revocations};
use crate::credentials::Credentials;
use crate::error::IdentityError;
use crate::facts::Facts;
use crate::name::Name;
use crate::refusal::{Moment, Refusal};
use crate::verifier::{AnyoneOfTheMesh, Common, Exactly};

/// HTTP/2 with the end that connected as its client.
pub const ALPN_H2: &[u8] = b"h2";
/// HTTP/2 with the end that connected as its **server**: how a parent calls a child that it cannot reach.
pub const ALPN_REVERSE: &[u8] = b"tiermesh-reverse/1";

/// What handshakes ask beside certificates.
#[derive(Debug, Clone)]
pub struct Seams {
    pub clock: Arc<dyn Clock>,
    pub revocations: Arc<dyn Revocations>,
}

/// The other end of an established connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: Name,
    /// Its own path if it is a node, else that of the node it belongs to.
    pub path: NodePath,
    /// Serial number of its certificate, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// When its certificate ends, milliseconds since 1970-01-01 UTC; a connection should not outlive it.
    pub not_after_ms: u64,
}

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    H2,
    Reverse,
}

impl Seams {
    /// Nothing is revoked.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, revocations: Arc::new(NothingRevoked) }
    }
}

impl Alpn {
    /// The protocol's id.
    pub fn id(self) -> &'static [u8] {
        match self {
            Self::H2 => ALPN_H2,
            Self::Reverse => ALPN_REVERSE,
        }
    }

    /// What an established connection agreed on. TLS lets a peer stay silent about protocols; a mesh does not.
    pub fn of(connection: &CommonState) -> Result<Self, Refusal> {
        match connection.alpn_protocol() {
            Some(ALPN_H2) => Ok(Self::H2),
            Some(ALPN_REVERSE) => Ok(Self::Reverse),
            _ => Err(Refusal::Protocol),
        }
    }
}

/// The configuration of a listener. Anonymous clients, other meshes and TLS before 1.3 are refused.
pub fn server_config(
    own: &impl AsRef<Credentials>,
    seams: &Seams,
    alpns: &[Alpn],
) -> Result<Arc<ServerConfig>, IdentityError> {
    let own = own.as_ref();
    let common = Common::new(own.root().clone(), seams.revocations.clone());
    let mut config = ServerConfig::builder_with_details(provider(), time(seams))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyoneOfTheMesh { common }))
        .with_single_cert(own.chain(), own.key())?;
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.id().to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// The configuration for connections to `expected`, whatever address it has.
pub fn client_config(
    own: &impl AsRef<Credentials>,
    seams: &Seams,
    expected: Name,
    alpn: Alpn,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let own = own.as_ref();
    let common = Common::new(own.root().clone(), seams.revocations.clone());
    let mut config = ClientConfig::builder_with_details(provider(), time(seams))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Exactly { common, expected }))
        .with_client_auth_cert(own.chain(), own.key())?;
    config.alpn_protocols = vec![alpn.id().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Who the other end of an established connection is. The verifier of this side accepted the certificate.
pub fn peer_name(connection: &CommonState) -> Result<Peer, Refusal> {
    let leaf = connection.peer_certificates().and_then(<[_]>::first).ok_or(Refusal::NoCertificate)?;
    let facts = Facts::of(leaf)?;
    let needed = "one end of a connection";
    let Some(path) = facts.id.name.path().cloned() else {
        return Err(Refusal::WrongRole { name: facts.id, needed });
    };
    Ok(Peer {
        name: facts.id.name.clone(),
        path,
        serial: facts.serial,
        fingerprint: facts.fingerprint,
        not_after_ms: facts.not_after.ms,
    })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn time(seams: &Seams) -> Arc<dyn TimeProvider> {
    Arc::new(ClockTime(seams.clock.clone()))
}

/// rustls asks the clock of the node, not the system.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(Moment { ms: self.0.now_ms() }.unix_time())
    }
}

#[cfg(test)]
mod tests;
