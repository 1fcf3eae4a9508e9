//! Configurations against each other: clocks, protocols, resumption, revocation.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConnection, version};

use super::{Alpn, Seams, client_config, server_config};
use crate::chain::{NothingRevoked, Revocations};
use crate::forge::{COUNTY, DAY_MS, NOW_MS, OTHER_PREFECTURE, PREFECTURE, PROVINCE, Tree, path, seams_at};
use crate::handshake::{FixedTime, MESH, exchange, handshake, honest_server};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::verifier::{Common, Exactly};

#[test]
fn the_right_tree_is_accepted_on_both_sides() {
    let tree = Tree::new(MESH);
    let seams = seams_at(NOW_MS);
    for (child, parent) in
        [(PREFECTURE, PROVINCE), (COUNTY, PREFECTURE), (COUNTY, PROVINCE), (PROVINCE, COUNTY)]
    {
        let (child, parent) = (tree.node(child), tree.node(parent));
        let client = client_config(&child, &seams, parent.name.clone(), Alpn::Reverse).unwrap();
        let server = server_config(&parent, &seams, &[Alpn::H2, Alpn::Reverse]).unwrap();
        let outcome = handshake(client, server);
        let (at_server, at_client) = (outcome.server.unwrap(), outcome.client.unwrap());
        assert_eq!((&at_server.name, &at_server.path), (&child.name, &child.path));
        assert_eq!((&at_client.name, &at_client.path), (&parent.name, &parent.path));
        assert_eq!(at_server.serial, child.credentials().serial());
        assert_eq!(at_server.not_after_ms, child.not_after_ms());
    }
}

#[test]
fn the_clock_that_counts_is_the_one_given() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let at = |now_ms| {
        let seams = seams_at(now_ms);
        let client = client_config(&county, &seams_at(NOW_MS), prefecture.name.clone(), Alpn::H2).unwrap();
        handshake(client, server_config(&prefecture, &seams, &[Alpn::H2]).unwrap())
    };
    at(NOW_MS).server.unwrap();
    at(NOW_MS - 200_000).server.unwrap();
    let refusal = at(NOW_MS - 400_000).refused_by_server();
    assert!(matches!(refusal, Refusal::NotYetValid { .. }), "{refusal}");
    at(NOW_MS + 364 * DAY_MS).server.unwrap();
    let refusal = at(NOW_MS + 366 * DAY_MS).refused_by_server();
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
    let refusal = at(NOW_MS + 40 * 365 * DAY_MS).refused_by_server();
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
}

#[test]
fn anonymous_and_outdated_clients_are_refused() {
    let tree = Tree::new(MESH);
    let root = tree.node(PREFECTURE).root().clone();
    let anonymous = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let expected = Name::Node(path(PREFECTURE));
        let verifier = Exactly { common: Common::new(root.clone(), Arc::new(NothingRevoked)), expected };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(FixedTime))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Arc::new(config)
    };
    let server = honest_server(&tree, &seams_at(NOW_MS));
    assert_eq!(
        handshake(anonymous(&[&version::TLS13]), server.clone()).refused_by_server(),
        Refusal::NoCertificate
    );
    assert_eq!(handshake(anonymous(&[&version::TLS12]), server).refused_by_server(), Refusal::TlsVersion);
}

#[test]
fn protocols_must_agree() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let seams = seams_at(NOW_MS);
    let client = client_config(&county, &seams, prefecture.name.clone(), Alpn::Reverse).unwrap();
    let server = server_config(&prefecture, &seams, &[Alpn::H2]).unwrap();
    assert_eq!(handshake(client.clone(), server).refused_by_server(), Refusal::Protocol);

    let agreed = |alpns: &[Alpn], client: Arc<ClientConfig>| {
        let name = ServerName::try_from("somewhere.invalid").unwrap();
        let mut client = Connection::from(ClientConnection::new(client, name).unwrap());
        let server = server_config(&prefecture, &seams, alpns).unwrap();
        let mut server = Connection::from(ServerConnection::new(server).unwrap());
        let ends = exchange(&mut client, &mut server);
        assert_eq!(ends, (Ok(()), Ok(())));
        (Alpn::of(&client), Alpn::of(&server))
    };
    assert_eq!(agreed(&[Alpn::H2, Alpn::Reverse], client.clone()), (Ok(Alpn::Reverse), Ok(Alpn::Reverse)));
    let mut silent = (*client).clone();
    silent.alpn_protocols.clear();
    assert_eq!(agreed(&[Alpn::H2], Arc::new(silent)), (Err(Refusal::Protocol), Err(Refusal::Protocol)));
}

