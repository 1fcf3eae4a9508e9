//! For tests: handshakes in memory between rustls connections, without sockets, threads or waiting.

use std::sync::Arc;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, version};

use crate::chain::NothingRevoked;
use crate::forge::{COUNTY, NOW_MS, PREFECTURE, Shown, Tree, path, seams_at};
use crate::name::Name;
use crate::refusal::{Moment, Refusal};
use crate::tls::{ALPN_H2, Alpn, Peer, Seams, client_config, peer_name, server_config};
use crate::verifier::{AnyoneOfTheMesh, Common, Exactly};

pub(crate) const MESH: &str = "mesh.example";

/// How a handshake ended, as seen by each side.
pub(crate) struct Outcome {
    pub client: Result<Peer, rustls::Error>,
    pub server: Result<Peer, rustls::Error>,
}

impl Outcome {
    pub fn refused_by_server(self) -> Refusal {
        let error = self.server.expect_err("the server accepted");
        Refusal::of(&error).unwrap_or_else(|| panic!("no refusal: {error}"))
    }

    pub fn refused_by_client(self) -> Refusal {
        let error = self.client.expect_err("the client accepted");
        Refusal::of(&error).unwrap_or_else(|| panic!("no refusal: {error}"))
    }
}

pub(crate) fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Outcome {
    // The name says nothing about who is expected; it must only be one.
    let name = ServerName::try_from("somewhere.invalid").unwrap();
    let mut client = Connection::from(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::from(ServerConnection::new(server).unwrap());
    let (client_end, server_end) = exchange(&mut client, &mut server);
    let seen = |end: Result<(), rustls::Error>, connection: &Connection| {
        end.map(|()| peer_name(connection).unwrap())
    };
    Outcome { client: seen(client_end, &client), server: seen(server_end, &server) }
}

/// Moves bytes both ways until neither side has more to say.
pub(crate) fn exchange(
    client: &mut Connection,
    server: &mut Connection,
) -> (Result<(), rustls::Error>, Result<(), rustls::Error>) {
    let (mut client_end, mut server_end) = (Ok(()), Ok(()));
    while client.wants_write() || server.wants_write() {
        move_bytes(client, server, &mut server_end);
        move_bytes(server, client, &mut client_end);
    }
    (client_end, server_end)
}

pub(crate) fn move_bytes(from: &mut Connection, to: &mut Connection, end: &mut Result<(), rustls::Error>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() && end.is_ok() {
        to.read_tls(&mut bytes).unwrap();
        *end = to.process_new_packets().map(drop);
    }
}

/// A server of the mesh that shows its real certificate.
pub(crate) fn honest_server(tree: &Tree, seams: &Seams) -> Arc<ServerConfig> {
    server_config(&tree.node(PREFECTURE), seams, &[Alpn::H2, Alpn::Reverse]).unwrap()
}

/// A client that shows what it likes, and accepts the honest server.
pub(crate) fn client_showing(tree: &Tree, shown: Shown) -> Arc<ClientConfig> {
    let root = tree.node(PREFECTURE).root().clone();
    let expected = Name::Node(path(PREFECTURE));
    let verifier = Exactly { common: Common::new(root, Arc::new(NothingRevoked)), expected };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(FixedTime);
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(shown.chain, shown.key)
        .unwrap();
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Arc::new(config)
}

/// A server that shows what it likes, and accepts anybody of the mesh.
pub(crate) fn server_showing(tree: &Tree, shown: Shown) -> Arc<ServerConfig> {
    let root = tree.node(PREFECTURE).root().clone();
    let verifier = AnyoneOfTheMesh { common: Common::new(root, Arc::new(NothingRevoked)) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_details(provider, Arc::new(FixedTime))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(shown.chain, shown.key)
        .unwrap();
    Arc::new(config)
}

#[derive(Debug)]
pub(crate) struct FixedTime;

impl rustls::time_provider::TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(Moment { ms: NOW_MS }.unix_time())
    }
}

pub(crate) fn uri(below: &str) -> String {
    format!("spiffe://{MESH}{below}")
}

/// Shows `shown` to an honest server.
pub(crate) fn shown_to_server(tree: &Tree, shown: Shown) -> Outcome {
    handshake(client_showing(tree, shown), honest_server(tree, &seams_at(NOW_MS)))
}

/// Shows `shown` to an honest client that looks for `expected`.
pub(crate) fn shown_to_client(tree: &Tree, shown: Shown, expected: &str) -> Outcome {
    let county = tree.node(COUNTY);
    let client = client_config(&county, &seams_at(NOW_MS), Name::Node(path(expected)), Alpn::H2).unwrap();
    handshake(client, server_showing(tree, shown))
}
