//! Who gets in, and what those who do not can hold up.

use std::net::SocketAddr;
use std::sync::Arc;

use identity::tls::Alpn;
use identity::{Identity, Role};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

use super::fixture::{COUNTY, Mesh, PREFECTURE, PROVINCE, TestNode, clock, connect, soon, tls};
use crate::net::Tcp;
use crate::{ConnectError, KeepAlive};

async fn refused(tls: Arc<ClientConfig>, address: SocketAddr) -> ConnectError {
    let (address, clock) = (address.to_string(), clock());
    let connecting = crate::connect(&Tcp, &address, tls, KeepAlive::default(), &*clock);
    soon("a refusal", connecting).await.expect_err("must be refused")
}

#[tokio::test]
async fn an_operator_gets_in() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    let reply = channel.node().ping(wire::v1::PingRequest {}).await.unwrap();
    assert_eq!(reply.into_inner().now_ms, 1);
    node.stop().await;
}

#[tokio::test]
async fn the_server_must_be_the_expected_node() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let error = connect(&mesh.operator(PREFECTURE), PROVINCE, address).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("expected"), "{error}");
}

#[tokio::test]
async fn another_mesh_is_refused() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    assert!(connect(&other.operator(PREFECTURE), PREFECTURE, address).await.is_err());
}

/// Takes every server: what a stranger without certificates does.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::HandshakeNotComplete)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_caller_without_certificate_is_refused() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    config.alpn_protocols = vec![Alpn::H2.id().to_vec()];
    let error = refused(Arc::new(config), address).await;
    assert!(error.to_string().contains("refused us"), "{error}");
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let operator = mesh.operator(PREFECTURE);
    for alpns in [vec![b"http/1.1".to_vec()], vec![]] {
        let mut config = (*tls(&operator, PREFECTURE, Alpn::H2)).clone();
        config.alpn_protocols = alpns;
        refused(Arc::new(config), address).await;
    }
}

#[tokio::test]
async fn a_node_that_is_no_neighbour_is_refused() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PROVINCE);
    let address = node.listen().await;
    let county: Identity = mesh.node(COUNTY);
    assert!(connect(&county, PROVINCE, address).await.is_err());
    assert!(connect(&mesh.node(PREFECTURE), PROVINCE, address).await.is_ok());
}

#[tokio::test]
async fn only_a_direct_child_is_called_in_reverse() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PROVINCE);
    let address = node.listen().await;
    let institution = mesh.client(PROVINCE, Role::Institution, "0123456789");
    let configs =
        [tls(&institution, PROVINCE, Alpn::Reverse), tls(&mesh.node(COUNTY), PROVINCE, Alpn::Reverse)];
    for config in configs {
        let stream = crate::client::connect_tls(&Tcp, &address.to_string(), config).await.unwrap();
        let mut stream = Box::pin(stream);
        let mut byte = [0; 1];
        // A peer that may be called gets the HTTP/2 preface; this one gets the end.
        let read = soon("the end", tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await;
        assert!(!matches!(read, Ok(1)));
        assert!(node.neighbours.channel(&exchange::Hop::Child(super::fixture::path(COUNTY))).is_err());
    }
}

#[tokio::test]
async fn silent_connections_hold_up_nobody() {
    let mesh = Mesh::new();
    let node = TestNode::new(&mesh, PREFECTURE);
    let address = node.listen().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let channel = connect(&mesh.operator(PREFECTURE), PREFECTURE, address).await.unwrap();
    channel.node().ping(wire::v1::PingRequest {}).await.unwrap();
    drop(silent);
}