#[test]
fn no_connection_is_resumed() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let seams = seams_at(NOW_MS);
    let mut client = (*client_config(&county, &seams, prefecture.name.clone(), Alpn::H2).unwrap()).clone();
    // A client that would like to: the server alone must be enough to prevent it.
    client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let (client, server) = (Arc::new(client), honest_server(&tree, &seams));
    for _ in 0..2 {
        let name = ServerName::try_from("somewhere.invalid").unwrap();
        let mut client = Connection::from(ClientConnection::new(client.clone(), name).unwrap());
        let mut server = Connection::from(ServerConnection::new(server.clone()).unwrap());
        assert_eq!(exchange(&mut client, &mut server), (Ok(()), Ok(())));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        let Connection::Client(client) = client else { unreachable!("made above") };
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

/// Revokes by name and issuer.
#[derive(Debug)]
struct Revoked(Name, Name);

impl Revocations for Revoked {
    fn is_revoked(&self, name: &Name, serial: &str, issuer: &Name) -> bool {
        assert_eq!(serial.len(), 32, "an honest serial is 16 bytes");
        (name, issuer) == (&self.0, &self.1)
    }
}

#[test]
fn revocation_reaches_both_sides_and_everything_below_an_authority() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let authority = |text: &str| Name::Authority(Some(path(text)));
    let with = |revoked: Revoked| Seams { revocations: Arc::new(revoked), ..seams_at(NOW_MS) };
    let run = |client_seams: &Seams, server_seams: &Seams| {
        let client = client_config(&county, client_seams, prefecture.name.clone(), Alpn::H2).unwrap();
        handshake(client, server_config(&prefecture, server_seams, &[Alpn::H2]).unwrap())
    };
    let none = seams_at(NOW_MS);
    let refusal = run(&none, &with(Revoked(county.name.clone(), authority(PREFECTURE)))).refused_by_server();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == county.name));
    let refusal = run(&none, &with(Revoked(authority(PREFECTURE), authority(PROVINCE)))).refused_by_server();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == authority(PREFECTURE)));
    let refusal = run(&with(Revoked(authority(PROVINCE), Name::Authority(None))), &none).refused_by_client();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == authority(PROVINCE)));
    run(&none, &with(Revoked(authority(OTHER_PREFECTURE), authority(PROVINCE)))).server.unwrap();
}

/// What tokio-rustls reports still tells the reason.
#[test]
fn an_accept_loop_gets_the_reason_from_its_error() {
    let tree = Tree::new(MESH);
    let client =
        client_config(&tree.node(COUNTY), &seams_at(NOW_MS), Name::Node(path(PREFECTURE)), Alpn::H2).unwrap();
    let late = seams_at(NOW_MS + 2 * 365 * DAY_MS);
    let server = server_config(&tree.node(PREFECTURE), &late, &[Alpn::H2]).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = tokio_rustls::TlsAcceptor::from(server).accept(far);
    let name = ServerName::try_from("somewhere.invalid").unwrap();
    let connect = tokio_rustls::TlsConnector::from(client).connect(name, near);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (accepted, _) = runtime.block_on(async { tokio::join!(accept, connect) });
    let refusal = Refusal::of_io(&accepted.expect_err("expired")).unwrap();
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
    assert_eq!(Refusal::of_io(&std::io::Error::other("the network is down")), None);
}
